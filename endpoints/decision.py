"""What to do next for one endpoint: a pure function from facts to a step. The effects stand in `reconcile.py`, what
concerns rollouts in `turnover.py`.

Nothing here reads a clock, a row or a cluster, so that every case can be written down in a table of tests.
"""

from dataclasses import dataclass, replace
from datetime import timedelta

from endpoints import turnover
from endpoints.clusters import ClusterError, Replica
from endpoints.facts import LOOK_SECONDS, Action, Facts, Reason, Seat, Step, Turn, counted, ended, here, of
from endpoints.models import Desired, Phase

__all__ = ["RESTARTING", "Action", "Facts", "Reason", "Seat", "Step", "decide", "gone"]

BACKOFF_SECONDS = (0, 2, 5, 10, 30)  # before start 1, 2, … of a series; the last one repeats
MAX_STARTS = 5
# What fails the same way each time: the second start is for the one case that it was something else.
MAX_STARTS_OF = {"out_of_memory": 2, "start_timeout": 2}
STABLE = timedelta(seconds=60)  # ready for so long: a later crash begins a new series
ERROR_SECONDS = 5.0  # before the cluster is asked again after an error
# Between two writes of what the cluster does not hold: whoever changes it may do so each time.
DRIFT_SECONDS = 5.0
RESTARTING = "restarting"

TURNS = {"you": "owner", "platform": "platform", "nobody": "nobody"}  # the driver's word → the row's


@dataclass(frozen=True)
class _Replicas:
    """An observation sorted by what it means for the wanted revision."""

    ready: tuple[Replica, ...]
    failed: tuple[Replica, ...]  # those that need another start from us
    moving: tuple[Replica, ...]  # starting, loading, stopping, or started again by the cluster itself
    missing: int  # places where a start is possible now
    fresh: bool  # whether one of these was never started, or ended without being asked to
    extra: tuple[Replica, ...]  # of the revision, beyond the wanted number
    others: tuple[Replica, ...]  # of another revision

    @property
    def surplus(self) -> int:
        """How many engines are not needed any more."""
        return len(self.extra) + len(self.others)

    @property
    def to_end(self) -> bool:
        """Whether one of them does not end unless it is asked to."""
        return not all(one.ends_itself for one in (*self.extra, *self.others))


def decide(facts: Facts) -> Step:
    """Return the next step towards what is wanted."""
    if facts.desired != Desired.RUNNING:
        return _unless_paused(facts, _wind_down(facts))
    if facts.phase == Phase.FAILED:
        return turnover.seats(facts, _unless_paused(facts, _stay_failed(facts)))
    if facts.error is not None:
        step = _error(facts, facts.error)
        return turnover.after_error(facts, step, permanent=not facts.error.retry)
    step = turnover.decide(facts, _run) if facts.next else _run(facts)
    return turnover.seats(facts, turnover.or_return(facts, _unless_paused(facts, _unless_held(facts, step))))


def gone(facts: Facts) -> Step:
    """Return the step that follows when the cluster says that nothing is left, or that nothing runs any more."""
    if facts.desired == Desired.DELETED:
        return Step(Phase.DELETED, Reason("deleted", "It is deleted; nothing of it runs.", "nobody"), release=True)
    if facts.desired == Desired.SUSPENDED:
        sentence = "It is suspended: nothing runs and nothing is reserved."
        return Step(Phase.SUSPENDED, Reason("suspended", sentence, "nobody"), release=True)
    return Step(facts.phase, facts.reason, attempts=facts.attempts)  # a failed one whose remains are cleared away


def _sort(facts: Facts) -> _Replicas:
    present = [one for one in facts.observation.replicas if one.state != "absent"]
    # The driver chooses in the same order which ones stay: what lives before what failed, then by index.
    own = sorted((one for one in present if one.revision == facts.revision), key=lambda one: (not here(one), one.index))
    ours, extra = own[: facts.runnable], [one for one in own[facts.runnable :] if here(one)]
    others = [one for one in present if one.revision != facts.revision and here(one)]
    stopped = [
        one
        for one in facts.observation.replicas
        if one.state == "absent" and one.reason_code == "stopped" and one.revision == facts.revision
    ]
    missing = 0 if others and not facts.draining else facts.runnable - len(ours)
    return _Replicas(
        ready=tuple(one for one in ours if one.state == "ready"),
        failed=tuple(one for one in ours if one.state == "failed" and not one.restarts_itself),
        moving=tuple(
            one
            for one in ours
            if one.state in {"starting", "loading", "stopping"} or (one.state == "failed" and one.restarts_itself)
        ),
        missing=missing,
        fresh=missing > len(stopped),
        extra=tuple(extra),
        others=tuple(others),
    )


def _run(facts: Facts) -> Step:
    now = _sort(facts)
    if facts.runnable < 1 and facts.seat is not None:
        return _no_room(facts.growth or facts.seat)
    if len(now.ready) == facts.runnable:
        return _ready(facts, now)
    needs_start = bool(now.failed or now.missing)
    if needs_start and not now.ready and not now.moving and facts.seat is not None and facts.seat.state != "held":
        return _no_room(facts.seat)
    if needs_start and facts.refusal is not None:
        return _refuse(facts, now, facts.refusal)
    if now.failed:
        return _restart(facts, now)
    if now.missing or now.to_end:
        return _start(facts, now, facts.attempts + (1 if now.fresh else 0))
    return _progress(facts, now)


def _ready(facts: Facts, now: _Replicas) -> Step:
    stable = facts.phase == Phase.READY and facts.now - facts.phase_since >= STABLE
    step = Step(
        Phase.READY,
        Reason("ready", _ready_sentence(facts, now), "nobody"),
        attempts=0 if stable else facts.attempts,
        routes=now.ready,
    )
    if now.extra and now.to_end and facts.drain_until is None:
        return replace(step, drain=True, look_again=LOOK_SECONDS)
    if now.surplus and facts.draining and facts.drain_until:
        return replace(step, look_again=(facts.drain_until - facts.now).total_seconds())
    weighed = facts.next is None and facts.observation.weights.get(facts.revision) is not None
    if now.to_end or (weighed and not facts.canary):
        return replace(step, action=Action.APPLY, look_again=LOOK_SECONDS)
    if facts.observation.drifted:
        return _written_again(facts, step)
    if now.surplus:
        return replace(step, look_again=LOOK_SECONDS)
    settled = facts.proven and not facts.fallback and facts.drain_until is None
    return step if settled else replace(step, turn=Turn.SETTLE)


def _ready_sentence(facts: Facts, now: _Replicas) -> str:
    parts = [f"Answers calls on {of(facts.runnable, facts.runnable)}."]
    if now.surplus:
        doing = "finish their calls and end" if now.surplus > 1 else "finishes its calls and ends"
        parts.append(f"{counted(now.surplus, 'engine')} not needed any more {doing}.")
    if facts.growth is not None and facts.growth.state == "waiting" and facts.next is None:
        more = facts.replicas - facts.runnable
        parts.append(f"{more} more {'waits' if more == 1 else 'wait'} for {facts.growth.queue}.")
    # What a cluster says of engines that are ready: that their autoscaler is blind, for example.
    parts += list(dict.fromkeys(one.sentence for one in now.ready if one.next))
    return " ".join([*parts, facts.remark]).strip()


def _answering(facts: Facts, now: _Replicas) -> tuple[str, str]:
    """Return the phase while not all replicas are ready, and how the sentence begins."""
    if now.ready:
        return Phase.DEGRADED, f"Answers calls on {of(len(now.ready), facts.runnable)}. "
    return Phase.PROVISIONING, ""


def _progress(facts: Facts, now: _Replicas) -> Step:
    phase, begin = _answering(facts, now)
    doing = _doing(now.moving)
    reason = Reason(doing.code, begin + doing.sentence, doing.turn)
    step = Step(phase, reason, attempts=facts.attempts, look_again=LOOK_SECONDS, routes=now.ready)
    # Nothing is written that may not be started: it could be what an engine waits for.
    return _written_again(facts, step) if facts.observation.drifted and facts.refusal is None else step


def _written_again(facts: Facts, step: Step) -> Step:
    """Return `step` with what was approved written again, which is no other start; not twice within five seconds."""
    wait = (facts.due_at - facts.now).total_seconds() if facts.due_at is not None else 0.0
    if 0 < wait <= DRIFT_SECONDS:
        return replace(step, look_again=wait)
    return replace(step, action=Action.APPLY, look_again=DRIFT_SECONDS)


def _doing(moving: tuple[Replica, ...]) -> Reason:
    """Return what the replicas on their way are about: what fails first, then what ends, then in the cluster's own
    words what it does or waits for.
    """
    states = {one.state for one in moving}
    if "failed" in states:
        failed = next(one for one in moving if one.state == "failed")
        sentence = f"{ended(failed.sentence)} The cluster starts it again by itself."
        return Reason(failed.reason_code, sentence, _turn(failed.turn))
    if "stopping" in states:
        return Reason("stopping", "An engine is ending; the next one starts when it is gone.")
    first = next((one for one in moving if one.state == "starting"), moving[0])
    if first.sentence:
        turn = "portal" if first.turn == "nobody" else _turn(first.turn)
        return Reason(first.reason_code, ended(first.sentence), turn)
    if first.state == "loading":
        return Reason("loading", "The engine is loading the model; it answers calls when that is done.")
    return Reason("starting", "The engine process has started.")


def _start(facts: Facts, now: _Replicas, attempts: int) -> Step:
    phase, begin = _answering(facts, now)
    which = f"Start {attempts}: the" if attempts > 1 else "The"
    reason = Reason("scheduled", f"{begin}{which} engine is being started.")
    if not now.missing and not now.failed and now.others:
        reason = Reason("replacing", f"{begin}The engines of the revision before are ending; then this one starts.")
    keep = tuple({one.revision for one in now.others}) if facts.draining else ()
    return Step(phase, reason, Action.APPLY, attempts, look_again=LOOK_SECONDS, routes=now.ready, keep=keep)


def _restart(facts: Facts, now: _Replicas) -> Step:
    first = now.failed[0]
    limit = MAX_STARTS_OF.get(first.reason_code, MAX_STARTS)
    if facts.attempts >= limit and not now.ready and not now.moving:
        after = f"It was started {_times(facts.attempts)}; nothing more is tried until somebody presses Retry."
        left = any(here(one) for one in now.failed)
        reason = Reason(first.reason_code, f"{ended(first.sentence)} {after}", _turn(first.turn))
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
    reason = Reason(RESTARTING, f"{begin}{ended(first.sentence)} {following} follows after {delay} s.")
    return Step(phase, reason, attempts=facts.attempts, look_again=float(delay), routes=now.ready)


def _no_room(seat: Seat) -> Step:
    if not seat.state:
        what = counted(seat.amount, "accelerator")
        sentence = f"No pool reserves {what} for it. A platform engineer adds its profile to a pool; then press Retry."
        return Step(Phase.FAILED, Reason("no_reservation", sentence, "platform"))
    sentence = f"Waits for {seat.queue}. It starts by itself when they are free."
    return Step(Phase.PENDING, Reason("waiting_for_capacity", sentence, "nobody"))


def _refuse(facts: Facts, now: _Replicas, refusal: Reason) -> Step:
    """Start nothing; what runs already is the caller's choice and goes on."""
    if now.ready:
        phase, begin = _answering(facts, now)
        reason = Reason(refusal.code, begin + refusal.sentence, refusal.turn)
        return Step(phase, reason, attempts=facts.attempts, routes=now.ready)
    if now.moving:
        return _progress(facts, now)
    left = any(here(one) for one in now.failed)
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
        return Step(phase, reason, attempts=facts.attempts, look_again=_wait(facts.error))
    action = Action.REMOVE if facts.desired == Desired.DELETED else Action.SUSPEND
    return Step(phase, reason, action, facts.attempts, look_again=LOOK_SECONDS)


def _error(facts: Facts, error: ClusterError) -> Step:
    """A cluster that cannot be asked says nothing about the engines: what answered calls is left alone."""
    reason = _of_error(error)
    if not error.retry and facts.phase not in {Phase.READY, Phase.DEGRADED}:
        return Step(Phase.FAILED, reason, attempts=facts.attempts)
    return Step(facts.phase, reason, attempts=facts.attempts, look_again=_wait(error), routes=None)


def _wait(error: ClusterError) -> float:
    return max(ERROR_SECONDS, error.wait_seconds)


def _of_error(error: ClusterError) -> Reason:
    after = " It is tried again by itself." if error.retry and "again" not in error.sentence else ""
    return Reason(error.code, f"{ended(error.sentence)}{after}", _turn(error.turn))


def _unless_held(facts: Facts, step: Step) -> Step:
    """What somebody changed where it was written is not written over; what runs goes on, and a person decides."""
    hold = facts.observation.hold
    if hold is None or (step.action != Action.APPLY and step.phase != Phase.READY):
        return step
    reason = Reason(hold.code, hold.sentence, _turn(hold.turn))
    if step.action != Action.APPLY:
        return replace(step, reason=reason, look_again=None)
    following = facts.next.attempts if facts.next else 0
    again = None if step.phase == Phase.READY else max(step.look_again or 0.0, DRIFT_SECONDS)
    return replace(
        step, reason=reason, action=Action.NONE, attempts=facts.attempts, next_attempts=following, look_again=again
    )


def _unless_paused(facts: Facts, step: Step) -> Step:
    """A paused cluster is watched and never changed."""
    if not facts.paused or step.action == Action.NONE:
        return step
    sentence = "The cluster is paused by its engineers: nothing is started or stopped there now."
    if facts.paused_why:
        sentence += f" They say: {ended(facts.paused_why)}"
    reason = Reason("cluster_paused", sentence, "platform")
    phase = step.phase if step.phase in {Phase.DEGRADED, Phase.DELETING} else facts.phase
    if phase == Phase.READY and facts.desired == Desired.RUNNING and not step.routes:
        phase = Phase.PROVISIONING  # it answers no longer, and may not be started
    following = facts.next.attempts if facts.next else 0
    return replace(
        step, phase=phase, reason=reason, action=Action.NONE, attempts=facts.attempts, next_attempts=following,
        look_again=None,
    )  # fmt: skip


def _turn(turn: str) -> str:
    return TURNS.get(turn, "platform")


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
