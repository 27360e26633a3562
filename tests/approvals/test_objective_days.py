"""Business time: which seconds count, by the tables and second by second."""

import datetime as dt
import time
import zoneinfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approvals.objective.days import DEFAULT, Days

UTC, HOUR, DAY = dt.UTC, 3600, 86_400
ZONES = ("UTC", "Europe/Paris", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Africa/Cairo", "Asia/Beirut")


def at(text: str, zone: str = "UTC") -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(zone))


def days(zone: str = "UTC", workdays: tuple[int, ...] = (0, 1, 2, 3, 4), holidays: tuple[str, ...] = ()) -> Days:
    return Days(zone, frozenset(workdays), frozenset(dt.date.fromisoformat(day) for day in holidays))


@pytest.mark.parametrize(
    ("found", "start", "end", "seconds"),
    [
        (DEFAULT, "2026-11-27T12:00", "2026-11-30T12:00", DAY),  # Friday noon to Monday noon
        (DEFAULT, "2026-11-28T00:00", "2026-11-30T00:00", 0),  # a weekend
        (DEFAULT, "2026-11-30T00:00", "2026-12-05T00:00", 5 * DAY),
        (DEFAULT, "2026-11-30T10:00", "2026-11-30T10:00", 0),
        (DEFAULT, "2026-12-01T10:00", "2026-11-30T10:00", 0),  # the end before the start
        (DEFAULT, "2026-12-31T12:00", "2027-01-01T12:00", DAY),  # over the year
        (DEFAULT, "2024-01-01T00:00", "2026-01-01T00:00", (262 + 261) * DAY),
        (days(holidays=("2026-12-25",)), "2026-12-24T12:00", "2026-12-28T12:00", DAY),
        (days(holidays=("2026-12-26",)), "2026-12-24T12:00", "2026-12-28T12:00", 2 * DAY),  # a Saturday anyway
        (days(workdays=(5, 6)), "2026-11-27T12:00", "2026-11-30T12:00", 2 * DAY),
    ],
)
def test_by_hand(found: Days, start: str, end: str, seconds: int) -> None:
    assert found.business_seconds(at(start), at(end)) == seconds


def test_the_day_begins_in_the_calendars_zone() -> None:
    paris = days("Europe/Paris")
    assert paris.business_seconds(at("2026-11-29T22:30"), at("2026-11-29T23:30")) == HOUR // 2  # Monday since 23:00 UTC
    kolkata = days("Asia/Kolkata")
    assert kolkata.business_seconds(at("2026-11-29T18:00"), at("2026-11-29T19:00")) == HOUR // 2


def test_days_on_which_the_clocks_change() -> None:
    """They count as long as they are; a weekend without a count takes the jump with it."""
    weekly = days("Europe/Paris", (0, 1, 2, 3, 4, 5, 6))
    spring = (at("2026-03-29T00:00", "Europe/Paris"), at("2026-03-30T00:00", "Europe/Paris"))
    autumn = (at("2026-10-25T00:00", "Europe/Paris"), at("2026-10-26T00:00", "Europe/Paris"))
    assert weekly.business_seconds(*spring) == 23 * HOUR and weekly.business_seconds(*autumn) == 25 * HOUR
    office = days("Europe/Paris")
    week = (at("2026-03-27T00:00", "Europe/Paris"), at("2026-03-31T00:00", "Europe/Paris"))
    assert office.business_seconds(*week) == 2 * DAY
    assert (
        days("Pacific/Apia", tuple(range(7))).business_seconds(at("2011-12-29T10:00"), at("2011-12-31T10:00"))
        == 2 * DAY
    )


def _slowly(found: Days, start: dt.datetime, end: dt.datetime) -> int:
    zone, step, total = zoneinfo.ZoneInfo(found.zone), 900, 0
    for second in range(int(start.timestamp()), int(end.timestamp()), step):
        total += step * found.counts(dt.datetime.fromtimestamp(second, zone).date())
    return total


moments = st.integers(0, 4 * 366 * 96).map(lambda n: at("2024-01-01T00:00") + dt.timedelta(minutes=15 * n))
anything = st.builds(
    days,
    st.sampled_from(ZONES),
    st.sets(st.integers(0, 6), min_size=1).map(tuple),
    st.sets(st.integers(0, 900), max_size=20).map(
        lambda found: tuple((dt.date(2024, 6, 1) + dt.timedelta(days=n)).isoformat() for n in found)
    ),
)


@settings(max_examples=60, deadline=None)
@given(anything, moments, st.integers(0, 30 * 96))
def test_the_tables_say_what_counting_says(found: Days, start: dt.datetime, quarters: int) -> None:
    end = start + dt.timedelta(minutes=15 * quarters)
    assert found.business_seconds(start, end) == _slowly(found, start, end)


@settings(max_examples=150, deadline=None)
@given(anything, moments, st.integers(-40 * DAY, 40 * DAY))
def test_shifting_is_counting_turned_around(found: Days, start: dt.datetime, seconds: int) -> None:
    there = found.shift(start, seconds)
    first, last = sorted((start, there))
    assert found.business_seconds(first, last) == abs(seconds) and (there >= start) == (seconds >= 0)


@settings(max_examples=100, deadline=None)
@given(anything, moments, moments, moments)
def test_parts_make_the_whole(found: Days, one: dt.datetime, two: dt.datetime, three: dt.datetime) -> None:
    first, middle, last = sorted((one, two, three))
    parts = found.business_seconds(first, middle) + found.business_seconds(middle, last)
    assert parts == found.business_seconds(first, last)


def test_ends_of_time() -> None:
    assert DEFAULT.business_seconds(at("0001-01-02T00:00"), at("0001-01-03T00:00")) == DAY
    assert DEFAULT.shift(at("9999-12-30T00:00"), 5).year == 9999


def test_ten_thousand_ages_are_quick() -> None:
    """No loop over seconds or days: the tables are made once, and each age is two looks into them."""
    now, starts = at("2026-11-29T10:00"), [at("2026-01-01T00:00") + dt.timedelta(minutes=47 * n) for n in range(10_000)]
    DEFAULT.business_seconds(starts[0], now)
    begun = time.perf_counter()
    for start in starts:
        DEFAULT.business_seconds(start, now)
    assert time.perf_counter() - begun < 1.0
