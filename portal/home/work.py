"""Cards of people in projects: own requests, endpoints, what ends soon, tokens left, first steps, the catalog."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.db.models import Case, F, Q, Sum, When
from django.urls import reverse
from django.utils.http import urlencode

from approvals.models import Request, RequestState
from approvals.representation import with_all
from approvals.views.cells import state_line, what
from catalog.models import Version, VersionState
from endpoints import cells
from endpoints.models import Endpoint, Phase
from portal.guide import quick_starts
from portal.home.sight import ENDS_DAYS, Sight
from projects.models import Role
from projects.permissions import visible
from quotas import charts, histogram
from quotas.bounds import Bound, Effective, bounds
from quotas.charts import Series
from quotas.lines import LIVING
from quotas.models import QuotaKind, QuotaTarget, Reservation, ReservationState, UsageDay, UsageHour, Window
from quotas.rollups import Total, floor
from quotas.spent import Spent, spent

Cell = dict[str, Any]
OPEN = (RequestState.DRAFT, RequestState.SUBMITTED, RequestState.CHANGES_REQUESTED)
NEWEST, QUOTAS, CHART_DAYS = 3, 3, 14


def requests(sight: Sight) -> Cell:
    """Return own requests that are open, and approved ones whose endpoint has never been ready (three queries)."""
    on_its_way = Q(state=RequestState.APPROVED, endpoint__isnull=False, endpoint__ready_at__isnull=True)
    on_its_way &= ~Q(endpoint__phase=Phase.DELETED)
    own = Request.objects.filter(Q(state__in=OPEN) | on_its_way, requester=sight.principal.person, **sight.scoped)
    own = visible(sight.principal, own)  # whoever left a project sees nothing of it any more, own requests included
    mine_first = Case(When(state__in=(RequestState.DRAFT, RequestState.CHANGES_REQUESTED), then=0), default=1)
    return {
        "may_request": sight.builder,
        "rows": [
            {
                "label": item.number,
                "url": reverse("request_detail", args=[item.pk]),
                "name": item.name,
                "what": " · ".join(part for part in (what(item), item.environment) if part),
                "state": state_line(item, mine=True, decides=False),
            }
            for item in with_all(own).order_by(mine_first, "-id")[: sight.most]
        ],
    }


def endpoints(sight: Sight) -> Cell:
    """Return the endpoints that need somebody first, with calls and first token of 24 hours (two queries)."""
    urgency = Case(When(phase=Phase.FAILED, then=0), When(phase=Phase.DEGRADED, then=1), default=2)
    related = ("project", "cluster", "revision__version__asset", "revision__profile")
    found = list(
        sight.endpoints().select_related(*related).order_by(urgency, "project__slug", "name", "pk")[: sight.most]
    )
    calls = _last_day(found, sight.now) if found else {}
    return {
        "total": sight.numbers["endpoints"],
        "may_request": sight.builder,
        "rows": [_endpoint(row, calls.get(str(row.pk), Total()), sight) for row in found],
    }


def _endpoint(row: Endpoint, calls: Total, sight: Sight) -> Cell:
    first = histogram.percentile(calls.ttft, 0.5)
    model = f"{row.revision.version.asset.name} · " if row.revision else ""
    return {
        "name": row.name,
        "context": f"{model}{row.environment} · {row.project.slug}",
        "url": reverse("endpoint_detail", args=[row.pk]),
        "chip": cells.phase_chip(row),
        "calls": calls.requests,
        "first": f"{first / 1000:.2f} s" if first is not None else "–",
        "until": row.ends_on,
        "soon": row.ends_on is not None and row.ends_on <= sight.now.date() + dt.timedelta(days=ENDS_DAYS),
    }


def _last_day(rows: list[Endpoint], now: dt.datetime) -> dict[str, Total]:
    """Return calls and first tokens of the last 24 whole hours by endpoint id (one query)."""
    since = floor(now, "hour") - dt.timedelta(hours=23)
    totals: dict[str, Total] = {}
    hours = UsageHour.objects.filter(endpoint_id__in=[str(row.pk) for row in rows], start__gte=since)
    for hour in hours.only("endpoint_id", "requests", "ttft"):
        total = totals.setdefault(hour.endpoint_id, Total())
        total.requests += hour.requests
        histogram.merge(total.ttft, hour.ttft)
    return totals


def due(sight: Sight) -> Cell:
    """Return what ends soon: endpoints to renew and keys to rotate (two queries)."""
    lines: list[Cell] = [
        {
            "when": row.ends_on,
            "icon": "calendar",
            "name": f"{row.project.slug}/{row.name}",
            "url": reverse("endpoint_detail", args=[row.pk]),
            "what": "endpoint, stops after that day",
        }
        for row in sight.ending_endpoints().select_related("project").order_by("ends_on", "name", "pk")[: sight.most]
    ]
    if sight.owner or sight.lead:
        lines += [
            {
                "when": key.expires_at.date(),
                "icon": "key",
                "name": f"{key.project.slug}: {key.name}",
                "url": reverse("key_list", args=[key.project.slug]),
                "what": f"key of {key.person.username}, is refused after that day",
            }
            for key in sight.ending_keys()
            .select_related("project", "person")
            .order_by("expires_at", "pk")[: sight.most]
        ]
    return {"rows": sorted(lines, key=lambda line: line["when"])[: sight.most], "days": ENDS_DAYS}


def tokens(sight: Sight) -> Cell:
    """Return what is left of the token quotas of the person's projects, the scarcest first (two queries)."""
    ids = sight.projects_as(*Role.values)
    found = [one for one in bounds(projects=ids) if one.target_kind == QuotaTarget.PROJECT]
    used = spent(found, now=sight.now) if found else None
    lines = [_quota(bound, bound.on(sight.now.date()), used, sight) for bound in found if used is not None]
    lines.sort(key=lambda line: -line["percent"])
    return {"rows": lines[:QUOTAS], "owner": sight.owner, "url": f"{reverse('usage')}{_project(sight)}"}


def _quota(bound: Bound, numbers: Effective, used: Spent, sight: Sight) -> Cell:
    taken, limit = used.used(bound.target, bound.window), numbers.limit
    percent = 100 * taken / limit if limit else 100.0
    start = used.day if bound.window == Window.DAY else used.month
    following = floor(start + dt.timedelta(days=1 if bound.window == Window.DAY else 32), bound.window)
    gone = (sight.now - start) / (following - start)
    tone = "bad" if percent >= 100 else "warn" if percent >= 80 or percent > 100 * gone + 20 else ""
    when = "today" if bound.window == Window.DAY else f"in {start:%B}"
    return {
        "left": max(0, limit - taken),
        "limit": limit,
        "project": bound.project,
        "when": when,
        "percent": percent,
        "even": 100 * gone,
        "tone": tone,
        "label": f"{percent:.0f} % of {limit:,} tokens used {when}",
        "resets": following,
        "warns": numbers.hard is None,
    }


def gpus(sight: Sight) -> Cell:
    """Return what the owned projects have of their GPU quotas, the scarcest first (two queries)."""
    ids = sight.projects_as(Role.OWNER)
    limits = {bound.project: bound.on(sight.now.date()).hard for bound in bounds(projects=ids, kind=QuotaKind.GPUS)}
    living = Reservation.objects.filter(project__in=ids, state__in=LIVING).order_by()
    held = Sum("amount", filter=Q(state=ReservationState.HELD), default=0)
    sums = living.values_list("project__slug").annotate(held=held, taken=Sum("amount"))
    taken = {slug: (of_them_held, all_of_them) for slug, of_them_held, all_of_them in sums}
    lines = [_gpus(slug, *taken.get(slug, (0, 0)), limits.get(slug)) for slug in {*limits, *taken}]
    return {"rows": sorted(lines, key=lambda line: (-line["percent"], line["project"]))[:QUOTAS]}


def _gpus(slug: str, held: int, taken: int, limit: int | None) -> Cell:
    percent = 0.0 if limit is None else 100 * taken / limit if limit else 100.0
    return {
        "project": slug,
        "held": held,
        "waiting": taken - held,
        "limit": limit,
        "percent": percent,
        "tone": "warn" if percent >= 100 else "",
        "label": f"{held} of {limit} held",
    }


def steps(sight: Sight) -> Cell:
    """Return the first checklist of the person that is not complete, ticked from what happened (one query)."""
    found = next((one for one in quick_starts(sight.principal) if not one.complete), None)
    if found is None:
        return {"steps": []}
    return {"title": found.title, "steps": found.steps, "done": found.done}


def newest(sight: Sight) -> Cell:
    """Return what came into the catalog last (one query)."""
    found = Version.objects.visible_to(sight.principal).filter(state=VersionState.APPROVED).select_related("asset")
    return {
        "rows": [
            {
                "name": f"{version.asset.name} {version.version}",
                "url": reverse("catalog_detail", args=[version.asset.slug]),
                "context": f"{version.asset.publisher}, {version.licence or 'licence not verified'}",
                "at": version.approved_at,
            }
            for version in found.order_by("-approved_at", "-id")[:NEWEST]
        ]
    }


def chart(sight: Sight) -> Cell:
    """Return the tokens of each of the last 14 days (one query)."""
    start = floor(sight.now, "day") - dt.timedelta(days=CHART_DAYS - 1)
    rows = visible(sight.principal, UsageDay.objects.filter(start__gte=start))
    rows = rows.filter(project_id__in=sight.projects_as(*Role.values))
    summed: Mapping[dt.datetime, int] = dict(
        rows.order_by().values_list("start").annotate(sum=Sum(F("input_tokens") + F("output_tokens")))
    )
    days = [start + dt.timedelta(days=number) for number in range(CHART_DAYS)]
    series = [Series("Tokens", "blue", [summed.get(day, 0) for day in days], f"{sum(summed.values()):,}")]
    words = f"Tokens per day, input and output together, last {CHART_DAYS} days, UTC."
    labels = [f"{day.day} {day:%b}" for day in days]
    return {
        "chart": charts.bars("tokens", "Tokens per day", words, labels, series) if summed else None,
        "url": f"{reverse('usage')}{_project(sight)}",
        "scope": sight.project.slug if sight.project else "all your projects",
    }


def _project(sight: Sight) -> str:
    return f"?{urlencode({'project': sight.project.slug})}" if sight.project else ""
