"""The `kserve` driver on a real API server with KServe's real controllers, with no more rights than the manifest that
the portal writes gives it."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from endpoints.clusters import ClusterError, Place, Replica, Workload, rbac
from endpoints.clusters.kserve.driver import KServeDriver
from endpoints.clusters.kubernetes import owned
from tests.cluster.binaries import find_kserve, find_kserve_controllers
from tests.cluster.fixtures import needed
from tests.cluster.kubelet import Kubelet
from tests.cluster.plane import Plane
from tests.endpoints.kubernetes_kit import workload
from tests.stack.conftest import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
SECONDS = 120
GROUP = "/apis/serving.kserve.io/v1beta1"


@pytest.fixture
def kserve(plane: Plane, kubelet: Kubelet) -> Plane:
    """The plane with KServe's controllers at work."""
    needed(find_kserve())
    needed(find_kserve_controllers())
    plane.with_kserve(controllers=True)
    return plane


def connected(plane: Plane, directory: Path, **options: str) -> KServeDriver:
    """Return a driver under the account that the generated RBAC makes."""
    token = plane.token_for("gatehouse", "gatehouse", rbac.objects("kserve", {}))
    options = {"namespace_prefix": f"t{secrets.token_hex(3)}", **options}
    return KServeDriver(
        Place(slug="plane", state_dir=directory, server=plane.server, ca=plane.ca, token=token, settings=options)
    )


@pytest.fixture
def make(kserve: Plane, tmp_path: Path) -> Any:
    """Makes drivers whose engines have gone when the test ends."""
    made: list[KServeDriver] = []

    def driver(**options: str) -> KServeDriver:
        made.append(connected(kserve, tmp_path, **options))
        return made[-1]

    yield driver
    for one in made:
        for endpoint in one.list():
            wait_for(lambda one=one, endpoint=endpoint: one.remove(endpoint), SECONDS, f"{endpoint} to go")  # type: ignore[misc]


def asked(**fields: Any) -> Workload:
    return workload(**{"cpu_millis": 100, "host_memory_bytes": 2**28, **fields})


def patiently(driver: KServeDriver, wanted: Workload) -> bool:
    """Apply unless the server asks to come again, as it does right after a definition was made."""
    try:
        driver.apply(wanted)
    except ClusterError as error:
        if error.code != "cluster_unavailable":
            raise
        return False
    return True


def settle(driver: KServeDriver, wanted: Workload, good: Callable[[tuple[Replica, ...]], Any]) -> tuple[Replica, ...]:
    """Apply and look until `good` says so."""
    seen: tuple[Replica, ...] = ()

    def step() -> bool:
        nonlocal seen
        driver.apply(wanted)
        seen = driver.observe(wanted.endpoint_id).replicas
        return bool(good(seen))

    wait_for(step, SECONDS, f"what is wanted; seen: {seen}")
    return seen


def all_ready(count: int) -> Callable[[tuple[Replica, ...]], bool]:
    return lambda seen: len(seen) == count and all(one.state == "ready" for one in seen)


@pytest.mark.parametrize("options", [{}, {"serving_api": "llm"}], ids=["isvc", "llm"])
def test_the_definitions_alone_accept_it_and_nothing_is_written_twice(
    plane: Plane, tmp_path: Path, options: dict[str, str]
) -> None:
    """Without KServe's controllers, whose absence is told after a while."""
    needed(find_kserve())
    plane.with_kserve()
    driver, wanted = connected(plane, tmp_path, **options), asked()
    plane.wait(lambda: patiently(driver, wanted), "the definitions to be set up")
    mark = plane.mark()
    driver.apply(wanted)
    account = "system:serviceaccount:gatehouse:gatehouse"
    assert {what for verb, _, what in plane.verbs(account, since=mark) if verb == "patch"} == {"secrets"}
    seen = driver.observe(wanted.endpoint_id)
    assert seen.drifted is False
    assert [one.state for one in seen.replicas] in (["starting"], ["loading"], ["ready"])
    wait_for(lambda: driver.remove(wanted.endpoint_id), SECONDS, "the endpoint to go")


@pytest.mark.parametrize("options", [{}, {"serving_api": "llm"}], ids=["isvc", "llm"])
def test_from_nothing_to_ready_and_back(make: Callable[..., KServeDriver], options: dict[str, str]) -> None:
    driver, wanted = make(**options), asked(replicas=2)
    assert driver.list() == []
    assert driver.remove(wanted.endpoint_id)
    seen = settle(driver, wanted, all_ready(2))
    assert all(one.url and one.key and one.authorization_digest == "sha256:abc" for one in seen)
    assert driver.list() == [wanted.endpoint_id]
    assert driver.observe(wanted.endpoint_id).drifted is False
    wait_for(lambda: driver.remove(wanted.endpoint_id), SECONDS, "the endpoint to go")
    assert driver.list() == []


def test_applying_the_same_again_writes_nothing(make: Callable[..., KServeDriver], kserve: Plane) -> None:
    driver, wanted = make(), asked()
    settle(driver, wanted, all_ready(1))
    name = owned.namespace(driver._place, wanted.project, wanted.environment_name)
    path = f"{GROUP}/namespaces/{name}/inferenceservices/{owned.name(wanted)}"
    kserve.wait(lambda: driver.observe(wanted.endpoint_id).ready_count == 1, "KServe to be done")
    before, mark = kserve.api.get(path)["metadata"], kserve.mark()
    driver.apply(wanted)
    after = kserve.api.get(path)["metadata"]
    assert (after["generation"], after["uid"]) == (before["generation"], before["uid"])
    verbs = {verb for verb, _, resource in kserve.verbs("system:serviceaccount:gatehouse:gatehouse", since=mark)
             if resource == "inferenceservices"}  # fmt: skip
    assert "patch" not in verbs


def test_one_more_replica_starts_no_other_anew(make: Callable[..., KServeDriver]) -> None:
    """KServe copies annotations into the pods: what the portal remembers of its last write must not be among them."""
    driver, wanted = make(), asked()
    (first,) = settle(driver, wanted, all_ready(1))
    both = settle(driver, replace(wanted, replicas=2), all_ready(2))
    assert first.identity in {one.identity for one in both}


def test_a_new_revision_beside_the_old_one_and_then_alone(make: Callable[..., KServeDriver]) -> None:
    driver, wanted = make(), asked()
    settle(driver, wanted, all_ready(1))
    following = replace(wanted, revision=2, authorization_digest="sha256:def")
    both = settle(driver, replace(following, keep=(1,)), all_ready(2))
    assert {one.revision for one in both} == {1, 2}
    (alone,) = settle(driver, following, all_ready(1))
    assert (alone.revision, alone.authorization_digest) == (2, "sha256:def")


@pytest.mark.parametrize("options", [{}, {"serving_api": "llm"}], ids=["isvc", "llm"])
def test_the_quota_is_told_though_kserve_hides_it(make: Callable[..., KServeDriver], options: dict[str, str]) -> None:
    driver, wanted = make(**options), asked(replicas=2, accelerator_limit=1)

    def told(seen: tuple[Replica, ...]) -> bool:
        return "gpu_quota_exceeded" in {one.reason_code for one in seen}

    seen = settle(driver, wanted, told)
    assert not any(one.state == "failed" for one in seen)


def test_a_strangers_object_is_left_alone(make: Callable[..., KServeDriver], kserve: Plane) -> None:
    driver, wanted = make(), asked()
    settle(driver, asked(), all_ready(1))  # the namespace is there now
    name = owned.namespace(driver._place, wanted.project, wanted.environment_name)
    spec = {"predictor": {"containers": [{"name": "kserve-container", "image": "registry.local/other:1"}]}}
    stranger = {
        "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
        "metadata": {"name": owned.name(wanted)}, "spec": spec,
    }  # fmt: skip
    kserve.api.apply(stranger, name, by="human")
    with pytest.raises(ClusterError) as refused:
        driver.apply(wanted)
    assert refused.value.code == "name_collision"
    live = kserve.api.get(f"{GROUP}/namespaces/{name}/inferenceservices/{owned.name(wanted)}")
    assert live["spec"]["predictor"]["containers"][0]["image"] == "registry.local/other:1"
