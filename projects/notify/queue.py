"""The queue of deliveries: claiming rows for one worker, and what becomes of a row after an attempt.

A claim is a lease: a worker that dies gives its rows back when the lease ends. A row may therefore be sent twice, never
be lost; mails and calls carry an id by which the other side can tell.
"""

import datetime as dt
import random
from collections.abc import Iterable, Sequence

from django.db import transaction
from django.db.models import F, Q, QuerySet

from portal.states import move
from projects.models import Delivery, DeliveryState

LEASE = dt.timedelta(seconds=90)  # longer than the longest attempt on what is claimed at once


def due(channel: str, now: dt.datetime) -> QuerySet[Delivery]:
    """Return the rows of `channel` that wait, whose time has come and which nobody holds."""
    return free(channel, now).filter(due_at__lte=now)


def free(channel: str, now: dt.datetime) -> QuerySet[Delivery]:
    """Return the rows of `channel` that wait and which nobody holds, due or not."""
    waiting = Delivery.objects.filter(channel=channel, state=DeliveryState.WAITING)
    return waiting.filter(Q(claimed_until=None) | Q(claimed_until__lte=now))


def claim(rows: QuerySet[Delivery], now: dt.datetime, limit: int) -> list[Delivery]:
    """Take up to `limit` of `rows` for this worker and return them; rows that another one is taking are left out."""
    with transaction.atomic():
        taken = list(rows.select_for_update(skip_locked=True, of=("self",))[:limit])
        Delivery.objects.filter(pk__in=[row.pk for row in taken]).update(claimed_until=now + LEASE)
    return taken


def sent(rows: Iterable[Delivery], now: dt.datetime, status: int | None = None) -> None:
    """Note that an attempt on `rows` came through."""
    move(
        Delivery.objects.filter(pk__in=[row.pk for row in rows]),
        DeliveryState.WAITING,
        DeliveryState.SENT,
        sent_at=now,
        attempts=F("attempts") + 1,
        claimed_until=None,
        last_status=status,
        last_error="",
    )


def dead(rows: Iterable[Delivery], error: str, status: int | None = None) -> None:
    """Give up on `rows`; they stay, with the reason, until somebody replays them."""
    move(
        Delivery.objects.filter(pk__in=[row.pk for row in rows]),
        DeliveryState.WAITING,
        DeliveryState.DEAD,
        attempts=F("attempts") + 1,
        claimed_until=None,
        last_status=status,
        last_error=error[:300],
    )


def again(rows: Iterable[Delivery], at: dt.datetime, error: str, status: int | None = None) -> None:
    """Let `rows` wait until `at` for their next attempt."""
    Delivery.objects.filter(pk__in=[row.pk for row in rows], state=DeliveryState.WAITING).update(
        attempts=F("attempts") + 1, due_at=at, claimed_until=None, last_status=status, last_error=error[:300]
    )


def put_back(rows: Iterable[Delivery], at: dt.datetime | None = None) -> None:
    """Give `rows` back untried, to be looked at now or not before `at`."""
    values = {"claimed_until": None} if at is None else {"claimed_until": None, "due_at": at}
    Delivery.objects.filter(pk__in=[row.pk for row in rows], state=DeliveryState.WAITING).update(**values)


def spread(seconds: float) -> dt.timedelta:
    """Return between 75 and 100 % of `seconds`, so that what failed together does not come back together."""
    return dt.timedelta(seconds=seconds * random.uniform(0.75, 1))  # noqa: S311 - no secret


def by_attempts(rows: Sequence[Delivery]) -> dict[int, list[Delivery]]:
    """Group `rows` by the attempts that were made on them."""
    groups: dict[int, list[Delivery]] = {}
    for row in rows:
        groups.setdefault(row.attempts, []).append(row)
    return groups
