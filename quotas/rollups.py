"""Adding events to the hourly and daily sums, in the transaction that writes the events."""

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from quotas import histogram
from quotas.histogram import Histogram
from quotas.models import Outcome, RollUp, UsageDay, UsageHour
from quotas.records import Call

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


class Sums(Protocol):
    """A row with the columns of a roll-up."""

    @property
    def requests(self) -> int: ...
    @property
    def errors(self) -> int: ...
    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def cached_tokens(self) -> int: ...
    @property
    def ttft(self) -> Mapping[str, int]: ...
    @property
    def latency(self) -> Mapping[str, int]: ...


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

    @classmethod
    def of(cls, calls: Sequence[Call]) -> "Total":
        """Return the sums of `calls`."""
        return cls(
            requests=len(calls),
            errors=sum(call.outcome in FAILED for call in calls),
            input_tokens=sum(call.input_tokens for call in calls),
            output_tokens=sum(call.output_tokens for call in calls),
            cached_tokens=sum(call.cached_tokens for call in calls),
            ttft=Counter([histogram.bucket(call.ttft_ms) for call in calls if call.ttft_ms is not None]),
            latency=Counter([histogram.bucket(call.latency_ms) for call in calls if call.latency_ms is not None]),
        )

    def merge(self, other: "Total | RollUp | Sums") -> None:
        """Add the sums of `other`."""
        self.requests += other.requests
        self.errors += other.errors
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cached_tokens += other.cached_tokens
        histogram.merge(self.ttft, other.ttft)
        histogram.merge(self.latency, other.latency)


def add(calls: Sequence[Call]) -> None:
    """Add `calls` to both tables; the caller's transaction makes it happen exactly once."""
    hours: dict[Key, list[Call]] = {}
    for call in calls:
        start = call.at.replace(minute=0, second=0, microsecond=0)
        hours.setdefault((start, call.project_id, call.endpoint_id, call.key_id), []).append(call)
    names = {key: members[0] for key, members in hours.items()}
    by_hour = {key: Total.of(members) for key, members in hours.items()}
    by_day: dict[Key, Total] = {}
    for key, total in by_hour.items():
        by_day.setdefault(_day(key), Total()).merge(total)
    days = {_day(key): named for key, named in names.items()}
    if by_hour:
        _add_to(UsageHour, by_hour, names)
        _add_to(UsageDay, by_day, days)


def _day(key: Key) -> Key:
    return key[0].replace(hour=0), *key[1:]


def _add_to(model: type[Table], totals: Mapping[Key, Total], names: Mapping[Key, Call]) -> None:
    """Add `totals` to one table (three statements); `names` gives each key a call that says how things are called.

    SQL cannot merge histograms on both databases, so rows are read, merged and written back. Rows that are missing are
    created empty first, since a lock needs a row; everything in the order of the key, so that two writers never wait
    for each other in a circle.
    """
    fresh = {
        key: model(**dict(zip(KEY, key, strict=True)), endpoint=named.endpoint, key=named.key, person=named.person)
        for key, named in names.items()
    }
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
