"""The time range of the usage page: what the address says, and the slots of its charts.

Sums are kept by the hour and by the day, both UTC (quotas count the same days). So the named ranges are whole UTC hours
or days. What a person types as a custom range is in the person's own zone, and up to `LOCAL_DAYS` it is answered from
hours: they can be put together to the days of another zone. In a zone that is not whole hours away from UTC an hour
belongs to the day in which it begins. `note` says in words which of this happened.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from portal.errors import Invalid
from quotas import usage
from quotas.retention import HOUR_DAYS
from quotas.rollups import floor
from quotas.usage import STEP

RANGES = ("24h", "7d", "30d", "month", "custom")
HOURS_UP_TO, DAYS_UP_TO = dt.timedelta(hours=49), dt.timedelta(days=92)  # two days, in zones with half hours too
LOCAL_DAYS = dt.timedelta(days=usage.MAX_HOUR_DAYS)
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
UTC = ZoneInfo("UTC")


@dataclass(frozen=True)
class Period:
    """A range in UTC with the interval in which it is drawn. `words` finishes the sentence "Tokens …"."""

    name: str
    start: dt.datetime
    end: dt.datetime
    interval: str
    words: str
    hours: bool  # answered from the hourly sums
    zone: ZoneInfo = UTC  # whose days the slots are
    shown: ZoneInfo = UTC  # in which times are written

    @property
    def slots(self) -> list[dt.datetime]:
        """The starts (UTC) of all intervals of the range, with a call or without."""
        found = [self.slot(self.start)]
        while (following := self.after(found[-1])) < self.end:
            found.append(following)
        return found

    def slot(self, moment: dt.datetime) -> dt.datetime:
        """Return the start of the slot in which an hour or day that begins at `moment` counts."""
        if self.zone == UTC or self.interval != "day":
            return floor(moment, self.interval)
        return _day(moment.astimezone(self.zone).date(), self.zone)

    def after(self, slot: dt.datetime) -> dt.datetime:
        """Return the start of the slot behind `slot`."""
        if self.zone == UTC or self.interval != "day":
            return floor(slot + STEP[self.interval], self.interval)
        return _day(slot.astimezone(self.zone).date() + DAY, self.zone)

    def label(self, start: dt.datetime) -> str:
        """Return the words for one slot."""
        if self.interval == "hour":
            local = start.astimezone(self.shown)
            return f"{local:%H:%M}" if self.name == "24h" else f"{local.day} {local:%b %H:%M}"
        local = start.astimezone(self.zone)
        return f"{local.day} {local:%b}" if self.interval == "day" else f"{local:%b %Y}"

    def dates(self, start: dt.datetime, end: dt.datetime) -> dict[str, str]:
        """Return `from` and `to` of the custom range that zooms into [start, end): days of the zone they count in."""
        first, last = max(start, self.start), min(end, self.end)
        if self.zone == UTC:
            return {"from": f"{first:%Y-%m-%dT%H:%MZ}", "to": f"{last:%Y-%m-%dT%H:%MZ}"}
        return {"from": self.typed(first), "to": self.typed(last)}

    def typed(self, moment: dt.datetime) -> str:
        """Return `moment` as its date and time field shows it."""
        return f"{moment.astimezone(self.shown):%Y-%m-%dT%H:%M}"

    @property
    def note(self) -> str:
        """One or two sentences on which hours and days these are."""
        offset = self.end.astimezone(self.shown).utcoffset() or dt.timedelta()
        place = "UTC" if self.shown == UTC else f"your zone, {self.shown.key} (UTC{_signed(offset)})"
        if self.interval == "hour":
            part = f" Sums are kept by UTC hours, which begin {_minutes(offset)} minutes past in your zone."
            return f"Hours are shown in {place}.{part if offset % HOUR else ''}"
        if self.zone == UTC:
            return f"{'Days' if self.interval == 'day' else 'Months'} are whole UTC days, as quotas count them."
        part = f" Sums are kept by UTC hours, so each day begins {_minutes(offset)} minutes past midnight."
        return f"Days are those of {place}.{part if offset % HOUR else ''}"


def of(query: Mapping[str, str], now: dt.datetime, zone: ZoneInfo = UTC) -> Period:
    """Return the range that `query` (range, from, to) asks for, 7 days by default, for a person in `zone`.

    Raises Invalid naming the field, the limit and the fix.
    """
    name = query.get("range", "") or ("custom" if query.get("from") else "7d")
    if name not in RANGES:
        raise Invalid.field("range", f"range is {name[:20]!r}; choose one of {', '.join(RANGES)}.")
    if name == "custom":
        return _custom(query, now, zone)
    if name == "24h":
        end = floor(now, "hour") + HOUR
        return Period(name, end - DAY, end, "hour", "in the last 24 hours", True, shown=zone)
    end = floor(now, "day") + DAY
    if name == "month":
        return Period(name, floor(now, "month"), end, "day", f"in {now:%B} so far", False, shown=zone)
    days = int(name[:-1])
    return Period(name, end - days * DAY, end, "day", f"in the last {days} days", False, shown=zone)


def _custom(query: Mapping[str, str], now: dt.datetime, zone: ZoneInfo) -> Period:
    if not query.get("from") and not query.get("to"):  # just chosen: the last 7 days to start from
        today = now.astimezone(zone).date()
        query = {"from": f"{today - 6 * DAY}", "to": f"{today}"}
    for field in ("from", "to"):
        if not query.get(field):
            raise Invalid.field(field, f"A custom range needs {field}: a day like {now:%Y-%m-%d}.")
    start = usage.moment(query["from"], field="from", zone=zone)
    end = usage.moment(query["to"], field="to", end=True, zone=zone)
    usage.check(start, end, "day", ())
    # Each choice is made by the length of its own answer: so an address that is made of the answer means the same.
    kept = now - start < dt.timedelta(days=HOUR_DAYS)
    first, last = floor(start, "hour"), _next_hour(end)
    if last - first <= HOURS_UP_TO and kept:
        return Period("custom", first, last, "hour", _words(first, last, zone), True, shown=zone)
    in_zone = zone != UTC and not (query["from"].endswith("Z") and query["to"].endswith("Z"))
    first, last = _next_hour(start), _next_hour(end)  # the hours that begin in the range
    if in_zone and last - first <= LOCAL_DAYS and kept:
        return Period("custom", first, last, "day", _words(start, end, zone), True, zone, zone)
    if in_zone:  # the calendar days that were typed, as UTC days
        start, end = (moment.astimezone(zone).replace(tzinfo=dt.UTC) for moment in (start, end))
    first, last = usage.Wanted(start, end, hours=False).whole
    interval = "day" if last - first <= DAYS_UP_TO else "month"
    return Period("custom", first, last, interval, _words(first, last, UTC), False, shown=zone)


def _words(start: dt.datetime, end: dt.datetime, zone: dt.tzinfo) -> str:
    """Return the range as people say it; times only where it does not begin and end at midnight."""
    first, last = start.astimezone(zone), end.astimezone(zone)
    if (first.hour, first.minute, last.hour, last.minute) == (0, 0, 0, 0):
        last -= DAY
        return f"from {first.day} {first:%b %Y} to {last.day} {last:%b %Y}"
    return f"from {first.day} {first:%b %Y, %H:%M} to {last.day} {last:%b %Y, %H:%M}"


def _next_hour(moment: dt.datetime) -> dt.datetime:
    """Return the first whole UTC hour at or after `moment`."""
    hour = floor(moment, "hour")
    return hour if hour == moment else hour + HOUR


def _day(date: dt.date, zone: ZoneInfo) -> dt.datetime:
    """Return the first whole UTC hour of a calendar day in `zone`."""
    midnight = dt.datetime(date.year, date.month, date.day, tzinfo=zone)
    return _next_hour(midnight.astimezone(dt.UTC))


def _signed(offset: dt.timedelta) -> str:
    minutes = int(offset.total_seconds() // 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def _minutes(offset: dt.timedelta) -> int:
    return int((offset % HOUR).total_seconds() // 60)
