"""Pages of waivers and findings: the lists, one waiver, and the rules of one endpoint."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from approvals.models import Finding, Request, Waiver, WaiverState
from approvals.waivers import reading, services
from approvals.waivers.lists import FINDINGS, WAIVERS
from endpoints.reading import endpoint_or_404
from endpoints.views.head import alive, head
from portal import listing
from portal.errors import Invalid, NotFound
from portal.http import page
from projects import saved_views
from projects.permissions import can
from projects.principal import PortalRequest, Principal
from projects.signin.recent import recently_proved


@require_GET
def waiver_list(request: PortalRequest) -> HttpResponseBase:
    """The waivers that the reader may see: which rule, for what, what is done instead, until when."""
    asked, rows = listing.read(request, WAIVERS), reading.of(request.principal)
    if request.project is not None and "project" not in request.GET:
        rows = rows.filter(project=request.project)

    def lines(found: Sequence[Waiver]) -> list[dict[str, Any]]:
        return [reading.cell(row) for row in found]

    if asked.csv:
        return listing.csv_response(asked, rows, lines)
    found = listing.find(asked, rows)
    context = {
        "crumbs": [("Home", reverse("home")), ("Waivers", "")],
        "rows": lines(found.rows),
        "views": saved_views.menu(request.principal, asked),
    }
    return found.render("approvals/waivers/list.html", context)


@require_GET
def waiver_detail(request: PortalRequest, waiver_id: int) -> HttpResponse:
    """One waiver with who asked, who approved and who answers for it."""
    return _detail(request, _find(request.principal, waiver_id))


@require_POST
@recently_proved(why="You end an exception on which something running depends.")
def waiver_revoke(request: PortalRequest, waiver_id: int) -> HttpResponse:
    """End a waiver before its last day, with a reason."""
    found, typed = _find(request.principal, waiver_id), request.POST.get("reason", "")
    try:
        services.revoke(request.principal, found, reason=typed)
    except Invalid as error:
        return _detail(request, found, error=error.sentence, typed=typed)
    messages.success(request, f"{found} is revoked; {found.check_id} counts again.")
    return redirect("waiver_detail", waiver_id=waiver_id)


def _detail(request: PortalRequest, row: Waiver, *, error: str = "", typed: str = "") -> HttpResponse:
    revokes = row.state == WaiverState.ACTIVE and can(request.principal, "revoke", row)
    field = {
        "name": "reason", "label": "Reason", "kind": "text", "required": True, "value": typed[:8000], "error": error,
        "help": "The rule counts again at once. Nothing that runs is stopped.",
        "attrs": {"maxlength": services.MAX_REASON, "autocomplete": "off"},
    }  # fmt: skip
    context = {
        "crumbs": [("Home", reverse("home")), ("Waivers", reverse("waiver_list")), (str(row), "")],
        "waiver": reading.cell(row),
        "reason_field": field if revokes else None,
    }
    return page(request, "approvals/waivers/detail.html", context, status=422 if error else 200)


@require_GET
def finding_list(request: PortalRequest) -> HttpResponseBase:
    """What the rules of today say against what runs."""
    by = request.principal
    asked, rows = listing.read(request, FINDINGS), reading.findings_of(by)
    if request.project is not None and "project" not in request.GET:
        rows = rows.filter(endpoint__project=request.project)

    def lines(found: Sequence[Finding]) -> list[dict[str, Any]]:
        return [reading.finding_cell(row, asks=may_ask(by, row)) for row in found]

    if asked.csv:
        return listing.csv_response(asked, rows, lines)
    found = listing.find(asked, rows)
    context = {
        "crumbs": [("Home", reverse("home")), ("Findings", "")],
        "rows": lines(found.rows),
        "views": saved_views.menu(by, asked),
    }
    return found.render("approvals/waivers/findings.html", context)


@require_GET
def endpoint_rules(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """What the rules of today say of one endpoint, and its waivers."""
    row = endpoint_or_404(request.principal, endpoint_id, "inspect")
    by = request.principal
    asks = alive(row) and (can(by, "request", row.project) or can(by, "decide", row.project, model=Request))
    context = head(request, row, "Rules") | {
        "findings": reading.finding_cells(reading.findings_of(by).filter(endpoint=row), asks=asks),
        "waivers": reading.on_endpoint(by, row),
    }
    return page(request, "approvals/waivers/endpoint.html", context)


def may_ask(by: Principal, row: Finding) -> bool:
    """Whether `by` may ask for a waiver of a finding (no query)."""
    project = row.endpoint.project
    return can(by, "request", project) or can(by, "decide", project, model=Request)


def _find(by: Principal, pk: int) -> Waiver:
    found = reading.of(by).filter(pk=pk).first()
    if found is None:
        raise NotFound(f"There is no waiver W-{pk}, or you may not see it.")
    return found
