"""The calendar of the objective as it is: which days count. approvals/objective/changing.py writes its one row."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.core.cache import cache

from approvals.models import Calendar
from approvals.objective.days import DEFAULT, Days

KEY, CACHE_SECONDS = "objective:calendar", 60
NOTHING: Mapping[str, Any] = {"zone": DEFAULT.zone, "workdays": sorted(DEFAULT.workdays), "holidays": []}


def business_seconds(start: dt.datetime, end: dt.datetime) -> int:
    """Return how many seconds of business time lie between two moments, by the calendar as it is now."""
    return current().business_seconds(start, end)


def current() -> Days:
    """Return the days that count now; the row is read once a minute, and at once where it was changed."""
    found: Days | None = cache.get(KEY)
    if found is None:
        found = of(Calendar.objects.order_by("pk").first())
        cache.set(KEY, found, CACHE_SECONDS)
    return found


def of(row: Calendar | None) -> Days:
    """Return the days that `row` counts; without one Monday to Friday, UTC."""
    if row is None:
        return DEFAULT
    holidays = frozenset(dt.date.fromisoformat(one["on"]) for one in row.holidays)
    return Days(row.zone, frozenset(row.workdays), holidays)


def facts(row: Calendar | None) -> dict[str, Any]:
    """Return the calendar as the API and the form show it."""
    if row is None:
        return dict(NOTHING)
    return {"zone": row.zone, "workdays": sorted(row.workdays), "holidays": row.holidays}
