"""Making observed equal desired, one endpoint at a time: claim the row, look, decide (`decision.py`), act, write.

A worker may die between any two lines. Everything the cluster is asked for is idempotent, every write is fenced by
the claim and by what was wanted when the decision was made, and what was not written is found again by the next look.

`due_at` is when a row wants attention next. The message that belongs to it carries it, and a message whose time is no
longer the row's does nothing: however many nudges arrive, each row has at most one chain of messages that lives.
"""

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from audit.services import record, system
from catalog.models import with_pins
from endpoints import decision, routes, serving, telling, turning
from endpoints.changes import contacts, tell
from endpoints.clusters import ClusterDriver, ClusterError, Observation, Workload
from endpoints.differences import undoing
from endpoints.drivers import driver_for, workload
from endpoints.facts import Action, Facts, Next, Reason, Seat, Step
from endpoints.models import Desired, Endpoint, Event, Phase, Revision, RevisionOutcome
from endpoints.nudge import nudge
from endpoints.pacing import paced
from endpoints.refusals import refusal
from endpoints.seats import Seats, accelerators, give_back, seats_of
from portal.states import move
from projects import epoch

LEASE = timedelta(seconds=15)
MAX_STEPS = 6  # one message never works longer on one row than this many steps
# A nudge that finds the row claimed comes back: the holder may have looked before the change.
REFUSED_AGAIN_SECONDS = 1.0
ACTOR = system("reconcile")

log = logging.getLogger(__name__)


@dataclass
class _Look:
    """A row, what was found about it, and what follows."""

    row: Endpoint
    facts: Facts
    step: Step
    driver: ClusterDriver | None

    @property
    def routes_change(self) -> bool:
        """Whether calls would go elsewhere than the row says."""
        return self.step.routes is not None and routes.identities(self.step.routes) != routes.stored(self.row)

    @property
    def idle(self) -> bool:
        """Whether nothing is to be done or written."""
        told = telling.columns(self.row, self.facts, self.step)
        return not self.step.changes(self.facts) and not self.routes_change and not told


def reconcile(endpoint_id: UUID | str, worker: str, due: str = "") -> None:
    """Take the steps that are possible now for one endpoint; safe to call at any time, from many workers at once.

    `worker` names the caller, different for each call; `due` is the `due_at` (ISO 8601) that the message belongs to,
    "" for any other nudge.
    """
    row = _row(endpoint_id)
    if row is None or (due and (row.due_at is None or row.due_at.isoformat() != due)):
        return
    look = _look(row)
    if look.idle:
        _keep_looking(look)
        return
    if not claim(row.pk, worker):
        if not due:
            nudge(row.pk, countdown=REFUSED_AGAIN_SECONDS)
        return
    try:
        for _ in range(MAX_STEPS):
            if not _advance(row.pk, worker):
                break
    finally:
        Endpoint.objects.filter(pk=row.pk, claimed_by=worker).update(claimed_by="", claimed_until=None)


def claim(endpoint_id: UUID | str, worker: str) -> bool:
    """Take the row for 15 s, or renew an own claim; False when somebody else holds it."""
    now = timezone.now()
    free = Q(claimed_until__isnull=True) | Q(claimed_until__lte=now) | Q(claimed_by=worker)
    changed = Endpoint.objects.filter(free, pk=endpoint_id).update(claimed_by=worker, claimed_until=now + LEASE)
    return changed > 0


def _row(endpoint_id: UUID | str) -> Endpoint | None:
    rows = Endpoint.objects.select_related(
        "project", "cluster", "contact", "created_by", "revision__version__asset", "revision__profile",
        "next_revision__version__asset", "next_revision__profile", "fallback__version__asset", "fallback__profile",
    ).exclude(phase=Phase.DELETED)  # fmt: skip
    rows = with_pins(rows, "revision__version", "next_revision__version")
    # At most one: an order would cost a third of the time that this takes.
    return next(iter(rows.filter(pk=endpoint_id, revision__isnull=False).order_by()), None)


def _revision(row: Endpoint) -> Revision:
    if row.revision is None:
        raise LookupError("the query leaves out endpoints without a revision")
    return row.revision


def _advance(endpoint_id: UUID, worker: str) -> bool:
    """Take one step under the claim; whether another one may follow at once."""
    if not claim(endpoint_id, worker):
        return False
    row = _row(endpoint_id)
    if row is None:
        return False
    look = _look(row)
    if look.idle:
        _keep_looking(look)
        return False
    step = _act(look)
    return _write(look, step, worker) and (step.action == Action.APPLY or step.turns)


def _look(row: Endpoint) -> _Look:
    driver, observation, error = None, Observation(), None
    try:
        driver = driver_for(row.cluster)
        observation = driver.observe(str(row.pk))
    except ClusterError as problem:
        error = problem
    facts = _facts(row, observation, error)
    return _Look(row, facts, _shortened(decision.decide(facts)), driver)


def _facts(row: Endpoint, observation: Observation, error: ClusterError | None) -> Facts:
    if row.rewrite_at is not None and error is None:
        observation = replace(observation, drifted=True, lowered={}, hold=None if row.rewrite_by else observation.hold)
    revision, back, now = _revision(row), row.fallback, timezone.now()
    per = revision.profile.accelerator_count
    changing = row.next_revision or back or row.drain_until
    seats = seats_of(row) if per or changing else Seats()
    return Facts(
        now=now,
        desired=row.desired,
        phase=row.phase,
        reason=Reason(row.reason_code, row.reason_sentence, row.reason_turn),
        phase_since=row.phase_since,
        replicas=row.wanted_replicas,
        revision=revision.number,
        attempts=row.attempts,
        due_at=row.due_at,
        observation=observation,
        error=error,
        paused=row.cluster.paused,
        paused_why=row.cluster.paused_reason,
        refusal=refusal(revision, now),
        seat=seats.own or Seat("", per * row.wanted_replicas) if per else None,
        per=per,
        growth=seats.growth,
        retiring=seats.retiring is not None,
        next=_next(row, seats, now),
        fallback=back.number if back else 0,
        fallback_amount=accelerators(back, min(row.fallback_scale or back.replicas, back.replicas)) if back else 0,
        drain_until=row.drain_until,
        remark=row.remark,
        proven=revision.outcome == RevisionOutcome.WORKED,
        canary=row.canary_percent or 0,
    )


def _next(row: Endpoint, seats: Seats, now: datetime) -> Next | None:
    following = row.next_revision
    if following is None:
        return None
    amount = accelerators(following)
    return Next(
        revision=following.number,
        replicas=following.replicas,
        attempts=row.next_attempts,
        beside=row.next_beside,
        per=following.profile.accelerator_count,
        seat=seats.surge or Seat("", amount) if amount else None,
        refusal=refusal(following, now),
    )


def _act(look: _Look) -> Step:
    """Ask the cluster for what the step says and return the step that this leads to."""
    if look.driver is None or look.step.action == Action.NONE:
        return look.step
    try:
        if look.step.action == Action.APPLY:
            made = _workload(look, of_next=look.step.of_next)
            edited = undoing.find(look.driver, look.row, made, look.facts.observation)
            look.driver.apply(made)
            undoing.keep(look.row, edited)
            if look.step.both:
                look.driver.apply(_workload(look, of_next=True))
        elif look.step.action == Action.SUSPEND:
            if look.driver.suspend(str(look.row.pk)):
                return decision.gone(look.facts)
        elif _clear_away(look.row, look.driver):
            return decision.gone(look.facts)
    except ClusterError as problem:
        look.facts = replace(look.facts, error=problem)
        return _shortened(decision.decide(look.facts))
    return look.step


def _clear_away(row: Endpoint, driver: ClusterDriver) -> bool:
    """Take the next step towards nothing; what was adopted is only put to sleep before somebody deletes its endpoint:
    whatever failed, it is theirs.
    """
    if row.desired != Desired.DELETED and row.cluster.adopts and row.revisions.exclude(adopted={}).exists():
        return driver.suspend(str(row.pk))
    return driver.remove(str(row.pk))


def _workload(look: _Look, *, of_next: bool) -> Workload:
    row, step, percent = look.row, look.step, look.facts.canary
    runs, following = _revision(row), row.next_revision
    if of_next and following is not None:
        keep = {*step.keep, runs.number} - {following.number}
        return workload(row, following, following.replicas, keep, percent or None)
    share = 100 - percent if percent and following is not None else None
    return workload(row, runs, look.facts.granted, step.keep, share)


def _write(look: _Look, step: Step, worker: str) -> bool:
    """Write `step` down with its audit row and event; False when the claim or what is wanted has changed meanwhile."""
    row, now = look.row, timezone.now()
    fields = _fields(look, step, now)
    fence = Endpoint.objects.filter(
        pk=row.pk, desired=row.desired, revision=_revision(row), next_revision=row.next_revision, scale=row.scale,
        canary_percent=row.canary_percent, rewrite_at=row.rewrite_at,
        claimed_by=worker, claimed_until__gt=now,
    )  # fmt: skip
    with transaction.atomic():
        if not _store(fence, row, step, fields, now):
            return False
        if step.phase != row.phase or "revision" in fields:
            serving.keep(row.pk)
        if (step.phase, step.reason.code) != (row.phase, row.reason_code):
            sentence = step.reason.sentence
            Event.objects.create(endpoint=row, code=step.reason.code, phase=step.phase, sentence=sentence)
        if step.phase != row.phase:
            record(
                "endpoints.observe", by=ACTOR, obj=row, project=row.project.slug,
                before={"phase": row.phase, "reason": row.reason_code},
                after={"phase": str(step.phase), "reason": step.reason.code},
            )  # fmt: skip
        if step.phase != row.phase or "upstreams" in fields:
            epoch.bump()
        turning.effects(ACTOR, row, step)
        if step.release:
            give_back(ACTOR, row)
        _tell(row, step)
        if step.look_again is not None:
            nudge(row.pk, due=fields["due_at"].isoformat(), countdown=step.look_again)
    log.info("endpoints.step endpoint=%s phase=%s reason=%s", row.pk, step.phase, step.reason.code)
    return True


def _tell(row: Endpoint, step: Step) -> None:
    """Tell people what a step means to them: it answers for the first time, it failed, its place has come."""
    name = f"{row.project.slug}/{row.name}"
    if step.phase == Phase.READY and row.ready_at is None:
        people = [*contacts(row), *([row.created_by] if row.created_by else [])]
        tell(row, "endpoint.ready", f"{name} is ready and answers calls.", people, text=step.reason.sentence)
    if step.phase == Phase.FAILED and row.phase != Phase.FAILED:
        code = step.reason.code
        tell(row, "endpoint.failed", f"{name} has failed.", contacts(row), text=step.reason.sentence, reason=code)
    if row.reason_code == "waiting_for_capacity" and step.phase == Phase.PROVISIONING:
        title = f"{name} has got its accelerators and starts now."
        tell(row, "endpoint.promoted", title, contacts(row))


def _store(fence: QuerySet[Endpoint], row: Endpoint, step: Step, fields: dict[str, Any], now: datetime) -> bool:
    if step.phase != row.phase:
        return move(fence, row.phase, step.phase, field="phase", phase_since=now, **fields)
    return fence.filter(phase=row.phase).update(**fields) > 0


def _fields(look: _Look, step: Step, now: datetime) -> dict[str, Any]:
    row = look.row
    fields: dict[str, Any] = {
        "reason_code": step.reason.code,
        "reason_sentence": step.reason.sentence,
        "reason_turn": step.reason.turn,
        "attempts": step.attempts,
        "due_at": None if step.look_again is None else now + timedelta(seconds=step.look_again),
    }
    if step.routes is not None and routes.identities(step.routes) != routes.stored(row):
        fields["upstreams"] = routes.kept(step.routes)
    if step.phase == Phase.READY and row.ready_at is None:
        fields["ready_at"] = now
    if step.phase == Phase.DELETED:
        fields["deleted_at"] = now
    if step.release:
        fields["drain_until"] = None
    if row.rewrite_at is not None and (step.action == Action.APPLY or row.desired != Desired.RUNNING):
        fields |= {"rewrite_at": None, "rewrite_by": ""}
    return fields | telling.columns(row, look.facts, step) | turning.columns(row, step, now)


def _keep_looking(look: _Look) -> None:
    """Continue the row's chain of messages when it has none that lives: compare-and-set on `due_at` lets one caller
    win.
    """
    row, seconds = look.row, paced(look.row, look.facts, look.step.look_again)
    if row.due_at is not None and row.due_at > look.facts.now:
        return
    if seconds is None:
        if row.due_at is not None:  # somebody wanted this look, and nothing follows from it
            Endpoint.objects.filter(pk=row.pk, due_at=row.due_at).update(due_at=None)
        return
    due = timezone.now() + timedelta(seconds=seconds)
    if Endpoint.objects.filter(pk=row.pk, due_at=row.due_at).update(due_at=due):
        nudge(row.pk, due=due.isoformat(), countdown=seconds)


def _shortened(step: Step) -> Step:
    """Fit the engine's own words into the row, before they are compared with it."""
    limit = 500
    if len(step.reason.sentence) <= limit:
        return step
    return replace(step, reason=replace(step.reason, sentence=step.reason.sentence[: limit - 1] + "…"))
