"""The list of requests, and taking back many of one's own at once."""

from collections.abc import Sequence
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from approvals import services
from approvals.models import Request, RequestKind, RequestState
from approvals.representation import with_all
from approvals.stages.standing import Standing
from approvals.views import cells
from approvals.views.queue_list import by_number
from approvals.views.requests import HELP
from portal import listing
from portal.listing import BulkAction, Column, Filter, Listing
from portal.templatetags.gatehouse import duration_h
from projects import saved_views
from projects.middleware import offered_names
from projects.models import Project
from projects.permissions import can_anywhere, visible
from projects.principal import PortalRequest


def _matching(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    words = Q(name__icontains=value) | Q(requester__username__icontains=value)
    return rows.filter(words | Q(version__asset__name__icontains=value) | by_number(value))


REQUESTS = Listing(
    route="request_list",
    nouns=("request", "requests"),
    columns=(
        Column(
            "request",
            "Request",
            ("id",),
            {"request": "number", "name": "name", "project": "project", "requester": "requester"},
            fixed=True,
            first="descending",
        ),
        Column("kind", "Kind", ("kind",), {"kind": "kind"}, default=False),
        Column("what", "What", ("version__asset__name",), {"what": "what", "where": "where"}),
        Column("state", "State", ("state",), {"state": "state_name", "sentence": "sentence", "turn": "turn"}),
        Column("cost", "Per month", csv={"per_month": "amount", "currency": "currency"}, numeric=True),
        Column(
            "sent",
            "Sent, lead time",
            ("submitted_at",),
            {"submitted_at": "submitted_at", "lead_time_seconds": "lead_seconds"},
            sort_label="Sent",
            first="descending",
        ),
        Column("decided", "Decided", ("decided_at",), {"decided_at": "decided_at"}, default=False, first="descending"),
    ),
    filters=(
        Filter("q", "Number, name, person or model", _matching, kind="search"),
        Filter(
            "state",
            "State",
            lambda rows, value, request: rows.filter(state=value),
            choices=[(value, f"{str(label)[:1].upper()}{str(label)[1:]}") for value, label in RequestState.choices],
            every="Any state",
        ),
        Filter(
            "kind",
            "Kind",
            lambda rows, value, request: rows.filter(kind=value),
            choices=[(value, str(label).capitalize()) for value, label in RequestKind.choices],
            every="Any kind",
        ),
        Filter(
            "project",
            "Project",
            lambda rows, value, request: rows.filter(project__slug=value),
            choices=offered_names,
            every="Any project",
        ),
        Filter(
            "mine",
            "Only mine",
            lambda rows, value, request: rows.filter(requester=request.principal.person),
            kind="flag",
        ),
    ),
    sort="-request",
    size=25,
    file="requests",
)
ACTIONS = (BulkAction("withdraw", "Withdraw", danger=True),)
WITHDRAWABLE = {state for state, following in Request.ARROWS["state"].items() if RequestState.WITHDRAWN in following}


@require_GET
def request_list(request: PortalRequest) -> HttpResponseBase:
    """Own requests and those of the projects that the person may see, newest first."""
    principal = request.principal
    asked = listing.read(request, REQUESTS)
    rows = visible(principal, Request.objects.all())
    if request.project is not None and "project" not in asked.values:
        rows = rows.filter(project=request.project)
    rows, standing = with_all(rows), Standing.seen(request)

    def lines(found: Sequence[Request]) -> list[dict[str, Any]]:
        return [_line(request, item, standing) for item in found]

    if asked.csv:
        return listing.csv_response(asked, rows, lines)
    found = listing.find(asked, rows)
    may_request = can_anywhere(principal, "request", Project)
    context = {
        "crumbs": [("Home", reverse("home")), ("Requests", "")],
        "help_text": HELP,
        "rows": lines(found.rows),
        "views": saved_views.menu(principal, asked),
        "bulk": listing.bulk_bar(reverse("request_bulk"), ACTIONS) if may_request else None,
        "may_request": may_request,
    }
    return found.render("approvals/requests.html", context)


def _line(request: PortalRequest, item: Request, standing: Standing) -> dict[str, Any]:
    mine = item.requester_id == request.principal.person.pk
    decides = item.state == RequestState.SUBMITTED and standing.decides(item)
    state = cells.state_line(item, mine=mine, decides=decides)
    cost = item.plan.get("cost") or {}
    lead = item.lead_time.total_seconds() if item.lead_time else None
    return {
        "pk": item.pk,
        "number": item.number,
        "tick": str(item.pk) if mine and item.state in WITHDRAWABLE else "",
        "url": reverse("request_detail", args=[item.pk]),
        "name": item.name or item.body.get("name") or "no name yet",
        "project": item.project.slug if item.project else "catalog",
        "requester": item.requester.username,
        "kind": item.get_kind_display(),
        "what": cells.what(item),
        "where": cells.where(item),
        "state": state,
        "state_name": item.state,
        "sentence": state["sentence"],
        "turn": state["turn"],
        "per_month": cells.per_month(item.plan),
        "amount": cost.get("per_month", ""),
        "currency": cost.get("currency", ""),
        "submitted_at": item.submitted_at,
        "decided_at": item.decided_at,
        "lead_seconds": lead,
        "lead_time": duration_h(lead) if lead is not None else "",
    }


@require_POST
def request_bulk(request: PortalRequest) -> HttpResponse:
    """Take the ticked requests back, each with an outcome of its own."""
    action, ids = listing.chosen_action(request, ACTIONS), listing.ticked(request)
    keys = [int(text) for text in ids if text.isascii() and text.isdigit() and len(text) <= 18]
    found = visible(request.principal, Request.objects.all()).filter(pk__in=keys)
    rows = {str(item.pk): item for item in found.select_related("project", "requester")}

    def act(item: Request) -> str:
        services.withdraw(request.principal, item)
        return "It is withdrawn. Nothing was started."

    outcomes = listing.perform(
        ids,
        rows,
        act,
        label=lambda item: f"{item.number} {item.name}".strip(),
        url=lambda item: reverse("request_detail", args=[item.pk]),
        missing="There is no such request, or you may not see it.",
    )
    context = {
        "crumbs": [("Requests", reverse("request_list")), (action.label, "")],
        "results": listing.outcome_context(
            outcomes,
            title="Withdraw requests",
            back_url=listing.back_to(request, reverse("request_list")),
            back_label="Back to the list",
        ),
    }
    return listing.outcome_page(request, context)
