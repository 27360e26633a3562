"""How the objective is kept: the error budget, and how old the open requests are."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db.models import Count, F, Q, QuerySet
from django.utils import timezone

from approvals.models import Request, RequestState
from approvals.objective import calendar

DAY = 86_400
OPEN = (RequestState.SUBMITTED, RequestState.CHANGES_REQUESTED)


@dataclass(frozen=True)
class Budget:
    """How many of `finished` requests may be later than the objective, and how many are.

    `late` holds those that are open and overdue too: nothing makes them timely any more.
    """

    finished: int
    late: int
    share: float  # of all that is to be kept within the objective, within 0 to 1

    @property
    def allowed(self) -> int:
        """How many may be late."""
        return int(self.finished * (1 - self.share) + 1e-9)

    @property
    def left(self) -> int:
        """How many more may be late; below zero when the budget is overdrawn."""
        return self.allowed - self.late

    @property
    def burn(self) -> float | None:
        """Share of the budget that is used: 1 = all of it. None while nothing may be late, and nothing is."""
        if self.allowed:
            return round(self.late / self.allowed, 4)
        return None if not self.late else float(self.late)

    @property
    def kept(self) -> float | None:
        """Share that kept the objective; None without data."""
        return round(1 - self.late / self.finished, 4) if self.finished else None


@dataclass(frozen=True)
class Bucket:
    """How many open requests are of one age: `low` to `high` days of business time, `high` none for the overdue."""

    label: str
    low: int
    high: int | None
    count: int


@dataclass(frozen=True)
class Ageing:
    """The open requests by age against the objective, and those whose clock stands still."""

    buckets: Sequence[Bucket]
    with_requester: int

    @property
    def overdue(self) -> int:
        """How many are older than the objective."""
        return self.buckets[-1].count

    @property
    def waiting(self) -> int:
        """How many wait for a decision."""
        return sum(bucket.count for bucket in self.buckets)


def budget(finished: int, late: int) -> Budget:
    """Return the budget of `finished` requests, `late` of them later than the objective."""
    return Budget(finished, late, settings.OBJECTIVE_SHARE_PERCENT / 100)


def ageing(rows: QuerySet[Request], now: dt.datetime | None = None) -> Ageing:
    """Return how old the open ones among `rows` are (one query).

    A request of an age is due so much later: the ages are turned into moments, and the index of `due_at` counts.
    """
    now, days = now or timezone.now(), calendar.current()
    goal = settings.LEAD_TIME_OBJECTIVE_SECONDS
    steps = _steps(goal // DAY)
    bounds = [now if step * DAY >= goal else days.shift(now, goal - step * DAY) for step in steps]
    waiting = Q(state=RequestState.SUBMITTED)
    numbers = {
        f"from_{number}": Count("pk", filter=waiting & _between(bound, bounds[number + 1 : number + 2]))
        for number, bound in enumerate(bounds)
    }
    found = (
        rows.filter(state__in=OPEN)
        .order_by()
        .aggregate(
            youngest=Count("pk", filter=waiting & (Q(due_at__gt=bounds[0]) | Q(due_at=None))),
            still=Count("pk", filter=~waiting),
            **numbers,
        )
    )
    lows, highs = [0, *steps], [*steps, None]
    counts = [found["youngest"], *(found[f"from_{number}"] for number in range(len(steps)))]
    buckets = [
        Bucket(_label(low, high), low, high, count) for low, high, count in zip(lows, highs, counts, strict=True)
    ]
    return Ageing(buckets, found["still"])


def overdue(rows: QuerySet[Request], now: dt.datetime) -> QuerySet[Request]:
    """Return those of `rows` whose clock runs and has passed the objective."""
    return rows.filter(due_at__lte=now)


def untold(rows: QuerySet[Request]) -> QuerySet[Request]:
    """Return those of `rows` of which nobody was told that the objective has passed."""
    return rows.filter(Q(alerted_at=None) | Q(alerted_at__lt=F("due_at")))


def _between(bound: dt.datetime, later: Sequence[dt.datetime]) -> Q:
    """Return the condition for requests that are due up to `bound`, and not up to the next one."""
    return Q(due_at__lte=bound) & Q(due_at__gt=later[0]) if later else Q(due_at__lte=bound)


def _steps(days: int) -> list[int]:
    """Return the ages in days at which a bucket begins, behind the first one: 1, 3 and 5 of an objective of 5."""
    return sorted({1, max(1, (days + 1) // 2), max(1, days)})


def _label(low: int, high: int | None) -> str:
    if high is None:
        return "Overdue"
    return f"Under {high} day{'s' if high != 1 else ''}" if low == 0 else f"{low} to {high} days"
