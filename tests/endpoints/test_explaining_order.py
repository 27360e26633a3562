"""Which of several truths is told, what belongs to another life, and how far a replica has come."""

from datetime import UTC, datetime, timedelta

from endpoints.clusters.explaining import Seen, Stage, explain, explain_error, steps
from endpoints.clusters.explaining.progress import CREATED, FETCHED, HEALTHY, LOADED, PULLED, SCHEDULED
from tests.endpoints.explaining_kit import (
    NOW,
    Json,
    deployment,
    event,
    over,
    placed,
    pod,
    recorded,
    running,
    service,
    unschedulable,
    waiting,
)

LATE = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def code(seen: Seen) -> str:
    found = explain(seen, NOW)
    return found.code if found is not None else ""


def failing(message: str) -> Json:
    return {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}


def test_the_cause_wins_over_the_deadline() -> None:
    """A full cluster waits; only where nothing else is known has the deadline the word."""
    quota = recorded("deployment-progressdeadline-status")
    assert code(Seen(deployment=deployment(quota))) == "gpu_quota_exceeded"
    late = deployment({"conditions": [LATE]})
    full = unschedulable("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.").pods
    assert code(Seen(deployment=late, pods=full)) == "no_free_gpu"
    assert code(Seen(deployment=late, pods=[placed(running("2026-11-20T15:48:00Z"))])) == "slow_start"
    assert code(Seen(deployment=late, pods=[placed(over(1))])) == "crashed"
    assert code(Seen(deployment=late, pods=[placed(waiting("ContainerCreating"))])) == "progress_deadline"


def test_the_pods_tell_more_than_kserve() -> None:
    crashed = recorded("kserve-real-isvc-crashloop")
    told = "ValueError: Model architectures ['Foo'] are not supported"
    assert code(Seen(inference_service=crashed, pods=[placed(over(1, told))])) == "model_unsupported"
    pulling = Seen(
        inference_service=recorded("kserve-real-isvc-imagepull"), pods=[pod(recorded("pod-imagepull-status"))]
    )
    assert code(pulling) == "image_pull_failed"


def test_kserve_hides_the_quota_of_a_large_model() -> None:
    """LLMInferenceService says only that its workload is not ready; the Deployment that it made knows why."""
    service_only = Seen(llm_inference_service=recorded("kserve-real-llmisvc-quota"))
    assert code(service_only) == "workload_not_ready"
    child = deployment(recorded("deployment-quota-exceeded-status"))
    assert (
        code(Seen(llm_inference_service=service_only.llm_inference_service, deployment=child)) == "gpu_quota_exceeded"
    )


def test_one_broken_replica_beside_one_that_loads_is_told() -> None:
    assert code(Seen(pods=[placed(running()), placed(over(1, "CUDA out of memory"))])) == "gpu_out_of_memory"
    assert (
        code(Seen(deployment=deployment({"conditions": [failing("x")]}), pods=[placed(running())]))
        == "creation_refused"
    )


def test_how_the_last_start_failed_is_not_told_of_the_next() -> None:
    """KServe keeps lastFailureInfo until a model has loaded."""
    failure = {"reason": "ModelLoadFailed", "message": "RuntimeError: boom"}
    for now, told in (("BlockedByFailedLoad", True), ("InProgress", False)):
        found = explain(
            Seen(inference_service=service({}, modelStatus={"lastFailureInfo": failure, "transitionStatus": now})), NOW
        )
        assert bool(found and found.code == "model_load_failed") is told


def test_what_was_does_not_hide_what_is() -> None:
    """An evicted pod stays as a tombstone while its successor already loads."""
    evicted = pod({"phase": "Failed", "reason": "Evicted"}, meta={"name": "old"})
    assert code(Seen(deployment=deployment(), pods=[evicted, placed(running())])) == "loading"
    assert code(Seen(pods=[pod(READY)], events=[event("FailedMount", "it was late")])) == ""
    other = event("FailedMount", "of another pod", name="other")
    assert code(Seen(pods=[placed(waiting("ContainerCreating"))], events=[other])) == "starting"


def test_an_old_replica_set_does_not_speak() -> None:
    old = {"metadata": {"name": "old"}, "spec": {"replicas": 0}, "status": {"conditions": [failing("old trouble")]}}
    assert code(Seen(deployment=deployment(), replica_sets=[old])) == "starting"


def test_an_engine_that_starts_again_can_go_on() -> None:
    again = running(lastState={"terminated": {"exitCode": 1, "message": "boom error"}}, restartCount=1)
    found = explain(Seen(pods=[placed(again)]), NOW)
    assert found is not None
    assert (found.code, found.failed, "again once" in found.sentence) == ("crashed", False, True)
    waits = explain(Seen(pods=[placed(over(1, "boom error"))]), NOW)
    assert waits is not None
    assert waits.failed
    assert waits.tried == "The cluster has started it again 3 times and goes on trying."


def test_the_first_health_check_takes_a_moment() -> None:
    assert code(Seen(pods=[placed(running("2026-11-20T15:59:50Z", started=True))])) == "loading"
    assert code(Seen(pods=[placed(running("2026-11-20T15:59:00Z", started=True))])) == "not_ready"
    failed = event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")
    found = explain(Seen(pods=[placed(running("2026-11-20T15:59:50Z", started=True))], events=[failed]), NOW)
    assert found is not None
    assert (found.code, "statuscode: 503" in found.sentence) == ("not_ready", True)


def test_stopped_wins_over_what_it_left_behind() -> None:
    stopped = service({"PredictorReady": ("False", "X", "y")})
    stopped["metadata"]["annotations"] = {"serving.kserve.io/stop": "true"}
    assert code(Seen(inference_service=stopped, pods=[placed(over(1))])) == "stopped"


def test_a_generation_that_nobody_looked_at_is_not_healthy() -> None:
    status = recorded("deployment-available-status")
    behind = deployment(status)
    behind["metadata"]["generation"] = 2
    assert code(Seen(deployment=behind)) == "starting"


def test_secrets_stay_out_of_sentences() -> None:
    words = (
        "error: cannot use hf_abcdefghijklmnop or Bearer abcdefgh12345678 at https://me:pass1@host/x?token=topsecret"
    )
    found = explain(Seen(pods=[placed(over(1, words))]), NOW)
    assert found is not None
    for secret in ("hf_abc", "abcdefgh12345678", "pass1", "topsecret"):
        assert secret not in found.sentence
    assert "host/x" in found.sentence
    assert "topsecret" not in explain_error(503, {"message": "x?token=topsecret"}).sentence


def test_the_steps_of_a_replica_with_their_times() -> None:
    def at(minute: int, second: int = 0) -> datetime:
        return datetime(2026, 11, 20, 15, minute, second, tzinfo=UTC)

    ready = running("2026-11-20T15:55:00Z", started=True) | {"ready": True}
    init = {"terminated": {"exitCode": 0, "startedAt": "2026-11-20T15:50:00Z", "finishedAt": "2026-11-20T15:54:00Z"}}
    whole = placed(ready, initContainerStatuses=[{"name": "storage-initializer", "state": init}])
    whole["status"]["conditions"][1] = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-20T15:58:00Z"}
    pulled = event("Pulled", "pulled", at="2026-11-20T15:54:30Z")
    assert steps(Seen(deployment=deployment(), pods=[whole], events=[pulled])) == [
        Stage(CREATED, at(48), at(49)),
        Stage(SCHEDULED, at(49), at(49, 10)),
        Stage(FETCHED, at(50), at(54)),
        Stage(PULLED, at(54), at(54, 30)),
        Stage(LOADED, at(55), at(58)),
        Stage(HEALTHY, at(58), at(58)),
    ]


def test_steps_that_have_not_begun_have_no_times() -> None:
    begun = steps(Seen(deployment=deployment()))
    assert [one.name for one in begun] == [CREATED, SCHEDULED, PULLED, LOADED, HEALTHY]
    assert begun[0] == Stage(CREATED, NOW - timedelta(minutes=12), None)
    assert {(one.started, one.ended) for one in begun[1:]} == {(None, None)}
    loading = steps(Seen(deployment=deployment(), pods=[placed(running())]))
    assert loading[3] == Stage(LOADED, datetime(2026, 11, 20, 15, 58, 20, tzinfo=UTC), None)
    assert loading[4] == Stage(HEALTHY)
