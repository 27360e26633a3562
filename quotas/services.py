"""Pools and reservations: who holds how many accelerators, and who waits.

`Pool.held` moves only by the conditional UPDATE in `_hold` and its counterpart in `release`; a CHECK in the database
forbids what they forbid. On PostgreSQL every change locks the pool's row first, so that a release and a newcomer see
each other; SQLite runs one IMMEDIATE transaction at a time.

Order: `reserve` puts the newcomer at the end of its project's queue and then serves the pool by fair share
(quotas/fairness.py): the project furthest below its share first, within a project who came first. So nobody of a
project overtakes somebody of it who would fit, and a large reservation does not block small ones that fit beside it,
until it has waited for settings.QUEUE_PATIENCE_HOURS: then what is free is kept for it.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.db import transaction
from django.db.models import F, Q, QuerySet, Sum
from django.utils import timezone

from audit.services import Actor, record, system
from portal.errors import Conflict, Invalid
from portal.states import move
from projects.models import Project
from quotas import fairness, lines
from quotas.gpus import require_gpus
from quotas.lines import LIVING
from quotas.models import GiveBack, Pool, Reservation, ReservationState

log = logging.getLogger(__name__)
MOST_OBSERVED = 100_000  # accelerators of one pool


@dataclass(frozen=True)
class Room:
    """What is left of a pool, in accelerators. `waiting` is what waiting reservations ask for together."""

    limit: int
    observed: int
    held: int
    waiting: int
    available: int


def rooms(pools: Iterable[Pool]) -> dict[int, Room]:
    """Return the room of each of `pools` by its id, read anew (one query)."""
    waiting = Sum("reservations__amount", filter=Q(reservations__state=ReservationState.WAITING), default=0)
    fresh = Pool.objects.filter(pk__in=[pool.pk for pool in pools]).annotate(asked=waiting)
    return {
        pool.pk: Room(
            limit=pool.limit,
            observed=pool.observed,
            held=pool.held,
            waiting=pool.asked,
            available=max(0, min(pool.limit, pool.observed) - pool.held),
        )
        for pool in fresh
    }


def room(pool: Pool) -> Room:
    """Return the room of `pool` as it is now (one query)."""
    return rooms([pool])[pool.pk]


def reserve(
    by: Actor,
    pool: Pool,
    amount: int,
    *,
    holder: tuple[str, str],
    project: Project,
    price: Decimal | None = None,
    currency: str = "",
    running: bool = False,
) -> Reservation:
    """Reserve `amount` accelerators of `pool` for `holder`, (kind, id): held when there is room, else waiting.

    The caller has checked that `by` may spend them, and may have a transaction open. A holder that has the same
    reservation already gets it back, so that a retry changes nothing. Raises Invalid when the amount could never fit,
    and Conflict when the holder has another reservation or the project's GPU quota is used up (`gpu_quota`).
    `price` is the list price of one accelerator per hour in `currency`, None where there is none. `running`: the holder
    has them already, so it waits for nobody's turn.
    """
    _check_amount(pool, amount)
    kind, identifier = holder
    with transaction.atomic():
        pool = _locked(pool.pk)
        _check_amount(pool, amount)
        present = _living(holder).first()
        if present is not None:
            if (present.pool_id, present.amount) == (pool.pk, amount):
                return present
            raise Conflict(
                f"This {kind} has a reservation of {present.amount} already. Release it first.", code="already_reserved"
            )
        require_gpus(project, amount)
        made = Reservation.objects.create(
            pool=pool, project=project, amount=amount, holder_kind=kind, holder_id=identifier,
            price_per_hour=price, currency=currency,
        )  # fmt: skip
        after = {"pool": pool.slug, "amount": amount, "holder": f"{kind}:{identifier}"}
        record("quotas.reserve", by=by, obj=made, project=project.slug, after=after)
        if running:
            _hold(by, made)
        _serve(by, pool)
        made.refresh_from_db()
    return made


def release(by: Actor, holder: tuple[str, str]) -> list[Reservation]:
    """Give back what `holder` holds or waits for, and return the waiting reservations that are held now instead.

    Nothing to give back is success: the caller may be a retry. The caller nudges the holders of the returned ones.
    """
    with transaction.atomic():
        found = _living(holder).values_list("pool_id", flat=True).first()
        if found is None:
            return []
        pool = _locked(found)
        given = _living(holder).select_related("project").first()  # again, under the lock
        if given is None:
            return []
        own = Reservation.objects.filter(pk=given.pk)
        was_held = move(own, ReservationState.HELD, ReservationState.RELEASED, released_at=timezone.now())
        if was_held:
            if not Pool.objects.filter(pk=pool.pk, held__gte=given.amount).update(held=F("held") - given.amount):
                log.error("quotas.release pool=%s counts less than is given back; see check_pools", pool.slug)
        elif not move(own, ReservationState.WAITING, ReservationState.RELEASED, released_at=timezone.now()):
            return []
        before = {"pool": pool.slug, "amount": given.amount, "state": "held" if was_held else "waiting"}
        record("quotas.release", by=by, obj=given, project=given.project.slug, before=before)
        return _serve(by, pool)


def resize(by: Actor, holder: tuple[str, str], amount: int) -> list[Reservation]:
    """Let `holder` keep only `amount` accelerators (at least 1), and return the waiting reservations that are held now
    instead.

    A held reservation is closed and a smaller one takes its place, so that the history of what was held stays true; a
    waiting one asks for less and keeps its place. Nothing to make smaller is success: the caller may be a retry.
    Raises Invalid below 1.
    """
    if isinstance(amount, bool) or amount < 1:
        raise Invalid.field("amount", f"amount is {amount}; a reservation keeps at least 1 accelerator.")
    with transaction.atomic():
        given = _locked_living(holder)
        if given is None or given.amount <= amount:
            return []
        before = {"pool": given.pool.slug, "amount": given.amount, "state": given.state}
        if given.state == ReservationState.WAITING:
            Reservation.objects.filter(pk=given.pk, state=ReservationState.WAITING).update(amount=amount)
            made = given
        else:
            freed = given.amount - amount
            if not Pool.objects.filter(pk=given.pool_id, held__gte=freed).update(held=F("held") - freed):
                log.error("quotas.resize pool=%s counts less than is given back; see check_pools", given.pool.slug)
            made = _replace([given], given, amount)
        record("quotas.resize", by=by, obj=made, project=given.project.slug, before=before, after={"amount": amount})
        return _serve(by, given.pool)


def merge(by: Actor, giver: tuple[str, str], taker: tuple[str, str]) -> bool:
    """Add what `giver` holds to what `taker` holds in the same pool; whether both were held, so that it was done."""
    with transaction.atomic():
        given = _locked_living(giver)
        own = _living(taker).select_related("project", "pool").first()
        if given is None or own is None or {given.state, own.state} != {ReservationState.HELD}:
            return False
        if given.pool_id != own.pool_id:
            return False
        made = _replace([given, own], own, given.amount + own.amount)
        before = {"pool": own.pool.slug, "amount": own.amount, "more": given.amount}
        record("quotas.merge", by=by, obj=made, project=own.project.slug, before=before, after={"amount": made.amount})
    return True


def hand_over(by: Actor, giver: tuple[str, str], taker: tuple[str, str]) -> Reservation | None:
    """Make `taker` the holder of what `giver` holds or waits for; None when that is nothing.

    Raises Conflict when `taker` has a reservation already.
    """
    with transaction.atomic():
        given = _locked_living(giver)
        if given is None:
            return None
        if _living(taker).exists():
            raise Conflict(f"This {taker[0]} has a reservation already. Release it first.", code="already_reserved")
        Reservation.objects.filter(pk=given.pk).update(holder_kind=taker[0], holder_id=taker[1])
        before, after = {"holder": ":".join(giver)}, {"holder": ":".join(taker)}
        record("quotas.hand_over", by=by, obj=given, project=given.project.slug, before=before, after=after)
        given.refresh_from_db()
    return given


def promote(pool: Pool, *, by: Actor | None = None) -> list[Reservation]:
    """Hold every waiting reservation of `pool` that fits now, in the order of their turns, and return them.

    `reserve`, `release` and `observe` do this by themselves; a sweep calls it for what changed in another way.
    """
    with transaction.atomic():
        return _serve(by or system("capacity"), _locked(pool.pk))


def promote_all() -> list[Reservation]:
    """Promote in every pool that somebody waits for."""
    crowded = Pool.objects.filter(reservations__state=ReservationState.WAITING).distinct()
    return [reservation for pool in crowded for reservation in promote(pool)]


def observe(by: Actor, pool: Pool, observed: int) -> list[Reservation]:
    """Note how many accelerators the nodes of `pool` report, and return what could be promoted.

    Fewer than are held is possible (a node is down): nothing is taken away, no new hold is given, a check says so.
    """
    if isinstance(observed, bool) or not 0 <= observed <= MOST_OBSERVED:
        raise Invalid.field(
            "observed", f"observed is {observed}; it must lie between 0 and {MOST_OBSERVED:,} accelerators."
        )
    with transaction.atomic():
        pool = _locked(pool.pk)
        if pool.observed == observed:
            return []
        Pool.objects.filter(pk=pool.pk).update(observed=observed)
        record("quotas.observe", by=by, obj=pool, before={"observed": pool.observed}, after={"observed": observed})
        return _serve(by, pool)


def position(reservation: Reservation) -> int:
    """Return the place in the queue, 1 for the next one, 0 for a reservation that does not wait."""
    return positions([reservation])[reservation.pk]


def positions(reservations: Iterable[Reservation]) -> dict[int, int]:
    """Return the place in its pool's queue by reservation id, 0 for those that do not wait (one query)."""
    wanted = {item.pk: item.pool_id for item in reservations}
    places = lines.places(wanted.values())
    return {identifier: places.get(identifier, 0) for identifier in wanted}


def _locked(pool_id: int) -> Pool:
    return Pool.objects.select_for_update().get(pk=pool_id)


def _living(holder: tuple[str, str]) -> QuerySet[Reservation]:
    return Reservation.objects.filter(holder_kind=holder[0], holder_id=holder[1], state__in=LIVING)


def _locked_living(holder: tuple[str, str]) -> Reservation | None:
    """Return what `holder` holds or waits for, with its pool locked first, as every change does."""
    found = _living(holder).values_list("pool_id", flat=True).first()
    if found is None:
        return None
    _locked(found)
    return _living(holder).select_related("project", "pool").first()


def _replace(closed: list[Reservation], like: Reservation, amount: int) -> Reservation:
    """Close held reservations and return a new held one like `like`; the pool's counter is the caller's matter."""
    now = timezone.now()
    for one in closed:
        move(Reservation.objects.filter(pk=one.pk), ReservationState.HELD, ReservationState.RELEASED, released_at=now)
    made = Reservation.objects.create(
        pool=like.pool, project=like.project, amount=amount, holder_kind=like.holder_kind, holder_id=like.holder_id,
        price_per_hour=like.price_per_hour, currency=like.currency,
    )  # fmt: skip
    move(Reservation.objects.filter(pk=made.pk), ReservationState.WAITING, ReservationState.HELD, held_at=now)
    # Who is asked to give back stays asked, with the same grace, when it grows or shrinks meanwhile.
    GiveBack.objects.filter(reservation__in=closed, ended_at=None).update(reservation=made)
    made.refresh_from_db()
    return made


def _check_amount(pool: Pool, amount: int) -> None:
    if isinstance(amount, bool) or amount < 1:
        raise Invalid.field("amount", f"amount is {amount}; a reservation needs at least 1 accelerator.")
    if amount > pool.limit:
        raise Invalid.field(
            "amount",
            f"{amount} accelerators never fit into {pool.slug}, which has {pool.limit} in total. "
            "Ask for fewer replicas or a smaller hardware profile.",
            code="never_fits",
        )


def _serve(by: Actor, pool: Pool) -> list[Reservation]:
    """Hold the waiting ones that fit, in the order of their turns; the pool's row is locked by the caller."""
    served: list[Reservation] = []
    fresh, now = Pool.objects.get(pk=pool.pk), timezone.now()
    line = lines.read([pool.pk]).get(pool.pk) if fresh.held < min(fresh.limit, fresh.observed) else None
    while line is not None:
        claim = fairness.following(line, now, lines.patience())
        if claim is None:
            return served
        chosen = Reservation.objects.select_related("project", "pool").get(pk=claim.id)
        if _hold(by, chosen):
            chosen.refresh_from_db(fields=["state", "held_at"])
            served.append(chosen)
            line = line.holds(claim, now)
        else:  # the counter says less than the sum, or it was given back meanwhile
            line = line.without(claim)
    return served


def _hold(by: Actor, reservation: Reservation) -> bool:
    """Take the accelerators by one conditional UPDATE, then move the state; whether it succeeded."""
    enough = Q(limit__gte=F("held") + reservation.amount, observed__gte=F("held") + reservation.amount)
    pool = Pool.objects.filter(pk=reservation.pool_id)
    if not pool.filter(enough).update(held=F("held") + reservation.amount):
        return False
    own = Reservation.objects.filter(pk=reservation.pk)
    if not move(own, ReservationState.WAITING, ReservationState.HELD, held_at=timezone.now()):
        pool.update(held=F("held") - reservation.amount)  # it was given back in the meantime
        return False
    after = {"pool": reservation.pool.slug, "amount": reservation.amount}
    record("quotas.promote", by=by, obj=reservation, project=reservation.project.slug, after=after)
    return True
