"""The approval queue: oldest first; a row opens in place, and after a decision the next one opens.

Every address works as a page of its own, so that the queue can be read and decided without JavaScript.
"""

import datetime as dt
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from approvals import lead_time, policies, services
from approvals.models import Request, RequestKind, RequestState
from approvals.views import cells
from approvals.views.opened import opened_cells
from approvals.views.requests import find
from portal.errors import Conflict, Forbidden, GatehouseError, Invalid
from portal.http import page
from portal.templatetags.gatehouse import duration_h, money
from projects.permissions import require_anywhere, visible
from projects.principal import PortalRequest

PAGE_SIZE = 25
HELP = [
    "Oldest first, against the objective of five days from request to first answer. Nobody decides on an own request.",
    "Approving checks the plan again, reserves accelerators or queues for them, and opens the endpoint.",
]
DONE = {"approve": "approved", "reject": "rejected", "request_changes": "sent back for changes"}


@require_GET
def approval_list(request: PortalRequest) -> HttpResponse:
    """What waits for a decision."""
    return _queue(request)


@require_GET
def approval_detail(request: PortalRequest, pk: int) -> HttpResponse:
    """The queue with one request open."""
    require_anywhere(request.principal, "decide", Request)
    found = _waiting(request).filter(pk=pk).first()
    if found is not None:
        return _queue(request, opened=found)
    gone = find(request, pk)
    messages.info(request, f"{gone} is {gone.get_state_display().lower()}; there is nothing left to decide.")
    return _queue(request)


@require_POST
def approve(request: PortalRequest, pk: int) -> HttpResponse:
    """Approve, and open the next one."""
    return _decide(request, pk, "approve")


@require_POST
def reject(request: PortalRequest, pk: int) -> HttpResponse:
    """Reject with a reason, and open the next one."""
    return _decide(request, pk, "reject")


@require_POST
def request_changes(request: PortalRequest, pk: int) -> HttpResponse:
    """Send back with a reason, and open the next one."""
    return _decide(request, pk, "request_changes")


def _decide(request: PortalRequest, pk: int, verb: str) -> HttpResponse:
    require_anywhere(request.principal, "decide", Request)
    current = find(request, pk)
    reason = request.POST.get("reason", "")
    decide: Callable[..., Request] = services.DECISIONS[verb]
    try:
        decided = decide(request.principal, current, reason=reason)
    except (Invalid, Conflict) as error:
        # 422 also for a conflict: htmx swaps this status, so that the sentence stands where the person looks.
        return _refused(request, pk, error, reason, 422)
    except Forbidden as error:
        if error.code != "own_request":
            raise
        return _refused(request, pk, error, reason, 403)
    following = _after(request, decided)
    messages.success(
        request,
        f"{decided} is {DONE[verb]}." + (f" {following} is next." if following else " Nothing else waits for you."),
    )
    return redirect("approval_detail", pk=following.pk) if following else redirect("approval_list")


def _refused(request: PortalRequest, pk: int, error: GatehouseError, reason: str, status: int) -> HttpResponse:
    opened = _waiting(request).filter(pk=pk).first()
    response = _queue(request, opened=opened, refused=error, reason=reason[: services.MAX_REASON * 2], status=status)
    response["HX-Push-Url"] = "false"  # the address of a decision is no page
    return response


def _waiting(request: PortalRequest) -> QuerySet[Request]:
    """Return the queue, oldest first."""
    found = visible(request.principal, Request.objects.all(), "decide")
    found = found.filter(state=RequestState.SUBMITTED, kind=RequestKind.ENDPOINT)
    if request.project is not None:
        found = found.filter(project=request.project)
    related = ("project", "requester", "version__asset", "profile")
    ordered: QuerySet[Request] = found.select_related(*related).order_by("submitted_at", "id")
    return ordered


def _after(request: PortalRequest, decided: Request) -> Request | None:
    """Return the next request that the person may decide, behind the decided one, else from the front."""
    own = _waiting(request).exclude(requester=request.principal.person)
    behind = Q(submitted_at__gt=decided.submitted_at) | Q(submitted_at=decided.submitted_at, pk__gt=decided.pk)
    return own.filter(behind).first() or own.first()


def _queue(
    request: PortalRequest,
    *,
    opened: Request | None = None,
    refused: GatehouseError | None = None,
    reason: str = "",
    status: int = 200,
) -> HttpResponse:
    require_anywhere(request.principal, "decide", Request)
    now = timezone.now()
    waiting = _waiting(request)
    stats, total, ahead = _stats(request, waiting, now, opened)
    number = _page_number(request) if opened is None else ahead // PAGE_SIZE + 1
    start = (number - 1) * PAGE_SIZE
    shown = list(waiting[start : start + PAGE_SIZE])
    context = {
        "crumbs": [("Home", reverse("home")), ("Approvals", "")],
        "help_text": HELP,
        "stats": stats,
        "rows": [_row(request, item, now, opened) for item in shown],
        "refused": refused,
        "page": {
            "start": start + 1 if shown else 0,
            "end": start + len(shown),
            "total": total,
            "previous_url": _page_url(number - 1) if number > 1 else "",
            "next_url": _page_url(number + 1) if start + PAGE_SIZE < total else "",
        },
    }
    if opened is not None:
        context["open"] = opened_cells(request, opened, refused, reason)
    return page(request, "approvals/queue.html", context, part="queue", status=status)


def _page_number(request: PortalRequest) -> int:
    text = request.GET.get("page", "")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) <= 6 else 1


def _page_url(number: int) -> str:
    return f"{reverse('approval_list')}?page={number}"


def _stats(
    request: PortalRequest, waiting: QuerySet[Request], now: dt.datetime, opened: Request | None
) -> tuple[list[dict[str, Any]], int, int]:
    """Return the strip of numbers, how many wait, and how many of them are older than the opened one (two queries)."""
    objective = dt.timedelta(seconds=settings.LEAD_TIME_OBJECTIVE_SECONDS)
    older = Q(pk__in=[])
    if opened is not None:
        older = Q(submitted_at__lt=opened.submitted_at) | Q(submitted_at=opened.submitted_at, pk__lt=opened.pk)
    numbers = waiting.order_by().aggregate(
        total=Count("pk"),
        own=Count("pk", filter=Q(requester=request.principal.person)),
        overdue=Count("pk", filter=Q(submitted_at__lt=now - objective)),
        ahead=Count("pk", filter=older),
    )
    estimate = lead_time.estimate()
    samples, goal = estimate["samples"], duration_h(estimate["objective_seconds"])
    scope = (
        f"last {lead_time.SAMPLE_DAYS} days, {samples} request{'s' if samples != 1 else ''}"
        if samples
        else "no data yet"
    )
    within = f"{round(estimate['share_within_objective'] * 100)} % within {goal}" if samples else f"objective {goal}"
    strip = [
        {
            "label": "Waiting for you",
            "value": numbers["total"] - numbers["own"],
            "scope": f"of {numbers['total']} open",
            "bad": False,
        },
        {"label": "Overdue", "value": numbers["overdue"], "scope": f"older than {goal}", "bad": numbers["overdue"] > 0},
        {"label": "Lead time, half", "value": duration_h(estimate["p50_seconds"]), "scope": scope, "bad": False},
        {"label": "Lead time, 9 of 10", "value": duration_h(estimate["p90_seconds"]), "scope": within, "bad": False},
    ]
    return strip, numbers["total"], numbers["ahead"]


def _row(request: PortalRequest, item: Request, now: dt.datetime, opened: Request | None) -> dict[str, Any]:
    own = policies.is_own(request.principal.person, item.requester_id)
    is_open = opened is not None and item.pk == opened.pk
    cost = item.plan.get("cost", {"per_month": "0", "currency": settings.CURRENCY})
    return {
        "pk": item.pk,
        "number": item.number,
        "url": _page_url(1) if is_open else reverse("approval_detail", args=[item.pk]),
        "open": is_open,
        "name": item.name,
        "by": f"{item.project.slug if item.project else 'catalog'} · {item.requester.username}",
        "what": item.version.asset.name if item.version else "–",
        "where": f"{item.environment} · {'sent again' if item.submission > 1 else 'new endpoint'}",
        "gpus": item.plan.get("gpus", {}).get("total", 0),
        "per_month": money(cost["per_month"], cost["currency"]),
        "counts": cells.counts(item.plan),
        "turn": "Another reviewer" if own else "You",
        "mine": not own,
        "age": _age(now - item.submitted_at if item.submitted_at else dt.timedelta()),
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
