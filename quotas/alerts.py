"""Telling people before a token quota is used up, each thing once per quota and window.

Thresholds are 50, 80 and 100 % of the number that refuses, and of the number that warns where nothing refuses. Where
both are set, passing the one that warns is told too. A monthly quota that will not last at the pace of the last days is
told once a month. The row that remembers it is written with the notification in one transaction.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from projects.models import ApiKey, Project, User
from projects.notify.audience import builders, owners
from projects.notify.services import tell
from quotas.bounds import Bound, bounds, window_end, window_start
from quotas.models import Quota, QuotaAlert, QuotaTarget, UsageDay, Window
from quotas.spent import Pace, paces, spent
from quotas.words import amount, limits_path, moment, title

THRESHOLDS = (50, 80, 100)
PROJECTED, SOFT_PASSED = 0, 1  # what QuotaAlert.threshold says apart from a percentage
PACE_DAYS, LEAST_DAYS = 7, 3


@dataclass(frozen=True, slots=True)
class Crossing:
    """A number that was reached: `threshold` as QuotaAlert keeps it, and the limit that it refers to."""

    threshold: int
    limit: int
    used: int  # tokens when it was noticed
    at: int  # tokens at which it is reached, to tell the highest of several


def check(now: dt.datetime | None = None) -> int:
    """Tell what has been crossed since the last time and return how many were told.

    Of several that one quota crossed at once only the highest is told; the others count as told. Safe to run twice at
    the same time. One query while nobody has a token quota.
    """
    now = now or timezone.now()
    found = bounds()
    if not found:
        return 0
    starts = {window: window_start(window, now) for window in Window.values}
    rows = QuotaAlert.objects.filter(window_start__in=list(starts.values()))
    known = {(quota, start, threshold) for quota, start, threshold in rows.values_list(
        "quota_id", "window_start", "threshold")}  # fmt: skip
    used = spent(found, now=now)
    told = 0
    for bound in found:
        tokens, start = used.used(bound.target, bound.window), starts[bound.window]
        fresh = [one for one in crossings(bound, tokens, now) if (bound.quota_id, start, one.threshold) not in known]
        told += _tell_crossed(bound, fresh, now) if fresh else 0
    monthly = [
        bound
        for bound in found
        if bound.window == Window.MONTH and (bound.quota_id, starts[Window.MONTH], PROJECTED) not in known
    ]
    return told + _check_paces(monthly, {bound: used.used(bound.target, bound.window) for bound in monthly}, now)


def crossings(bound: Bound, used: int, now: dt.datetime) -> list[Crossing]:
    """Return what `used` tokens have crossed, lowest first."""
    numbers = bound.on(now.date())
    limit = numbers.limit
    found = [Crossing(part, limit, used, -(-limit * part // 100)) for part in THRESHOLDS]
    if numbers.hard is not None and numbers.soft is not None and numbers.soft != numbers.hard:
        found.append(Crossing(SOFT_PASSED, numbers.soft, used, numbers.soft))
    # Nothing has been crossed where nothing was used: a quota of 0 refuses everything and is no news.
    return sorted((one for one in found if used and used >= one.at), key=lambda one: (one.at, one.threshold))


def _check_paces(monthly: list[Bound], used: dict[Bound, int], now: dt.datetime) -> int:
    """Tell which monthly quotas will not last, at the pace of the last whole days."""
    if not monthly:
        return 0
    found = paces(monthly, days=PACE_DAYS, now=now)
    told = 0
    for bound in monthly:
        limit, pace = bound.on(now.date()).limit, found.get(bound.target)
        ends = runs_out(pace, limit - used[bound], now) if pace and used[bound] < limit else None
        if ends is not None:
            told += _tell_projected(bound, Crossing(PROJECTED, limit, used[bound], limit), ends, now)
    return told


def runs_out(pace: Pace, left: int, now: dt.datetime) -> dt.datetime | None:
    """Return when `left` tokens are used up at `pace`, None when they outlast the month or too few days are known.

    The pace is the tokens of the last whole days divided by the days since the first call among them.
    """
    today = window_start(Window.DAY, now)
    days = (today - pace.since).days
    if days < LEAST_DAYS or not pace.tokens:
        return None
    remaining = (window_end(Window.MONTH, now) - now).total_seconds()
    seconds = left * days * 86_400 / pace.tokens
    return now + dt.timedelta(seconds=seconds) if seconds < remaining else None


def _remember(bound: Bound, found: Iterable[Crossing], now: dt.datetime) -> list[Crossing]:
    """Write a row for each that has none yet and return those; the quota's row stays locked until it is told."""
    if not Quota.objects.select_for_update().filter(pk=bound.quota_id).values_list("pk").first():
        return []  # it was taken away in the meantime
    start = window_start(bound.window, now)
    rows = QuotaAlert.objects.filter(quota_id=bound.quota_id, window_start=start)
    known = set(rows.values_list("threshold", flat=True))
    fresh = [one for one in found if one.threshold not in known]
    QuotaAlert.objects.bulk_create(
        QuotaAlert(quota_id=bound.quota_id, window_start=start, threshold=one.threshold, used=one.used, limit=one.limit)
        for one in fresh
    )
    return fresh


def _tell_crossed(bound: Bound, found: list[Crossing], now: dt.datetime) -> int:
    with transaction.atomic():
        fresh = _remember(bound, found, now)
        # Below what was told before there is nothing to tell: a lower one comes late, after a change of the numbers.
        if not fresh or fresh[-1] != found[-1]:
            return 0
        highest = fresh[-1]
        _tell("quota.threshold", bound, highest, _said(bound, highest, _name(bound), now), now)
    return 1


def _tell_projected(bound: Bound, crossing: Crossing, ends: dt.datetime, now: dt.datetime) -> int:
    with transaction.atomic():
        if not _remember(bound, [crossing], now):
            return 0
        what = title(bound.kind, bound.target_kind, _name(bound), bound.window)
        said = (
            f"{bound.project}: at the pace of the last days the {what} of {amount('tokens', crossing.limit)} is used "
            f"up on {ends.day} {ends:%b}, before the month ends."
        )
        _tell("quota.projected", bound, crossing, said, now, runs_out_on=ends.date().isoformat())
    return 1


def _said(bound: Bound, crossing: Crossing, name: str, now: dt.datetime) -> str:
    numbers, what = bound.on(now.date()), title(bound.kind, bound.target_kind, name, bound.window)
    limit = amount("tokens", crossing.limit)
    if crossing.threshold == SOFT_PASSED:
        return f"{bound.project}: {crossing.used:,} used of the {what}, past the {limit} that warn."
    if crossing.threshold < 100:
        return f"{bound.project}: {crossing.threshold} % of the {what} of {limit} is used."
    refused = " Calls are refused." if numbers.hard is not None else ""
    return f"{bound.project}: the {what} of {limit} is used up.{refused}"


def _tell(kind: str, bound: Bound, crossing: Crossing, said: str, now: dt.datetime, **more: object) -> None:
    project = Project.objects.get(pk=bound.project_id)
    start, numbers = window_start(bound.window, now), bound.on(now.date())
    tell(
        kind,
        audience(bound, project),
        title=said,
        text=f"The count starts anew on {moment(window_end(bound.window, now))}.",
        url=limits_path(project.slug),
        project=project,
        about=("quota", str(bound.quota_id)),
        # With the limit: when the numbers change in a window, the new ones are told about.
        once=f"quota:{bound.quota_id}:{start:%Y-%m-%d}:{crossing.threshold}:{crossing.limit}",
        data={
            "target": bound.target_kind, "name": _name(bound), "window": bound.window, "window_start": start,
            "threshold": crossing.threshold, "used": crossing.used, "limit": crossing.limit,
            "soft": numbers.soft, "hard": numbers.hard, "resets_at": window_end(bound.window, now), **more,
        },
    )  # fmt: skip


def audience(bound: Bound, project: Project) -> list[User]:
    """Return whom a quota concerns: owners and developers; of a key its person and the owners."""
    if bound.target_kind != QuotaTarget.KEY:
        return builders(project)
    key = ApiKey.objects.select_related("person").filter(pk=bound.target_id).first()
    return owners(project) + ([key.person] if key is not None and key.person.is_active else [])


def _name(bound: Bound) -> str:
    """Return what people call the target: of an endpoint the name that its last calls went to, of a key its prefix."""
    if bound.target_kind == QuotaTarget.PROJECT:
        return ""
    column = "endpoint" if bound.target_kind == QuotaTarget.ENDPOINT else "key"
    rows = UsageDay.objects.filter(**{f"{column}_id": bound.target_id}).order_by("-start")
    return rows.values_list(column, flat=True).first() or ""
