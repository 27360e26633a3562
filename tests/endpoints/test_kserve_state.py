"""The replicas of an endpoint behind KServe, from objects that its real controllers wrote."""

from typing import Any

import pytest

from endpoints.clusters import Replica
from endpoints.clusters.kserve import manifests, state
from endpoints.clusters.kubernetes import comparing, owned
from endpoints.clusters.kubernetes.manifests import fingerprint
from endpoints.clusters.kubernetes.pods import KEY as KEY_ANNOTATION
from endpoints.clusters.kubernetes.state import Found
from tests.endpoints.explaining_kit import NOW, deployment
from tests.endpoints.kubernetes_kit import KEY, place, recorded, workload

WANTED = workload()
LABELS = {owned.ENDPOINT: WANTED.endpoint_id, owned.REVISION: "1"}


def isvc(name: str, **settings: str) -> dict[str, Any]:
    """Return what the portal writes with the status that KServe gave to another."""
    written = manifests.objects(place(settings=settings), WANTED, KEY)
    own = next(one for one in written if "serving.kserve.io" in one["apiVersion"])
    return {**comparing.stamped(own), "status": recorded(name)["status"]}


def child(status: Any = None) -> dict[str, Any]:
    found = deployment(status)
    found["metadata"]["labels"] = LABELS
    return found


def pod(container: str, *, ready: bool) -> dict[str, Any]:
    """Return a pod of the endpoint whose engine runs."""
    meta = {"name": "p", "uid": "u", "labels": LABELS, "annotations": {KEY_ANNOTATION: fingerprint(KEY)}}
    status = {
        "phase": "Running", "podIP": "10.0.0.9",
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": str(ready)}],
        "containerStatuses": [
            {
                "name": container, "ready": ready, "started": ready, "restartCount": 0,
                "state": {"running": {"startedAt": "2026-11-20T15:59:00Z"}},
            }
        ],
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {}, "status": status}


def seen(found: Found, service: Any) -> tuple[Replica, ...]:
    return state.observation(found, [service], [KEY], NOW).replicas


def test_a_ready_engine_is_called_at_its_pod() -> None:
    ready = recorded("deployment-available-status")
    found = Found(deployments=[child(ready)], pods=[pod("kserve-container", ready=True)])
    (one,) = seen(found, isvc("kserve-real-isvc-ready"))
    assert (one.state, one.url, one.key, one.revision) == ("ready", "http://10.0.0.9:8000", KEY, 1)
    assert one.started_at is not None
    assert not state.observation(found, [isvc("kserve-real-isvc-ready")], [KEY], NOW).drifted
    assert state.healthy(found, [isvc("kserve-real-isvc-ready")])
    assert not state.healthy(found, [isvc("kserve-real-isvc-crashloop")])


def test_a_ready_large_model_is_called_through_its_router() -> None:
    found = Found(deployments=[child()], pods=[pod("main", ready=True)])
    (one,) = seen(found, isvc("kserve-real-llmisvc-ready", serving_api="llm"))
    assert (one.state, one.url) == ("ready", "http://127.0.0.1/tenant-k/llama")
    (waits,) = seen(found, isvc("kserve-real-llmisvc-quota", serving_api="llm"))
    assert (waits.state, waits.url, waits.reason_code) == ("loading", "", "address_not_ready")


def test_an_object_that_kserve_makes_nothing_of_says_why() -> None:
    (one,) = seen(Found(), isvc("kserve-real-isvc-noruntime"))
    assert (one.state, one.reason_code, one.revision, one.occupies) == ("failed", "no_serving_runtime", 1, True)
    assert "nowhere" not in one.sentence


def test_a_new_start_is_not_judged_by_what_kserve_says_of_the_one_before() -> None:
    found = Found(deployments=[child({"replicas": 1})], pods=[pod("kserve-container", ready=False)])
    (one,) = seen(found, isvc("kserve-real-isvc-crashloop"))
    assert one.state in ("starting", "loading")
    assert one.reason_code != "model_load_failed"


@pytest.mark.parametrize(("service", "code", "words"), [
    ("kserve-real-isvc-crashloop", "model_load_failed", "(exit code 1)"),
    ("kserve-real-isvc-initfail", "weights_unavailable", "No model found in s3://bucket/x"),
])  # fmt: skip
@pytest.mark.parametrize("children", [[], [child({"replicas": 1})]], ids=["nothing", "no-pod"])
def test_without_a_pod_kserves_word_on_the_last_engine_is_the_cause(
    service: str, code: str, words: str, children: list[Any]
) -> None:
    """Not that its Deployment has no pods, which everybody sees; and the next engine has not failed by it."""
    (one,) = seen(Found(deployments=children), isvc(service))
    assert (one.state, one.reason_code, one.occupies) == ("starting", code, False)
    assert words in one.sentence and one.sentence.startswith("No engine runs now.") and one.next in one.sentence


@pytest.mark.parametrize("service", ["kserve-real-isvc-quota", "kserve-real-isvc-imagepull"])
def test_the_child_tells_the_quota_and_no_pod_is_needed(service: str) -> None:
    (one,) = seen(Found(deployments=[child(recorded("deployment-quota-exceeded-status"))]), isvc(service))
    assert (one.state, one.reason_code, one.turn) == ("starting", "gpu_quota_exceeded", "you")


def test_a_large_model_hides_the_quota_and_its_deployment_does_not() -> None:
    service = isvc("kserve-real-llmisvc-quota", serving_api="llm")
    bare = deployment(recorded("deployment-quota-exceeded-status"))
    (one,) = seen(Found(deployments=[state.adopted(bare, service)]), service)
    assert (one.reason_code, one.revision) == ("gpu_quota_exceeded", 1)


def test_somebodys_change_of_the_object_is_drift() -> None:
    changed = isvc("kserve-real-isvc-ready")
    changed["spec"] = {"predictor": {**changed["spec"]["predictor"], "minReplicas": 9}}
    assert state.observation(Found(), [changed], [KEY], NOW).drifted
    assert state.wanted(changed) == 9
    assert state.wanted({"spec": {"replicas": 2}}) == 2
    assert state.wanted({}) == 1


@pytest.mark.parametrize(("settings", "weight", "told"), [
    ({"serving_api": "llm"}, 10, {1: 10}), ({"serving_api": "llm"}, None, {1: None}), ({}, 10, {}),
])  # fmt: skip
def test_the_share_of_the_calls_is_told_where_kserve_could_give_one(
    settings: dict[str, str], weight: int | None, told: dict[int, int | None]
) -> None:
    written = manifests.objects(place(settings=settings), workload(weight=weight), KEY)
    own = next(one for one in written if "serving.kserve.io" in one["apiVersion"])
    assert state.observation(Found(), [comparing.stamped(own)], [KEY], NOW).weights == told


def test_what_was_stopped_is_not_awaited() -> None:
    stopped = manifests.stopped(isvc("kserve-real-isvc-ready"))
    assert seen(Found(), stopped) == () and state.healthy(Found(), [stopped])
    assert len(seen(Found(), isvc("kserve-real-isvc-ready"))) == 1
