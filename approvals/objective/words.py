"""An age against the objective, as pages say it."""

from typing import Any

from django.conf import settings

from portal.templatetags.gatehouse import duration_h


def against(used: float) -> dict[str, Any]:
    """Return `used` seconds of business time against the objective: words, what is left, and a bar."""
    goal = settings.LEAD_TIME_OBJECTIVE_SECONDS
    percent, late = min(100.0, used * 100 / goal), used >= goal
    words, rest = rough(used), rough(abs(goal - used))
    return {
        "text": words,
        "rest": f"{rest} overdue" if late else f"{rest} left",
        "late": late,
        "percent": percent,
        "tone": "bad" if late else "warn" if percent >= settings.OBJECTIVE_ALERT_PERCENT else "",
        "label": f"{words} of {duration_h(goal)}",
    }


def rough(seconds: float) -> str:
    """Return a duration in whole hours, or in minutes below one: nobody decides by the minute."""
    step = 3600 if seconds >= 3600 else 60
    return duration_h(seconds // step * step) if seconds >= 60 else "under 1 min"
