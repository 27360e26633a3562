"""What a row remembers of a look: the parts of the sentence, and the steps of the start with begin and end."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from endpoints import telling
from endpoints.clusters import ClusterError, Observation, Replica, Stage
from endpoints.facts import Action, Facts, Reason, Step
from endpoints.models import Endpoint, Phase

NOW = dt.datetime(2026, 11, 20, 16, 0, tzinfo=dt.UTC)
STARTING = Reason("starting", "The cluster is creating the engine. Nothing is to be done.", "portal")
FULL = Replica(
    0, "starting", reason_code="gpu_quota_exceeded", sentence="The quota is used up. Ask for a larger quota.",
    next="Ask for a larger quota.", revision=1,
)  # fmt: skip


def at(minute: int, second: int = 0) -> dt.datetime:
    return NOW.replace(hour=15, minute=minute, second=second)


def row(**fields: Any) -> Endpoint:
    given = {"phase": Phase.PROVISIONING, "reason_code": STARTING.code, "reason_sentence": STARTING.sentence}
    return Endpoint(**{**given, **fields})


def facts(*replicas: Replica, **fields: Any) -> Facts:
    progress = fields.pop("progress", {})
    given: dict[str, Any] = {"now": NOW, "desired": "running", "phase": Phase.PROVISIONING, "reason": STARTING}
    given |= {"phase_since": NOW, "observation": Observation(replicas, progress=progress)}
    return Facts(**{**given, **fields})


def step(sentence: str, phase: str = Phase.PROVISIONING, **fields: Any) -> Step:
    return Step(phase, Reason("x", sentence, "owner"), **fields)


def steps(*ends: dt.datetime | None, begin: dt.datetime | None = None) -> tuple[Stage, ...]:
    """Created, Scheduled, Loading with these ends, each beginning with the end before."""
    starts = (begin or at(48), *ends)
    return tuple(Stage(*one) for one in zip(("Created", "Scheduled", "Loading"), starts, ends, strict=False))


def remembered(one: Endpoint, told: dict[str, Any]) -> Endpoint:
    for name, value in told.items():
        setattr(one, name, value)
    return one


def test_what_the_cluster_says_of_a_replica_is_kept_in_parts() -> None:
    found = telling.columns(row(), facts(FULL), step(f"Answers calls on 1 of 2 replicas. {FULL.sentence}"))
    assert found == {"reason_next": "Ask for a larger quota."}
    tried = replace(FULL, tried="The cluster has started it again once.")
    assert telling.columns(row(), facts(tried), step(tried.sentence))["reason_tried"] == tried.tried


def test_an_error_of_the_cluster_has_the_first_word() -> None:
    error = ClusterError("cluster_slow", "It did not answer in time. It is tried again.", next="It is tried again.")
    found = telling.columns(row(), facts(FULL, error=error), step(error.sentence))
    assert found == {"reason_next": "It is tried again."}


def test_words_of_the_portals_own_take_the_parts_away_and_the_same_words_keep_them() -> None:
    before = row(reason_next="Ask for a larger quota.", reason_tried="x")
    assert telling.columns(before, facts(), step("It runs.")) == {"reason_next": "", "reason_tried": ""}
    assert telling.columns(before, facts(), Step(Phase.FAILED, STARTING)) == {}, "its engines were cleared away"


def test_steps_are_remembered_for_the_revisions_that_matter() -> None:
    seen = {1: steps(at(49), None), 7: steps(at(49), at(50))}
    found = telling.columns(row(), facts(progress=seen), step("x"))
    assert list(found["progress"]) == ["1"]
    one = remembered(row(), found)
    assert telling.stages(one, 1) == seen[1]
    assert telling.stages(one, 7) == ()
    assert telling.columns(one, facts(progress=seen), step("x")) == {}, "nothing changed, so nothing is written"
    assert telling.document(one, 1)[1] == {"name": "Scheduled", "started_at": at(49).isoformat(), "ended_at": None}


def test_an_end_that_the_cluster_forgets_stays_known_and_another_life_has_its_own() -> None:
    one = remembered(row(), telling.columns(row(), facts(progress={1: steps(at(49), at(50), at(58))}), step("x")))
    later = {1: steps(at(49), at(52), None)}  # the event that told when is gone
    merged = remembered(one, telling.columns(one, facts(progress=later), step("x")))
    assert [part.ended for part in telling.stages(merged, 1)] == [at(49), at(50), None]
    again = {1: steps(at(55), None, begin=at(54))}
    other = remembered(one, telling.columns(one, facts(progress=again), step("x")))
    assert telling.stages(other, 1) == again[1]


def test_what_is_at_rest_is_never_written() -> None:
    """Thousands of idle endpoints are looked at for their health alone."""
    one = remembered(row(), telling.columns(row(), facts(progress={1: steps(at(49), at(50), at(58))}), step("x")))
    one.phase = Phase.READY
    other = {1: steps(at(40), at(41), at(42), begin=at(39))}  # another replica is the furthest now
    assert telling.columns(one, facts(phase=Phase.READY, progress=other), step("x", Phase.READY)) == {}


@pytest.mark.parametrize(
    "taken",
    [
        step("x", action=Action.APPLY, attempts=2),
        step("x", Phase.SUSPENDED),
        step("x", Phase.DELETED),
    ],
)
def test_another_start_has_steps_of_its_own(taken: Step) -> None:
    one = remembered(row(), telling.columns(row(), facts(progress={1: steps(at(49))}), step("x", attempts=1)))
    assert telling.columns(one, facts(attempts=1, progress={1: steps(at(49))}), taken)["progress"] == {}


def test_a_cluster_that_cannot_be_asked_takes_no_step_back() -> None:
    one = remembered(row(), telling.columns(row(), facts(progress={1: steps(at(49))}), step("x")))
    error = ClusterError("cluster_slow", "It did not answer in time.")
    assert "progress" not in telling.columns(one, facts(error=error), step(error.sentence))
