"""How full the pools were: what reservations prove, from when each was held until it was given back."""

import datetime as dt
from collections.abc import Iterable, Sequence
from itertools import accumulate

from django.db.models import Q

from quotas.models import Pool, Reservation

Row = tuple[int, int, dt.datetime, dt.datetime | None]  # pool id, accelerators, held at, released at


def occupancy(
    pools: Iterable[Pool], *, start: dt.datetime, end: dt.datetime, step: dt.timedelta
) -> dict[int, list[float]]:
    """Return the accelerators held on average in each slot of `step` from `start` to `end`, by pool id (one query).

    Source: the sum over reservations of accelerators × time held within the slot, divided by the slot's length; the
    last slot may be shorter. Raises ValueError for a range or step that is not positive.
    """
    if end <= start or step <= dt.timedelta():
        raise ValueError("a range and its step must be positive")
    wanted = [pool.pk for pool in pools]
    rows = Reservation.objects.filter(
        Q(released_at__isnull=True) | Q(released_at__gt=start), pool__in=wanted, held_at__lt=end
    ).order_by()
    columns = ("pool_id", "amount", "held_at", "released_at")
    by_pool: dict[int, list[Row]] = {pk: [] for pk in wanted}
    for row in rows.values_list(*columns):
        by_pool[row[0]].append(row)
    return {pk: average(held, start=start, end=end, step=step) for pk, held in by_pool.items()}


def average(rows: Sequence[Row], *, start: dt.datetime, end: dt.datetime, step: dt.timedelta) -> list[float]:
    """Return the accelerators held on average in each slot, in one pass over `rows` and one over the slots."""
    count = -(-(end - start) // step)
    whole = [0.0] * (count + 1)  # differences: what is held from a slot on, through whole slots
    parts = [0.0] * count  # accelerator-seconds in slots that are held for a part of them only
    for _, amount, held_at, released_at in rows:
        begin, until = max(held_at, start), min(released_at or end, end)
        if until <= begin:
            continue
        first, last = (begin - start) // step, min((until - start) // step, count - 1)
        if first == last:
            parts[first] += amount * (until - begin).total_seconds()
            continue
        parts[first] += amount * (start + (first + 1) * step - begin).total_seconds()
        parts[last] += amount * (until - (start + last * step)).total_seconds()
        whole[first + 1] += amount
        whole[last] -= amount
    levels = list(accumulate(whole))
    seconds = [(min(start + (slot + 1) * step, end) - (start + slot * step)).total_seconds() for slot in range(count)]
    return [levels[slot] + parts[slot] / seconds[slot] for slot in range(count)]
