"""The approval queue: oldest against the objective first; a row opens in place, after a decision the next one opens.

Every address works as a page of its own, so that the queue can be read and decided without JavaScript. Filters, order
and page stay in the address from row to row and over decisions.
"""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from approvals import services
from approvals.models import EnvelopeMode, Request, RequestState
from approvals.objective import clock
from approvals.stages.reading import readable, require_reviewer, waits_for
from approvals.stages.standing import Standing
from approvals.views.opened import opened_cells, with_pool
from approvals.views.queue_list import ACTIONS, DEFAULTS, QUEUE, lean, lines, waiting, whole
from approvals.views.queue_numbers import Stats, numbers, strip
from approvals.views.requests import find
from portal import listing
from portal.errors import Conflict, Forbidden, GatehouseError, Invalid
from portal.listing import Asked
from projects import saved_views
from projects.permissions import can_anywhere, require
from projects.principal import PortalRequest
from projects.signin.recent import recently_proved

HELP = [
    "Oldest first, by business time against the objective of five days from request to first answer. Nobody decides on "
    "an own request.",
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
    standing = Standing.seen(request)
    require_reviewer(request.principal, standing)
    asked = _read(request)
    if asked.csv:
        rows = lean(waiting(request, standing))
        return listing.csv_response(asked, rows, lambda some: lines(request, some, asked, standing))
    return _queue(request, asked, standing)


@require_GET
def approval_detail(request: PortalRequest, pk: int) -> HttpResponse:
    """The queue with one request open."""
    standing = Standing.seen(request)
    require_reviewer(request.principal, standing)
    found = with_pool(whole(waiting(request, standing))).filter(pk=pk).first()
    if found is not None:
        if standing.decides(found):
            clock.triaged(found, request.principal.person)
        return _queue(request, _read(request), standing, opened=found)
    gone = find(request, pk)
    if gone.state == RequestState.SUBMITTED:
        require(request.principal, "decide", gone)
    messages.info(request, f"{gone} is {gone.get_state_display().lower()}; there is nothing left to decide.")
    return _queue(request, _read(request), standing)


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
    require_reviewer(request.principal)
    action, ids = listing.chosen_action(request, ACTIONS), listing.ticked(request)
    keys = [int(text) for text in ids if text.isascii() and text.isdigit() and len(text) <= 18]
    found = readable(request.principal).filter(pk__in=keys)
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
    standing = Standing.seen(request)
    require_reviewer(request.principal, standing)
    current = find(request, pk)
    reason = request.POST.get("reason", "")
    decide: Callable[..., Request] = services.DECISIONS[verb]
    read = {"plan_digest": request.POST.get("plan_digest", "")} if verb == "approve" else {}
    try:
        decided = decide(request.principal, current, reason=reason, **read)
    except (Invalid, Conflict) as error:
        # 422 also for a conflict: htmx swaps this status, so that the sentence stands where the person looks.
        return _refused(request, standing, pk, error, reason, 422)
    except Forbidden as error:
        if error.code not in {"own_request", "own_waiver"}:
            raise
        return _refused(request, standing, pk, error, reason, 403)
    asked = _read(request)
    mine = waiting(request, standing).filter(waits_for(request.principal, standing))
    decided.due_at = current.due_at  # where it stood: the clock of what is decided has stopped
    following: Request | None = listing.following(asked, lean(mine), decided)
    messages.success(
        request,
        f"{decided} {_done(decided, verb)}."
        + (f" {following} is next." if following else " Nothing else waits for you."),
    )
    return redirect(_with_query(asked, "approval_detail", following.pk) if following else asked.url())


def _done(decided: Request, verb: str) -> str:
    """Return what a decision has done, in words: with a yes the next reviewer may be needed."""
    if decided.state == RequestState.SUBMITTED:
        return "has your yes, and waits for the next one"
    return f"is {DONE[verb]}"


def _refused(
    request: PortalRequest, standing: Standing, pk: int, error: GatehouseError, reason: str, status: int
) -> HttpResponse:
    opened = with_pool(whole(waiting(request, standing))).filter(pk=pk).first()
    kept = reason[: services.MAX_REASON * 2]
    response = _queue(request, _read(request), standing, opened=opened, refused=error, reason=kept, status=status)
    response["HX-Push-Url"] = "false"  # the address of a decision is no page
    return response


def _read(request: HttpRequest) -> Asked:
    return listing.read(request, QUEUE, path=reverse("approval_list"))


def _with_query(asked: Asked, route: str, pk: int) -> str:
    """Return the address of one row or its decision, with what the list is asked for behind it."""
    _, mark, query = asked.here.partition("?")
    return f"{reverse(route, args=[pk])}{mark}{query}"


def _queue(
    request: PortalRequest,
    asked: Asked,
    standing: Standing,
    *,
    opened: Request | None = None,
    refused: GatehouseError | None = None,
    reason: str = "",
    status: int = 200,
) -> HttpResponse:
    rows = waiting(request, standing)
    stats = numbers(request, rows, standing, opened)
    plain = not asked.filtered and asked.sort == QUEUE.sort
    start = stats.ahead + 1 if plain else None
    found = listing.find(asked, lean(rows), showing=opened, start=start, total=_counted(asked, stats))
    if request.project is None:
        request.waiting = stats.mine
    context: dict[str, Any] = {
        "crumbs": [("Home", reverse("home")), ("Approvals", "")],
        "help_text": HELP,
        "rules_url": reverse("envelope_list") if can_anywhere(request.principal, "view", EnvelopeMode) else "",
        "stats": strip(stats, short=opened is not None),
        "rows": lines(request, found.rows, asked, standing, opened),
        "views": saved_views.menu(request.principal, asked, DEFAULTS),
        "bulk": listing.bulk_bar(
            reverse("approval_bulk"),
            ACTIONS,
            reason={"label": "Reason, kept in every record", "most": services.MAX_REASON},
        ),
        "refused": refused,
    }
    if opened is not None:
        context["open"] = opened_cells(request, opened, standing, refused, reason) | _decision_urls(asked, opened)
    response = found.render("approvals/queue.html", context, status=status)
    if opened is not None:
        response["HX-Push-Url"] = _with_query(asked, "approval_detail", opened.pk)
    return response


def _counted(asked: Asked, stats: Stats) -> int | None:
    """Return how many rows the filters of the address leave, where the numbers over the queue say it already."""
    return {(): stats.total, ("mine",): stats.mine, ("overdue",): stats.overdue}.get(tuple(asked.values))


def _decision_urls(asked: Asked, opened: Request) -> dict[str, str]:
    verbs = {"approve": "approval_approve", "reject": "approval_reject", "changes": "approval_request_changes"}
    return {f"{name}_url": _with_query(asked, route, opened.pk) for name, route in verbs.items()}
