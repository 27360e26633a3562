"""The limit that comes first, for the page that shows what is used: how far it reaches, and what to do about it."""

import datetime as dt
import math
from dataclasses import dataclass

from projects.models import Project
from quotas.alerts import PACE_DAYS, runs_out
from quotas.bounds import Bound, Effective, bounds, window_end
from quotas.limits import sentence, share
from quotas.models import QuotaTarget, Window
from quotas.spent import Pace, paces, spent
from quotas.words import amount, limits_path, title

NEAR = 80  # percent of a limit from which the page speaks of it


@dataclass(frozen=True)
class Hint:
    """The token quota that is reached first. `kind` is danger, warning or "" for nothing to worry about."""

    window: str
    limit: int
    percent: float
    kind: str
    title: str
    text: str
    url: str


def hint(project: Project, now: dt.datetime) -> Hint | None:
    """Return the token quota of `project` that binds, None without one (at most three queries)."""
    found = [bound for bound in bounds(projects=[project.pk]) if bound.target_kind == QuotaTarget.PROJECT]
    if not found:
        return None
    used = spent(found, now=now)
    numbers = {bound: bound.on(now.date()) for bound in found}
    refusing = [bound for bound in found if numbers[bound].hard is not None] or found
    tokens = {bound: used.used(bound.target, bound.window) for bound in refusing}
    first = max(refusing, key=lambda bound: share(tokens[bound], numbers[bound].limit))
    percent = share(tokens[first], numbers[first].limit)
    pace = paces([first], days=PACE_DAYS, now=now).get(first.target) if first.window == Window.MONTH else None
    kind, head, text = _said(first, numbers[first], tokens[first], pace, now)
    return Hint(first.window, numbers[first].limit, percent, kind, head, text, limits_path(project.slug))


def _said(bound: Bound, numbers: Effective, used: int, pace: Pace | None, now: dt.datetime) -> tuple[str, str, str]:
    """Return kind, title and sentence."""
    name = title(bound.kind, bound.target_kind, bound.project, bound.window)
    resets_at = window_end(bound.window, now)
    whole = sentence(bound.target_kind, bound.project, bound.window, numbers.soft, numbers.hard, used, resets_at)
    left = numbers.limit - used
    if left <= 0:
        return ("danger" if numbers.hard is not None else "warning"), f"The {name} is used up", whole
    ends = runs_out(pace, left, now) if pace else None
    if ends is not None:
        days = max(1, math.ceil((ends - now) / dt.timedelta(days=1)))
        then = "Calls are then refused with quota_exceeded until" if numbers.hard is not None else "It warns until"
        text = (
            f"At the pace of the last {PACE_DAYS} days {amount('tokens', left)} last about {days} "
            f"day{'' if days == 1 else 's'}. {then} {resets_at.day} {resets_at:%B}."
        )
        return "warning", f"Tokens may run out on {ends.day} {ends:%B}", text
    if (numbers.soft is not None and used >= numbers.soft) or share(used, numbers.limit) >= NEAR:
        return "warning", f"{share(used, numbers.limit):.0f} % of the {name} is used", whole
    return "", "", whole
