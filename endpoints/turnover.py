"""Rollouts: how one revision follows another, as pure functions from facts to a step.

Beside: the next revision starts while the current one answers calls; when all its replicas are ready, calls go there,
the old engines finish theirs, and end. As a canary: it gets a share of the calls, and an owner says when it takes over.
In place: where there is no room for both, the old engines end first.

Whatever fails, the revision that worked goes on or runs again. Accelerators follow the engines: they are given back
when the engines are seen to be gone.
"""

from collections.abc import Callable
from dataclasses import replace

from endpoints.facts import LOOK_SECONDS, Action, Facts, Next, Reason, Step, Turn, ended, here, of
from endpoints.models import Phase

PREFIX = "rollout_"  # of the reasons of a revision that is on its way


def decide(facts: Facts, run: Callable[[Facts], Step]) -> Step:
    """Return the next step while `facts.next` is on its way; `run` decides for one revision alone."""
    following = facts.next
    if following is None:
        return run(facts)
    waits = following.seat if following.beside else facts.growth
    if waits is not None and waits.state == "waiting":
        step = run(facts)
        sentence = f"{step.reason.sentence} Revision {following.revision} waits for {waits.queue}."
        return _carrying(step, facts, replace(step.reason, sentence=sentence))
    if not following.beside and facts.paused:
        return _carrying(run(facts), facts)
    if not following.beside:
        return _replace(facts, following) if facts.growth is None else _carrying(run(facts), facts)
    return _beside(facts, following, run)


def or_return(facts: Facts, step: Step) -> Step:
    """Return the step that goes back to the revision before, when `step` gives up the one that took its place."""
    if step.phase != Phase.FAILED or not facts.fallback:
        return step
    why = f"Revision {facts.revision} did not work: {ended(step.reason.sentence)}"
    reason = Reason("rolled_back", f"{why} Revision {facts.fallback}, which worked, starts again.")
    return Step(Phase.PROVISIONING, reason, turn=Turn.RETURN, why=why, look_again=LOOK_SECONDS)


def after_error(facts: Facts, step: Step, *, permanent: bool) -> Step:
    """Return what follows an error of the cluster: one that trying again cannot help ends a rollout."""
    if permanent and facts.next is not None and facts.next.beside and facts.next.seat_ready:
        return _abandon(facts, facts.next, step, step.routes)
    return _carrying(or_return(facts, step), facts)


def seats(facts: Facts, step: Step) -> Step:
    """Add to `step` what becomes of the accelerators: those of engines that are gone go back."""
    revisions = {facts.revision, facts.next.revision if facts.next else facts.revision}
    alive = [one for one in facts.observation.replicas if here(one)]
    old = any(one.revision not in revisions for one in alive)
    held = facts.seat is not None and facts.seat.state == "held"
    if facts.growth is not None and facts.growth.state == "held" and held:
        step = replace(step, merge=True)
    if facts.retiring and not old:
        step = replace(step, retire=True)
    if facts.seat is None or not held or not facts.per or old or facts.next or facts.growth or step.turn == Turn.RETURN:
        return step
    ours = sum(one.revision == facts.revision for one in alive)
    needed = max(facts.replicas * facts.per, ours * facts.per, facts.fallback_amount)
    return replace(step, resize=needed) if needed < facts.seat.amount else step


def _beside(facts: Facts, following: Next, run: Callable[[Facts], Step]) -> Step:
    """Bring the next revision up; what runs is left as it is until then."""
    known = {facts.revision, following.revision}
    # Engines that still finish their calls are left alone; what else is there has to go first.
    strays = {one.revision for one in facts.observation.replicas} - known if facts.draining else set()
    its = tuple(one for one in facts.observation.replicas if one.revision not in {facts.revision, *strays})
    code = facts.reason.code.removeprefix(PREFIX) if facts.reason.code.startswith(PREFIX) else ""
    step = run(
        replace(
            facts, phase=Phase.PROVISIONING, reason=replace(facts.reason, code=code), replicas=following.replicas,
            revision=following.revision, attempts=following.attempts,
            observation=replace(facts.observation, replicas=its), growth=None,
            refusal=following.refusal, seat=following.seat, per=following.per, next=None, fallback=0, drain_until=None,
            remark="", proven=True,
        )
    )  # fmt: skip
    running = [one for one in facts.observation.replicas if one.revision == facts.revision and one.state == "ready"]
    running = sorted(running, key=lambda one: one.index)[: facts.runnable]
    if step.phase == Phase.READY and facts.canary and following.refusal is not None:
        # Its version was blocked, for example: what is only on trial does not go on.
        return _abandon(facts, following, replace(step, reason=following.refusal), tuple(running))
    if step.phase == Phase.READY and facts.canary:
        return _hold(facts, following, step, strays, run)
    if step.phase == Phase.READY:
        why = f"Revision {following.revision} answers calls now; revision {facts.revision} ends."
        return Step(Phase.READY, step.reason, turn=Turn.SWITCH, why=why, look_again=LOOK_SECONDS, routes=step.routes)
    if step.phase == Phase.FAILED:
        return _abandon(facts, following, step, tuple(running))
    phase = Phase.READY if len(running) == facts.runnable else Phase.DEGRADED if running else Phase.PROVISIONING
    begin = f"Revision {facts.revision} answers calls on {of(len(running), facts.runnable)}. " if running else ""
    sentence = f"{begin}Revision {following.revision}: {step.reason.sentence}"
    return Step(
        phase, Reason(PREFIX + step.reason.code, sentence, step.reason.turn), step.action, facts.attempts,
        look_again=step.look_again, routes=tuple(running), next_attempts=step.attempts,
        of_next=True, keep=(facts.revision, *strays),
    )  # fmt: skip


def _hold(facts: Facts, following: Next, canary: Step, strays: set[int], run: Callable[[Facts], Step]) -> Step:
    """Let both revisions answer: the next one gets its share, and what runs is looked after as if it were alone. Where
    that cannot go on, the next one takes over: it answers.
    """
    its = tuple(one for one in facts.observation.replicas if one.revision == facts.revision)
    alone = replace(facts, observation=replace(facts.observation, replicas=its), next=None)
    if facts.reason.code.startswith(PREFIX):
        alone = replace(alone, reason=replace(facts.reason, code=""))
    step = run(alone)
    if step.phase == Phase.FAILED:
        why = f"Revision {facts.revision} cannot go on: {ended(step.reason.sentence)}"
        why = f"{why} Revision {following.revision}, its canary, takes over."
        reason = Reason(canary.reason.code, why)
        return Step(Phase.READY, reason, turn=Turn.SWITCH, why=why, look_again=LOOK_SECONDS, routes=canary.routes)
    routes = None if step.routes is None or canary.routes is None else (*step.routes, *canary.routes)
    shares = {facts.revision: 100 - facts.canary, following.revision: facts.canary}
    weighed = all(shares.get(number, told) == told for number, told in facts.observation.weights.items())
    act = Action.NONE if weighed and Action.APPLY not in (step.action, canary.action) else Action.APPLY
    kept = replace(
        step, phase=Phase.READY if step.phase == Phase.READY else Phase.DEGRADED, routes=routes, action=act,
        both=act == Action.APPLY, look_again=step.look_again or (LOOK_SECONDS if act == Action.APPLY else None),
        next_attempts=following.attempts, keep=(following.revision, *strays),
    )  # fmt: skip
    if step.phase != Phase.READY:
        return kept
    sentence = (
        f"{step.reason.sentence} As a canary, revision {following.revision} gets {facts.canary} % of the calls; an "
        "owner raises its share, promotes or aborts it."
    )
    return replace(kept, reason=Reason("canary", sentence, "owner"))


def _abandon(facts: Facts, following: Next, step: Step, routes: tuple[object, ...] | None) -> Step:
    why = f"Revision {following.revision} did not work: {ended(step.reason.sentence)}"
    reason = Reason("rollout_failed", f"{why} Revision {facts.revision} goes on.", step.reason.turn)
    phase = facts.phase if facts.phase in {Phase.READY, Phase.DEGRADED} else Phase.PROVISIONING
    return Step(phase, reason, attempts=facts.attempts, look_again=LOOK_SECONDS, turn=Turn.ABANDON, why=why,
                routes=None)  # fmt: skip


def _replace(facts: Facts, following: Next) -> Step:
    why = f"There is no room beside it: revision {facts.revision} ends, then revision {following.revision} starts."
    return Step(Phase.PROVISIONING, Reason("replacing", why), turn=Turn.REPLACE, why=why, look_again=LOOK_SECONDS)


def _carrying(step: Step, facts: Facts, reason: Reason | None = None) -> Step:
    """Return `step` with what it does not concern left as it is."""
    attempts = facts.next.attempts if facts.next else 0
    return replace(step, next_attempts=attempts, reason=reason or step.reason)
