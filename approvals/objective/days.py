"""Arithmetic of business time: which seconds count. Pure, and by tables of a year, never second by second.

A working day counts from midnight to midnight in the calendar's zone, as long as it really is: 23 or 25 hours on the
days when the clocks change.
"""

import calendar
import datetime as dt
import zoneinfo
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

DAY = 86_400
FIRST, LAST = 1, 9999  # the years that a date can have


@dataclass(frozen=True)
class Days:
    """Which days count: `workdays` 0 Monday to 6 Sunday, without `holidays`, in the zone of this name."""

    zone: str
    workdays: frozenset[int]
    holidays: frozenset[dt.date]

    def business_seconds(self, start: dt.datetime, end: dt.datetime) -> int:
        """Return how many seconds count between two moments; 0 when `end` is not after `start`."""
        if end <= start:
            return 0
        first, last = self._year_of(start), self._year_of(end)
        whole = sum(_year(self, year).total for year in range(first, last))
        return int(whole + _year(self, last).passed(end.timestamp()) - _year(self, first).passed(start.timestamp()))

    def shift(self, start: dt.datetime, seconds: int) -> dt.datetime:
        """Return the moment, in UTC, at which `seconds` have counted since `start`: the first of them. With negative
        `seconds` it is the moment before `start` since which so many have counted.
        """
        if seconds == 0:
            return start.astimezone(dt.UTC)
        year = self._year_of(start)
        wanted = _year(self, year).passed(start.timestamp()) + seconds
        while wanted < 0 and year > FIRST:
            year -= 1
            wanted += _year(self, year).total
        while wanted > _year(self, year).total and year < LAST:
            wanted -= _year(self, year).total
            year += 1
        return dt.datetime.fromtimestamp(_year(self, year).moment(wanted), dt.UTC)

    def counts(self, day: dt.date) -> bool:
        """Whether `day` is a working day."""
        return day.weekday() in self.workdays and day not in self.holidays

    def _year_of(self, at: dt.datetime) -> int:
        return at.astimezone(zoneinfo.ZoneInfo(self.zone)).year


DEFAULT = Days("UTC", frozenset(range(5)), frozenset())


@dataclass(frozen=True)
class Year:
    """One year in tables: when each of its days begins (seconds since 1970), and how many seconds count before it. The
    last entry is the end of the year.
    """

    begins: Sequence[float]
    before: Sequence[float]

    @property
    def total(self) -> float:
        """Seconds that count in the whole year."""
        return self.before[-1]

    def passed(self, at: float) -> float:
        """Return how many seconds have counted from the beginning of the year until `at`, which lies in it."""
        number = max(0, min(bisect_right(self.begins, at) - 1, len(self.begins) - 2))
        counts = self.before[number + 1] > self.before[number]
        return self.before[number] + (max(0.0, at - self.begins[number]) if counts else 0)

    def moment(self, passed: float) -> float:
        """Return the first moment by which `passed` seconds have counted."""
        number = min(bisect_left(self.before, passed), len(self.begins) - 1)
        return self.begins[number] - (self.before[number] - passed)


@lru_cache(maxsize=64)
def _year(days: Days, year: int) -> Year:
    zone = zoneinfo.ZoneInfo(days.zone)
    first = dt.date(year, 1, 1)
    every = [first + dt.timedelta(days=number) for number in range(366 if calendar.isleap(year) else 365)]
    # A midnight that the clocks jump over is the moment of the jump, and of two midnights the first one counts.
    begins = [dt.datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() for day in every]
    end = begins[-1] + DAY if year == LAST else dt.datetime(year + 1, 1, 1, tzinfo=zone).timestamp()
    begins.append(end)
    before = [0.0]
    for number, day in enumerate(every):
        before.append(before[-1] + (begins[number + 1] - begins[number] if days.counts(day) else 0.0))
    return Year(begins, before)
