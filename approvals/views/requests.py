"""Pages of requests: the list, one request with its frozen plan and timeline, comments, taking it back."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from approvals import services
from approvals.models import Choice, Decision, Request, RequestState
from approvals.representation import with_all, with_related
from approvals.timeline import Entry, timeline
from approvals.views import cells
from portal.errors import GatehouseError, NotFound
from portal.http import page
from portal.templatetags.gatehouse import day, duration_h
from projects.models import Project, is_slug
from projects.permissions import can, can_anywhere, visible
from projects.principal import PortalRequest

PAGE_SIZE = 25
HELP = [
    "Its plan says what a request needs and costs; sending it freezes the plan under a digest.",
    "One platform engineer or governance lead decides. What is approved is exactly what is started.",
]
DECIDED = {Choice.APPROVE: "approved", Choice.REJECT: "rejected", Choice.REQUEST_CHANGES: "asked for changes"}
LOOKS = {
    "approved": ("ok", "ok"),
    "rejected": ("err", "bad"),
    "changes_requested": ("rotate", ""),
    "submitted": ("send", ""),
    "resubmitted": ("send", ""),
    "commented": ("doc", ""),
    "withdrawn": ("withdrawn", ""),
    "drafted": ("draft", ""),
    "changed": ("draft", ""),
    "ready": ("ok", "ok"),
    "failed": ("err", "bad"),
}


def find(request: PortalRequest, pk: int, *, decisions: bool = True) -> Request:
    """Return a request with all that pages read; raises NotFound when the person may not see it."""
    whole = with_all if decisions else with_related
    found = whole(visible(request.principal, Request.objects.all())).filter(pk=pk).first()
    if found is None:
        raise NotFound(f"There is no request R-{pk}, or you may not see it.")
    return found


@require_GET
def request_list(request: PortalRequest) -> HttpResponse:
    """Own requests and those of the projects that the person may see, newest first."""
    principal = request.principal
    state = request.GET.get("state", "") if request.GET.get("state", "") in RequestState.values else ""
    mine = request.GET.get("mine", "") == "1"
    slug = request.GET.get("project", "")
    found = visible(principal, Request.objects.all())
    if state:
        found = found.filter(state=state)
    if mine:
        found = found.filter(requester=principal.person)
    projects = list(visible(principal, Project.objects.all()).values_list("slug", flat=True)[:200])
    if slug:  # an address may hold anything, also what the database refuses to compare
        found = found.filter(project__slug=slug) if is_slug(slug) else found.none()
    elif request.project is not None:
        found = found.filter(project=request.project)
    shown = Paginator(with_all(found.order_by("-id")), PAGE_SIZE).get_page(request.GET.get("page"))
    filters = {"state": state, "project": slug, "mine": "1" if mine else ""}
    context = {
        "crumbs": [("Home", reverse("home")), ("Requests", "")],
        "help_text": HELP,
        "rows": [_row(request, item) for item in shown.object_list],
        "filters": filters,
        "filtered": any(filters.values()),
        "states": [("", "Any state"), *((value, label.capitalize()) for value, label in RequestState.choices)],
        "projects": [("", "Any project"), *((name, name) for name in projects)],
        "may_request": can_anywhere(principal, "request", Project),
        "page": {
            "start": shown.start_index(),
            "end": shown.end_index(),
            "total": shown.paginator.count,
            "previous_url": _page_url(filters, shown.previous_page_number()) if shown.has_previous() else "",
            "next_url": _page_url(filters, shown.next_page_number()) if shown.has_next() else "",
        },
    }
    return page(request, "approvals/requests.html", context, part="results")


def _page_url(filters: dict[str, str], number: int) -> str:
    return "?" + urlencode({**{name: value for name, value in filters.items() if value}, "page": number})


def _line(request: PortalRequest, item: Request) -> dict[str, Any]:
    mine = item.requester_id == request.principal.person.pk
    decides = item.state == RequestState.SUBMITTED and services.may_decide(request.principal, item)
    return cells.state_line(item, mine=mine, decides=decides)


def _row(request: PortalRequest, item: Request) -> dict[str, Any]:
    return {
        "number": item.number,
        "url": reverse("request_detail", args=[item.pk]),
        "name": item.name or item.body.get("name") or "no name yet",
        "project": item.project.slug if item.project else "catalog",
        "requester": item.requester.username,
        "what": cells.what(item),
        "where": cells.where(item),
        "state": _line(request, item),
        "per_month": cells.per_month(item.plan),
        "submitted_at": item.submitted_at,
        "lead_time": duration_h(item.lead_time.total_seconds()) if item.lead_time else "",
    }


@require_GET
def request_detail(request: PortalRequest, pk: int) -> HttpResponse:
    """One request: state, frozen plan, decisions, timeline, comments."""
    return _detail(request, find(request, pk))


def _detail(
    request: PortalRequest, item: Request, *, error: str = "", typed: str = "", status: int = 200
) -> HttpResponse:
    mine = item.requester_id == request.principal.person.pk
    decides = item.state == RequestState.SUBMITTED and services.may_decide(request.principal, item)
    context = {
        "crumbs": [("Requests", reverse("request_list")), (item.number, "")],
        "help_text": HELP,
        "item": item,
        "name": item.name or "Request without a name",
        "chips": cells.plan_cells(item.plan, ends_on=None, profile=None)["chips"] if item.plan.get("cost") else [],
        "state": cells.state_line(item, mine=mine, decides=decides),
        "plan": _frozen(item),
        "facts": _facts(item),
        "purpose": item.body.get("purpose") or "",
        "decisions": [_decision_cell(decision) for decision in item.decisions.all()],
        "timeline": [_timeline_cell(entry) for entry in timeline(item)],
        "withdrawable": mine and RequestState.WITHDRAWN in Request.ARROWS["state"].get(item.state, ()),
        "decide_url": reverse("approval_detail", args=[item.pk]) if decides else "",
        "again_url": f"{reverse('request_new')}?from={item.pk}" if mine and item.plan and item.body.get("kind") else "",
        "comment_field": {
            "name": "text",
            "label": "Comment",
            "kind": "textarea",
            "value": typed,
            "error": error,
            "help": "Everybody who may see this request can read it.",
            "attrs": {"maxlength": services.MAX_REASON},
        }
        if can(request.principal, "comment", item)
        else None,
    }
    return page(request, "approvals/detail.html", context, status=status)


def _frozen(item: Request) -> dict[str, Any] | None:
    if not item.plan.get("cost"):
        return None
    return cells.plan_cells(item.plan, ends_on=item.body.get("ends_on"), profile=item.profile, digest=item.plan_digest)


def _facts(item: Request) -> list[tuple[str, str]]:
    body = item.body
    numbers = [
        (label, f"{body[name]:,}")
        for name, label in (
            ("replicas", "Replicas"),
            ("concurrency", "Parallel calls"),
            ("context_tokens", "Context tokens"),
        )
        if isinstance(body.get(name), int)
    ]
    ends_on = item.body.get("ends_on")
    rows = [
        ("Project", item.project.slug if item.project else "–"),
        ("Requested by", item.requester.username),
        ("Model", cells.what(item)),
        ("Hardware profile", item.profile.name if item.profile else str(body.get("hardware_profile") or "–")),
        ("Environment", item.environment or "–"),
        *numbers,
        ("Data", str(body.get("data_classification") or "–")),
        ("Runs until", cells.iso_day(ends_on) if ends_on else "–"),
        ("Sent", day(item.submitted_at) if item.submitted_at else "not yet"),
        ("Lead time", duration_h(item.lead_time.total_seconds()) if item.lead_time else "–"),
    ]
    return [row for row in rows if row[1] != "–"]


def _decision_cell(decision: Decision) -> dict[str, Any]:
    return {
        "row": decision,
        "who": decision.reviewer.username,
        "words": DECIDED[Choice(decision.decision)],
        "checked": cells.short_digest(decision.plan_digest_now),
        "same": decision.plan_digest_now == decision.plan_digest,
    }


def _timeline_cell(entry: Entry) -> dict[str, Any]:
    icon, tone = LOOKS.get(entry.code, ("clock", ""))
    return {"at": entry.at, "icon": icon, "tone": tone, "sentence": entry.sentence, "by": entry.by, "text": entry.text}


@require_POST
def request_comment(request: PortalRequest, pk: int) -> HttpResponse:
    """Add a remark; what was typed is kept when it is refused."""
    item = find(request, pk)
    typed = request.POST.get("text", "")
    try:
        services.comment(request.principal, item, typed)
    except GatehouseError as error:
        if not error.fields:
            raise
        return _detail(request, item, error=error.sentence, typed=typed[: services.MAX_REASON * 2], status=error.status)
    return redirect(f"{reverse('request_detail', args=[pk])}#timeline")


@require_POST
def request_withdraw(request: PortalRequest, pk: int) -> HttpResponse:
    """Take a request back."""
    item = services.withdraw(request.principal, find(request, pk))
    messages.success(request, f"{item} is withdrawn. Nothing was started.")
    return redirect("request_detail", pk=pk)
