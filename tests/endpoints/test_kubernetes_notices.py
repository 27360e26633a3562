"""What a cluster wrote down itself: of the endpoint's objects alone, each thing once, the newest first."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from endpoints.clusters import ClusterError, Workload
from endpoints.clusters.kubernetes import manifests, notices, owned, pods
from endpoints.clusters.kubernetes.driver import KubernetesDriver
from tests.endpoints.explaining_kit import event
from tests.endpoints.kubernetes_kit import ApiServer, Said, place, recorded, workload

STEM = "ep-0123456789abc"
BORN = "2026-11-20T15:40:00Z"
POD = f"{STEM}-r1-7d9c-abcde"


def said(reason: str, message: str, name: str = POD, at: str = "2026-11-20T15:59:00Z", **more: Any) -> dict[str, Any]:
    return event(reason, message, name=name, at=at) | more


def test_only_the_endpoints_own_objects_speak() -> None:
    others = [said("Pulled", "x", name=name) for name in ("", "ep-0123456789abcd-r1", "vllm", f"x-{STEM}")]
    found = notices.of([*others, said("Pulled", "It is there.", name=STEM), {}, {"involvedObject": 7}], STEM)
    assert [one.about for one in found] == [f"Pod {STEM}"]


def test_the_newest_stands_first_and_repetitions_are_one() -> None:
    words = 'pods "{}" is forbidden: exceeded quota: gpu, requested: requests.nvidia.com/gpu=2'
    again = [
        said("FailedCreate", words.format(f"{STEM}-r1-7d9c-{end}"), f"{STEM}-r1-7d9c", f"2026-11-20T15:5{n}:00Z")
        for n, end in enumerate(("aaaaa", "bbbbb", "ccccc"))
    ]
    [first, second] = notices.of([*again, said("Scheduled", "Assigned.", type="Normal")], STEM)
    assert (first.reason, first.warning, first.count) == ("Scheduled", False, 1)
    assert (second.reason, second.warning, second.count) == ("FailedCreate", True, 3)
    assert second.at is not None and second.at.minute == 52 and "ccccc" in second.sentence


def test_both_ways_to_count_and_to_tell_the_time_are_read() -> None:
    series = {"count": 4, "lastObservedTime": "2026-11-20T15:40:00.000000Z"}
    new = said("Unhealthy", "It does not answer.", series=series, lastTimestamp=None)
    [found] = notices.of([new], STEM)
    assert (found.count, found.at and found.at.minute) == (4, 40)
    [old] = notices.of(
        [
            said("BackOff", "Back-off 40s restarting.", count=9),
        ],
        STEM,
    )
    assert old.count == 9
    [none] = notices.of([said("Odd", "", lastTimestamp="yesterday")], STEM)
    assert none.at is None and none.sentence == "The cluster gives no reason."


def test_recorded_events_of_a_real_cluster_are_told() -> None:
    [found] = notices.of(recorded("event-failedscheduling-gpu"), "big-574cd6777c")
    assert (found.reason, found.warning) == ("FailedScheduling", True)
    assert "Insufficient nvidia.com/gpu" in found.sentence and found.at is not None


def test_what_an_event_quotes_is_cut_and_holds_no_secret() -> None:
    [found] = notices.of([said("Failed", "token=hunter2hunter2 " + "x" * 4000 + "\x1b[31m\x00")], STEM)
    assert "hunter2" not in found.sentence and len(found.sentence) <= 400
    many = [said("Failed", f"of {'ab'[n % 2] * (n + 1)}") for n in range(200)]
    assert len(notices.of(many, STEM)) == 60


# --- What is read for it
# -----------------------------------------------------------------------------------------------------------------


def pod_of(wanted: Workload, place_: int, restarts: int) -> dict[str, Any]:
    statuses = [{"name": "engine", "restartCount": restarts, "state": {"running": {"startedAt": BORN}}}]
    meta = {
        "name": f"{owned.name(wanted)}-{place_}", "namespace": "ns", "labels": owned.labels(place(), wanted),
        "creationTimestamp": f"2026-11-20T15:4{place_}:00Z",
    }  # fmt: skip
    return {"metadata": meta, "status": {"phase": "Running", "containerStatuses": statuses}}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[tuple[KubernetesDriver, Workload, ApiServer]]:
    """Two pods of an endpoint on a server, of which the first was started again; logs say what was asked for."""
    wanted = workload(replicas=2)
    pods = [pod_of(wanted, 0, 1), pod_of(wanted, 1, 0)]

    def answer(method: str, path: str) -> Said:
        if "/log?" in path:
            return Said(200, path.partition("/pods/")[2].encode())
        if "/events" in path:
            return Said(200, {"items": [said("Pulled", "It is there.", name=owned.name(wanted)), said("No", "of it")]})
        return Said(200, {"items": pods if path.startswith("/api/v1/pods?") else []})

    with ApiServer(tmp_path, answer) as server:
        yield KubernetesDriver(server.place()), wanted, server


def test_logs_are_those_of_one_replica_and_of_the_run_before(
    scene: tuple[KubernetesDriver, Workload, ApiServer],
) -> None:
    driver, wanted, _ = scene
    first, second = driver.logs(wanted.endpoint_id, 50).splitlines()
    assert first.startswith("replica 0 | ") and second.startswith("replica 1 | ") and "previous" not in first + second
    assert "tailLines=50" in first
    [only] = driver.logs(wanted.endpoint_id, replica=1).splitlines()
    assert f"{owned.name(wanted)}-1/log" in only
    [before] = driver.logs(wanted.endpoint_id, previous=True).splitlines()
    assert "previous=true" in before and f"{owned.name(wanted)}-0/log" in before, "the second one had no earlier run"
    assert driver.logs(wanted.endpoint_id, replica=7) == ""


def test_events_are_asked_for_where_the_endpoint_is(scene: tuple[KubernetesDriver, Workload, ApiServer]) -> None:
    driver, wanted, server = scene
    assert [one.sentence for one in driver.notices(wanted.endpoint_id)] == ["It is there."]
    assert [path for _, path, _, _ in server.asked if "/events" in path] == ["/api/v1/namespaces/ns/events?limit=500"]
    driver.notices(wanted.endpoint_id)
    assert sum("/events" in path for _, path, _, _ in server.asked) == 1, "several readers ask once"


def test_an_autoscaler_that_is_blind_is_told_of_what_answers_calls(tmp_path: Path) -> None:
    wanted = workload(replicas=2)
    where = {"labels": owned.labels(place(), wanted), "annotations": {manifests.AUTOSCALED: "true"}}
    made = {"metadata": {"name": "d", "namespace": "ns", **where}, "spec": {"replicas": 1}}
    ready = {**pod_of(wanted, 0, 0)}
    ready["status"] = {**ready["status"], "conditions": [{"type": "Ready", "status": "True"}], "podIP": "10.0.0.1"}
    blind = {"type": "ScalingActive", "status": "False", "reason": "FailedGetPodsMetric", "message": "no metrics API"}

    def answer(method: str, path: str) -> Said:
        kinds = {
            "/deployments": [made],
            "/pods": [ready],
            "/horizontalpodautoscalers": [{"status": {"conditions": [blind]}}],
        }
        return Said(200, {"items": next((items for name, items in kinds.items() if f"{name}?" in path), [])})

    with ApiServer(tmp_path, answer) as server:
        driver = KubernetesDriver(server.place())
        key = driver._keys(wanted.endpoint_id)[0]
        ready["metadata"]["annotations"] = {pods.KEY: manifests.fingerprint(key)}
        for _ in range(3):
            [found] = driver.observe(wanted.endpoint_id).replicas
        assert (found.state, found.reason_code) == ("ready", "autoscaler_blind") and "no metrics API" in found.sentence
        assert sum("horizontalpodautoscalers" in path for _, path, _, _ in server.asked) == 1, "and not at each look"


def test_what_the_cluster_refuses_is_said(tmp_path: Path) -> None:
    body = recorded("err-rbac-forbidden-create-ns")["body"]
    with ApiServer(tmp_path, lambda method, path: Said(403, body)) as server:
        for read in (KubernetesDriver(server.place()).notices, KubernetesDriver(server.place()).logs):
            with pytest.raises(ClusterError) as error:
                read(workload().endpoint_id)
            assert error.value.code == "permission_missing" and error.value.next in error.value.sentence
