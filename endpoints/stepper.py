"""The steps of a start as the cluster tells them, for the stepper of an endpoint's page."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django.utils import timezone

from endpoints.clusters import Stage
from portal.templatetags.gatehouse import duration_h

Cell = dict[str, Any]


def lines(stages: Sequence[Stage], begun: dt.datetime, *, done: bool, failed_at: dt.datetime | None) -> list[Cell]:
    """Return a line for each step with how long it took or has taken. `begun` is when the portal began, `done` that all
    are over, `failed_at` when the start was given up or broke (None: it goes on).
    """
    made: list[Cell] = []
    current = next((index for index, one in enumerate(stages) if one.ended is None), len(stages))
    for index, one in enumerate(stages):
        state = "done" if done or index < current else "pending" if index > current else "current"
        if state == "current" and failed_at is not None:
            state = "failed"
        made.append({"name": one.name, "state": state, "time": _time(one, state, begun, failed_at)})
    return made


def clock(moment: dt.datetime) -> str:
    """Return day and time in the reader's zone."""
    local = timezone.localtime(moment)
    return f"{local.day} {local:%b, %H:%M}"


def _time(stage: Stage, state: str, begun: dt.datetime, failed_at: dt.datetime | None) -> str:
    # Objects that stayed from an earlier start are older than this one.
    started = max(stage.started, begun) if stage.started else None
    if state == "done":
        return _long(started, stage.ended, "") if stage.ended else ""
    if started is None:
        return "next" if state == "current" else ""
    if state == "failed":
        return _long(started, failed_at, "stopped after ")
    return _long(started, timezone.now(), "for ") + f", since {timezone.localtime(started):%H:%M}"


def _long(started: dt.datetime | None, ended: dt.datetime | None, before: str) -> str:
    if started is None or ended is None:
        return ""
    seconds = (ended - started).total_seconds()
    if seconds < 0.05:
        return "at once" if not before else f"{before}0 s"
    return before + duration_h(round(seconds, 1) if seconds < 10 else seconds)
