"""The life of an endpoint on a real control plane: put to sleep with everything that describes it, woken, a canary
beside what runs, promoted, aborted, gone back from, and deleted in its sleep. Never more pods than accelerators held.
"""

import datetime as dt
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from endpoints import canaries, facts, reconcile, services, sweep
from endpoints.clusters.kubernetes import owned
from endpoints.models import Cluster, Endpoint
from projects.principal import Principal
from quotas.models import Reservation, ReservationState
from tests import factories
from tests.cluster import portal_kit
from tests.cluster.api import Object
from tests.cluster.fault_kit import Life, with_image
from tests.cluster.kubelet import Kubelet
from tests.cluster.plane import Plane
from tests.conftest import Org

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.django_db]
SECONDS = 120
STAYS = ("deployments", "services", "secrets")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "DRAIN", dt.timedelta(seconds=0.5))  # nobody calls these engines


@pytest.fixture
def cluster(plane: Plane, kubelet: Kubelet, org: Org) -> Iterator[Cluster]:
    """The plane as the portal knows it, with two accelerators that only this test uses."""
    with portal_kit.machine(kubelet, 2):
        made = portal_kit.register(plane, org.pat)
        yield made
        portal_kit.forget(plane, made)


class Watched:
    """One endpoint, its worker, and what the API server has of it at each look."""

    def __init__(self, plane: Plane, life: Life) -> None:
        self.plane, self.life = plane, life
        life.create()

    @property
    def objects(self) -> dict[str, list[Object]]:
        """What the server has, by kind."""
        return portal_kit.present(self.plane, self.life.cluster)[str(self.life.endpoint.pk)]

    @property
    def running(self) -> list[int]:
        """The revisions of the pods that are not over."""
        return sorted(int(owned.label(pod, owned.REVISION)) for pod in self.objects["pods"])

    def until(self, good: Callable[[Endpoint], Any], what: str) -> Endpoint:
        """Be the worker until `good`; at every look there are at most as many pods as accelerators are held."""
        end = time.monotonic() + SECONDS
        while True:
            reconcile.reconcile(self.life.endpoint.pk, "life")
            row = self.life.endpoint
            pods, held = self.running, self.held()
            assert len(pods) <= max(held, self.held()), (pods, held, row.phase, row.reason_sentence)
            if good(row):
                return row
            assert time.monotonic() < end, f"{what}: {row.phase} {row.reason_code}: {row.reason_sentence}"
            time.sleep(0.1)

    def held(self) -> int:
        """How many accelerators are reserved."""
        rows = Reservation.objects.filter(holder_id=str(self.life.endpoint.pk), state=ReservationState.HELD)
        return sum(rows.values_list("amount", flat=True))

    def uids(self) -> dict[str, str]:
        """Kind, name and uid of what is to outlive a sleep."""
        return {
            f"{kind} {one['metadata']['name']}": one["metadata"]["uid"] for kind in STAYS for one in self.objects[kind]
        }


def ready(row: Endpoint) -> bool:
    return row.phase == "ready" and not row.rolling_out and row.drain_until is None


@pytest.fixture
def watched(plane: Plane, cluster: Cluster, org: Org) -> Watched:
    pool, profile = portal_kit.pool_of(cluster, 2)
    versions = (with_image(factories.make_version()), with_image(factories.make_version()))
    return Watched(plane, Life(org.fraud, cluster, pool, profile, versions))


def test_a_sleep_keeps_the_objects_and_ends_every_pod(watched: Watched, cluster: Cluster) -> None:
    watched.until(ready, "the first start")
    before, address = watched.uids(), watched.objects["services"][0]["spec"]["clusterIP"]
    assert len(before) == 3 and watched.running == [1]
    watched.life.suspend()
    row = watched.until(lambda row: row.phase == "suspended", "the sleep")
    assert watched.uids() == before and watched.running == [] and watched.held() == 0
    deployment = watched.objects["deployments"][0]
    assert deployment["spec"]["replicas"] == 0 and not deployment["status"].get("replicas")
    managers = [one["manager"] for one in deployment["metadata"]["managedFields"] if one["operation"] == "Apply"]
    assert managers == [owned.MANAGER]
    sweep.adopt(cluster)  # a sleeping endpoint is not a stranger
    assert watched.uids() == before
    version = deployment["metadata"]["resourceVersion"]
    reconcile.reconcile(row.pk, "again")
    assert watched.objects["deployments"][0]["metadata"]["resourceVersion"] == version
    watched.life.resume()
    watched.until(ready, "waking")
    assert watched.uids() == before and watched.objects["services"][0]["spec"]["clusterIP"] == address
    assert watched.running == [1] and watched.held() == 1
    watched.life.suspend()
    watched.until(lambda row: row.phase == "suspended", "the second sleep")
    watched.life.delete()
    watched.until(lambda row: row.phase == "deleted", "the end of a sleeping endpoint")
    assert not any(watched.objects.values()) and watched.held() == 0


def test_a_canary_beside_what_runs_is_aborted_begun_anew_promoted_and_gone_back_from(
    watched: Watched, org: Org
) -> None:
    dana = Principal.of(org.dana)
    watched.until(ready, "the first start")
    first = watched.uids()
    watched.life.update()
    canaries.set_share(dana, watched.life.endpoint, 10)
    row = watched.until(lambda row: row.reason_code == "canary", "the canary")
    assert watched.running == [1, 2] and watched.held() == 2 and len(watched.objects["deployments"]) == 2
    assert sorted(one["revision"] for one in row.upstreams) == [1, 2] and first.items() <= watched.uids().items()
    canaries.abort(dana, row)
    watched.until(ready, "the end of the canary")
    assert watched.running == [1] and watched.held() == 1 and watched.uids() == first

    services.rollback(dana, watched.life.endpoint, 2, canary_percent=50)
    watched.until(lambda row: row.reason_code == "canary", "the second canary")
    canaries.promote(dana, watched.life.endpoint)
    row = watched.until(ready, "its promotion")
    assert watched.running == [2] and watched.held() == 1 and row.revision and row.revision.number == 2
    assert [owned.label(one, owned.REVISION) for one in watched.objects["deployments"]] == ["2"]
    services.rollback(dana, row, 1)
    row = watched.until(ready, "the way back")
    assert watched.running == [1] and row.revision and row.revision.number == 1

    services.rollback(dana, row, 2, canary_percent=5)
    watched.until(lambda row: row.reason_code == "canary", "the third canary")
    watched.life.suspend()
    watched.until(lambda row: row.phase == "suspended", "the sleep of both")
    assert watched.running == [] and len(watched.objects["deployments"]) == 2 and watched.held() == 0
    watched.life.resume()
    watched.until(ready, "waking without the canary")
    assert watched.running == [1] and [owned.label(o, owned.REVISION) for o in watched.objects["deployments"]] == ["1"]


def test_an_autoscaler_does_not_wake_it_and_is_there_again_afterwards(plane: Plane, kubelet: Kubelet, org: Org) -> None:
    with portal_kit.machine(kubelet, 2):
        cluster = portal_kit.register(plane, org.pat, autoscaler="hpa")
        pool, profile = portal_kit.pool_of(cluster, 2)
        versions = (with_image(factories.make_version()), with_image(factories.make_version()))
        watched = Watched(plane, Life(org.fraud, cluster, pool, profile, versions, replicas=2))
        watched.until(ready, "the first start")
        assert len(watched.objects["horizontalpodautoscalers"]) == 1 and len(watched.running) in (1, 2)
        before = watched.uids()
        watched.life.suspend()
        watched.until(lambda row: row.phase == "suspended", "the sleep")
        assert watched.running == [] and watched.uids() == before and not watched.objects["horizontalpodautoscalers"]
        watched.life.resume()
        watched.until(ready, "waking")
        assert watched.running and len(watched.objects["horizontalpodautoscalers"]) == 1 and watched.uids() == before
        portal_kit.forget(plane, cluster)


def test_what_somebody_scales_up_in_its_sleep_is_put_to_sleep_again(watched: Watched, plane: Plane) -> None:
    watched.until(ready, "the first start")
    watched.life.suspend()
    row = watched.until(lambda row: row.phase == "suspended", "the sleep")
    meta = watched.objects["deployments"][0]["metadata"]
    path = f"/apis/apps/v1/namespaces/{meta['namespace']}/deployments/{meta['name']}"
    plane.api.patch(path, {"spec": {"replicas": 1}})
    look = partial(reconcile.reconcile, row.pk, "life")
    end = time.monotonic() + SECONDS
    while watched.running != [1]:
        assert time.monotonic() < end
        time.sleep(0.05)
    while watched.running or watched.objects["deployments"][0]["spec"]["replicas"]:
        look()
        assert time.monotonic() < end, watched.life.endpoint.reason_sentence
        time.sleep(0.05)
    assert watched.life.endpoint.phase == "suspended"
