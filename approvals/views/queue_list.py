"""Columns, filters and rows of the approval queue."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from approvals import builtin
from approvals.models import Request, RequestKind
from approvals.views import cells
from endpoints.models import Environment
from portal.listing import Asked, BulkAction, Column, Filter, Listing
from portal.templatetags.gatehouse import duration_h
from projects.principal import PortalRequest

NEW = {
    RequestKind.ENDPOINT: "new endpoint",
    RequestKind.REVISION: "new revision",
    RequestKind.RENEWAL: "later end date",
    RequestKind.ACCESS: "access for another project",
    RequestKind.QUOTA: "more quota",
    RequestKind.MCP_ACCESS: "MCP server for a project",
    RequestKind.ADMISSION: "into the catalog",
}
ACTIONS = (
    BulkAction("approve", "Approve", primary=True, without_reason=True),
    BulkAction("request_changes", "Ask for changes"),
    BulkAction("reject", "Reject", danger=True),
)


@dataclass(frozen=True)
class Stats:
    """How many requests wait, of whom, since when; `ahead` of the one that is open."""

    total: int
    own: int
    overdue: int
    ahead: int


def _matching(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    words = Q(name__icontains=value) | Q(project__slug__icontains=value) | Q(requester__username__icontains=value)
    return rows.filter(words | Q(version__asset__name__icontains=value) | by_number(value))


def by_number(value: str) -> Q:
    """Return the condition for a request that is called R-12, r12 or 12; nothing for other texts."""
    digits = value.upper().removeprefix("R").removeprefix("-")
    return Q(pk=int(digits)) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else Q(pk__in=[])


QUEUE = Listing(
    route="approval_list",
    nouns=("request", "requests"),
    columns=(
        Column(
            "age",
            "Age of 5 days",
            ("-submitted_at",),
            {"submitted_at": "submitted_at", "overdue": "overdue"},
            sort_label="Age",
            first="descending",
        ),
        Column(
            "request",
            "Request",
            ("id",),
            {"request": "number", "name": "name", "project": "project", "requester": "requester"},
            fixed=True,
        ),
        Column(
            "what", "What", ("version__asset__name",), {"what": "what", "kind": "kind", "environment": "environment"}
        ),
        Column("gpus", "GPU", csv={"gpus": "gpus"}, numeric=True, css="gh-wide-only"),
        Column(
            "cost", "Per month", csv={"per_month": "amount", "currency": "currency"}, numeric=True, css="gh-wide-only"
        ),
        Column(
            "rules",
            "Rules",
            csv={
                "passed": lambda line: line["counts"]["passed"],
                "warned": lambda line: line["counts"]["warned"],
                "failed": lambda line: line["counts"]["failed"],
            },
            css="gh-wide-only",
        ),
        Column("turn", "Waits for", csv={"waits_for": "turn"}),
    ),
    filters=(
        Filter("q", "Number, name, project, person", _matching, kind="search"),
        Filter(
            "kind",
            "Kind",
            lambda rows, value, request: rows.filter(kind=value),
            choices=[(value.value, label.capitalize()) for value, label in NEW.items()],
            every="Every kind",
        ),
        Filter(
            "environment",
            "Environment",
            lambda rows, value, request: rows.filter(environment=value),
            choices=[(value, str(label)) for value, label in Environment.choices],
            every="Every environment",
        ),
        Filter(
            "mine",
            "Waits for me",
            lambda rows, value, request: rows.exclude(requester=request.principal.person),
            kind="flag",
        ),
    ),
    sort="-age",
    size=25,
    file="approvals",
)


def lines(
    request: PortalRequest, rows: Sequence[Request], asked: Asked, opened: Request | None = None
) -> list[dict[str, Any]]:
    """Return the rows of the queue; `opened` is the one that is open."""
    now = timezone.now()
    _, mark, query = asked.here.partition("?")
    return [_line(request, item, now, opened, f"{mark}{query}") for item in rows]


def _line(
    request: PortalRequest, item: Request, now: dt.datetime, opened: Request | None, query: str
) -> dict[str, Any]:
    own = builtin.is_own(request.principal.person, item.requester_id)
    is_open = opened is not None and item.pk == opened.pk
    cost = item.plan.get("cost") or {}
    age = now - item.submitted_at if item.submitted_at else dt.timedelta()
    project = item.project.slug if item.project else "catalog"
    news = "sent again" if item.submission > 1 else NEW.get(RequestKind(item.kind), item.get_kind_display())
    where = reverse("approval_list") if is_open else reverse("approval_detail", args=[item.pk])
    return {
        "pk": item.pk,
        "number": item.number,
        "tick": "" if own else str(item.pk),
        "url": f"{where}{query}",
        "open": is_open,
        "name": item.name or (item.endpoint.name if item.endpoint else ""),
        "project": project,
        "requester": item.requester.username,
        "by": f"{project} · {item.requester.username}",
        "what": cells.what(item),
        "kind": item.kind,
        "environment": item.environment,
        "where": f"{item.environment} · {news}" if item.environment else news,
        "gpus": (item.plan.get("gpus") or {}).get("total"),
        "per_month": cells.per_month(item.plan),
        "amount": cost.get("per_month", ""),
        "currency": cost.get("currency", ""),
        "counts": cells.counts(item.plan),
        "turn": "Another reviewer" if own else "You",
        "mine": not own,
        "submitted_at": item.submitted_at,
        "overdue": age.total_seconds() > settings.LEAD_TIME_OBJECTIVE_SECONDS,
        "age": _age(age),
    }


def _age(age: dt.timedelta) -> dict[str, Any]:
    """Return age against the objective: words, what is left, and the bar."""
    seconds, goal = age.total_seconds(), settings.LEAD_TIME_OBJECTIVE_SECONDS
    percent = min(100.0, seconds * 100 / goal)
    late = seconds > goal
    words, rest = _rough(seconds), _rough(abs(goal - seconds))
    return {
        "text": words,
        "rest": f"{rest} overdue" if late else f"{rest} left",
        "late": late,
        "percent": percent,
        "tone": "bad" if late else "warn" if percent >= 80 else "",
        "label": f"{words} of {duration_h(goal)}",
    }


def _rough(seconds: float) -> str:
    """Return a duration in whole hours, or in minutes below one: nobody decides by the minute."""
    step = 3600 if seconds >= 3600 else 60
    return duration_h(seconds // step * step) if seconds >= 60 else "under 1 min"
