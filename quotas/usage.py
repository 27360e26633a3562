"""Reading usage: sums and percentiles from the roll-ups, only of projects that the reader may see.

Hours come from the hourly table, days and months from the daily one; both are UTC. A call counts in the hour and day in
which it arrived and shows as soon as its journal has been read: about a second after its end in the embedded stack.

Plain sums are made by the database (`totals`, `load`). Percentiles need the histograms, which SQL cannot merge on both
databases: `scan` reads them, and only it does.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from django.db.models import Q, QuerySet, Sum
from django.utils import timezone

from portal.errors import Invalid, NotFound
from projects.models import Project
from projects.permissions import visible
from projects.principal import Principal
from quotas import costs, histogram
from quotas.costs import Cost, Held
from quotas.models import UsageDay, UsageHour
from quotas.rollups import Total, floor

INTERVALS = ("hour", "day", "month")
GROUPS = ("project", "endpoint", "key", "person")
MAX_DAYS, MAX_HOUR_DAYS = 400, 31
NUMBERS = ("requests", "errors", "input_tokens", "output_tokens", "cached_tokens")
PERCENTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
DURATIONS = tuple(f"{what}_{name}" for what in ("ttft", "latency") for name, _ in PERCENTILES)
MONEY = ("cost", "currency")
OWNERS = ("cost_centre", "owner_team")
STEP = {"hour": dt.timedelta(hours=1), "day": dt.timedelta(days=1), "month": dt.timedelta(days=32)}

Row = dict[str, object]


@dataclass(frozen=True)
class Wanted:
    """Which calls: a range (UTC, widened to whole hours or days) and filters; an empty filter takes everything."""

    start: dt.datetime
    end: dt.datetime
    hours: bool  # from the hourly table, else from the daily one
    project: str = ""  # slug
    endpoint: str = ""  # name
    key: str = ""  # prefix or id
    person: str = ""  # user name

    @property
    def whole(self) -> tuple[dt.datetime, dt.datetime]:
        """The range as it is answered, in whole hours or days."""
        unit = "hour" if self.hours else "day"
        end = floor(self.end, unit)
        return floor(self.start, unit), end if end == self.end else end + STEP[unit]


class Line(NamedTuple):
    """One row of a roll-up, as `scan` reads it."""

    start: dt.datetime
    project_id: int
    endpoint_id: str
    endpoint: str
    key_id: str
    key: str
    person: str
    requests: int
    errors: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    ttft: Mapping[str, int]
    latency: Mapping[str, int]


def owners(principal: Principal, slug: str = "") -> dict[int, Project]:
    """Return the projects that one may see by id, or only the one called `slug`; raises NotFound for that one.

    Only slug, cost centre and owner team are read (one query).
    """
    found = visible(principal, Project.objects.all()).only("slug", "cost_centre", "owner_team")
    return narrowed({project.pk: project for project in (found.filter(slug=slug[:64]) if slug else found)}, slug)


def narrowed(known: Mapping[int, Project], slug: str) -> dict[int, Project]:
    """Return the one of `known` that is called `slug`, or all of them without one; raises NotFound."""
    chosen = {pk: project for pk, project in known.items() if slug in ("", project.slug)}
    if slug and not chosen:
        raise NotFound(f"There is no project {slug[:40]}, or you may not see it.")
    return chosen


def selection(principal: Principal, wanted: Wanted) -> QuerySet[UsageHour] | QuerySet[UsageDay]:
    """Return the visible roll-up rows of `wanted`, not yet read."""
    start, end = wanted.whole
    where = Q(start__gte=start, start__lt=end)
    if wanted.project:
        where &= Q(project_id__in=Project.objects.filter(slug=wanted.project).values("pk"))
    else:
        where &= Q(project_id__in=Project.objects.values("pk"))  # nobody owns what a deleted project has used
    if wanted.endpoint:
        where &= Q(endpoint=wanted.endpoint)
    if wanted.key:
        where &= Q(key=wanted.key) | Q(key_id=wanted.key)
    if wanted.person:
        where &= Q(person=wanted.person)
    model: type[UsageHour] | type[UsageDay] = UsageHour if wanted.hours else UsageDay
    return visible(principal, model._default_manager.all()).filter(where)


def scan(principal: Principal, wanted: Wanted) -> Iterator[Line]:
    """Yield the visible rows of `wanted` with their histograms (one query)."""
    for row in selection(principal, wanted).values_list(*Line._fields).iterator(chunk_size=2000):
        yield Line(*row)


def totals(principal: Principal, wanted: Wanted, group_by: Sequence[str] = ()) -> list[Row]:
    """Return the sums `NUMBERS` per combination of the columns `group_by`, made by the database (one query)."""
    sums = {name: Sum(name, default=0) for name in NUMBERS}
    found = selection(principal, wanted).order_by()
    if not group_by:
        return [dict(found.aggregate(**sums))]
    return [dict(row) for row in found.values(*group_by).annotate(**sums).order_by(*group_by)]


def load(
    principal: Principal, *, start: dt.datetime, end: dt.datetime, hours: bool, project: str | None = None
) -> list[Row]:
    """Return the visible sums per hour or day and endpoint (two queries), without percentiles.

    A row has `start`, `project` (its slug), `endpoint` and `NUMBERS`. Raises NotFound for a project one may not see.
    """
    known = owners(principal, project or "")
    wanted = Wanted(start, end, hours, project=project or "")
    return [
        {**row, "project": known[owner].slug}
        for row in totals(principal, wanted, ("start", "project_id", "endpoint"))
        if (owner := int(str(row["project_id"]))) in known
    ]


def usage(
    principal: Principal,
    *,
    start: dt.datetime,
    end: dt.datetime,
    now: dt.datetime | None = None,
    project: str | None = None,
    endpoint: str | None = None,
    key: str | None = None,
    person: str | None = None,
    interval: str = "day",
    group_by: Sequence[str] = (),
) -> list[Row]:
    """Return one row per `interval` and group in which there was a call or an accelerator was held, in that order.

    `project` is a slug, `endpoint` a name, `key` a prefix or id, `person` a user name. The range is widened to whole
    hours (interval hour) or days (UTC). A row has `start`, the keys of `group_by`, the sums `NUMBERS`, the percentiles
    `DURATIONS` in seconds (floats within 2.5 %, None without a measurement), `MONEY` (the list price of what was held
    until `now`, this moment by default; None with a key or person, which hold nothing) and `OWNERS` (empty unless the
    row is of one project). Raises Invalid for a range, interval or group out of bounds and NotFound for a project that
    `principal` may not see.
    """
    check(start, end, interval, group_by)
    known = owners(principal, project or "")
    wanted = Wanted(start, end, interval == "hour", project or "", endpoint or "", key or "", person or "")
    found: dict[tuple[object, ...], Total] = {}
    for line in scan(principal, wanted):
        owner = known.get(line.project_id)
        if owner is None:
            continue
        named = {"project": owner.slug, "endpoint": line.endpoint, "key": line.key, "person": line.person}
        found.setdefault((floor(line.start, interval), *(named[name] for name in group_by)), Total()).merge(line)
    spent = _spent(principal, wanted, known, interval, group_by, now or timezone.now())
    for place in spent:
        found.setdefault(place, Total())
    by_slug = {item.slug: item for item in known.values()}
    rows = []
    for place in sorted(found, key=lambda one: tuple(str(part) for part in one)):
        row: Row = dict(zip(("start", *group_by), place, strict=True))
        of = by_slug.get(str(row.get("project", project or "")))
        cost = spent.get(place, Cost())
        rows.append(
            {
                **row,
                **numbers(found[place]),
                **{"cost": cost.text, "currency": cost.currency},
                **{name: getattr(of, name) if of else "" for name in OWNERS},
            }
        )
    return rows


def _spent(
    principal: Principal,
    wanted: Wanted,
    known: Mapping[int, Project],
    interval: str,
    group_by: Sequence[str],
    now: dt.datetime,
) -> dict[tuple[object, ...], Cost]:
    """Return the cost per interval and group; nothing where a key or person is asked for, which hold nothing."""
    if wanted.key or wanted.person or {"key", "person"} & set(group_by):
        return {}
    start, end = wanted.whole
    spent: dict[tuple[object, ...], Cost] = {}
    for held in costs.held(principal, start, end, now=now, endpoint=wanted.endpoint):
        owner = known.get(held.project_id)
        if owner is None:
            continue
        named = {"project": owner.slug, "endpoint": held.name}
        for slot, first, last in _slots(held, interval):
            place = (slot, *(named[name] for name in group_by))
            spent.setdefault(place, Cost()).add(held, first, last)
    return spent


def _slots(held: Held, interval: str) -> Iterator[tuple[dt.datetime, dt.datetime, dt.datetime]]:
    """Yield (start of the interval, from, to) for each interval in which something was held."""
    at = held.start
    while at < held.end:
        slot = floor(at, interval)
        following = floor(slot + STEP[interval], interval)
        yield slot, at, min(following, held.end)
        at = following


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


def numbers(total: Total) -> Row:
    """Return the sums and, in seconds, the percentiles of `total`."""
    row: Row = {name: getattr(total, name) for name in NUMBERS}
    for what, counts in (("ttft", total.ttft), ("latency", total.latency)):
        row |= {f"{what}_{name}": seconds(counts, share) for name, share in PERCENTILES}
    return row


def seconds(counts: Mapping[str, int], share: float) -> float | None:
    """Return the percentile of a histogram of milliseconds in seconds with four digits, None when it is empty."""
    value = histogram.percentile(counts, share)
    return None if value is None else float(f"{value / 1000:.4g}")


def moment(value: str, *, field: str, end: bool = False, zone: dt.tzinfo = dt.UTC) -> dt.datetime:
    """Return a date or an RFC 3339 time as a time in UTC; what does not name its zone is in `zone`.

    With `end`, a date means the end of that day. Raises Invalid.
    """
    try:
        day = dt.date.fromisoformat(value) + dt.timedelta(days=int(end))
        parsed = dt.datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        try:
            # A "+" that was not escaped in an address arrives as a space.
            parsed = dt.datetime.fromisoformat(value.replace(" ", "+") if "T" in value else value)
            parsed = (parsed.replace(tzinfo=zone) if parsed.tzinfo is None else parsed).astimezone(dt.UTC)
        except (ValueError, OverflowError) as error:
            raise Invalid.field(
                field, f"{field} is {value[:40]!r}; write a date or time like 2026-11-20 or 2026-11-20T09:00:00Z."
            ) from error
    if not 2000 <= parsed.year <= 9000:
        raise Invalid.field(field, f"{field} lies in the year {parsed.year}; use a year from 2000 on.")
    return parsed
