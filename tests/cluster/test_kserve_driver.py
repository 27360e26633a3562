"""The `kserve` driver on a real API server with KServe's real controllers, with no more rights than the manifest that
the portal writes gives it."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from endpoints.clusters import ClusterError, Place, Replica, Workload, rbac
from endpoints.clusters.explaining.reading import at
from endpoints.clusters.kserve import manifests
from endpoints.clusters.kserve.driver import KServeDriver
from endpoints.clusters.kubernetes import owned
from tests.cluster.binaries import find_kserve, find_kserve_controllers
from tests.cluster.fixtures import needed
from tests.cluster.kubelet import Kubelet
from tests.cluster.plane import Plane
from tests.cluster.pod_status import MODE
from tests.endpoints.kubernetes_kit import workload
from tests.stack.conftest import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
SECONDS = 120
BOTH = pytest.mark.parametrize("options", [{}, {"serving_api": "llm"}], ids=["isvc", "llm"])
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

    try:
        wait_for(step, SECONDS, "what is wanted")
    except pytest.fail.Exception:
        pytest.fail(f"what is wanted did not come; seen: {seen}")
    return seen


def all_ready(count: int) -> Callable[[tuple[Replica, ...]], bool]:
    return lambda seen: len(seen) == count and all(one.state == "ready" for one in seen)


@BOTH
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


@BOTH
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


def test_one_more_replica_starts_no_other_anew_and_one_less_ends_the_last(
    make: Callable[..., KServeDriver], kserve: Plane
) -> None:
    """KServe copies annotations into the pods: what the portal remembers of its last write must not be among them."""
    driver, wanted = make(), asked()
    (first,) = settle(driver, wanted, all_ready(1))
    both = settle(driver, replace(wanted, replicas=2), all_ready(2))
    assert first.identity in {one.identity for one in both}
    mark = kserve.mark()
    (left,) = settle(driver, wanted, all_ready(1))
    assert left.identity == both[0].identity, "the one with the highest index goes, as the gateway was told"
    verbs = kserve.verbs("system:serviceaccount:gatehouse:gatehouse", since=mark)
    assert ("patch", "", "pods") in verbs, "chosen by the portal, not by chance"


def test_a_new_revision_beside_the_old_one_and_then_alone(make: Callable[..., KServeDriver]) -> None:
    driver, wanted = make(), asked()
    settle(driver, wanted, all_ready(1))
    following = replace(wanted, revision=2, authorization_digest="sha256:def")
    both = settle(driver, replace(following, keep=(1,)), all_ready(2))
    assert {one.revision for one in both} == {1, 2}
    (alone,) = settle(driver, following, all_ready(1))
    assert (alone.revision, alone.authorization_digest) == (2, "sha256:def")


@BOTH
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


def path_of(driver: KServeDriver, wanted: Workload) -> str:
    """Where KServe's object of a revision is."""
    name = owned.namespace(driver._place, wanted.project, wanted.environment_name)
    large = driver._place.settings.get("serving_api") == "llm"
    where = "v1alpha2" if large else "v1beta1"
    plural = "llminferenceservices" if large else "inferenceservices"
    return f"/apis/serving.kserve.io/{where}/namespaces/{name}/{plural}/{owned.name(wanted)}"


@BOTH
def test_suspended_it_keeps_its_object_and_comes_back_at_the_same_address(
    make: Callable[..., KServeDriver], kserve: Plane, options: dict[str, str]
) -> None:
    driver, wanted = make(**options), asked()
    (before,) = settle(driver, wanted, all_ready(1))
    made = kserve.api.get(path_of(driver, wanted))["metadata"]["uid"]
    wait_for(lambda: driver.suspend(wanted.endpoint_id), SECONDS, "nothing to run any more")
    live = kserve.api.get(path_of(driver, wanted))
    assert live["metadata"]["uid"] == made
    assert live["metadata"]["annotations"]["serving.kserve.io/stop"] == "true"
    assert driver.observe(wanted.endpoint_id).replicas == ()
    assert driver.list() == [wanted.endpoint_id]
    assert driver.suspend(wanted.endpoint_id), "asked once more it is still so"
    (after,) = settle(driver, wanted, all_ready(1))
    assert after.identity != before.identity
    assert after.url == before.url or not options
    assert kserve.api.get(path_of(driver, wanted))["metadata"]["uid"] == made


@BOTH
def test_started_anew_every_engine_is_another_one(make: Callable[..., KServeDriver], options: dict[str, str]) -> None:
    driver, wanted = make(**options), asked(replicas=2)
    before = {one.identity for one in settle(driver, wanted, all_ready(2))}
    driver.restart(wanted.endpoint_id)
    settle(driver, wanted, lambda seen: all_ready(2)(seen) and not before & {one.identity for one in seen})


def played(driver: KServeDriver, plane: Plane, wanted: Workload, mode: str) -> None:
    """Let the pods fare as `mode` says; KServe copies annotations into them, where nobody of the portal's writes."""
    notes = {"annotations": {MODE: mode or None}}
    large = driver._place.settings.get("serving_api") == "llm"
    plane.api.patch(path_of(driver, wanted), {"spec": notes} if large else {"metadata": notes})


@pytest.mark.parametrize(
    ("mode", "code", "options"),
    [
        ("image-pull", "image_not_found", {}),
        ("image-pull", "image_not_found", {"serving_api": "llm"}),
        ("oom", "out_of_memory", {}),
    ],
)
def test_the_cause_is_found_in_the_children(
    make: Callable[..., KServeDriver], kserve: Plane, options: dict[str, str], mode: str, code: str
) -> None:
    """KServe's own conditions say that something is not ready, and never why."""
    driver, wanted = make(**options), asked()
    driver.apply(replace(wanted, replicas=0))  # stopped: no pod fares well before it is told otherwise
    played(driver, kserve, wanted, mode)
    seen = settle(driver, wanted, lambda seen: code in {one.reason_code for one in seen})
    told = next(one for one in seen if one.reason_code == code)
    assert told.state == "failed"
    assert told.sentence


def test_a_new_start_is_not_judged_by_the_one_before(make: Callable[..., KServeDriver], kserve: Plane) -> None:
    """KServe tells how an engine failed to load until another one has loaded."""
    driver, wanted = make(), asked()
    driver.apply(replace(wanted, replicas=0))
    played(driver, kserve, wanted, "crash-loop")
    driver.apply(wanted)

    def crashed() -> list[Replica]:
        return [one for one in driver.observe(wanted.endpoint_id).replicas if one.reason_code == "crashed"]

    (failed,) = wait_for(crashed, SECONDS, "the engine to crash")
    status = ("status", "modelStatus", "transitionStatus")
    kserve.wait(lambda: at(kserve.api.get(path_of(driver, wanted)), *status) == "BlockedByFailedLoad", "KServe's word")
    played(driver, kserve, wanted, "slow-start")
    told = []

    def ready() -> bool:
        (now,) = driver.observe(wanted.endpoint_id).replicas[-1:]
        if now.identity != failed.identity and now.reason_code != "crashed":
            told.append((now.state, now.reason_code))
        return now.state == "ready"

    driver.apply(wanted)
    wait_for(ready, SECONDS, "the new start to be ready")
    assert "failed" not in {state for state, _ in told}, told


def test_what_carries_the_right_labels_is_taken_over(make: Callable[..., KServeDriver], kserve: Plane) -> None:
    """As after a restore of the portal, or when somebody made the object from the portal's own manifest."""
    driver, wanted = make(), asked()
    settle(driver, asked(), all_ready(1))  # the namespace is there now
    written = manifests.objects(driver._place, replace(wanted, concurrency=3), driver._keys(wanted.endpoint_id)[0])
    kserve.api.apply(next(one for one in written if one["kind"] == "InferenceService"), by="human")
    assert wanted.endpoint_id in driver.list()
    (alone,) = settle(driver, wanted, all_ready(1))
    live = kserve.api.get(path_of(driver, wanted))
    assert alone.authorization_digest == "sha256:abc"
    assert live["spec"]["predictor"]["containers"][0]["command"][-3] == str(wanted.concurrency)
    assert driver.observe(wanted.endpoint_id).drifted is False


def test_somebodys_change_is_seen_and_taken_back(make: Callable[..., KServeDriver], kserve: Plane) -> None:
    driver, wanted = make(), asked()
    settle(driver, wanted, all_ready(1))
    path = path_of(driver, wanted)
    assert driver.compare(wanted) == [], "what KServe fills in is no difference"
    kserve.api.patch(path, {"spec": {"predictor": {"maxReplicas": 5}}}, fieldManager="somebody")
    assert driver.observe(wanted.endpoint_id).drifted
    ((_, (one,)),) = driver.compare_all({wanted.endpoint_id: wanted})
    assert (one.field, one.wanted, one.found, one.manager) == ("spec.predictor.maxReplicas", "1", "5", "somebody")
    driver.apply(wanted)
    assert kserve.api.get(path)["spec"]["predictor"]["maxReplicas"] == 1


def test_revisions_with_weights_share_one_route(make: Callable[..., KServeDriver], kserve: Plane) -> None:
    driver, wanted = make(serving_api="llm"), asked()
    settle(driver, wanted, all_ready(1))
    following = replace(wanted, revision=2, authorization_digest="sha256:def")
    settle(driver, replace(following, weight=20, keep=(1,)), all_ready(2))
    driver.apply(replace(wanted, weight=80, keep=(2,)))
    name = owned.namespace(driver._place, wanted.project, wanted.environment_name)

    def shares() -> dict[str, int]:
        found: dict[str, int] = {}
        for route in kserve.api.items(f"/apis/gateway.networking.k8s.io/v1/namespaces/{name}/httproutes"):
            for rule in route["spec"]["rules"]:
                if len(rule.get("backendRefs", [])) > 1:
                    found |= {one["name"]: one["weight"] for one in rule["backendRefs"]}
        return found

    weights = wait_for(shares, SECONDS, "a route that leads to both")
    assert sorted(weights.values()) == [20, 80], weights
    (alone,) = settle(driver, following, all_ready(1))
    assert alone.revision == 2
    kserve.wait(lambda: not shares(), "the route to lead to one again")


@BOTH
def test_the_dashboard_recognises_it(make: Callable[..., KServeDriver], kserve: Plane, options: dict[str, str]) -> None:
    """What OpenShift AI shows: namespaces and objects with its label, under the names that people know."""
    driver, wanted = make(**options), asked()
    driver.apply(wanted)
    live = kserve.api.get(path_of(driver, wanted))
    space = kserve.api.get(f"/api/v1/namespaces/{live['metadata']['namespace']}")
    assert space["metadata"]["labels"]["opendatahub.io/dashboard"] == "true"
    assert live["metadata"]["labels"]["opendatahub.io/dashboard"] == "true"
    assert live["metadata"]["annotations"]["openshift.io/display-name"] == wanted.name
