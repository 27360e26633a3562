"""From recorded pods to replicas: what runs, what waits, what has failed, and whose turn it is."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from endpoints.clusters import Observation, Place
from endpoints.clusters.kubernetes import comparing, manifests, owned, state
from endpoints.clusters.kubernetes.state import Found
from tests.endpoints.kubernetes_kit import KEY, place, recorded, workload

NOW = dt.datetime(2026, 11, 20, 15, 50, tzinfo=dt.UTC)
WANTED = workload()
READY = {
    "phase": "Running", "podIP": "10.244.0.9", "conditions": [{"type": "Ready", "status": "True"}],
    "containerStatuses": [{"name": "engine", "ready": True, "restartCount": 0, "started": True,
                           "state": {"running": {"startedAt": "2026-11-20T15:49:10+00:00"}}}],
}  # fmt: skip


def deployment(status: Any = None, replicas: int = 1, where: Place | None = None) -> Any:
    found = manifests.objects(where or place(), replace(WANTED, replicas=max(replicas, 1)), KEY)
    (live,) = [one for one in found if one["kind"] == "Deployment"]
    live = comparing.stamped(live)
    spec = {**live["spec"], "replicas": replicas}
    return {**live, "spec": spec, "status": status or {}}


def pod(status: Any, name: str = "p-1", born: str = "2026-11-20T15:49:00Z", **meta: Any) -> Any:
    template = deployment()["spec"]["template"]
    statuses = [{**one, "name": "engine"} for one in status.get("containerStatuses", [])]
    metadata = {**template["metadata"], "name": name, "uid": f"uid-{name}", "creationTimestamp": born, **meta}
    return {"metadata": metadata, "spec": template["spec"], "status": {**status, "containerStatuses": statuses}}


def seen(*pods: Any, keys: tuple[str, ...] = (KEY,), **fields: Any) -> Observation:
    given: dict[str, Any] = {"deployments": [deployment()], "pods": pods}
    return state.observation(Found(**{**given, **fields}), keys, NOW)


def one(*pods: Any, **fields: Any) -> Any:
    (replica,) = seen(*pods, **fields).replicas
    return replica


def test_a_ready_pod_answers_at_its_own_address_and_knows_its_key() -> None:
    found = one(pod(READY))
    assert (found.state, found.url, found.key) == ("ready", "http://10.244.0.9:8000", KEY)
    assert (found.revision, found.authorization_digest, found.identity) == (1, "sha256:abc", "uid-p-1-0")
    assert found.started_at == dt.datetime(2026, 11, 20, 15, 49, 10, tzinfo=dt.UTC) and found.here
    assert one(pod({**READY, "podIP": "fd00::9"})).url == "http://[fd00::9]:8000"


def test_pods_are_counted_from_the_oldest() -> None:
    young, old = pod(READY, "a", "2026-11-20T15:49:30Z"), pod(READY, "b", "2026-11-20T15:49:00Z")
    found = seen(young, old, deployments=[deployment(replicas=2)]).replicas
    assert [(each.index, each.identity) for each in found] == [(0, "uid-b-0"), (1, "uid-a-0")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pod-crashloop-status", ("failed", "crashed", False)),  # the cluster has tried three times
        ("pod-oom-status", ("failed", "out_of_memory", True)),  # and here once
        ("pod-imagepull-status", ("starting", "image_pull_failed", False)),
        ("pod-unschedulable-status", ("starting", "no_nodes", False)),
    ],
)
def test_a_recorded_pod_is_told(name: str, expected: tuple[str, str, bool]) -> None:
    found = one(pod(recorded(name)))
    assert (found.state, found.reason_code, found.restarts_itself) == expected
    assert found.sentence and found.turn in {"platform", "you", "nobody"}
    assert found.occupies is (found.state == "failed") and found.here


def test_what_the_cluster_has_tried_in_vain_is_left_to_the_portal() -> None:
    oom = recorded("pod-oom-status")
    late = {"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}
    assert one(pod(oom)).restarts_itself is True
    assert one(pod(oom), deployments=[deployment(late)]).restarts_itself is False


def test_a_replica_without_a_pod_is_awaited_with_its_reason() -> None:
    found = one(deployments=[deployment()])
    assert (found.state, found.reason_code, found.index) == ("starting", "starting", 0)
    quota = deployment(recorded("deployment-quota-exceeded-status"), replicas=2)
    first, second = seen(pod(READY), deployments=[quota]).replicas
    assert (first.state, second.state, second.reason_code) == ("ready", "starting", "gpu_quota_exceeded")
    refused = one(deployments=[deployment(recorded("deployment-podsecurity-status"))])
    assert (refused.state, refused.reason_code, refused.restarts_itself) == ("failed", "pod_security", False)
    assert refused.here, "what would start by itself later has to be removed"


def test_a_pod_that_ends_is_stopping_and_one_on_a_lost_node_is_gone() -> None:
    ending = pod(READY, deletionTimestamp="2026-11-20T15:49:59Z")
    assert one(ending, deployments=[]).state == "stopping"
    assert seen(pod(READY, deletionTimestamp="2026-11-20T15:47:00Z"), deployments=[]).replicas == ()


def test_a_pod_that_was_evicted_does_not_count() -> None:
    evicted = pod({"phase": "Failed", "reason": "Evicted"})
    assert [each.state for each in seen(evicted, pod(READY, "p-2")).replicas] == ["ready"]
    assert one(evicted).state in {"starting", "failed"}


def test_an_engine_with_a_key_that_nobody_knows_starts_again() -> None:
    assert one(pod(READY), keys=("newer", KEY)).key == KEY
    lost = one(pod(READY), keys=("newer",))
    assert (lost.state, lost.reason_code, lost.url, lost.restarts_itself) == ("failed", "key_lost", "", False)


def test_an_autoscaler_says_how_many_there_are_to_be() -> None:
    scaling = place(settings={"autoscaler": "hpa"})
    (live,) = [
        each for each in manifests.objects(scaling, replace(WANTED, replicas=3), KEY) if each["kind"] == "Deployment"
    ]
    live = comparing.stamped(live)
    live["spec"]["replicas"] = 2
    found = seen(pod(READY), pod(READY, "p-2"), deployments=[live])
    assert dict(found.scaled) == {1: 2} and found.ready_count == 2 and not found.drifted
    assert dict(seen(pod(READY)).scaled) == {}


def test_what_somebody_changed_is_drift() -> None:
    assert seen(pod(READY)).drifted is False
    assert seen(pod(READY), deployments=[deployment(replicas=0)]).drifted is True
    assert owned.APPLIED in deployment()["metadata"]["annotations"]


def test_an_engine_whose_key_was_taken_away_waits_for_us() -> None:
    def waits(message: str, **meta: Any) -> bool:
        waiting = {"reason": "CreateContainerConfigError", "message": message}
        return seen(pod({"containerStatuses": [{"name": "x", "state": {"waiting": waiting}}]}, **meta)).drifted

    name = owned.key_name(WANTED.endpoint_id)
    assert waits(f'secret "{name}" not found') and waits(f"couldn't find key key in Secret one/{name}")
    assert not waits('secret "hf-token" not found')
    assert not waits(f'secret "{name}" not found', deletionTimestamp="2026-11-20T15:49:59Z")
