"""The approval queue: oldest first; a row opens in place, and after a decision the next one opens.

Every address works as a page of its own, so that the queue can be read and decided without JavaScript. Filters, order
and page stay in the address from row to row and over decisions.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from approvals import lead_time, services
from approvals.models import Request, RequestKind, RequestState
from approvals.views.opened import opened_cells
from approvals.views.queue_list import ACTIONS, QUEUE, Stats, lines
from approvals.views.requests import find
from portal import listing
from portal.errors import Conflict, Forbidden, GatehouseError, Invalid
from portal.listing import Asked
from portal.templatetags.gatehouse import duration_h
from projects import saved_views
from projects.permissions import require, require_anywhere, visible
from projects.principal import PortalRequest
from projects.signin.recent import recently_proved

HELP = [
    "Oldest first, against the objective of five days from request to first answer. Nobody decides on an own request.",
    "Approving checks the plan again and then does what was asked for, for example reserves accelerators and opens the"
    " endpoint.",
]
DONE = {"approve": "approved", "reject": "rejected", "request_changes": "sent back for changes"}
SENTENCES = {
    "approve": "It is approved; what it asks for is under way.",
    "reject": "It is rejected; the requester reads the reason.",
    "request_changes": "It is sent back; the requester reads what to change.",
}


@require_GET
def approval_list(request: PortalRequest) -> HttpResponseBase:
    """What waits for a decision."""
    require_anywhere(request.principal, "decide", Request)
    asked = _read(request)
    if asked.csv:
        return listing.csv_response(asked, _waiting(request), lambda rows: lines(request, rows, asked))
    return _queue(request, asked)


@require_GET
def approval_detail(request: PortalRequest, pk: int) -> HttpResponse:
    """The queue with one request open."""
    require_anywhere(request.principal, "decide", Request)
    found = _waiting(request).filter(pk=pk).first()
    if found is not None:
        return _queue(request, _read(request), opened=found)
    gone = find(request, pk)
    if gone.state == RequestState.SUBMITTED:
        require(request.principal, "decide", gone)
    messages.info(request, f"{gone} is {gone.get_state_display().lower()}; there is nothing left to decide.")
    return _queue(request, _read(request))


@require_POST
@recently_proved(why="You decide over what others may spend.")
def approve(request: PortalRequest, pk: int) -> HttpResponse:
    """Approve, and open the next one."""
    return _decide(request, pk, "approve")


@require_POST
@recently_proved(why="You decide over what others may spend.")
def reject(request: PortalRequest, pk: int) -> HttpResponse:
    """Reject with a reason, and open the next one."""
    return _decide(request, pk, "reject")


@require_POST
@recently_proved(why="You decide over what others may spend.")
def request_changes(request: PortalRequest, pk: int) -> HttpResponse:
    """Send back with a reason, and open the next one."""
    return _decide(request, pk, "request_changes")


@require_POST
@recently_proved(why="You decide over what others may spend.")
def approval_bulk(request: PortalRequest) -> HttpResponse:
    """Decide the ticked requests with one reason, each with an outcome of its own."""
    require_anywhere(request.principal, "decide", Request)
    action, ids = listing.chosen_action(request, ACTIONS), listing.ticked(request)
    keys = [int(text) for text in ids if text.isascii() and text.isdigit() and len(text) <= 18]
    found = visible(request.principal, Request.objects.all()).filter(pk__in=keys)
    rows = {str(item.pk): item for item in found.select_related("project", "requester", "version__asset", "profile")}
    reason = request.POST.get("reason", "")

    def act(item: Request) -> str:
        services.DECISIONS[action.verb](request.principal, item, reason=reason)
        return SENTENCES[action.verb]

    outcomes = listing.perform(
        ids,
        rows,
        act,
        label=lambda item: f"{item.number} {item.name}".strip(),
        url=lambda item: reverse("request_detail", args=[item.pk]),
        missing="There is no such request, or you may not see it.",
    )
    back = listing.back_to(request, reverse("approval_list"))
    context = {
        "crumbs": [("Approvals", reverse("approval_list")), (action.label, "")],
        "results": listing.outcome_context(
            outcomes, title=f"{action.label}: results", back_url=back, back_label="Back to the queue"
        ),
    }
    return listing.outcome_page(request, context)


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
    asked = _read(request)
    others = _waiting(request).exclude(requester=request.principal.person)
    following: Request | None = listing.following(asked, others, decided)
    messages.success(
        request,
        f"{decided} is {DONE[verb]}." + (f" {following} is next." if following else " Nothing else waits for you."),
    )
    return redirect(_with_query(asked, "approval_detail", following.pk) if following else asked.url())


def _refused(request: PortalRequest, pk: int, error: GatehouseError, reason: str, status: int) -> HttpResponse:
    opened = _waiting(request).filter(pk=pk).first()
    kept = reason[: services.MAX_REASON * 2]
    response = _queue(request, _read(request), opened=opened, refused=error, reason=kept, status=status)
    response["HX-Push-Url"] = "false"  # the address of a decision is no page
    return response


def _read(request: HttpRequest) -> Asked:
    return listing.read(request, QUEUE, path=reverse("approval_list"))


def _with_query(asked: Asked, route: str, pk: int) -> str:
    """Return the address of one row or its decision, with what the list is asked for behind it."""
    _, mark, query = asked.here.partition("?")
    return f"{reverse(route, args=[pk])}{mark}{query}"


def _waiting(request: PortalRequest) -> QuerySet[Request]:
    """Return everything that waits for a decision which the person's role allows."""
    found = visible(request.principal, Request.objects.all(), "decide")
    found = found.filter(state=RequestState.SUBMITTED)
    if request.project is not None:
        theirs = Q(kind=RequestKind.ACCESS, endpoint__project=request.project)  # asked by another project
        found = found.filter(Q(project=request.project) | theirs)
    rows: QuerySet[Request] = found.select_related("project", "requester", "version__asset", "profile", "endpoint")
    return rows


def _queue(
    request: PortalRequest,
    asked: Asked,
    *,
    opened: Request | None = None,
    refused: GatehouseError | None = None,
    reason: str = "",
    status: int = 200,
) -> HttpResponse:
    require_anywhere(request.principal, "decide", Request)
    waiting = _waiting(request)
    stats = _stats(request, waiting, opened)
    plain = not asked.filtered and asked.sort == QUEUE.sort
    total = stats.total if not asked.filtered else None
    found = listing.find(asked, waiting, showing=opened, start=stats.ahead + 1 if plain else None, total=total)
    context: dict[str, Any] = {
        "crumbs": [("Home", reverse("home")), ("Approvals", "")],
        "help_text": HELP,
        "stats": _strip(stats),
        "rows": lines(request, found.rows, asked, opened),
        "views": saved_views.menu(request.principal, asked),
        "bulk": listing.bulk_bar(
            reverse("approval_bulk"),
            ACTIONS,
            reason={"label": "Reason, kept in every record", "most": services.MAX_REASON},
        ),
        "refused": refused,
    }
    if opened is not None:
        context["open"] = opened_cells(request, opened, refused, reason) | _decision_urls(asked, opened)
    response = found.render("approvals/queue.html", context, status=status)
    if opened is not None:
        response["HX-Push-Url"] = _with_query(asked, "approval_detail", opened.pk)
    return response


def _decision_urls(asked: Asked, opened: Request) -> dict[str, str]:
    verbs = {"approve": "approval_approve", "reject": "approval_reject", "changes": "approval_request_changes"}
    return {f"{name}_url": _with_query(asked, route, opened.pk) for name, route in verbs.items()}


def _stats(request: PortalRequest, waiting: QuerySet[Request], opened: Request | None) -> Stats:
    """Count what waits, for the strip of numbers and for the place of the opened one (one query)."""
    objective = dt.timedelta(seconds=settings.LEAD_TIME_OBJECTIVE_SECONDS)
    older = Q(pk__in=[])
    if opened is not None:
        older = Q(submitted_at__lt=opened.submitted_at) | Q(submitted_at=opened.submitted_at, pk__lt=opened.pk)
    numbers = waiting.order_by().aggregate(
        total=Count("pk"),
        own=Count("pk", filter=Q(requester=request.principal.person)),
        overdue=Count("pk", filter=Q(submitted_at__lt=timezone.now() - objective)),
        ahead=Count("pk", filter=older),
    )
    return Stats(**numbers)


def _strip(numbers: Stats) -> Sequence[dict[str, Any]]:
    estimate = lead_time.estimate()
    samples, goal = estimate["samples"], duration_h(estimate["objective_seconds"])
    scope = (
        f"last {lead_time.SAMPLE_DAYS} days, {samples} request{'s' if samples != 1 else ''}"
        if samples
        else "no data yet"
    )
    within = f"{round(estimate['share_within_objective'] * 100)} % within {goal}" if samples else f"objective {goal}"
    return [
        {
            "label": "Waiting for you",
            "value": numbers.total - numbers.own,
            "scope": f"of {numbers.total} open",
            "bad": False,
        },
        {"label": "Overdue", "value": numbers.overdue, "scope": f"older than {goal}", "bad": numbers.overdue > 0},
        {"label": "Lead time, half", "value": duration_h(estimate["p50_seconds"]), "scope": scope, "bad": False},
        {"label": "Lead time, 9 of 10", "value": duration_h(estimate["p90_seconds"]), "scope": within, "bad": False},
    ]
