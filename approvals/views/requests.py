"""One request with its frozen plan and timeline, comments, taking it back."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from approvals import services
from approvals.models import Request, RequestKind, RequestState
from approvals.planning.reading import as_read
from approvals.representation import with_all, with_related
from approvals.stages import assigning, mentions, reading
from approvals.stages.standing import Standing
from approvals.timeline import Entry, timeline
from approvals.views import cells, review
from approvals.waivers import panels
from portal.errors import GatehouseError, Invalid, NotFound
from portal.http import page
from portal.templatetags.gatehouse import day, duration_h
from projects.permissions import can
from projects.principal import PortalRequest, Principal

HELP = [
    "Its plan says what a request needs and costs; sending it freezes the plan under a digest.",
    "The rules say who decides, in one stage or several. What is approved is exactly what is started.",
]
UNTIL = {
    RequestKind.ACCESS: "May call until",
    RequestKind.QUOTA: "Counts until",
    RequestKind.MCP_ACCESS: "May use until",
    RequestKind.WAIVER: "Waived until",
}
NOUNS = {RequestKind.QUOTA: "Quota", RequestKind.MCP_ACCESS: "MCP server", RequestKind.WAIVER: "Exception from"}
LOOKS = {
    "approved": ("ok", "ok"),
    "rejected": ("err", "bad"),
    "endorsed": ("check", "ok"),
    "stage_passed": ("check", "ok"),
    "assigned": ("send", ""),
    "escalated": ("warn", ""),
    "waived": ("waiver", ""),
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
    found = reading.find(request.principal, pk, whole)
    if found is None:
        raise NotFound(f"There is no request R-{pk}, or you may not see it.")
    return found


@require_GET
def request_detail(request: PortalRequest, pk: int) -> HttpResponse:
    """One request: state, frozen plan, decisions, timeline, comments."""
    return _detail(request, find(request, pk))


def _detail(
    request: PortalRequest, item: Request, *, error: str = "", typed: str = "", status: int = 200
) -> HttpResponse:
    mine = item.requester_id == request.principal.person.pk
    waits = item.state == RequestState.SUBMITTED
    decides = waits and services.may_decide(request.principal, item, Standing.seen(request))
    context = {
        "crumbs": [("Requests", reverse("request_list")), (item.number, "")],
        "help_text": HELP,
        "item": item,
        "name": item.name or "Request without a name",
        "chips": _chips(item),
        "state": cells.state_line(item, mine=mine, decides=decides),
        "plan": frozen(request.principal, item),
        "facts": facts_of(item),
        "purpose": item.body.get("purpose") or "",
        "stages": review.stage_cells(item) if item.plan else [],
        "decisions": review.decision_cells(item),
        "changes": review.change_cells(item),
        "exceptions": panels.of_request(request.principal, item),
        "assign_url": reverse("request_assign", args=[item.pk]) if decides else "",
        "timeline": [_timeline_cell(entry) for entry in timeline(item)],
        "plan_url": reverse("request_plan", args=[item.pk]) if item.plan.get("checks") else "",
        "file_url": reverse("request_yaml", args=[item.pk]),
        "withdrawable": mine and RequestState.WITHDRAWN in Request.ARROWS["state"].get(item.state, ()),
        "decide_url": reverse("approval_detail", args=[item.pk]) if decides else "",
        "again_url": f"{reverse('request_new')}?from={item.pk}"
        if mine and item.plan and item.body.get("kind") and item.kind != RequestKind.ADMISSION
        else "",
        "comment_field": {
            "name": "text",
            "label": "Comment",
            "kind": "textarea",
            "value": typed,
            "error": error,
            "help": "Everybody who may see this request can read it.",
            "attrs": {"maxlength": services.MAX_REASON},
        }
        if decides or can(request.principal, "comment", item)
        else None,
    }
    return page(request, "approvals/detail.html", context, status=status)


def _chips(item: Request) -> list[dict[str, Any]]:
    kind = cells.kind_chip(item.kind)
    frozen = cells.plan_cells(item.plan, ends_on=None, profile=None)["chips"] if item.plan.get("checks") else []
    return [kind, *frozen] if kind else frozen


def frozen(by: Principal, item: Request) -> dict[str, Any] | None:
    """Return the plan that was frozen as `by` reads it, for _plan.html; None before the request is sent (one query at
    most).
    """
    if not item.plan.get("checks"):
        return None
    ends_on = item.body.get("ends_on") or item.plan.get("endpoint", {}).get("ends_on")
    return cells.plan_cells(as_read(by, item), ends_on=ends_on, profile=item.profile, digest=item.plan_digest)


def facts_of(item: Request) -> list[tuple[str, str]]:
    """Return what was asked, as pairs of label and value."""
    body = item.body
    numbers = [
        (label, f"{body[name]:,}")
        for name, label in (
            ("replicas", "Replicas"),
            ("concurrency", "Parallel calls"),
            ("context_tokens", "Context tokens"),
            ("canary_percent", "As a canary, % of the calls"),
        )
        if isinstance(body.get(name), int)
    ]
    ends_on = item.body.get("ends_on")
    about = item.endpoint if item.kind != RequestKind.ENDPOINT else None
    quota = item.kind == RequestKind.QUOTA
    asked = [(f"{label} limit", f"{body[name]:,}") for name, label in (("hard", "Hard"), ("soft", "Soft"))
             if quota and isinstance(body.get(name), int)]  # fmt: skip
    server = item.kind == RequestKind.MCP_ACCESS
    rows = [
        ("Asks for", item.get_kind_display()),
        ("Project", item.project.slug if item.project else "–"),
        ("Requested by", item.requester.username),
        ("Endpoint", f"{about.project.slug}/{about.name}" if about else "–"),
        (NOUNS.get(RequestKind(item.kind), "Model"), cells.what(item)),
        ("Of", f"{body.get('target')} {body.get('target_name') or ''}".strip() if quota else "–"),
        ("Tools", ", ".join(body.get("tools") or ["all that it lists"]) if server else "–"),
        *asked,
        *(
            [("Adopts", f"{plan['kind']} {plan['namespace']}/{plan['name']} on {plan['cluster']}, which keeps running")]
            if (plan := item.plan.get("adopts"))
            else []
        ),
        ("Hardware profile", item.profile.name if item.profile else str(body.get("hardware_profile") or "–")),
        ("Environment", item.environment or "–"),
        *numbers,
        ("Data", str(body.get("data_classification") or "–")),
        (UNTIL.get(RequestKind(item.kind), "Runs until"), cells.iso_day(ends_on) if ends_on else "–"),
        ("Sent", day(item.submitted_at) if item.submitted_at else "not yet"),
        ("Lead time", duration_h(item.lead_time.total_seconds()) if item.lead_time else "–"),
    ]
    return [row for row in rows if row[1] != "–"]


def _timeline_cell(entry: Entry) -> dict[str, Any]:
    icon, tone = LOOKS.get(entry.code, ("clock", ""))
    parts = mentions.parts(entry.text, entry.mentions)
    return {"at": entry.at, "icon": icon, "tone": tone, "sentence": entry.sentence, "by": entry.by, "parts": parts}


@require_http_methods(["GET", "POST"])
def request_assign(request: PortalRequest, pk: int) -> HttpResponse:
    """Ask one reviewer in person to decide."""
    item, wrong = find(request, pk), None
    to, reason = request.POST.get("to", ""), request.POST.get("reason", "")
    if request.method == "POST":
        try:
            asked = assigning.assign(request.principal, item, to=to, reason=reason)
        except Invalid as error:
            wrong = error
        else:
            messages.success(request, f"{asked} waits for {asked.assignee or 'nobody in particular'}.")
            return redirect("request_detail", pk=pk)
    assigning.require_reviewer(request.principal, item)
    back = reverse("request_detail", args=[pk])
    context = {
        "crumbs": [("Requests", reverse("request_list")), (item.number, back), ("Ask somebody in person", "")],
        "item": item,
        "back": back,
        "fields": review.assign_fields(item, to, reason, wrong),
    }
    return page(request, "approvals/assign.html", context, status=wrong.status if wrong else 200)


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
