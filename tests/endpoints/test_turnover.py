"""The table of rollouts: what follows while one revision takes over from another."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from endpoints.clusters import ClusterError, Observation
from endpoints.decision import decide
from endpoints.facts import Action, Facts, Next, Reason, Seat, Turn
from endpoints.models import Desired, Phase
from tests.endpoints.endpoint_kit import replica

NOW = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)
PAST, SOON = NOW - dt.timedelta(seconds=1), NOW + dt.timedelta(seconds=9)
OLD, NEW = replica(index=0, pid=1), replica(index=1, revision=2, pid=2)
LOADING = replica("loading", index=1, revision=2, pid=2)
CRASHED = replica("failed", index=1, revision=2, reason_code="crashed", sentence="It crashed.", turn="platform")
BLOCKED = Reason("version_blocked", "Blocked.", "platform")
HELD = Seat("held", 2)


def facts(*replicas: Any, **changed: Any) -> Facts:
    values: dict[str, Any] = {
        "desired": Desired.RUNNING, "phase": Phase.READY, "reason": Reason("ready", "Ready."), "phase_since": NOW,
    } | changed  # fmt: skip
    return Facts(now=NOW, observation=Observation(replicas), **values)


def beside(*replicas: Any, **changed: Any) -> Facts:
    following = Next(2, attempts=changed.pop("tried", 0), refusal=changed.pop("refused", None),
                     seat=changed.pop("surge", None), per=changed.pop("next_per", 0))  # fmt: skip
    return facts(*replicas, next=following, **changed)


READY, DEGRADED, PROVISIONING, FAILED, PENDING = (
    Phase.READY, Phase.DEGRADED, Phase.PROVISIONING, Phase.FAILED, Phase.PENDING,
)  # fmt: skip
NONE, APPLY, SUSPEND, REMOVE = Action
TABLE: list[tuple[str, Facts, tuple[Any, ...]]] = [
    # what it shows, facts, (action, phase, code, turn of the rollout, starts of the next one, revisions left alone)
    ("it starts beside", beside(OLD), (APPLY, READY, "rollout_scheduled", Turn.NONE, 1, (1,))),
    ("it loads", beside(OLD, LOADING, tried=1), (NONE, READY, "rollout_loading", Turn.NONE, 1, (1,))),
    ("it is ready", beside(OLD, NEW, tried=1), (NONE, READY, "ready", Turn.SWITCH, 0, ())),
    ("it crashes", beside(OLD, CRASHED, tried=1), (NONE, READY, "rollout_restarting", Turn.NONE, 1, (1,))),
    ("its wait is over", beside(OLD, CRASHED, tried=1, due_at=PAST, reason=Reason("rollout_restarting", "Soon.")),
     (APPLY, READY, "rollout_scheduled", Turn.NONE, 2, (1,))),
    ("its wait lasts", beside(OLD, CRASHED, tried=1, due_at=SOON, reason=Reason("rollout_restarting", "Soon.")),
     (NONE, READY, "rollout_restarting", Turn.NONE, 1, (1,))),
    ("it fails for good", beside(OLD, CRASHED, tried=5), (NONE, READY, "rollout_failed", Turn.ABANDON, 0, ())),
    ("it may not start", beside(OLD, refused=BLOCKED), (NONE, READY, "rollout_failed", Turn.ABANDON, 0, ())),
    ("the old one dies", beside(LOADING, tried=1), (NONE, PROVISIONING, "rollout_loading", Turn.NONE, 1, (1,))),
    ("one old of two", beside(OLD, LOADING, tried=1, replicas=2),
     (NONE, DEGRADED, "rollout_loading", Turn.NONE, 1, (1,))),
    ("it waits for room", beside(OLD, surge=Seat("waiting", 2, 1, "gpu"), next_per=2),
     (NONE, READY, "ready", Turn.NONE, 0, ())),
    ("it waits, the old one died", beside(surge=Seat("waiting", 2, 1, "gpu"), next_per=2),
     (APPLY, PROVISIONING, "scheduled", Turn.NONE, 0, ())),
    ("it waits to take the place", facts(OLD, next=Next(2, beside=False), growth=Seat("waiting", 1, 1, "gpu"),
     seat=HELD, per=2), (NONE, READY, "ready", Turn.NONE, 0, ())),
    ("it takes the place", facts(OLD, next=Next(2, beside=False), seat=HELD, per=2),
     (NONE, PROVISIONING, "replacing", Turn.REPLACE, 0, ())),
    ("not while paused", facts(OLD, next=Next(2, beside=False), seat=HELD, per=2, paused=True),
     (NONE, READY, "ready", Turn.NONE, 0, ())),
    ("old ones end first", facts(OLD, revision=2, fallback=1, phase=PROVISIONING, proven=False),
     (APPLY, PROVISIONING, "replacing", Turn.NONE, 0, ())),
    ("it works in its place", facts(NEW, revision=2, fallback=1, phase=PROVISIONING, proven=False),
     (NONE, READY, "ready", Turn.SETTLE, 0, ())),
    ("it fails in its place", facts(CRASHED, revision=2, fallback=1, attempts=5, phase=PROVISIONING),
     (NONE, PROVISIONING, "rolled_back", Turn.RETURN, 0, ())),
    ("nothing to return to", facts(CRASHED, revision=2, attempts=5, phase=PROVISIONING),
     (NONE, FAILED, "crashed", Turn.NONE, 0, ())),
    ("old ones finish", facts(OLD, NEW, revision=2, drain_until=SOON), (NONE, READY, "ready", Turn.NONE, 0, ())),
    ("old ones end", facts(OLD, NEW, revision=2, drain_until=PAST), (APPLY, READY, "ready", Turn.NONE, 0, ())),
    ("old ones are gone", facts(NEW, revision=2, drain_until=PAST), (NONE, READY, "ready", Turn.SETTLE, 0, ())),
    ("new one dies meanwhile", facts(OLD, CRASHED, revision=2, drain_until=SOON),
     (APPLY, PROVISIONING, "scheduled", Turn.NONE, 0, (1,))),
    ("the cluster is away", beside(OLD, error=ClusterError("away", "Away."), tried=1),
     (NONE, READY, "away", Turn.NONE, 1, ())),
    ("its engine is missing", beside(OLD, error=ClusterError("engine_missing", "Missing.", retry=False), tried=1),
     (NONE, READY, "rollout_failed", Turn.ABANDON, 0, ())),
    ("a canary starts", beside(OLD, canary=10), (APPLY, READY, "rollout_scheduled", Turn.NONE, 1, (1,))),
    ("a canary is ready", beside(OLD, NEW, canary=10, tried=1), (NONE, READY, "canary", Turn.NONE, 1, (2,))),
    ("a canary crashes", beside(OLD, CRASHED, canary=10, tried=1, reason=Reason("canary", "Both.")),
     (NONE, READY, "rollout_restarting", Turn.NONE, 1, (1,))),
    ("a canary fails for good", beside(OLD, CRASHED, canary=10, tried=5, reason=Reason("canary", "Both.")),
     (NONE, READY, "rollout_failed", Turn.ABANDON, 0, ())),
    ("a canary may not run any more", beside(OLD, NEW, canary=10, tried=1, refused=BLOCKED),
     (NONE, READY, "rollout_failed", Turn.ABANDON, 0, ())),
    ("a canary waits for room", beside(OLD, surge=Seat("waiting", 2, 1, "gpu"), next_per=2, canary=10),
     (NONE, READY, "ready", Turn.NONE, 0, ())),
    ("the old one dies beside its canary", beside(NEW, canary=10, tried=1, reason=Reason("canary", "Both.")),
     (APPLY, DEGRADED, "scheduled", Turn.NONE, 1, (2,))),
    ("the old one is starting beside it", beside(replica("starting", index=0), NEW, canary=10, attempts=1, tried=1),
     (NONE, DEGRADED, "starting", Turn.NONE, 1, (2,))),
    ("the old one fails beside it",
     beside(replica("failed", index=0, reason_code="crashed", sentence="It crashed."), NEW, canary=10, attempts=5),
     (NONE, READY, "ready", Turn.SWITCH, 0, ())),
    ("the cluster of a canary is away", beside(OLD, NEW, error=ClusterError("away", "Away."), canary=10, tried=1),
     (NONE, READY, "away", Turn.NONE, 1, ())),
    ("missing in its place", facts(error=ClusterError("engine_missing", "Missing.", retry=False), revision=2,
     fallback=1, phase=PROVISIONING), (NONE, PROVISIONING, "rolled_back", Turn.RETURN, 0, ())),
]  # fmt: skip


@pytest.mark.parametrize(("case", "given", "expected"), TABLE, ids=[case for case, _, _ in TABLE])
def test_decide(case: str, given: Facts, expected: tuple[Any, ...]) -> None:
    step = decide(given)
    assert (step.action, step.phase, step.reason.code, step.turn, step.next_attempts, step.keep) == expected
    assert len(step.reason.sentence) < 400 and step.reason.sentence.endswith(".")


def test_calls_go_to_the_old_engines_until_all_new_ones_are_ready() -> None:
    assert [one.revision for one in decide(beside(OLD, LOADING)).routes or ()] == [1]
    assert [one.revision for one in decide(beside(OLD, NEW)).routes or ()] == [2]
    two = facts(OLD, NEW, next=Next(2, replicas=2))
    assert [one.revision for one in decide(two).routes or ()] == [1]


def test_a_ready_canary_answers_beside_what_runs_and_both_are_brought_back_when_changed() -> None:
    step = decide(beside(OLD, NEW, canary=10))
    assert [one.revision for one in step.routes or ()] == [1, 2] and not step.both
    assert "revision 2 gets 10 % of the calls" in step.reason.sentence and step.reason.turn == "owner"
    drifted = replace(beside(OLD, NEW, canary=10), observation=Observation((OLD, NEW), drifted=True))
    assert (decide(drifted).action, decide(drifted).both, decide(drifted).keep) == (APPLY, True, (2,))


@pytest.mark.parametrize(
    ("weights", "canary", "action"),
    [({}, 10, NONE), ({1: 90, 2: 10}, 10, NONE), ({1: None, 2: 10}, 10, APPLY), ({1: 90, 2: 10}, 25, APPLY)],
)
def test_a_router_of_the_cluster_is_told_the_shares(weights: dict[int, int | None], canary: int, action: Any) -> None:
    given = beside(OLD, NEW, canary=canary)
    step = decide(replace(given, observation=Observation((OLD, NEW), weights=weights)))
    assert (step.action, step.both, step.reason.code) == (action, action == APPLY, "canary")


def test_the_router_forgets_the_share_of_what_runs_alone() -> None:
    assert decide(replace(facts(OLD), observation=Observation((OLD,), weights={1: 90}))).action == APPLY
    assert decide(replace(facts(OLD), observation=Observation((OLD,), weights={1: None}))).action == NONE


def test_a_failed_rollout_is_remembered_in_the_sentence() -> None:
    step = decide(facts(OLD, remark="Revision 2 did not work: It crashed."))
    assert step.reason.sentence == "Answers calls on 1 of 1 replica. Revision 2 did not work: It crashed."


@pytest.mark.parametrize(
    ("given", "resize", "merge", "retire"),
    [
        (facts(OLD, seat=Seat("held", 2), per=2), None, False, False),
        (facts(OLD, seat=Seat("held", 6), per=2), 2, False, False),
        (facts(OLD, replica(index=1, pid=3), seat=Seat("held", 6), per=2), 4, False, False),  # one still runs
        (facts(OLD, seat=Seat("held", 6), per=2, fallback=3, fallback_amount=6), None, False, False),
        (facts(OLD, seat=Seat("held", 2), per=2, replicas=2, growth=Seat("held", 2)), None, True, False),
        (facts(OLD, seat=Seat("held", 2), per=2, replicas=2, growth=Seat("waiting", 2)), None, False, False),
        (facts(OLD, NEW, revision=2, retiring=True), None, False, False),
        (facts(NEW, revision=2, retiring=True), None, False, True),
        (facts(OLD, NEW, next=Next(2), seat=Seat("held", 6), per=2), None, False, False),
    ],
)  # fmt: skip
def test_accelerators_follow_the_engines(given: Facts, resize: int | None, merge: bool, retire: bool) -> None:
    step = decide(given)
    assert (step.resize, step.merge, step.retire) == (resize, merge, retire)


def test_more_replicas_run_only_when_accelerators_are_held() -> None:
    waits = facts(OLD, replicas=3, seat=Seat("held", 2), per=2, growth=Seat("waiting", 4, 2, "gpu"))
    step = decide(waits)
    assert (step.action, step.phase) == (NONE, READY) and waits.runnable == 1
    assert "2 more wait for 4 accelerators of the pool gpu, at position 2 of the queue." in step.reason.sentence
    assert decide(facts(OLD, replicas=3, seat=Seat("held", 6), per=2)).action == APPLY
