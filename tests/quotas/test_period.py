"""Ranges of the usage page, in UTC and in zones that are not whole hours away from it."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.errors import Invalid
from quotas import period
from tests.quotas.conftest import NOON

KOLKATA, KATHMANDU, BERLIN = (ZoneInfo(name) for name in ("Asia/Kolkata", "Asia/Kathmandu", "Europe/Berlin"))
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


def utc(year: int, month: int, day: int, hour: int = 0) -> dt.datetime:
    return dt.datetime(year, month, day, hour, tzinfo=dt.UTC)


def custom(start: str, end: str, zone: ZoneInfo = period.UTC) -> period.Period:
    return period.of({"range": "custom", "from": start, "to": end}, NOON, zone)


def test_named_ranges_are_whole_utc_hours_and_days():
    day = period.of({"range": "24h"}, NOON)
    assert (len(day.slots), day.label(day.slots[0]), day.interval, day.hours) == (24, "13:00", "hour", True)
    week = period.of({}, NOON, KOLKATA)
    assert (len(week.slots), week.label(week.slots[-1]), week.words) == (7, "20 Nov", "in the last 7 days")
    assert "whole UTC days" in week.note
    month = period.of({"range": "month"}, NOON)
    assert (month.start, month.end, len(month.slots)) == (utc(2026, 11, 1), utc(2026, 11, 21), 20)
    assert len(period.of({"range": "30d"}, NOON).slots) == 30
    year = custom("2025-12-15", "2026-11-20")
    assert (len(year.slots), year.interval, year.label(year.slots[0])) == (12, "month", "Dec 2025")


def test_the_hours_of_a_day_are_shown_in_the_zone_of_the_person():
    day = period.of({"range": "24h"}, NOON, KOLKATA)
    assert day.start == utc(2026, 11, 19, 13)
    assert day.label(day.slots[0]) == "18:30"
    assert "Asia/Kolkata (UTC+05:30)" in day.note and "30 minutes past" in day.note
    assert "45 minutes past" in period.of({"range": "24h"}, NOON, KATHMANDU).note
    assert "minutes past" not in period.of({"range": "24h"}, NOON, BERLIN).note


def test_dates_that_were_typed_are_days_of_the_person():
    berlin = custom("2026-11-03", "2026-11-05", BERLIN)
    assert (berlin.start, berlin.end) == (utc(2026, 11, 2, 23), utc(2026, 11, 5, 23))
    assert [berlin.label(slot) for slot in berlin.slots] == ["3 Nov", "4 Nov", "5 Nov"]
    assert (berlin.interval, berlin.hours, berlin.words) == ("day", True, "from 3 Nov 2026 to 5 Nov 2026")
    kolkata = custom("2026-11-03", "2026-11-05", KOLKATA)
    # Hours that begin in the range: midnight there is 18:30 UTC, so the first one is that of 19:00.
    assert (kolkata.start, kolkata.end) == (utc(2026, 11, 2, 19), utc(2026, 11, 5, 19))
    assert [kolkata.label(slot) for slot in kolkata.slots] == ["3 Nov", "4 Nov", "5 Nov"]
    assert kolkata.slot(utc(2026, 11, 3, 18)) == kolkata.slots[0]  # begins at 23:30 there
    assert kolkata.slot(utc(2026, 11, 3, 19)) == kolkata.slots[1]  # begins at 00:30 there
    assert "30 minutes past midnight" in kolkata.note and "(UTC+05:30)" in kolkata.note


def test_a_short_custom_range_is_hours_widened_to_whole_ones():
    short = custom("2026-11-03T09:10", "2026-11-03T11:20", KOLKATA)
    assert (short.start, short.end, short.interval) == (utc(2026, 11, 3, 3), utc(2026, 11, 3, 6), "hour")
    assert short.words == "from 3 Nov 2026, 08:30 to 3 Nov 2026, 11:30"


def test_long_ranges_are_whole_utc_days_of_the_dates_that_were_typed():
    long = custom("2026-09-01", "2026-11-20", KOLKATA)
    assert (long.start, long.end, long.hours) == (utc(2026, 9, 1), utc(2026, 11, 21), False)
    assert "whole UTC days" in long.note
    assert (custom("2026-09-01", "2026-09-30", KOLKATA).zone) == KOLKATA


def test_what_hours_are_no_longer_kept_for_comes_from_days():
    old = period.of({"range": "custom", "from": "2025-01-03", "to": "2025-01-04"}, NOON, KOLKATA)
    assert (old.hours, old.start, old.end) == (False, utc(2025, 1, 3), utc(2025, 1, 5))


def test_a_day_with_23_hours_is_a_day():
    spring = period.of({"range": "custom", "from": "2026-03-27", "to": "2026-03-30"}, NOON, BERLIN)
    assert [following - slot for slot, following in zip(spring.slots, spring.slots[1:], strict=False)] == [
        DAY, DAY, 23 * HOUR,
    ]  # fmt: skip


@given(
    st.sampled_from(
        [KOLKATA, KATHMANDU, BERLIN, ZoneInfo("Australia/Lord_Howe"), ZoneInfo("America/St_Johns"), period.UTC]
    ),
    st.integers(0, 330),
    st.integers(0, 200),
)
def test_zooming_into_what_is_shown_shows_the_same(zone, back, length):
    """The addresses of the slots together are the range, and reading them again gives the same range."""
    first = (NOON - back * DAY).date()
    span = custom(f"{first}", f"{first + dt.timedelta(days=length)}", zone)
    slots = span.slots
    assert slots[0] <= span.start and span.after(slots[-1]) >= span.end
    assert all(span.slot(slot) == slot for slot in slots)
    again = period.of({"range": "custom", **span.dates(slots[0], span.after(slots[-1]))}, NOON, zone)
    assert (again.start, again.end, again.hours) == (span.start, span.end, span.hours)


@pytest.mark.parametrize(
    ("query", "field"),
    [({"range": "99d"}, "range"), ({"range": "custom", "to": "2026-11-01"}, "from"),
     ({"range": "custom", "from": "2026-11-01"}, "to"), ({"range": "custom", "from": "x", "to": "2026-11-01"}, "from")],
)  # fmt: skip
def test_a_bad_range_names_its_field(query, field):
    with pytest.raises(Invalid) as caught:
        period.of(query, NOON, KOLKATA)
    assert list(caught.value.fields) == [field]
