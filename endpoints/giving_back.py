"""Giving back what was borrowed: when a project waits for accelerators that are within its share and others hold more
than theirs, an endpoint of a borrower is asked for; its people have the pool's hours of grace, then it is suspended.

Asked first are dev, then staging, in each those that are idle, then the newest; prod only where the pool says so. What
comes back in another way, or is not needed any more, ends the question. `settle` may run twice or at the same time as
itself: the pool's row is locked, a reservation is asked for once, and a question ends once.
"""

import datetime as dt
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from audit.services import record, system
from endpoints import idle
from endpoints.changes import tell, want
from endpoints.facts import counted
from endpoints.models import Desired, Endpoint, Environment
from endpoints.seats import HOLDER_KIND, RETIRING
from endpoints.timeline import note
from portal.errors import GatehouseError
from quotas import fairness, lines
from quotas.fairness import Line, Need
from quotas.models import GiveBack, GiveBackRule, Pool, Reservation, ReservationState

Done = TypeVar("Done")
log = logging.getLogger(__name__)
ACTOR = system("capacity")
RANK = {Environment.DEV: 0, Environment.STAGING: 1, Environment.PROD: 2}
ASKED = "asked_back"  # code of the event that a question leaves
TAKEN = ("given_back", "It was suspended: its accelerators were lent, and whose they are needs them.", "owner")


@dataclass(frozen=True)
class Held:
    """What an endpoint holds of a pool, as far as it could be given back."""

    reservation: Reservation
    endpoint: Endpoint
    idle: bool

    @property
    def amount(self) -> int:
        """Accelerators."""
        return int(self.reservation.amount)


def settle() -> int:
    """Ask back, take back, and end the questions that are settled; return how many endpoints were asked or taken."""
    waited = Q(reservations__state=ReservationState.WAITING)
    asked = Q(pk__in=GiveBack.objects.filter(ended_at=None).values("reservation__pool"))
    count = 0
    for pk in Pool.objects.filter(waited | asked).order_by("pk").values_list("pk", flat=True).distinct():
        chosen, due = _apart(pk, partial(_settle, pk)) or (0, [])
        count += chosen + sum(_apart(pk, partial(_take, one)) or 0 for one in due)
    return count


def _apart(pool: int, work: Callable[[], Done]) -> Done | None:
    """Do `work` in a transaction of its own; None when somebody else was faster."""
    try:
        with transaction.atomic():
            return work()
    except GatehouseError as error:
        log.warning("endpoints.give_back_failed pool=%s error=%s", pool, error)
        return None


def choose(candidates: Iterable[Held], beyond: Mapping[int, int], amount: int) -> list[Held]:
    """Return whom to ask for `amount` accelerators together. `beyond`: what each project holds beyond its share.

    A project is asked only while it holds more than its share, and first for what leaves it its share. Who would give
    more than is missing, once somebody larger had to be asked, too, is spared.
    """
    left, rest, chosen, missing = dict(beyond), list(candidates), list[Held](), amount
    while missing > 0 and (able := [one for one in rest if left.get(one.reservation.project_id, 0) > 0]):
        best = min(able, key=lambda one: _order(one, left[one.reservation.project_id]))
        rest.remove(best)
        chosen.append(best)
        left[best.reservation.project_id] -= best.amount
        missing -= best.amount
    for one in reversed(chosen[:]):
        if missing + one.amount <= 0:
            chosen.remove(one)
            missing += one.amount
    return chosen


def _order(one: Held, beyond: int) -> tuple[bool, int, bool, int, float]:
    held_at = one.reservation.held_at
    newest = -held_at.timestamp() if held_at else 0.0
    return (one.amount > beyond, RANK.get(Environment(one.endpoint.environment), 0), not one.idle, -beyond, newest)


def _settle(pk: int) -> tuple[int, list[GiveBack]]:
    """Ask and withdraw under the lock of the pool; return how many were asked, and the questions whose grace is over.

    Whoever changes an endpoint locks its row first and the pool second. So nobody may wait for an endpoint here: what
    somebody else is changing is left to the next time, and what is due is taken after the pool is free again.
    """
    pool, now = Pool.objects.select_for_update().get(pk=pk), timezone.now()
    line = lines.read([pool.pk]).get(pool.pk, Line(pool.limit, pool.observed))
    needs = fairness.needs(line, now, lines.patience()) if pool.give_back != GiveBackRule.NEVER else []
    there = list(Reservation.objects.filter(pool=pool, state=ReservationState.HELD).select_related("pool", "project"))
    endpoints = idle.holders(there)
    stays, wanted, beyond = list[Reservation](), sum(need.amount for need in needs), fairness.borrowed(line)
    for one in there:
        if leaves(one, endpoints):
            wanted -= one.amount
            beyond[one.project_id] = beyond.get(one.project_id, 0) - one.amount
        else:
            stays.append(one)
    known = {one.pk: endpoints.get(one.holder_id) for one in stays}
    kept = _review(pool, wanted, beyond, known, now)
    missing = wanted - sum(one.reservation.amount for one in kept)
    able = _candidates(pool, stays, endpoints, kept) if missing > 0 else []
    chosen = [one for one in choose(able, beyond, missing) if _is_free(one.endpoint)]
    for held in chosen:
        _ask(pool, held, needs, now)
    return len(chosen), [one for one in kept if one.due_at <= now]


def leaves(one: Reservation, endpoints: Mapping[str, Endpoint]) -> bool:
    """Whether something comes back by itself: of engines that end, and of endpoints that are told to stop."""
    row = endpoints.get(one.holder_id)
    return one.holder_kind == RETIRING or (row is not None and row.desired != Desired.RUNNING)


def may_be_asked(pool: Pool, row: Endpoint | None) -> bool:
    """Whether the pool lets an endpoint be asked for what it holds."""
    return row is not None and (row.environment != Environment.PROD or pool.give_back == GiveBackRule.ANY)


def _is_free(row: Endpoint) -> bool:
    """Lock an endpoint; whether nobody else is changing it now."""
    rows = Endpoint.objects.select_for_update(of=("self",), skip_locked=True).filter(pk=row.pk)
    return rows.values_list("pk").first() is not None


def _review(
    pool: Pool, wanted: int, beyond: dict[int, int], known: Mapping[int, Endpoint | None], now: dt.datetime
) -> list[GiveBack]:
    """End the open questions that are settled or not needed any more, and return the others, with what they give taken
    from `beyond`. `known` are the endpoints by what they hold, of all that hold something and do not leave.
    """
    open_ = GiveBack.objects.filter(reservation__pool=pool, ended_at=None).select_related("reservation__pool")
    kept = list[GiveBack]()
    for one in open_.order_by("id"):
        held = one.reservation
        if held.state != ReservationState.HELD:
            _end(one, "given", now)
            continue
        if held.pk not in known:  # it comes back by itself, and that ends the question
            continue
        row, enough = known[held.pk], wanted <= sum(other.reservation.amount for other in kept)
        if enough or beyond.get(held.project_id, 0) <= 0 or not may_be_asked(pool, row):
            _withdraw(one, row, now)
        else:
            kept.append(one)
            beyond[held.project_id] -= held.amount
    return kept


def _candidates(
    pool: Pool, there: Sequence[Reservation], endpoints: Mapping[str, Endpoint], kept: Sequence[GiveBack]
) -> list[Held]:
    lazy = {str(one.endpoint.pk) for one in idle.judge(there, endpoints)}
    asked = {one.reservation_id for one in kept}
    return [
        Held(one, endpoints[one.holder_id], one.holder_id in lazy)
        for one in there
        if one.holder_kind == HOLDER_KIND and one.pk not in asked and may_be_asked(pool, endpoints.get(one.holder_id))
    ]


def _ask(pool: Pool, one: Held, needs: Sequence[Need], now: dt.datetime) -> None:
    """Tell the people of an endpoint that it will be suspended, and when."""
    due, row = now + dt.timedelta(hours=pool.grace_hours), one.endpoint
    GiveBack.objects.create(reservation=one.reservation, wanted_by_id=needs[0].claim.id, due_at=due)
    amount = counted(one.amount, "accelerator")
    sentence = (
        f"{amount} of {pool.slug} that it holds are lent, and the project whose they are needs them. "
        f"It is suspended on {due:%d %b %Y at %H:%M} UTC unless others come back first."
    )
    note(row, ASKED, sentence)
    after = {"pool": pool.slug, "accelerators": one.amount, "due_at": due}
    record("endpoints.ask_back", by=ACTOR, obj=row, project=row.project.slug, after=after)
    tell(
        row, "endpoint.give_back", f"{row.project.slug}/{row.name} runs on borrowed accelerators that are needed.",
        idle.audience(row), text=f"{sentence} Suspend it now to give them back at once; Resume puts it into the queue.",
        once=f"give-back:{one.reservation.pk}:{due:%Y%m%d%H%M}", pool=pool.slug, accelerators=one.amount,
        due_at=due.isoformat(),
    )  # fmt: skip


def _take(one: GiveBack) -> int:
    """Suspend an endpoint whose grace is over; 1 when that was done. Raises Conflict when it does not run any more."""
    now = timezone.now()
    row = idle.holders([one.reservation]).get(one.reservation.holder_id)
    if row is None or not _end(one, "suspended", now):  # another worker was faster
        return 0
    reason = f"Its grace ended on {one.due_at:%d %b %Y at %H:%M} UTC."
    want(ACTOR, "suspend", row, Desired.SUSPENDED, TAKEN, source=Desired.RUNNING, reason=reason, event=TAKEN[1])
    tell(
        row, "endpoint.suspended", f"{row.project.slug}/{row.name} is suspended: its accelerators were lent.",
        idle.audience(row), text="Resume puts it into the queue of the pool.", once=f"give-back-end:{one.pk}",
    )  # fmt: skip
    return 1


def _withdraw(one: GiveBack, row: Endpoint | None, now: dt.datetime) -> None:
    """Tell the people of an endpoint that nothing is asked for any more; not while somebody else is changing it."""
    if row is None:
        _end(one, "withdrawn", now)
    elif _is_free(row) and _end(one, "withdrawn", now):
        note(row, "ask_withdrawn", "Its accelerators are not needed back any more.")
        record("endpoints.withdraw_ask", by=ACTOR, obj=row, project=row.project.slug, after={"outcome": "withdrawn"})


def _end(one: GiveBack, outcome: str, now: dt.datetime) -> bool:
    """End a question; whether it was open."""
    return bool(GiveBack.objects.filter(pk=one.pk, ended_at=None).update(ended_at=now, outcome=outcome))
