"""The `kubernetes` driver on a real API server, with no more rights than the manifest that the portal writes gives it.

A kubelet is played (tests/cluster/kubelet.py); everything else, quota, scheduler and controllers, is real.
"""

import secrets
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from endpoints.clusters import ClusterDriver, ClusterError, Place, Replica, Workload, rbac
from endpoints.clusters.kubernetes import owned
from endpoints.clusters.kubernetes.driver import KubernetesDriver
from tests.cluster.api import Object
from tests.cluster.kubelet import Kubelet
from tests.cluster.plane import Plane
from tests.cluster.pod_status import MODE
from tests.endpoints.kubernetes_kit import workload
from tests.stack.conftest import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
SECONDS = 120


@pytest.fixture(scope="module")
def token(plane: Plane) -> str:
    """The account that the generated RBAC makes."""
    return plane.token_for("gatehouse", "gatehouse", rbac.objects("kubernetes", {}))


@pytest.fixture
def place(plane: Plane, kubelet: Kubelet, token: str, tmp_path: Path) -> Place:
    """The cluster as the portal knows it, with a prefix of this test's own."""
    options = {"namespace_prefix": f"t{secrets.token_hex(3)}"}
    return Place(slug="plane", state_dir=tmp_path, server=plane.server, ca=plane.ca, token=token, settings=options)


@pytest.fixture
def driver(place: Place, plane: Plane) -> Any:
    """A driver whose engines have gone when the test ends."""
    made = KubernetesDriver(place)
    yield made
    for endpoint in made.list():
        wait_for(lambda endpoint=endpoint: made.remove(endpoint), SECONDS, f"{endpoint} to go")  # type: ignore[misc]


def asked(**fields: Any) -> Workload:
    return workload(**{"cpu_millis": 100, "host_memory_bytes": 2**28, **fields})


def settle(
    driver: KubernetesDriver, wanted: Workload, good: Callable[[tuple[Replica, ...]], Any]
) -> tuple[Replica, ...]:
    """Apply and look until `good` says so."""
    seen: tuple[Replica, ...] = ()

    def step() -> bool:
        nonlocal seen
        driver.apply(wanted)
        seen = driver.observe(wanted.endpoint_id).replicas
        return bool(good(seen))

    wait_for(step, SECONDS, "what is wanted")
    return seen


def ready(driver: KubernetesDriver, wanted: Workload) -> tuple[Replica, ...]:
    """All replicas of the revision answer, and no other is there."""

    def good(seen: tuple[Replica, ...]) -> bool:
        own = [one for one in seen if one.revision == wanted.revision]
        return len(own) == wanted.replicas == sum(one.state == "ready" for one in own)

    return settle(driver, wanted, good)


def look(driver: KubernetesDriver, wanted: Workload, good: Callable[[tuple[Replica, ...]], Any]) -> tuple[Replica, ...]:
    """Look until `good` says so."""
    found: list[tuple[Replica, ...]] = []

    def step() -> bool:
        found.append(driver.observe(wanted.endpoint_id).replicas)
        return bool(good(found[-1]))

    wait_for(step, SECONDS, "what should be seen")
    return found[-1]


def everything(plane: Plane, place: Place, wanted: Workload) -> dict[str, Object]:
    """All objects of the namespace that the portal made, by kind and name."""
    name = owned.namespace(place, wanted.project, wanted.environment_name)
    core, paths = f"/api/v1/namespaces/{name}", {"Namespace": ""}
    listed = {
        "ResourceQuota": f"{core}/resourcequotas", "LimitRange": f"{core}/limitranges", "Service": f"{core}/services",
        "ServiceAccount": f"{core}/serviceaccounts", "Secret": f"{core}/secrets",
        "NetworkPolicy": f"/apis/networking.k8s.io/v1/namespaces/{name}/networkpolicies",
        "PodDisruptionBudget": f"/apis/policy/v1/namespaces/{name}/poddisruptionbudgets",
        "Deployment": f"/apis/apps/v1/namespaces/{name}/deployments",
    }  # fmt: skip
    found = {f"{kind} {one['metadata']['name']}": one for kind, path in listed.items() for one in plane.api.items(path)}
    found = {key: one for key, one in found.items() if owned.label(one, owned.MANAGED_BY) == owned.MANAGER}
    return found | {f"{kind} {name}": plane.api.get(core) for kind in paths}


def versions(found: dict[str, Object]) -> dict[str, str]:
    """Who wrote last; what the controllers write into the status does not count."""
    return {
        key: f"{one['metadata']['uid']} {one['metadata'].get('generation')} "
        + (one["metadata"]["resourceVersion"] if not key.startswith(("Deployment", "PodDis", "ResourceQuota")) else "")
        for key, one in found.items()
    }


def path_of(place: Place, wanted: Workload) -> str:
    name = owned.namespace(place, wanted.project, wanted.environment_name)
    return f"/apis/apps/v1/namespaces/{name}/deployments/{owned.name(wanted)}"


def play(plane: Plane, place: Place, wanted: Workload, mode: str) -> None:
    """Let the pods of a Deployment fare as `mode` says; the annotation is a stranger's and stays."""
    plane.api.patch(path_of(place, wanted), {"spec": {"template": {"metadata": {"annotations": {MODE: mode}}}}})


def test_from_nothing_to_ready_and_back(driver: KubernetesDriver, plane: Plane, place: Place) -> None:
    typed: ClusterDriver = driver
    wanted = asked(replicas=2)
    assert typed.list() == [] and typed.observe(wanted.endpoint_id).replicas == () and typed.remove(wanted.endpoint_id)
    seen = ready(driver, wanted)
    assert [one.index for one in seen] == [0, 1] and len({one.identity for one in seen}) == 2
    assert all(one.url.startswith("http://127.0.0.1:8000") and one.key and one.started_at for one in seen)
    assert {one.authorization_digest for one in seen} == {"sha256:abc"} and driver.list() == [wanted.endpoint_id]
    kinds = {key.split()[0] for key in everything(plane, place, wanted)}
    assert kinds >= {"Namespace", "ResourceQuota", "LimitRange", "NetworkPolicy", "ServiceAccount", "Service", "Secret",
                     "PodDisruptionBudget", "Deployment"}  # fmt: skip
    assert driver.remove(wanted.endpoint_id) is False
    wait_for(lambda: driver.remove(wanted.endpoint_id), SECONDS, "the endpoint to go")
    left = everything(plane, place, wanted)
    assert {key.split()[0] for key in left} == {"Namespace", "ResourceQuota", "LimitRange", "NetworkPolicy",
                                               "ServiceAccount"}  # fmt: skip
    assert driver.remove(wanted.endpoint_id) and driver.list() == []


def test_applying_the_same_again_writes_nothing(driver: KubernetesDriver, plane: Plane, place: Place) -> None:
    wanted = asked(replicas=2, node_selector={"kubernetes.io/os": "linux"}, cpu_millis=1500)
    wanted = replace(wanted, node_selector={}, tolerations=({"key": "a", "operator": "Exists", "value": ""},))
    ready(driver, wanted)
    assert driver.observe(wanted.endpoint_id).drifted is False
    before = everything(plane, place, wanted)
    driver.apply(wanted)
    after = everything(plane, place, wanted)
    assert versions(after) == versions(before)
    deployment = f"Deployment {owned.name(wanted)}"
    assert after[deployment]["metadata"]["resourceVersion"] == before[deployment]["metadata"]["resourceVersion"]


def test_more_and_fewer_replicas(driver: KubernetesDriver, plane: Plane, place: Place) -> None:
    wanted = asked()
    ready(driver, wanted)
    first, *_ = sorted(ready(driver, replace(wanted, replicas=3)), key=lambda one: one.index)
    assert any(key.startswith("PodDis") for key in everything(plane, place, wanted))
    (left,) = settle(driver, wanted, lambda seen: len(seen) == 1 and seen[0].state == "ready")
    assert left.identity == first.identity, "the first stays, as the portal told the gateway"
    assert not any(key.startswith("PodDis") for key in everything(plane, place, wanted))


def test_a_new_revision_beside_the_old_one_and_then_alone(driver: KubernetesDriver) -> None:
    wanted = asked()
    (old,) = ready(driver, wanted)
    following = replace(wanted, revision=2, authorization_digest="sha256:def")
    both = settle(driver, replace(following, keep=(1,)), lambda seen: [one.state for one in seen] == ["ready", "ready"])
    assert {one.revision for one in both} == {1, 2} and old.identity in {one.identity for one in both}
    (alone,) = settle(driver, following, lambda seen: len(seen) == 1 and seen[0].state == "ready")
    assert (alone.revision, alone.authorization_digest) == (2, "sha256:def")


def test_nothing_starts_before_the_other_revision_has_ended(
    driver: KubernetesDriver, plane: Plane, place: Place
) -> None:
    wanted = asked(accelerators=8, accelerator_limit=64)
    ready(driver, wanted)
    following = replace(wanted, revision=2)
    driver.apply(following)
    assert f"Deployment {owned.name(following)}" not in everything(plane, place, wanted)
    ready(driver, following)


def test_the_quota_is_told_and_waits(driver: KubernetesDriver) -> None:
    wanted = asked(accelerators=1, accelerator_limit=1, replicas=2)

    def told(seen: tuple[Replica, ...]) -> bool:
        return [(one.state, one.reason_code) for one in seen] == [("ready", ""), ("starting", "gpu_quota_exceeded")]

    waiting = settle(driver, wanted, told)[1]
    assert "allows 1" in waiting.sentence and waiting.turn == "you"
    assert driver.observe(wanted.endpoint_id).any_failed is False
    settle(driver, replace(wanted, accelerator_limit=2), lambda seen: all(one.state == "ready" for one in seen))


def test_a_full_cluster_is_told_and_waits(driver: KubernetesDriver) -> None:
    wanted = asked(accelerators=8, accelerator_limit=64, replicas=3)

    def full(seen: tuple[Replica, ...]) -> bool:
        return sorted((one.state, one.reason_code) for one in seen) == [
            ("ready", ""), ("ready", ""), ("starting", "no_free_gpu"),
        ]  # fmt: skip

    (waiting,) = [one for one in settle(driver, wanted, full) if one.state == "starting"]
    assert waiting.turn == "nobody" and "GPU" in waiting.sentence
    assert driver.observe(wanted.endpoint_id).any_failed is False


@pytest.mark.parametrize(("mode", "code"), [("crash-loop", "crashed"), ("oom", "out_of_memory")])
def test_a_failure_has_its_sentence(driver: KubernetesDriver, plane: Plane, place: Place, mode: str, code: str) -> None:
    wanted = asked()
    ready(driver, wanted)
    play(plane, place, wanted, mode)
    seen = look(driver, wanted, lambda seen: len(seen) == 1 and seen[0].state == "failed")
    assert seen[0].reason_code == code and seen[0].occupies and seen[0].sentence.endswith(".")


def test_a_missing_image_is_told(driver: KubernetesDriver, plane: Plane, place: Place) -> None:
    wanted = asked()
    driver.apply(wanted)
    play(plane, place, wanted, "image-pull")
    seen = look(driver, wanted, lambda seen: len(seen) == 1 and seen[0].reason_code.startswith("image"))
    assert "image" in seen[0].sentence


def test_a_strangers_object_is_not_touched(driver: KubernetesDriver, plane: Plane, place: Place) -> None:
    wanted = asked()
    ready(driver, asked())  # another endpoint makes the namespace
    name = owned.namespace(place, wanted.project, wanted.environment_name)
    ports = {"ports": [{"port": 80}], "selector": {"app": "theirs"}}
    stranger = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": owned.name(wanted)}, "spec": ports}
    plane.api.apply(stranger, name, by="somebody")
    before = plane.api.get(f"/api/v1/namespaces/{name}/services/{owned.name(wanted)}")
    with pytest.raises(ClusterError) as caught:
        driver.apply(wanted)
    assert caught.value.code == "name_collision" and owned.name(wanted) in caught.value.sentence
    assert driver.remove(wanted.endpoint_id) is True
    assert plane.api.get(f"/api/v1/namespaces/{name}/services/{owned.name(wanted)}") == before


def test_a_strangers_namespace_is_not_taken_over(driver: KubernetesDriver, plane: Plane, place: Place) -> None:
    wanted = asked(project="theirs")
    name = owned.namespace(place, "theirs", "dev")
    plane.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    with pytest.raises(ClusterError) as caught:
        driver.apply(wanted)
    assert caught.value.code == "name_collision"
    assert "gatehouse" not in str(plane.api.get(f"/api/v1/namespaces/{name}")["metadata"].get("labels"))
    plane.api.delete(f"/api/v1/namespaces/{name}")


def test_what_somebody_deletes_comes_back(driver: KubernetesDriver, plane: Plane, place: Place) -> None:
    wanted = asked()
    ready(driver, wanted)
    plane.api.delete(path_of(place, wanted))
    look(driver, wanted, lambda seen: not [one for one in seen if one.state == "ready"])
    core = f"/api/v1/namespaces/{owned.namespace(place, wanted.project, wanted.environment_name)}"
    plane.api.delete(f"{core}/services/{owned.name(wanted)}")
    plane.api.delete(f"{core}/secrets/{owned.key_name(wanted.endpoint_id)}")
    ready(driver, wanted)
    names = {key.split()[0] for key in everything(plane, place, wanted)}
    assert {"Deployment", "Service", "Secret"} <= names


def test_what_somebody_changes_is_seen_and_taken_back(driver: KubernetesDriver, plane: Plane, place: Place) -> None:
    wanted = asked()
    ready(driver, wanted)
    evil = f"registry.example.com/evil@sha256:{'b' * 64}"
    changed = {"spec": {"template": {"spec": {"containers": [{"name": "engine", "image": evil}]}}}}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": owned.name(wanted)}, **changed}
    namespace = owned.namespace(place, wanted.project, wanted.environment_name)
    plane.api.apply(body, namespace, by="somebody")
    assert driver.observe(wanted.endpoint_id).drifted is True
    ready(driver, wanted)
    assert driver.observe(wanted.endpoint_id).drifted is False
    container = plane.api.get(path_of(place, wanted))["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == wanted.image


def test_a_restart_gives_new_pods(driver: KubernetesDriver) -> None:
    wanted = asked()
    (old,) = ready(driver, wanted)
    driver.restart(wanted.endpoint_id)
    (new,) = settle(driver, wanted, lambda seen: len(seen) == 1 and seen[0].state == "ready" and seen[0] != old)
    assert new.identity != old.identity


def test_a_namespace_that_is_being_deleted_is_told_and_the_end_is_reached(
    driver: KubernetesDriver, plane: Plane, place: Place
) -> None:
    wanted = asked(project=f"p{secrets.token_hex(3)}")
    ready(driver, wanted)
    name = owned.namespace(place, wanted.project, wanted.environment_name)
    held = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "holds", "finalizers": ["test.example/hold"]}}
    plane.api.apply(held, name)
    plane.api.delete(f"/api/v1/namespaces/{name}")
    with pytest.raises(ClusterError) as caught:
        driver.apply(wanted)
    assert caught.value.code == "namespace_terminating" and caught.value.retry
    wait_for(lambda: driver.remove(wanted.endpoint_id), SECONDS, "the endpoint to go with its namespace")
    plane.api.patch(f"/api/v1/namespaces/{name}/configmaps/holds", {"metadata": {"finalizers": None}})


def test_the_last_lines_of_the_output(driver: KubernetesDriver) -> None:
    wanted = asked()
    ready(driver, wanted)
    text = driver.logs(wanted.endpoint_id, 5)
    assert text and len(text) <= 65_536 and len(text.splitlines()) <= 5
    assert len(driver.logs(wanted.endpoint_id, 5000)) <= 65_536


def test_the_api_server_saw_no_more_than_was_granted(driver: KubernetesDriver, plane: Plane) -> None:
    """Whatever was asked is in the manifest: nothing was forbidden, and no verb is missing from the table."""
    since, wanted = plane.mark(), asked(replicas=2)  # others of this run have the same account with more rights
    ready(driver, wanted)
    driver.logs(wanted.endpoint_id)
    driver.observe_all()
    wait_for(lambda: driver.suspend(wanted.endpoint_id), 60, "it to be suspended")
    wait_for(lambda: driver.remove(wanted.endpoint_id), 60, "it to be removed")
    granted = {(one.verb, one.group, one.resource) for one in rbac.asks("kubernetes", {})}
    used = plane.verbs("system:serviceaccount:gatehouse:gatehouse", since=since)
    assert used and used <= granted


def test_a_revoked_token_is_told(driver: KubernetesDriver, place: Place) -> None:
    with pytest.raises(ClusterError) as caught:
        KubernetesDriver(replace(place, token="not-a-token")).observe(str(uuid.uuid4()))
    assert caught.value.code == "token_refused" and caught.value.turn == "platform"
