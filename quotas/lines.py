"""Pools with their queues as `fairness` reads them."""

import datetime as dt
from collections.abc import Iterable

from django.conf import settings
from django.db.models import F, OuterRef, QuerySet, Subquery, Sum
from django.utils import timezone

from quotas import fairness
from quotas.fairness import Claim, Line, Terms
from quotas.models import Reservation, ReservationState, Share

LIVING = (ReservationState.WAITING, ReservationState.HELD)
COLUMNS = (
    "pool_id", "pool__limit", "pool__observed", "project_id", "id", "amount", "state", "created_at", "weight",
    "nominal", "borrowing_limit", "granted", "before",
)  # fmt: skip


def read(pools: Iterable[int]) -> dict[int, Line]:
    """Return the pools, of those with these ids, in which somebody holds or waits (one query)."""
    found: dict[int, Line] = {}
    waiting: dict[int, list[Claim]] = {}
    held: dict[int, dict[int, int]] = {}
    for row in _rows(pools).values_list(*COLUMNS):
        pool, limit, observed, project, identifier, amount, state, since, *terms, granted, before = row
        if pool not in found:
            waiting[pool], held[pool] = [], {}
            found[pool] = Line(limit, observed, held[pool], waiting[pool], {}, granted or 0)
        line = found[pool]
        if state == ReservationState.HELD:
            held[pool][project] = held[pool].get(project, 0) + amount
        else:
            waiting[pool].append(Claim(identifier, project, amount, max(since, before or since)))
        if terms[0] is not None:
            line.terms[project] = Terms(*terms)  # type: ignore[index]
    return found


def patience() -> dt.timedelta:
    """Return how long a project waits before its oldest reservation is not passed over any more."""
    return dt.timedelta(hours=settings.QUEUE_PATIENCE_HOURS)


def places(pools: Iterable[int]) -> dict[int, int]:
    """Return the place in its pool's queue of each reservation that waits, 1 for the next one (one query)."""
    now = timezone.now()
    return {
        claim.id: place
        for line in read(pools).values()
        for place, claim in enumerate(fairness.order(line, now, patience()), 1)
    }


def _rows(pools: Iterable[int]) -> QuerySet[Reservation]:
    own = Share.objects.filter(pool=OuterRef("pool"), project=OuterRef("project"))
    granted = Share.objects.filter(pool=OuterRef("pool"), nominal__isnull=False).order_by().values("pool")
    served = Reservation.objects.filter(
        pool=OuterRef("pool"), project=OuterRef("project"), held_at__isnull=False, id__lt=OuterRef("id")
    )
    terms = {name: Subquery(own.values(name)[:1]) for name in ("weight", "nominal", "borrowing_limit")}
    return (
        Reservation.objects.filter(pool_id__in=set(pools), state__in=LIVING)
        .annotate(
            **terms,
            granted=Subquery(granted.annotate(sum=Sum("nominal")).values("sum")),
            before=Subquery(served.order_by(F("held_at").desc()).values("held_at")[:1]),
        )
        .order_by("id")
    )
