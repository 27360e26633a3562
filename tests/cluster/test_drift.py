"""Drift on a real API server: its defaults are no difference, an edit by hand is found with both values and its field
manager, a missing object too; re-apply does what it says. Two registrations of one plane are two environments.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from endpoints.clusters.kubernetes import owned
from endpoints.differences import services, sweeping
from endpoints.differences.models import DriftLook, LiveDifference, Resolution
from endpoints.drivers import driver_for
from endpoints.models import Cluster, Endpoint
from projects.principal import Principal
from tests import factories
from tests.cluster import portal_kit
from tests.cluster.kubelet import Kubelet
from tests.cluster.plane import Plane
from tests.conftest import Org
from tests.endpoints.drift_kit import on_a_cluster
from tests.endpoints.endpoint_kit import Broker, is_in, until, work
from tests.stack.conftest import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.django_db]
SECONDS = 60
IMAGE = f"registry.example.com/vllm@sha256:{'b' * 64}"


@pytest.fixture
def environments(
    org: Org, plane: Plane, kubelet: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Cluster, Cluster]]:
    """One plane, registered twice, with accounts and namespaces of their own."""
    monkeypatch.setattr("endpoints.nudge.current_app", Broker())
    made = portal_kit.register(plane, org.pat), portal_kit.register(plane, org.pat)
    yield made
    for one in made:
        portal_kit.forget(plane, one)


def endpoint(org: Org, cluster: Cluster, environment: str, **fields: Any) -> Endpoint:
    """An endpoint that runs there."""
    profile = factories.make_profile(cpu_millis=50, host_memory_bytes=2**26)
    return on_a_cluster(org, cluster=cluster, environment=environment, profile=profile, seconds=SECONDS, **fields)


def sweep(row: Endpoint) -> dict[tuple[str, str], LiveDifference]:
    """Compare its cluster now; what is open then."""
    DriftLook.objects.filter(pk=row.cluster_id).update(looked_at=None)
    sweeping.compare(row.cluster_id)
    row.refresh_from_db()
    assert DriftLook.objects.get(pk=row.cluster_id).problem == ""
    return {(one.kind, one.field): one for one in LiveDifference.objects.filter(endpoint=row, resolved_at=None)}


def test_drift_between_what_was_approved_and_what_is_there(
    environments: tuple[Cluster, Cluster], plane: Plane, org: Org
) -> None:
    here, there = environments
    row, other = endpoint(org, here, "dev"), endpoint(org, there, "staging")
    assert sweep(row) == sweep(other) == {}, "what the API server fills in is no difference"
    space = owned.namespace(driver_for(here)._place, "fraud-detection", "dev")  # type: ignore[attr-defined]
    name = f"{owned.stem(str(row.pk))}-r1"
    path = f"/apis/apps/v1/namespaces/{space}/deployments/{name}"

    plane.api.patch(f"{path}?fieldManager=night-shift", {"spec": {"replicas": 1}})
    plane.api.patch(f"{path}?fieldManager=mesh", {"metadata": {"annotations": {"mesh.example/injected": "yes"}}})
    (one,) = sweep(row).values()
    assert (one.kind, one.field, one.wanted, one.found) == ("Deployment", "spec.replicas", "2", "1")
    assert (one.manager, one.operation, one.sure) == ("night-shift", "Update", True) and one.changed_at is not None
    work(row)
    assert plane.api.get(path)["spec"]["replicas"] == 1 and sweep(other) == {}

    services.reapply(Principal.of(org.omar), row)
    until(row, lambda now: now.rewrite_at is None, SECONDS)
    assert plane.api.get(path)["spec"]["replicas"] == 2 and sweep(row) == {}
    one.refresh_from_db()
    assert (one.resolution, one.resolved_by) == (Resolution.REAPPLIED, "omar")

    # What bears on the approval: noted, and taken back.
    evil = {"spec": {"template": {"spec": {"containers": [{"name": "engine", "image": IMAGE}]}}}}
    plane.api.apply(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, **evil}, space, by="mallory"
    )
    until(row, lambda now: plane.api.get(path)["spec"]["template"]["spec"]["containers"][0]["image"] != IMAGE, SECONDS)
    taken = LiveDifference.objects.get(endpoint=row, resolution=Resolution.TAKEN_BACK)
    assert (taken.found, taken.manager) == (IMAGE, "mallory") and taken.field.endswith("containers[engine].image")
    until(row, is_in("ready"), SECONDS)

    # Objects that nobody watches, and a Secret that nobody reads.
    core = f"/api/v1/namespaces/{space}"
    plane.api.delete(f"{core}/limitranges/gatehouse-defaults")
    plane.api.patch(f"{core}/secrets/{owned.key_name(str(row.pk))}?fieldManager=thief", {"data": {"key": "c3RvbGVu"}})
    plane.api.delete(f"{core}/services/{name}")
    found = sweep(row)
    assert set(found) == {("LimitRange", ""), ("Secret", "data"), ("Service", "")}
    assert found["Secret", "data"].manager == "thief" and "c3RvbGVu" not in str(found["Secret", "data"].found)
    until(row, lambda now: now.rewrite_at is None, SECONDS)
    wait_for(lambda: sweep(row) == {}, SECONDS, "everything to be back")
    assert plane.api.get(f"{core}/secrets/{owned.key_name(str(row.pk))}")["data"]["key"] != "c3RvbGVu"


def test_an_older_account_that_may_not_list_is_enough(
    environments: tuple[Cluster, Cluster], plane: Plane, org: Org
) -> None:
    here, _ = environments
    row = endpoint(org, here, "dev", replicas=1)
    role = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{portal_kit.account_of(here)}"
    rules = plane.api.get(role)["rules"]
    for rule in rules:
        if rule["resources"][0] in {"namespaces", "limitranges", "networkpolicies", "serviceaccounts"}:
            rule["verbs"] = [verb for verb in rule["verbs"] if verb != "list"]
    plane.api.patch(role, {"rules": rules})
    assert sweep(row) == {}
    space = owned.namespace(driver_for(here)._place, "fraud-detection", "dev")  # type: ignore[attr-defined]
    plane.api.delete(f"/apis/networking.k8s.io/v1/namespaces/{space}/networkpolicies/gatehouse-default-deny")
    assert set(sweep(row)) == {("NetworkPolicy", "")}
