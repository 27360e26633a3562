"""Adopting what runs already: a request, an approval, and the same pods go on. On a real plane: tests/cluster/."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from approvals import services as requests
from endpoints import drivers, services
from endpoints.clusters.kubernetes import owned
from endpoints.clusters.kubernetes.adopting import Adopting
from endpoints.clusters.kubernetes.client import Client
from endpoints.models import Cluster, Endpoint, Phase
from endpoints.rogue import adopt, scanning
from endpoints.rogue.models import RogueScan, RogueState, RogueWorkload
from portal.errors import Conflict, Invalid
from quotas.models import Pool, Reservation
from tests import factories
from tests.conftest import Org
from tests.endpoints.endpoint_kit import work
from tests.endpoints.rogue_kit import Object, Still, deployment

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
IMAGE = f"docker.io/vllm/vllm-openai@sha256:{'c' * 64}"


class Plane(Still):
    """A cluster whose Deployments have as many pods as they want, in time."""

    def _control(self) -> None:
        for (plural, space, name), one in list(self.objects.items()):
            if plural != "deployments":
                continue
            wanted = one["spec"]["replicas"]
            own = [
                key
                for key in self.objects
                if key[0] == "pods" and key[1] == space and key[2].startswith(f"{name}-7c9-")
            ]
            for key in own[wanted:]:
                del self.objects[key]
            one["status"] = {"observedGeneration": one["metadata"].get("generation", 1), "replicas": wanted}


def ready(objects: list[Object], address: str = "10.1.0.5") -> list[Object]:
    """Pods that answer calls."""
    for one in objects:
        if one["kind"] == "Pod":
            one["status"] |= {
                "phase": "Running", "podIP": address,
                "conditions": [*one["status"]["conditions"], {"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "server", "restartCount": 0, "state": {"running": {}}}],
            }  # fmt: skip
    return objects


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Plane:
    made = Plane()
    monkeypatch.setattr(Client, "_exchange", lambda client, *call: made.exchange(*call))
    return made


@pytest.fixture
def cluster(org: Org) -> Cluster:
    made = factories.make_place(org.pat)
    Cluster.objects.filter(pk=made.pk).update(environments=["dev", "prod"])
    made.refresh_from_db()
    return made


@pytest.fixture
def row(api: Plane, cluster: Cluster) -> RogueWorkload:
    """A Deployment with one GPU that the scan has found."""
    api.put(*ready(deployment("scorer", "team-a", IMAGE)))
    scanning.scan(cluster.pk)
    return RogueWorkload.objects.get()


def pool_on(cluster: Cluster, limit: int = 4) -> tuple[Pool, Any]:
    profile = factories.make_profile(gpus=1, resource="nvidia.com/gpu")
    pool = factories.make_pool(limit=limit, profiles=[profile])
    Pool.objects.filter(pk=pool.pk).update(cluster=cluster.slug)
    return pool, profile


def body(row: RogueWorkload, profile: Any, **fields: Any) -> dict[str, Any]:
    version = factories.make_version()
    return factories.request_body(
        asset=version.asset.slug, hardware_profile=profile.slug, adopts=row.pk, name="scorer", **fields
    )


def adopted(org: Org, row: RogueWorkload, profile: Any) -> Endpoint:
    """What an approved request made of it."""
    RogueWorkload.objects.filter(pk=row.pk).update(project=org.fraud)
    made = requests.send(org.principal(org.dana), body(row, profile))
    requests.approve(org.principal(org.pat), made)
    made.refresh_from_db()
    assert made.endpoint is not None
    return made.endpoint


def uids(api: Plane) -> list[str]:
    return sorted(one["metadata"]["uid"] for one in api.of("pods"))


def test_the_same_pods_answer_calls_as_an_endpoint_with_a_request(
    org: Org, api: Plane, cluster: Cluster, row: RogueWorkload
) -> None:
    pool, profile = pool_on(cluster)
    before, template = uids(api), json.dumps(api.of("deployments")[0]["spec"])
    endpoint = adopted(org, row, profile)
    work(endpoint)
    endpoint.refresh_from_db()
    assert (endpoint.phase, endpoint.reason_code) == (Phase.READY, "ready")
    assert [one["url"] for one in endpoint.upstreams] == ["http://10.1.0.5:8000"]
    assert uids(api) == before and json.dumps(api.of("deployments")[0]["spec"]) == template
    live = api.of("deployments")[0]
    assert owned.label(live, owned.ENDPOINT) == str(endpoint.pk) and not owned.label(live, owned.MANAGED_BY)
    held = Reservation.objects.get(holder_id=str(endpoint.pk))
    assert (held.state, held.amount, held.pool) == ("held", 1, pool)
    row.refresh_from_db()
    assert (row.state, row.endpoint) == (RogueState.ADOPTED, endpoint)
    RogueScan.objects.update(scanned_at=None)
    scanning.scan(cluster.pk)
    row.refresh_from_db()
    assert row.state == RogueState.ADOPTED, "what is approved is not found again"


def test_two_people_and_one_object(org: Org, cluster: Cluster, row: RogueWorkload) -> None:
    _, profile = pool_on(cluster)
    RogueWorkload.objects.update(project=org.fraud)
    first = requests.send(org.principal(org.dana), body(row, profile))
    with pytest.raises(Conflict) as refused:
        requests.send(org.principal(org.omar), body(row, profile) | {"name": "other"})
    assert refused.value.code == "already_adopting"
    requests.withdraw(org.principal(org.dana), first)
    second = requests.send(org.principal(org.omar), body(row, profile) | {"name": "other"})
    row.refresh_from_db()
    assert (row.state, row.request) == (RogueState.ADOPTING, second.pk)
    requests.reject(org.principal(org.pat), second, reason="Not this one.")
    row.refresh_from_db()
    assert (row.state, row.request) == (RogueState.OPEN, None)


def test_it_is_suspended_resumed_and_deleted_as_the_object_that_it_is(
    org: Org, api: Plane, cluster: Cluster, row: RogueWorkload
) -> None:
    _, profile = pool_on(cluster)
    endpoint = adopted(org, row, profile)
    work(endpoint)
    by = org.principal(org.dana)
    services.suspend(by, endpoint)
    for _ in range(3):
        work(endpoint)
    assert endpoint.phase == Phase.SUSPENDED and api.of("deployments")[0]["spec"]["replicas"] == 0
    assert not api.of("pods")
    services.resume(by, endpoint)
    work(endpoint)
    assert api.of("deployments")[0]["spec"]["replicas"] == 1
    services.delete(by, endpoint)
    for _ in range(3):
        work(endpoint)
    endpoint.refresh_from_db()
    assert endpoint.phase == Phase.DELETED and not api.of("deployments")


def test_another_object_of_the_same_name_is_not_the_adopted_one(
    org: Org, api: Plane, cluster: Cluster, row: RogueWorkload
) -> None:
    _, profile = pool_on(cluster)
    endpoint = adopted(org, row, profile)
    work(endpoint)
    api.objects.clear()
    api.put(*ready(deployment("scorer", "team-a", IMAGE), "10.1.0.9"))
    work(endpoint)
    endpoint.refresh_from_db()
    assert endpoint.phase != Phase.READY and endpoint.reason_code == "adopted_gone" and endpoint.upstreams == []
    services.delete(org.principal(org.dana), endpoint)
    work(endpoint)
    work(endpoint)
    assert [one["metadata"]["name"] for one in api.of("deployments")] == ["scorer"], "a stranger's is left alone"


def test_the_plan_says_what_differs(org: Org, cluster: Cluster, row: RogueWorkload) -> None:
    _, profile = pool_on(cluster)
    RogueWorkload.objects.update(project=org.fraud)
    plan = requests.check(org.principal(org.dana), body(row, profile, replicas=2))
    checks = {one["id"]: one["verdict"] for one in plan["checks"]}
    assert checks | {"adp-001": "pass", "adp-002": "warn", "adp-003": "warn"} == checks
    assert plan["adopts"] | {"uid": row.uid, "kind": "Deployment", "namespace": "team-a"} == plan["adopts"]
    two = factories.make_profile(gpus=2, resource="nvidia.com/gpu")
    with pytest.raises(Invalid) as refused:
        requests.send(org.principal(org.dana), body(row, two))
    assert "hardware_profile" in refused.value.fields
    with pytest.raises(Invalid) as hidden:
        requests.send(org.principal(org.cy), body(row, profile) | {"project": "search-ranking"})
    assert "adopts" in hidden.value.fields


def test_an_engine_with_a_key_of_its_own_cannot_be_adopted(row: RogueWorkload) -> None:
    row.facts["asks_key"] = True
    assert "key" in adopt.why_not(row, row.cluster)


def test_what_failed_is_put_to_sleep_and_never_deleted(
    org: Org, api: Plane, cluster: Cluster, row: RogueWorkload
) -> None:
    from endpoints.reconcile import _clear_away

    _, profile = pool_on(cluster)
    endpoint = adopted(org, row, profile)
    work(endpoint)
    fresh = Endpoint.objects.select_related("cluster", "revision").get(pk=endpoint.pk)
    driver = drivers.driver_for(fresh.cluster)
    assert isinstance(driver, Adopting)
    for _ in range(3):
        _clear_away(fresh, driver)
    assert api.of("deployments")[0]["spec"]["replicas"] == 0


def test_a_revision_takes_the_place_and_one_can_go_back(
    org: Org, api: Plane, cluster: Cluster, row: RogueWorkload
) -> None:
    _, profile = pool_on(cluster)
    endpoint = adopted(org, row, profile)
    work(endpoint)
    fresh = Endpoint.objects.select_related("cluster", "revision__version__asset", "revision__profile", "project").get(
        pk=endpoint.pk
    )
    driver = drivers.driver_for(fresh.cluster)
    assert fresh.revision is not None
    first = drivers.workload(fresh, fresh.revision, 1)
    following: Mapping[str, Any] = {"revision": 2, "adopted": None, "image": IMAGE}
    second = type(first)(**{**vars(first), **following, "keep": (1,)})
    driver.apply(second)
    assert [one["spec"]["replicas"] for one in api.of("deployments")] == [1, 1], "beside it"
    driver.apply(type(first)(**{**vars(second), "keep": ()}))
    mine = next(one for one in api.of("deployments") if one["metadata"]["name"] == "scorer")
    assert mine["spec"]["replicas"] == 0
    driver.apply(first)
    driver.apply(first)
    assert [(one["metadata"]["name"], one["spec"]["replicas"]) for one in api.of("deployments")] == [("scorer", 1)]


def test_a_call_that_fails_leaves_the_object_as_it_was(
    org: Org, api: Plane, cluster: Cluster, row: RogueWorkload
) -> None:
    _, profile = pool_on(cluster)
    endpoint = adopted(org, row, profile)
    before = json.dumps(api.of("deployments")[0]["spec"])
    for number in range(6):
        api.fails = {api.calls + number: "after"}
        work(endpoint)
        assert json.dumps(api.of("deployments")[0]["spec"]) == before
    api.fails = {}
    work(endpoint)
    endpoint.refresh_from_db()
    assert endpoint.phase == Phase.READY
