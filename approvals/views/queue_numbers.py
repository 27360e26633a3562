"""The numbers over the approval queue."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache
from django.db.models import Count, Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from approvals import lead_time
from approvals.envelopes.submitting import mode_of
from approvals.models import Choice, Decision, EnvelopeMode, Mode, Request, RequestState
from approvals.objective import clock, report
from approvals.objective.clock import SAMPLE_DAYS
from approvals.objective.words import against
from approvals.policies.active import active
from approvals.stages.reading import waiting_for
from approvals.stages.standing import Standing
from portal.counting import number
from portal.templatetags.gatehouse import duration_h
from projects.models import User
from projects.principal import PortalRequest

BY_RULE, CACHE_SECONDS = "approved-by-rule", 60


@dataclass(frozen=True)
class Stats:
    """How many requests wait, how many of them for the reader; `ahead`: before the one that is open; `latest`: the one
    that is overdue the longest, with its seconds.
    """

    total: int
    mine: int
    overdue: int
    ahead: int
    latest: tuple[Request, int] | None


def numbers(request: PortalRequest, rows: QuerySet[Request], standing: Standing, opened: Request | None) -> Stats:
    """Count what waits, each number by an index (one query, and one more when something is overdue)."""
    now = timezone.now()
    late = report.overdue(rows, now)
    mine = waiting_for(request.principal, standing)
    if request.project is not None:
        mine = mine.filter(pk__in=rows.values("pk"))
    before = Request.objects.none()
    if opened is not None and opened.due_at is not None:
        before = rows.filter(Q(due_at__lt=opened.due_at) | Q(due_at=opened.due_at, pk__lt=opened.pk))
    found = {"total": rows, "mine": mine, "overdue": late, "ahead": before}
    me = User.objects.filter(pk=request.principal.person.pk).order_by()
    counted = me.annotate(**{name: number(some) for name, some in found.items()}).values(*found).get()
    latest = None
    if counted["overdue"]:
        columns = ("state", "submitted_at", *clock.COLUMNS)
        first = late.order_by("due_at", "pk").only(*columns).first()
        latest = (first, clock.seconds(first, now)) if first is not None else None
    return Stats(**counted, latest=latest)


def strip(found: Stats, *, short: bool = False) -> Sequence[dict[str, Any]]:
    """Return the strip of numbers; those of the past are at most a minute old. A `short` one does without what rules
    approved when that is not known at the moment: a page with an open row has enough to ask for.
    """
    estimate, ruled = lead_time.cached(), cache.get(BY_RULE)
    if ruled is None and not short:
        ruled = _by_rule()
        cache.set(BY_RULE, ruled, CACHE_SECONDS)
    samples, goal = estimate["samples"], duration_h(estimate["objective_seconds"])
    scope = f"last {SAMPLE_DAYS} days, {samples} request{'s' if samples != 1 else ''}" if samples else "no data yet"
    within = f"{round(estimate['share_within_objective'] * 100)} % within {goal}" if samples else f"objective {goal}"
    late = f"older than {goal} of business time"
    if found.latest is not None:
        late = f"{found.latest[0].number}, {against(found.latest[1])['rest']}"
    queue = reverse("approval_list")
    return [
        {
            "label": "Waiting for you",
            "value": found.mine,
            "scope": f"of {found.total} open",
            "bad": False,
            "url": f"{queue}?mine=1",
        },
        {
            "label": "Overdue",
            "value": found.overdue,
            "scope": late,
            "bad": found.overdue > 0,
            **({"url": f"{queue}?overdue=1"} if found.overdue else {}),
        },
        {"label": "Lead time, half", "value": duration_h(estimate["p50_seconds"]), "scope": scope, "bad": False},
        {"label": "Lead time, 9 of 10", "value": duration_h(estimate["p90_seconds"]), "scope": within, "bad": False},
        *([{"label": "Approved by rule", **ruled, "bad": False}] if ruled else []),
    ]


def _by_rule() -> dict[str, str]:
    """Return which share of the approvals of the last 90 days a rule gave, and how many rules could (three queries)."""
    since = timezone.now() - dt.timedelta(days=SAMPLE_DAYS)
    asked = Request.objects.filter(state=RequestState.APPROVED, decided_at__gte=since)
    counted = asked.exclude(requester__username=lead_time.LOADER).order_by()
    all_of_them = counted.count()
    ruled = Decision.objects.filter(decision=Choice.APPROVE, request__in=counted).exclude(rule="")
    by_rule = ruled.order_by().aggregate(n=Count("request", distinct=True))["n"]
    rows = {row.rule: row for row in EnvelopeMode.objects.all()}
    modes = [mode_of(one, rows.get(one.id)) for one in active().bundle.envelopes]
    live, shadow = modes.count(Mode.LIVE), modes.count(Mode.SHADOW)
    return {
        "value": f"{round(by_rule * 100 / all_of_them)} %" if all_of_them else "–",
        "scope": f"{live} rule{'s' if live != 1 else ''} live, {shadow} in shadow",
    }
