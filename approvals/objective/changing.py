"""Changing the calendar of the objective: what was counted before a change stays counted."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.core.cache import cache
from django.db import transaction
from django.utils import timezone

from approvals.models import Calendar
from approvals.objective import clock
from approvals.objective.calendar import KEY, facts, of
from audit.services import record
from portal.errors import Conflict, Forbidden, Invalid
from portal.http import clean_text, digest
from projects.permissions import can, forbidden_sentence
from projects.principal import Principal
from projects.zones import names

MAX_HOLIDAYS, MAX_NAME = 500, 80
FIRST_YEAR, LAST_YEAR = 2000, 2100


def seen(row: Calendar | None) -> str:
    """Return the mark of the calendar that a form was filled in from."""
    return digest(facts(row))


def may_change(by: Principal) -> bool:
    """Whether `by` may change the calendar."""
    return can(by, "change", Calendar())


def read_lines(text: str) -> list[dict[str, str]]:
    """Return the holidays of a text that holds one in each line: the date, a space, and its name."""
    lines = [line.strip() for line in text[: MAX_HOLIDAYS * (MAX_NAME + 20)].splitlines()]
    parts = [line.partition(" ") for line in lines if line]
    return [{"on": on, "name": name.strip()} for on, _, name in parts]


def change(
    by: Principal, *, zone: str, workdays: Iterable[int], holidays: Sequence[Mapping[str, str]], was: str = ""
) -> Calendar:
    """Set which days count from now on. `holidays` are {"on": ISO date, "name"}; `was`: `seen` of what the caller read.

    Raises Forbidden, Invalid naming the field, and Conflict `changed_meanwhile` when somebody else was faster.
    """
    if not may_change(by):
        raise Forbidden(forbidden_sentence("change", Calendar))
    wanted: dict[str, Any] = {"zone": _zone(zone), "workdays": _workdays(workdays), "holidays": _holidays(holidays)}
    with transaction.atomic():
        row = Calendar.objects.select_for_update().order_by("pk").first()
        before = facts(row)
        if was and was != seen(row):
            raise Conflict(
                "The calendar was changed in another window since this one was opened. Reload to see it.",
                code="changed_meanwhile",
            )
        row = row or Calendar(pk=1)  # two that are the first: the second one waits, then writes the same row
        if wanted == before and row.changed_at is not None:
            return row
        old = of(Calendar(**before))
        row.zone, row.workdays, row.holidays = wanted["zone"], wanted["workdays"], wanted["holidays"]
        row.changed_by = by.person
        row.save()
        moved = clock.recount(old, of(row), timezone.now())
        record(
            "calendar.change",
            by=by,
            obj=("calendar", "1"),
            before=_short(before, wanted),
            after={**_short(wanted, before), "requests": moved},
        )
        transaction.on_commit(lambda: cache.delete(KEY))
    return row


def _short(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an audit row says of a calendar: of its holidays only those that the other one does not have."""
    return {**one, "holidays": [day for day in one["holidays"] if day not in other["holidays"]]}


def _zone(zone: str) -> str:
    if zone not in names():
        raise Invalid.field("zone", f"zone is {zone[:64]!r}; choose one from the list, for example Europe/Paris.")
    return zone


def _workdays(workdays: Iterable[int]) -> list[int]:
    found = sorted(set(workdays))
    if not found or not 0 <= found[0] <= found[-1] <= 6:
        raise Invalid.field("workdays", "Choose at least one of the seven days of the week as a working day.")
    return found


def _holidays(holidays: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    if len(holidays) > MAX_HOLIDAYS:
        raise Invalid.field(
            "holidays", f"There are {len(holidays):,} holidays; the limit is {MAX_HOLIDAYS}. Take past ones away."
        )
    found: dict[str, str] = {}
    for one in holidays:
        on = _day(one["on"])
        if on in found:
            raise Invalid.field("holidays", f"{on} stands there twice. Name it once.")
        found[on] = clean_text(one["name"], field="holidays", low=1, high=MAX_NAME)
    return [{"on": on, "name": name} for on, name in sorted(found.items())]


def _day(text: str) -> str:
    try:
        day = dt.date.fromisoformat(text)
    except ValueError as error:
        raise Invalid.field(
            "holidays", f"{text[:20]!r} is no date. Write one line for each day, for example 2026-12-25 Christmas Day."
        ) from error
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise Invalid.field("holidays", f"{text[:20]} lies outside {FIRST_YEAR} to {LAST_YEAR}. Choose another day.")
    return day.isoformat()
