"""What the accelerators cost that projects held, at list price.

Cost = accelerators × list price of one per hour × hours for which the reservation was held, from the moment the pool
gave them until they were given back: idle hours cost as much as busy ones. The price is the one of the hardware profile
when they were reserved. An endpoint without accelerators holds none, so nothing is known about its cost: it is "not
priced", which is not the same as free.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from django.db.models import OuterRef, Q, Subquery

from catalog.models import HardwareProfile
from portal.templatetags.gatehouse import money
from projects.permissions import visible
from projects.principal import Principal
from quotas.models import Reservation, UsageDay

EXACT = Decimal("0.0001")  # as fine as a list price
HOUR = Decimal(3600)
NOT_PRICED = "not priced"


def unit_price(profile: HardwareProfile) -> Decimal | None:
    """Return the list price of one accelerator of `profile` per hour, None for a profile without any."""
    if not profile.accelerator_count:
        return None
    return (profile.price_per_hour / profile.accelerator_count).quantize(EXACT)


@dataclass(frozen=True)
class Held:
    """Accelerators that were held for one holder without a break, cut to the range that was asked for."""

    project_id: int
    holder: str  # id
    name: str  # under which the holder was called last; the beginning of its id when it never was
    start: dt.datetime
    end: dt.datetime
    amount: int
    price: Decimal | None  # of one accelerator per hour
    currency: str

    def hours(self, start: dt.datetime, end: dt.datetime) -> Decimal:
        """Return the hours of the part between `start` and `end`."""
        span = min(end, self.end) - max(start, self.start)
        # Whole microseconds as integers: a float would round long spans.
        return max(Decimal(0), Decimal(span // dt.timedelta(microseconds=1)) / (HOUR * 1_000_000))


@dataclass
class Cost:
    """Money by currency; `unpriced` when something was held that had no list price."""

    amounts: dict[str, Decimal] = field(default_factory=dict)
    unpriced: bool = False

    def add(self, held: Held, start: dt.datetime, end: dt.datetime) -> None:
        """Add the part of `held` between `start` and `end`."""
        if held.price is None:
            self.unpriced = True
            return
        spent = held.amount * held.price * held.hours(start, end)
        self.amounts[held.currency] = self.amounts.get(held.currency, Decimal(0)) + spent

    @property
    def amount(self) -> Decimal | None:
        """The sum; None when nothing is priced or there are several currencies, which cannot be added."""
        return next(iter(self.amounts.values())).quantize(EXACT) if len(self.amounts) == 1 else None

    @property
    def text(self) -> str | None:
        """`amount` as the decimal string of the API and of CSV."""
        return None if self.amount is None else f"{self.amount:f}"

    @property
    def currency(self) -> str:
        """The currency of `amount`; several are joined, so that nobody takes the empty amount for nothing."""
        return "+".join(sorted(self.amounts))

    @property
    def words(self) -> str:
        """The cost as people read it."""
        known = " + ".join(str(money(value, currency)) for currency, value in sorted(self.amounts.items()))
        if not known:
            return NOT_PRICED
        return f"{known} + {NOT_PRICED}" if self.unpriced else known


def of_holder(holder: str, start: dt.datetime, end: dt.datetime) -> Cost:
    """Return what one holder's accelerators cost between `start` and `end` (one query); the caller has the authority to
    know.
    """
    rows = Reservation.objects.filter(
        Q(released_at__isnull=True) | Q(released_at__gt=start), holder_id=holder, held_at__lt=end
    )
    cost = Cost()
    for one in rows:
        begin, last = one.held_at or start, one.released_at or end
        found = Held(one.project_id, holder, "", begin, last, one.amount, one.price_per_hour, one.currency)
        cost.add(found, start, end)
    return cost


def held(
    principal: Principal,
    start: dt.datetime,
    end: dt.datetime,
    *,
    now: dt.datetime,
    project: str = "",
    endpoint: str = "",
) -> list[Held]:
    """Return what visible projects held between `start` and `end`, at most until the minute of `now`, in one query.

    Whole minutes, so that a page and the file behind its link say the same.

    `project` (a slug) and `endpoint` (a name) narrow it down.
    """
    end = min(end, now.replace(second=0, microsecond=0))
    if end <= start:
        return []
    last = UsageDay.objects.filter(endpoint_id=OuterRef("holder_id")).order_by("-start").values("endpoint")[:1]
    found = visible(principal, Reservation.objects.all()).filter(
        Q(released_at__isnull=True) | Q(released_at__gt=start), held_at__lt=end
    )
    if project:
        found = found.filter(project__slug=project)
    cut = [
        Held(
            project_id=one.project_id,
            holder=one.holder_id,
            name=one.holder_name or f"never called ({one.holder_id[:8]})",
            start=max(one.held_at, start),
            end=min(one.released_at or end, end),
            amount=one.amount,
            price=one.price_per_hour,
            currency=one.currency,
        )
        for one in found.annotate(holder_name=Subquery(last)).order_by("id")
    ]
    return [one for one in cut if endpoint in ("", one.name, one.holder)]


def total(parts: Iterable[Held]) -> Cost:
    """Return the cost of all `parts`."""
    cost = Cost()
    for one in parts:
        cost.add(one, one.start, one.end)
    return cost
