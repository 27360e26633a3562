"""Quotas as plain values: what is limited, from when to when, and how a raise changes it.

Pages, the API, alerts and the gateway read quotas through here, so that all of them mean the same.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace

from quotas.models import Quota, QuotaKind, QuotaTarget, Window
from quotas.rollups import floor

Target = tuple[str, str]  # (target kind, id): of a project its id as text, of a key or endpoint its UUID


@dataclass(frozen=True, slots=True)
class Raise:
    """Larger numbers that count up to and with the day `ends_on`, UTC."""

    soft: int | None
    hard: int | None
    ends_on: dt.date


@dataclass(frozen=True, slots=True)
class Effective:
    """The numbers that count on one day. `raised_until` is the last day of the raise that made them larger."""

    soft: int | None
    hard: int | None
    raised_until: dt.date | None = None

    @property
    def limit(self) -> int:
        """The number that refuses, where there is one, else the one that warns."""
        return self.hard if self.hard is not None else self.soft or 0


@dataclass(frozen=True, slots=True)
class Bound:
    """One quota with its raises."""

    quota_id: int
    project_id: int
    project: str  # slug
    kind: str
    target_kind: str
    target_id: str  # "" for the project itself
    window: str
    soft: int | None
    hard: int | None
    raises: tuple[Raise, ...] = ()

    @property
    def target(self) -> Target:
        """What is counted."""
        whole = self.target_kind == QuotaTarget.PROJECT
        return self.target_kind, str(self.project_id) if whole else self.target_id

    def on(self, day: dt.date) -> Effective:
        """Return the numbers of `day`: the larger of the quota and every raise that has not ended.

        A number that the quota leaves open stays open: there is nothing to raise.
        """
        soft, hard, until = self.soft, self.hard, None
        for one in self.raises:
            if one.ends_on < day:
                continue
            if hard is not None and one.hard is not None and one.hard > hard:
                hard, until = one.hard, one.ends_on
            if soft is not None and one.soft is not None and one.soft > soft:
                soft, until = one.soft, until or one.ends_on
        return Effective(soft, hard, until)


def bounds(
    *, projects: Iterable[int] | None = None, targets: Iterable[Target] = (), kind: str | None = QuotaKind.TOKENS
) -> list[Bound]:
    """Return the quotas of `kind` (None: of both) of the projects with these ids (None: of all), and those on
    `targets`, keys or endpoints of whichever project (one query).
    """
    found = Quota.objects.filter(kind=kind) if kind else Quota.objects.all()
    if projects is not None:
        chosen = found.filter(project_id__in=list(projects))
        for target_kind, target_id in targets:
            chosen |= found.filter(target_kind=target_kind, target_id=target_id)
        found = chosen
    rows = found.values_list(
        "id", "project_id", "project__slug", "kind", "target_kind", "target_id", "window", "soft", "hard",
        "raises__soft", "raises__hard", "raises__ends_on",
    )  # fmt: skip
    plain: dict[int, Bound] = {}
    raises: dict[int, list[Raise]] = {}
    for row in rows.order_by("project_id", "target_kind", "target_id", "window", "raises__id"):
        plain[row[0]] = Bound(*row[:9])
        if row[11] is not None:
            raises.setdefault(row[0], []).append(Raise(*row[9:]))
    return [replace(bound, raises=tuple(raises.get(bound.quota_id, ()))) for bound in plain.values()]


def window_start(window: str, now: dt.datetime) -> dt.datetime:
    """Return when the day or month (UTC) began in which `now` lies."""
    return floor(now, "day" if window == Window.DAY else "month")


def window_end(window: str, now: dt.datetime) -> dt.datetime:
    """Return when the day or month (UTC) ends in which `now` lies, and the count starts anew."""
    start = window_start(window, now)
    if window == Window.DAY:
        return start + dt.timedelta(days=1)
    return start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
