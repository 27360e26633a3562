"""Adding events to the hourly and daily sums, in the transaction that writes the events."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from quotas import histogram
from quotas.histogram import Histogram
from quotas.models import Outcome, RollUp, UsageDay, UsageEvent, UsageHour

KEY = ("start", "project_id", "endpoint_id", "key_id")
COUNTERS = ("requests", "errors", "input_tokens", "output_tokens", "cached_tokens")
HISTOGRAMS = ("ttft", "latency")
FAILED = frozenset({Outcome.ERROR.value, Outcome.INTERRUPTED.value})

Key = tuple[dt.datetime, int, str, str]
Table = TypeVar("Table", UsageHour, UsageDay)


def floor(moment: dt.datetime, interval: str) -> dt.datetime:
    """Return the start of the hour, day or month (UTC) in which `moment` lies."""
    utc = moment.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)
    if interval == "hour":
        return utc
    return utc.replace(hour=0) if interval == "day" else utc.replace(hour=0, day=1)


@dataclass
class Total:
    """Sums of some calls."""

    requests: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    ttft: Histogram = field(default_factory=dict)
    latency: Histogram = field(default_factory=dict)

    def count(self, event: UsageEvent) -> None:
        """Add one call."""
        self.requests += 1
        self.errors += event.outcome in FAILED
        self.input_tokens += event.input_tokens
        self.output_tokens += event.output_tokens
        self.cached_tokens += event.cached_tokens
        if event.ttft_ms is not None:
            histogram.add(self.ttft, event.ttft_ms)
        if event.latency_ms is not None:
            histogram.add(self.latency, event.latency_ms)

    def merge(self, other: "Total | RollUp") -> None:
        """Add the sums of `other`."""
        for name in COUNTERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        histogram.merge(self.ttft, other.ttft)
        histogram.merge(self.latency, other.latency)


def add(events: Sequence[UsageEvent]) -> None:
    """Add `events` to both tables; the caller's transaction makes it happen exactly once."""
    if events:
        add_to(UsageHour, "hour", events)
        add_to(UsageDay, "day", events)


def add_to(model: type[Table], interval: str, events: Iterable[UsageEvent]) -> None:
    """Add `events` to one table (three statements).

    SQL cannot merge histograms on both databases, so rows are read, merged and written back. Rows that are missing are
    created empty first, since a lock needs a row; everything in the order of the key, so that two writers never wait
    for each other in a circle.
    """
    fresh: dict[Key, Table] = {}
    totals: dict[Key, Total] = {}
    for event in events:
        key = (floor(event.at, interval), event.project_id, event.endpoint_id, event.key_id)
        totals.setdefault(key, Total()).count(event)
        if key not in fresh:
            named = {"endpoint": event.endpoint, "key": event.key, "person": event.person}
            fresh[key] = model(**dict(zip(KEY, key, strict=True)), **named)
    ordered = sorted(totals)
    table = model._default_manager
    table.bulk_create([fresh[key] for key in ordered], ignore_conflicts=True)
    columns = {f"{name}__in": {key[index] for key in ordered} for index, name in enumerate(KEY)}
    rows = []
    for row in table.select_for_update().filter(**columns).order_by(*KEY):
        total = totals.get((row.start, row.project_id, row.endpoint_id, row.key_id))
        if total is None:
            continue  # the filter takes every combination of the values
        total.merge(row)
        for name in (*COUNTERS, *HISTOGRAMS):
            setattr(row, name, getattr(total, name))
        rows.append(row)
    if len(rows) != len(totals):
        raise RuntimeError(f"{len(totals) - len(rows)} sums went missing while they were locked")
    for row in rows:
        row.pk = None
    table.bulk_create(rows, update_conflicts=True, unique_fields=KEY, update_fields=[*COUNTERS, *HISTOGRAMS])
