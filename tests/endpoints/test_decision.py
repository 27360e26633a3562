"""The table of what follows from what."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from endpoints.clusters import ClusterError, Observation
from endpoints.decision import Action, Facts, Reason, Seat, Step, decide, gone
from endpoints.facts import Next
from endpoints.models import Desired, Phase
from tests.endpoints.endpoint_kit import replica

NOW = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)
CRASH = {"reason_code": "crashed", "sentence": "The engine ended with exit code 3.", "turn": "platform"}


def facts(*replicas: Any, **changed: Any) -> Facts:
    values: dict[str, Any] = {
        "desired": Desired.RUNNING,
        "phase": Phase.PROVISIONING,
        "reason": Reason("x", "X."),
        "phase_since": NOW,
    } | changed
    return Facts(now=NOW, observation=Observation(replicas), **values)


def crashed(index: int = 0, **values: Any) -> Any:
    return replica("failed", index, **(CRASH | values))


BLOCKED = Reason("version_blocked", "Blocked.", "platform")
RESTART = Reason("restarting", "Soon.")
PAST, SOON = NOW - dt.timedelta(seconds=1), NOW + dt.timedelta(seconds=3)
NONE, APPLY, SUSPEND, REMOVE = Action
PENDING, PROVISIONING, READY, DEGRADED, FAILED, STOPPED, DELETING, _ = Phase
SUSPENDED, DELETED = Desired.SUSPENDED, Desired.DELETED
TABLE: list[tuple[str, Facts, tuple[Any, ...]]] = [
    # what it shows, facts, (action, phase, code, turn, attempts)
    ("first start", facts(phase=PENDING), (APPLY, PROVISIONING, "scheduled", "portal", 1)),
    ("process is there", facts(replica("starting")), (NONE, PROVISIONING, "starting", "portal", 0)),
    ("model loads", facts(replica("loading")), (NONE, PROVISIONING, "loading", "portal", 0)),
    ("ready", facts(replica(), attempts=2), (NONE, READY, "ready", "nobody", 2)),
    ("ready of failed", facts(replica(), phase=FAILED), (REMOVE, FAILED, "x", "portal", 0)),
    ("one of two", facts(replica(), replica("loading", 1), replicas=2), (NONE, DEGRADED, "loading", "portal", 0)),
    ("one of two missing", facts(replica(), replicas=2), (APPLY, DEGRADED, "scheduled", "portal", 1)),
    ("one too many, finishing", facts(replica(), replica("ready", 1)), (NONE, READY, "ready", "nobody", 0)),
    ("one too many, drained", facts(replica(), replica("ready", 1), drain_until=PAST),
     (APPLY, READY, "ready", "nobody", 0)),
    ("old revision", facts(replica(revision=1), revision=2), (APPLY, PROVISIONING, "replacing", "portal", 0)),
    ("old one ends", facts(replica("stopping")), (NONE, PROVISIONING, "stopping", "portal", 0)),
    ("was stopped", facts(replica("absent", reason_code="stopped"), attempts=1),
     (APPLY, PROVISIONING, "scheduled", "portal", 1)),
    ("crash after long", facts(crashed(), phase=READY), (APPLY, PROVISIONING, "scheduled", "portal", 1)),
    ("crash at start", facts(crashed(), attempts=1), (NONE, PROVISIONING, "restarting", "portal", 1)),
    ("backoff lasts", facts(crashed(), attempts=1, reason=RESTART, due_at=SOON),
     (NONE, PROVISIONING, "restarting", "portal", 1)),
    ("backoff is over", facts(crashed(), attempts=1, reason=RESTART, due_at=PAST),
     (APPLY, PROVISIONING, "scheduled", "portal", 2)),
    ("fifth crash", facts(crashed(), attempts=5), (NONE, FAILED, "crashed", "platform", 5)),
    ("second memory", facts(crashed(reason_code="out_of_memory", turn="you"), attempts=2),
     (NONE, FAILED, "out_of_memory", "owner", 2)),
    ("hang gives up", facts(crashed(reason_code="start_timeout", pid=7), attempts=2),
     (REMOVE, FAILED, "start_timeout", "platform", 2)),
    ("crash beside ready", facts(replica(), crashed(1), replicas=2, attempts=9),
     (NONE, DEGRADED, "restarting", "portal", 9)),
    ("cluster restarts", facts(crashed(restarts_itself=True)), (NONE, PROVISIONING, "crashed", "platform", 0)),
    ("cluster gives up", facts(crashed(occupies=True), attempts=5), (REMOVE, FAILED, "crashed", "platform", 5)),
    ("cluster waits for room", facts(replica("starting", reason_code="no_free_gpu", sentence="It waits for a GPU.")),
     (NONE, PROVISIONING, "no_free_gpu", "portal", 0)),
    ("owner's quota is used up", facts(replica("starting", reason_code="quota", sentence="It is full.", turn="you")),
     (NONE, PROVISIONING, "quota", "owner", 0)),
    ("one ends by itself", facts(replica(), replica("stopping", 1, ends_itself=True)),
     (NONE, READY, "ready", "nobody", 0)),
    ("old one ends by itself", facts(replica(), replica("stopping", 1, revision=9, ends_itself=True)),
     (NONE, READY, "ready", "nobody", 0)),
    ("no room", facts(phase=PENDING, seat=Seat("waiting", 2, 3, "gpu")),
     (NONE, PENDING, "waiting_for_capacity", "nobody", 0)),
    ("room", facts(phase=PENDING, seat=Seat("held", 2)), (APPLY, PROVISIONING, "scheduled", "portal", 1)),
    ("no reservation", facts(phase=PENDING, seat=Seat("", 2)), (NONE, FAILED, "no_reservation", "platform", 0)),
    ("blocked, not there", facts(phase=PENDING, refusal=BLOCKED), (NONE, FAILED, "version_blocked", "platform", 0)),
    ("blocked, runs", facts(replica(), phase=READY, refusal=BLOCKED), (NONE, READY, "ready", "nobody", 0)),
    ("blocked, crashed", facts(crashed(), phase=READY, refusal=BLOCKED),
     (NONE, FAILED, "version_blocked", "platform", 0)),
    ("blocked, one left", facts(replica(), crashed(1), replicas=2, refusal=BLOCKED),
     (NONE, DEGRADED, "version_blocked", "platform", 0)),
    ("engine missing", facts(error=ClusterError("engine_missing", "No.", "platform", retry=False)),
     (NONE, FAILED, "engine_missing", "platform", 0)),
    ("disk full", facts(phase=PENDING, error=ClusterError("disk_full", "Full.")),
     (NONE, PENDING, "disk_full", "platform", 0)),
    ("cluster away", facts(phase=READY, error=ClusterError("away", "Away.", retry=False)),
     (NONE, READY, "away", "platform", 0)),
    ("paused, to start", facts(phase=PENDING, paused=True), (NONE, PENDING, "cluster_paused", "platform", 0)),
    ("paused, runs", facts(replica(), phase=READY, paused=True), (NONE, READY, "ready", "nobody", 0)),
    ("paused, died", facts(crashed(), phase=READY, paused=True), (NONE, PROVISIONING, "cluster_paused", "platform", 0)),
    ("suspend", facts(replica(), desired=SUSPENDED, phase=READY), (SUSPEND, READY, "suspending", "portal", 0)),
    ("suspended", facts(desired=SUSPENDED, phase=STOPPED), (NONE, STOPPED, "x", "portal", 0)),
    ("suspended, yet there", facts(replica(), desired=SUSPENDED, phase=STOPPED),
     (SUSPEND, STOPPED, "suspending", "portal", 0)),
    ("delete", facts(replica(), desired=DELETED, phase=READY), (REMOVE, DELETING, "deleting", "portal", 0)),
    ("delete a failed one", facts(desired=DELETED, phase=FAILED), (REMOVE, DELETING, "deleting", "portal", 0)),
    ("delete, paused", facts(replica(), desired=DELETED, phase=READY, paused=True),
     (NONE, DELETING, "cluster_paused", "platform", 0)),
]  # fmt: skip


@pytest.mark.parametrize(("case", "given", "expected"), TABLE, ids=[case for case, _, _ in TABLE])
def test_decide(case: str, given: Facts, expected: tuple[Any, ...]) -> None:
    step = decide(given)
    assert (step.action, step.phase, step.reason.code, step.reason.turn, step.attempts) == expected
    assert len(step.reason.sentence) < 400 and step.reason.sentence.endswith(".")


def test_ready_for_a_minute_begins_a_new_series() -> None:
    assert (
        decide(facts(replica(), phase=Phase.READY, attempts=3, phase_since=NOW - dt.timedelta(seconds=61))).attempts
        == 0
    )
    assert (
        decide(facts(replica(), phase=Phase.READY, attempts=3, phase_since=NOW - dt.timedelta(seconds=59))).attempts
        == 3
    )


def test_waits_grow_and_the_sentence_keeps_the_engines_words() -> None:
    steps = [decide(facts(crashed(), attempts=attempts)) for attempts in range(1, 5)]
    assert [step.look_again for step in steps] == [2.0, 5.0, 10.0, 30.0]
    assert "exit code 3. Start 2 of 5 follows after 2 s." in steps[0].reason.sentence


def test_who_waits_for_a_paused_cluster_reads_why() -> None:
    waits = decide(facts(phase=PENDING, paused=True, paused_why="Upgrade until noon"))
    assert waits.reason.sentence.endswith("there now. They say: Upgrade until noon.")
    assert "say" not in decide(facts(phase=PENDING, paused=True)).reason.sentence


def test_calls_go_to_the_ready_replicas_and_stay_when_the_cluster_cannot_be_asked() -> None:
    both = decide(facts(replica(), replica("ready", 1), replicas=2))
    assert [one.index for one in both.routes or ()] == [0, 1]
    assert decide(facts(replica("loading"))).routes == ()
    assert decide(facts(phase=Phase.READY, error=ClusterError("away", "Away."))).routes is None
    assert decide(facts(replica(), desired=Desired.SUSPENDED, phase=Phase.READY)).routes == ()


def test_what_somebody_changed_in_the_cluster_is_applied_again() -> None:
    assert decide(facts(replica(), phase=Phase.READY)).action == Action.NONE
    changed = replace(facts(replica(), phase=Phase.READY), observation=Observation((replica(),), drifted=True))
    step = decide(changed)
    assert (step.action, step.phase, step.routes) == (Action.APPLY, Phase.READY, (replica(),))
    assert decide(replace(changed, paused=True)).action == Action.NONE


@pytest.mark.parametrize(("seen", "values", "action"), [
    ([replica("starting")], {}, APPLY),
    ([crashed(reason_code="config_missing", restarts_itself=True)], {}, APPLY),
    ([replica(), replica("loading", 1)], {"replicas": 2}, APPLY),
    ([replica("starting")], {"refusal": BLOCKED}, NONE),
    ([replica("starting")], {"paused": True}, NONE),
    ([replica("starting")], {"due_at": SOON}, NONE),  # it was written just now
    ([replica("starting")], {"due_at": PAST}, APPLY),
    ([replica("starting")], {"due_at": NOW + dt.timedelta(seconds=9)}, APPLY),
    ([replica()], {"due_at": SOON, "phase": READY}, NONE),
    ([replica(), replica("starting", 1, revision=9)], {"next": Next(9, attempts=1)}, APPLY),
])  # fmt: skip
def test_it_is_applied_again_before_it_is_ready_as_the_same_start(seen: Any, values: Any, action: Action) -> None:
    step = decide(replace(facts(attempts=1, **values), observation=Observation(tuple(seen), drifted=True)))
    assert (step.action, step.attempts, step.next_attempts) == (action, 1, 1 if "next" in values else 0)


def test_what_is_changed_each_time_is_not_applied_each_time() -> None:
    changed = replace(facts(replica("starting")), observation=Observation((replica("starting"),), drifted=True))
    waits = dt.timedelta(seconds=decide(changed).look_again or 0)
    step = decide(replace(changed, due_at=NOW + waits))
    assert (step.action, step.look_again) == (Action.NONE, waits.total_seconds()) and waits.total_seconds() >= 5


def test_an_autoscaler_chooses_within_what_was_approved() -> None:
    def scaled(wanted: int, *replicas: Any) -> Facts:
        return replace(facts(replicas=3), observation=Observation(replicas, scaled={1: wanted}))

    assert decide(scaled(1, replica())).phase == Phase.READY
    assert decide(scaled(2, replica())).phase == Phase.DEGRADED
    assert decide(scaled(9, replica())).phase == Phase.DEGRADED and scaled(9).runnable == 3 and scaled(0).runnable == 1


def test_a_cluster_that_asks_for_patience_gets_it() -> None:
    busy = ClusterError("slow_down", "Slow down.", "nobody", wait_seconds=30)
    assert decide(facts(error=busy)).look_again == 30
    assert decide(facts(error=busy, desired=Desired.DELETED)).look_again == 30


@pytest.mark.parametrize(("desired", "phase"), [(Desired.SUSPENDED, Phase.SUSPENDED), (Desired.DELETED, Phase.DELETED)])
def test_nothing_left_settles_and_releases(desired: str, phase: str) -> None:
    step = gone(facts(desired=desired))
    assert (step.phase, step.release, step.look_again) == (phase, True, None)


def test_what_moves_is_looked_at_within_a_second() -> None:
    for step in (decide(facts(replica("loading"))), decide(facts()), decide(facts(desired=Desired.DELETED))):
        assert step.look_again is not None and step.look_again <= 1


def test_a_step_that_changes_nothing_is_idle() -> None:
    given = facts(replica(), phase=Phase.READY, reason=Reason("ready", "Answers calls on 1 of 1 replica.", "nobody"))
    assert not decide(given).changes(given)
    assert Step(Phase.READY, given.reason, Action.APPLY).changes(given)
