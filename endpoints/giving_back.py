"""Giving back what was borrowed: when a project waits for accelerators that are within its share and others hold more
than theirs, an endpoint of a borrower is asked for; its people have the pool's hours of grace, then it is suspended.

Asked first are dev, then staging, in each those that are idle, then the newest; prod only where the pool says so. What
comes back in another way, or is not needed any more, ends the question. `settle` may run twice or at the same time as
itself: the pool's row is locked, and a reservation is asked for once.
"""

import datetime as dt
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

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
        try:
            with transaction.atomic():
                count += _settle(Pool.objects.select_for_update().get(pk=pk))
        except GatehouseError as error:  # somebody else was faster
            log.warning("endpoints.give_back_failed pool=%s error=%s", pk, error)
    return count


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


def _settle(pool: Pool) -> int:
    now = timezone.now()
    line = lines.read([pool.pk]).get(pool.pk, Line(pool.limit, pool.observed))
    needs = fairness.needs(line, now, lines.patience()) if pool.give_back != GiveBackRule.NEVER else []
    there = list(Reservation.objects.filter(pool=pool, state=ReservationState.HELD).select_related("pool", "project"))
    endpoints = idle.holders(there)
    wanted = sum(need.amount for need in needs) - _coming(there, endpoints)
    kept, taken = _review(pool, wanted, line, now)
    missing = wanted - sum(one.reservation.amount for one in kept)
    if missing <= 0:
        return taken
    asked = {one.reservation_id for one in kept}
    beyond = fairness.borrowed(line)
    for known in kept:
        held = known.reservation
        beyond[held.project_id] = beyond.get(held.project_id, 0) - held.amount
    chosen = choose(_candidates(pool, there, endpoints, asked), beyond, missing)
    for one in chosen:
        _ask(pool, one, needs, now)
    return taken + len(chosen)


def _coming(there: Iterable[Reservation], endpoints: Mapping[str, Endpoint]) -> int:
    """Return what comes back by itself: of engines that end, and of endpoints that are told to stop."""
    return sum(
        one.amount
        for one in there
        if one.holder_kind == RETIRING
        or (one.holder_id in endpoints and endpoints[one.holder_id].desired != Desired.RUNNING)
    )


def _review(pool: Pool, wanted: int, line: Line, now: dt.datetime) -> tuple[list[GiveBack], int]:
    """End the open questions that are settled or not needed any more, take what is due, and return the others, and of
    how many endpoints something was taken.
    """
    related = ("reservation__project", "reservation__pool", "wanted_by__project")
    open_ = GiveBack.objects.filter(reservation__pool=pool, ended_at=None).select_related(*related).order_by("id")
    kept, taken, beyond = list[GiveBack](), 0, fairness.borrowed(line)
    for one in open_:
        held = one.reservation
        if held.state != ReservationState.HELD:
            _end(one, "given", now)
        elif wanted <= sum(known.reservation.amount for known in kept) or beyond.get(held.project_id, 0) <= 0:
            _end(one, "withdrawn", now)
        elif one.due_at <= now:
            # Its engines hold it until they are gone; no other endpoint is asked for the same accelerators.
            kept.append(one)
            taken += _take(one, now)
        else:
            kept.append(one)
    return kept, taken


def _candidates(
    pool: Pool, there: Sequence[Reservation], endpoints: Mapping[str, Endpoint], asked: set[int]
) -> list[Held]:
    lazy = {str(one.endpoint.pk) for one in idle.judge(there, endpoints)}
    found = []
    for one in there:
        row = endpoints.get(one.holder_id)
        if row is None or one.holder_kind != HOLDER_KIND or one.pk in asked or row.desired != Desired.RUNNING:
            continue
        if row.environment == Environment.PROD and pool.give_back != GiveBackRule.ANY:
            continue
        found.append(Held(one, row, one.holder_id in lazy))
    return found


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


def _take(one: GiveBack, now: dt.datetime) -> int:
    """Suspend an endpoint whose grace is over; 1 when that was done."""
    row = idle.holders([one.reservation]).get(one.reservation.holder_id)
    if row is None or row.desired != Desired.RUNNING:
        return 0
    if row.environment == Environment.PROD and one.reservation.pool.give_back != GiveBackRule.ANY:
        _end(one, "withdrawn", now)
        return 0
    reason = f"Its grace ended on {one.due_at:%d %b %Y at %H:%M} UTC."
    want(ACTOR, "suspend", row, Desired.SUSPENDED, TAKEN, source=Desired.RUNNING, reason=reason, event=TAKEN[1])
    _end(one, "suspended", now)
    tell(
        row, "endpoint.suspended", f"{row.project.slug}/{row.name} is suspended: its accelerators were lent.",
        idle.audience(row), text="Resume puts it into the queue of the pool.", once=f"give-back-end:{one.pk}",
    )  # fmt: skip
    return 1


def _end(one: GiveBack, outcome: str, now: dt.datetime) -> None:
    GiveBack.objects.filter(pk=one.pk, ended_at=None).update(ended_at=now, outcome=outcome)
    row = idle.holders([one.reservation]).get(one.reservation.holder_id)
    if row is not None and outcome == "withdrawn":
        note(row, "ask_withdrawn", "Its accelerators are not needed back any more.")
        record("endpoints.withdraw_ask", by=ACTOR, obj=row, project=row.project.slug, after={"outcome": outcome})
