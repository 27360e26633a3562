"""What to do next for one endpoint: a pure function from facts to a step. The effects stand in `reconcile.py`.

Nothing here reads a clock, a row or a cluster, so that every case can be written down in a table of tests.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from endpoints.clusters import ClusterError, Observation, Replica
from endpoints.models import Desired, Phase

BACKOFF_SECONDS = (0, 2, 5, 10, 30)  # before start 1, 2, … of a series; the last one repeats
MAX_STARTS = 5
# What fails the same way each time: the second start is for the one case that it was something else.
MAX_STARTS_OF = {"out_of_memory": 2, "start_timeout": 2}
STABLE = timedelta(seconds=60)  # ready for so long: a later crash begins a new series
LOOK_SECONDS = 0.5  # between two looks while something moves
ERROR_SECONDS = 5.0  # before the cluster is asked again after an error
RESTARTING = "restarting"

TURNS = {"you": "owner", "platform": "platform", "nobody": "nobody"}  # the driver's word → the row's


class Action(StrEnum):
    """What the cluster is asked to do."""

    NONE = "none"
    APPLY = "apply"
    REMOVE = "remove"


@dataclass(frozen=True)
class Reason:
    """Machine word, one sentence, whose turn it is: portal, platform, owner or nobody."""

    code: str
    sentence: str
    turn: str = "portal"


@dataclass(frozen=True)
class Seat:
    """The reservation of an endpoint that needs accelerators; `state` is waiting, held, or "" where there is none."""

    state: str
    amount: int
    position: int = 0
    pool: str = ""


@dataclass(frozen=True)
class Facts:
    """All that a decision depends on. `seat` is None where no accelerator is needed; `refusal` says why nothing may
    be started.
    """

    now: datetime
    desired: str
    phase: str
    reason: Reason
    phase_since: datetime
    replicas: int = 1
    revision: int = 1
    attempts: int = 0
    due_at: datetime | None = None
    observation: Observation = field(default_factory=Observation)
    error: ClusterError | None = None
    paused: bool = False
    refusal: Reason | None = None
    seat: Seat | None = None


@dataclass(frozen=True)
class Step:
    """The answer: what to ask of the cluster, what to write down, and in how many seconds to look again (None: at the
    next sweep).

    `routes` are the replicas that calls go to; None leaves them as they are.
    """

    phase: str
    reason: Reason
    action: Action = Action.NONE
    attempts: int = 0
    look_again: float | None = None
    routes: tuple[Replica, ...] | None = ()
    release: bool = False

    def changes(self, facts: Facts) -> bool:
        """Whether the cluster is asked for something, or the row would read differently."""
        return self.action != Action.NONE or (self.phase, self.reason, self.attempts) != (
            facts.phase,
            facts.reason,
            facts.attempts,
        )


@dataclass(frozen=True)
class _Replicas:
    """An observation sorted by what it means for the wanted revision."""

    ready: tuple[Replica, ...]
    failed: tuple[Replica, ...]  # those that need another start from us
    moving: tuple[Replica, ...]  # starting, loading, stopping, or started again by the cluster itself
    missing: int  # places where a start is possible now
    fresh: bool  # whether one of these was never started, or ended without being asked to
    surplus: bool  # something of another revision, or beyond the wanted number


def decide(facts: Facts) -> Step:
    """Return the next step towards what is wanted."""
    if facts.desired != Desired.RUNNING:
        return _unless_paused(facts, _wind_down(facts))
    if facts.phase == Phase.FAILED:
        return _unless_paused(facts, _stay_failed(facts))
    if facts.error is not None:
        return _error(facts, facts.error)
    return _unless_paused(facts, _run(facts))


def gone(facts: Facts) -> Step:
    """Return the step that follows when the cluster says that nothing is left."""
    if facts.desired == Desired.DELETED:
        return Step(Phase.DELETED, Reason("deleted", "It is deleted; nothing of it runs.", "nobody"), release=True)
    if facts.desired == Desired.SUSPENDED:
        sentence = "It is suspended: nothing runs and nothing is reserved. Resume it when you need it."
        return Step(Phase.SUSPENDED, Reason("suspended", sentence, "nobody"), release=True)
    return Step(facts.phase, facts.reason, attempts=facts.attempts)  # a failed one whose remains are cleared away


def _sort(facts: Facts) -> _Replicas:
    here = [one for one in facts.observation.replicas if one.state != "absent"]
    ours = [one for one in here if one.revision == facts.revision and one.index < facts.replicas]
    others = [one for one in here if one not in ours and (one.state != "failed" or one.pid is not None)]
    stopped = {
        one.index for one in facts.observation.replicas if one.state == "absent" and one.reason_code == "stopped"
    }
    free = set(range(facts.replicas)) - {one.index for one in [*ours, *others]}
    return _Replicas(
        ready=tuple(one for one in ours if one.state == "ready"),
        failed=tuple(one for one in ours if one.state == "failed" and not one.restarts_itself),
        moving=tuple(
            one
            for one in ours
            if one.state in {"starting", "loading", "stopping"} or (one.state == "failed" and one.restarts_itself)
        ),
        missing=len(free),
        fresh=bool(free - stopped),
        surplus=bool(others),
    )


def _run(facts: Facts) -> Step:
    now = _sort(facts)
    if len(now.ready) == facts.replicas and not now.surplus:
        return _ready(facts, now)
    needs_start = bool(now.failed or now.missing)
    if needs_start and not now.ready and not now.moving and facts.seat is not None and facts.seat.state != "held":
        return _no_room(facts.seat)
    if needs_start and facts.refusal is not None:
        return _refuse(facts, now, facts.refusal)
    if now.failed:
        return _restart(facts, now)
    if now.missing or now.surplus:
        return _start(facts, now, facts.attempts + (1 if now.fresh else 0))
    return _progress(facts, now)


def _ready(facts: Facts, now: _Replicas) -> Step:
    stable = facts.phase == Phase.READY and facts.now - facts.phase_since >= STABLE
    sentence = f"Answers calls on {_of(facts.replicas, facts.replicas)}."
    return Step(
        Phase.READY,
        Reason("ready", sentence, "nobody"),
        attempts=0 if stable else facts.attempts,
        routes=now.ready,
    )


def _answering(facts: Facts, now: _Replicas) -> tuple[str, str]:
    """Return the phase while not all replicas are ready, and how the sentence begins."""
    if now.ready:
        return Phase.DEGRADED, f"Answers calls on {_of(len(now.ready), facts.replicas)}. "
    return Phase.PROVISIONING, ""


def _progress(facts: Facts, now: _Replicas) -> Step:
    phase, begin = _answering(facts, now)
    states = {one.state for one in now.moving}
    if states == {"loading"}:
        code, sentence = "loading", "The engine is loading the model; it answers calls when that is done."
    elif "stopping" in states:
        code, sentence = "stopping", "An engine is ending; the next one starts when it is gone."
    elif "failed" in states:
        failed = next(one for one in now.moving if one.state == "failed")
        code, sentence = failed.reason_code, f"{_ended(failed.sentence)} The cluster starts it again by itself."
    else:
        code, sentence = "starting", "The engine process has started."
    return Step(
        phase, Reason(code, begin + sentence), attempts=facts.attempts, look_again=LOOK_SECONDS, routes=now.ready
    )


def _start(facts: Facts, now: _Replicas, attempts: int) -> Step:
    phase, begin = _answering(facts, now)
    which = f"Start {attempts}: the" if attempts > 1 else "The"
    reason = Reason("scheduled", f"{begin}{which} engine is being started.")
    return Step(phase, reason, Action.APPLY, attempts, look_again=LOOK_SECONDS, routes=now.ready)


def _restart(facts: Facts, now: _Replicas) -> Step:
    first = now.failed[0]
    limit = MAX_STARTS_OF.get(first.reason_code, MAX_STARTS)
    if facts.attempts >= limit and not now.ready and not now.moving:
        after = f"It was started {_times(facts.attempts)}; nothing more is tried until somebody presses Retry."
        left = any(one.pid is not None for one in now.failed)
        reason = Reason(first.reason_code, f"{_ended(first.sentence)} {after}", _turn(first.turn))
        return Step(Phase.FAILED, reason, Action.REMOVE if left else Action.NONE, facts.attempts)
    phase, begin = _answering(facts, now)
    if facts.reason.code == RESTARTING and facts.due_at is not None:
        wait = (facts.due_at - facts.now).total_seconds()
        if wait <= 0:
            return _start(facts, now, facts.attempts + 1)
        return Step(phase, facts.reason, attempts=facts.attempts, look_again=wait, routes=now.ready)
    delay = BACKOFF_SECONDS[min(facts.attempts, len(BACKOFF_SECONDS) - 1)]
    if delay == 0:
        return _start(facts, now, facts.attempts + 1)
    following = f"Start {facts.attempts + 1} of {limit}" if facts.attempts < limit else "The next start"
    reason = Reason(RESTARTING, f"{begin}{_ended(first.sentence)} {following} follows after {delay} s.")
    return Step(phase, reason, attempts=facts.attempts, look_again=float(delay), routes=now.ready)


def _no_room(seat: Seat) -> Step:
    what = f"{seat.amount} accelerator{'s' if seat.amount != 1 else ''}"
    if not seat.state:
        sentence = f"No pool reserves {what} for it. A platform engineer adds its profile to a pool; then press Retry."
        return Step(Phase.FAILED, Reason("no_reservation", sentence, "platform"))
    sentence = (
        f"Waits for {what} of the pool {seat.pool}, at position {seat.position} of the queue. "
        "It starts by itself when they are free."
    )
    return Step(Phase.PENDING, Reason("waiting_for_capacity", sentence, "nobody"))


def _refuse(facts: Facts, now: _Replicas, refusal: Reason) -> Step:
    """Start nothing; what runs already is the caller's choice and goes on."""
    if now.ready:
        phase, begin = _answering(facts, now)
        reason = Reason(refusal.code, begin + refusal.sentence, refusal.turn)
        return Step(phase, reason, attempts=facts.attempts, routes=now.ready)
    if now.moving:
        return _progress(facts, now)
    left = any(one.pid is not None for one in now.failed)
    return Step(Phase.FAILED, refusal, Action.REMOVE if left else Action.NONE, facts.attempts)


def _stay_failed(facts: Facts) -> Step:
    left = facts.error is None and facts.observation.present
    return Step(facts.phase, facts.reason, Action.REMOVE if left else Action.NONE, facts.attempts)


def _wind_down(facts: Facts) -> Step:
    if facts.desired == Desired.DELETED:
        phase, reason = Phase.DELETING, Reason("deleting", "It is being deleted: its engines are ending.")
    else:
        if facts.phase == Phase.SUSPENDED and not facts.observation.present:
            return Step(facts.phase, facts.reason, attempts=facts.attempts)
        phase, reason = Phase(facts.phase), Reason("suspending", "It is being suspended: its engines are ending.")
    if facts.error is not None:
        reason = _of_error(facts.error)
        return Step(phase, reason, attempts=facts.attempts, look_again=ERROR_SECONDS)
    return Step(phase, reason, Action.REMOVE, facts.attempts, look_again=LOOK_SECONDS)


def _error(facts: Facts, error: ClusterError) -> Step:
    """A cluster that cannot be asked says nothing about the engines: what answered calls is left alone."""
    reason = _of_error(error)
    if not error.retry and facts.phase not in {Phase.READY, Phase.DEGRADED}:
        return Step(Phase.FAILED, reason, attempts=facts.attempts)
    return Step(facts.phase, reason, attempts=facts.attempts, look_again=ERROR_SECONDS, routes=None)


def _of_error(error: ClusterError) -> Reason:
    after = " It is tried again by itself." if error.retry and "again" not in error.sentence else ""
    return Reason(error.code, f"{_ended(error.sentence)}{after}", _turn(error.turn))


def _unless_paused(facts: Facts, step: Step) -> Step:
    """A paused cluster is watched and never changed."""
    if not facts.paused or step.action == Action.NONE:
        return step
    reason = Reason(
        "cluster_paused", "The cluster is paused by its engineers: nothing is started or stopped there now.", "platform"
    )
    phase = step.phase if step.phase in {Phase.DEGRADED, Phase.DELETING} else facts.phase
    if phase == Phase.READY and facts.desired == Desired.RUNNING:
        phase = Phase.PROVISIONING  # it answers no longer, and may not be started
    return replace(step, phase=phase, reason=reason, action=Action.NONE, attempts=facts.attempts, look_again=None)


def _turn(turn: str) -> str:
    return TURNS.get(turn, "platform")


def _ended(sentence: str) -> str:
    """Close a sentence that ends in the engine's own words."""
    return sentence if sentence.rstrip().endswith((".", "!", "?", "…")) else f"{sentence}."


def _of(count: int, total: int) -> str:
    return f"{count} of {total} replica{'s' if total != 1 else ''}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
