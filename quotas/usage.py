"""Reading usage: sums and percentiles from the roll-ups, only of projects that the reader may see.

Hours come from the hourly table, days and months from the daily one; both are UTC. A call counts in the hour and day in
which it arrived and shows as soon as its journal has been read: about a second after its end in the embedded stack.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Q

from portal.errors import Invalid, NotFound
from projects.models import Project
from projects.permissions import visible
from projects.principal import Principal
from quotas import histogram
from quotas.models import RollUp, UsageDay, UsageHour
from quotas.rollups import Total, floor

INTERVALS = ("hour", "day", "month")
GROUPS = ("project", "endpoint", "key", "person")
MAX_DAYS, MAX_HOUR_DAYS = 400, 31
NUMBERS = ("requests", "errors", "input_tokens", "output_tokens", "cached_tokens")
PERCENTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
DURATIONS = tuple(f"{what}_{name}" for what in ("ttft", "latency") for name, _ in PERCENTILES)

Row = dict[str, object]


@dataclass(frozen=True)
class Sums:
    """One roll-up row with the project's slug, as `fold` reads it."""

    start: dt.datetime
    project: str
    endpoint: str
    key: str
    key_id: str
    person: str
    row: RollUp


def usage(
    principal: Principal,
    *,
    start: dt.datetime,
    end: dt.datetime,
    project: str | None = None,
    endpoint: str | None = None,
    key: str | None = None,
    person: str | None = None,
    interval: str = "day",
    group_by: Sequence[str] = (),
) -> list[Row]:
    """Return one row per `interval` and group in which there was a call, in that order.

    `project` is a slug, `endpoint` a name, `key` a prefix or id, `person` a user name. The range is widened to whole
    hours (interval hour) or days (UTC). A row has `start`, the keys of `group_by`, the sums `NUMBERS`, and the
    percentiles `DURATIONS` in seconds (floats within 2.5 %, None without a measurement). Raises Invalid for a range,
    interval or group out of bounds and NotFound for a project that `principal` may not see.
    """
    check(start, end, interval, group_by)
    rows = load(principal, start=start, end=end, hours=interval == "hour", project=project)
    chosen = [
        row
        for row in rows
        if endpoint in (None, row.endpoint) and key in (None, row.key, row.key_id) and person in (None, row.person)
    ]
    return fold(chosen, interval, group_by)


def check(start: dt.datetime, end: dt.datetime, interval: str, group_by: Sequence[str]) -> None:
    """Raise Invalid, naming the field, the limit and the fix, unless `usage` can answer."""
    if interval not in INTERVALS:
        raise Invalid.field("interval", f"interval is {interval[:40]!r}; choose one of {', '.join(INTERVALS)}.")
    for name in group_by:
        if name not in GROUPS:
            raise Invalid.field("group_by", f"group_by is {name[:40]!r}; choose from {', '.join(GROUPS)}.")
    if start >= end:
        raise Invalid.field("from", "from must lie before to. Swap them or widen the range.")
    if end - start > dt.timedelta(days=MAX_DAYS):
        raise Invalid.field("from", f"The range is longer than {MAX_DAYS} days. Ask for it in parts.")
    if interval == "hour" and end - start > dt.timedelta(days=MAX_HOUR_DAYS):
        raise Invalid.field("interval", f"Hours are given for at most {MAX_HOUR_DAYS} days. Use interval=day.")


def load(
    principal: Principal, *, start: dt.datetime, end: dt.datetime, hours: bool, project: str | None = None
) -> list[Sums]:
    """Return the visible roll-up rows of a range (two queries); raises NotFound for a project that is not visible."""
    slugs = dict(visible(principal, Project.objects.all()).values_list("pk", "slug"))
    model: type[UsageHour] | type[UsageDay] = UsageHour if hours else UsageDay
    where = Q(start__gte=floor(start, "hour" if hours else "day"), start__lt=end)
    if project is not None:
        wanted = next((pk for pk, slug in slugs.items() if slug == project), None)
        if wanted is None:
            raise NotFound(f"There is no project {project[:40]}, or you may not see it.")
        where &= Q(project_id=wanted)
    found = visible(principal, model._default_manager.all()).filter(where)
    return [
        Sums(row.start, slugs.get(row.project_id, ""), row.endpoint, row.key, row.key_id, row.person, row)
        for row in found
        if row.project_id in slugs
    ]


def fold(rows: Iterable[Sums], interval: str | None, group_by: Sequence[str] = ()) -> list[Row]:
    """Return `rows` summed per `interval` (None: all of them) and group, sorted by start and the keys of the group."""
    totals: dict[tuple[object, ...], Total] = {}
    for item in rows:
        start = floor(item.start, interval) if interval else None
        totals.setdefault((start, *(getattr(item, name) for name in group_by)), Total()).merge(item.row)
    names = ("start", *group_by) if interval else ("", *group_by)
    folded = []
    for key in sorted(totals, key=lambda one: tuple("" if part is None else str(part) for part in one)):
        named = dict(zip(names, key, strict=True))
        named.pop("", None)
        folded.append({**named, **numbers(totals[key])})
    return folded


def numbers(total: Total) -> Row:
    """Return the sums and, in seconds, the percentiles of `total`."""
    row: Row = {name: getattr(total, name) for name in NUMBERS}
    for what, counts in (("ttft", total.ttft), ("latency", total.latency)):
        row |= {f"{what}_{name}": _seconds(counts, share) for name, share in PERCENTILES}
    return row


def _seconds(counts: Mapping[str, int], share: float) -> float | None:
    value = histogram.percentile(counts, share)
    return None if value is None else float(f"{value / 1000:.4g}")


def moment(value: str, *, field: str, end: bool = False) -> dt.datetime:
    """Return a date or an RFC 3339 time as a time in UTC; a time without a zone is UTC.

    With `end`, a date means the end of that day. Raises Invalid.
    """
    try:
        day = dt.date.fromisoformat(value)
        parsed = dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC) + dt.timedelta(days=int(end))
    except (ValueError, OverflowError):
        try:
            # A "+" that was not escaped in an address arrives as a space.
            parsed = dt.datetime.fromisoformat(value.replace(" ", "+") if "T" in value else value)
            parsed = parsed.replace(tzinfo=dt.UTC) if parsed.tzinfo is None else parsed.astimezone(dt.UTC)
        except (ValueError, OverflowError) as error:
            raise Invalid.field(
                field, f"{field} is {value[:40]!r}; write a date or time like 2026-11-20 or 2026-11-20T09:00:00Z."
            ) from error
    if not 2000 <= parsed.year <= 9000:
        raise Invalid.field(field, f"{field} lies in the year {parsed.year}; use a year from 2000 on.")
    return parsed
