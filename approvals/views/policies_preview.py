"""The impact preview as a page: how far it is, what would change, and all of it as a file."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from approvals.models import Bundle as Stored
from approvals.models import Preview, PreviewState
from approvals.policies import drafting, preview
from approvals.policies.active import active
from approvals.policies.publishing import changed
from approvals.views import policies_cells as cells
from approvals.views.policies import short
from portal.errors import NotFound
from portal.http import page
from portal.listing import to_csv
from projects.permissions import require_anywhere, visible
from projects.principal import PortalRequest, Principal

STOP_POLLING = 286  # of htmx
SHOWN = 200  # changes on the page; the file has all
COLUMNS = ("kind", "name", "project", "state", "now", "then", "why")


@require_POST
def policy_draft_preview(request: PortalRequest) -> HttpResponse:
    """Have the impact of the draft looked at, and show it."""
    require_anywhere(request.principal, "publish", Stored)
    draft = drafting.of(request.principal)
    if draft is None:
        raise NotFound("You have no draft of the policies. Begin one on the page Policies.")
    made = preview.ask(request.principal, draft.files)
    return redirect("policy_preview", preview_id=made.pk)


@require_GET
def policy_preview(request: PortalRequest, preview_id: int) -> HttpResponse:
    """One preview; htmx asks for its progress, `?format=csv` for what would change as a file."""
    row = preview_or_404(request.principal, preview_id)
    lines = preview.lines(request.principal, row) if row.state == PreviewState.DONE else []
    if request.GET.get("format") == "csv" and row.state == PreviewState.DONE:
        response = HttpResponse(to_csv(lines, COLUMNS), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="policies-impact-{row.pk}.csv"'
        return response
    settled = row.state in {PreviewState.DONE, PreviewState.FAILED}
    now = active()
    context = {
        "crumbs": [("Home", reverse("home")), ("Policies", reverse("policy_list")), ("Impact", "")],
        "row": row,
        "done": row.state == PreviewState.DONE,
        "failed": row.state == PreviewState.FAILED,
        "settled": settled,
        "percent": 100 * row.done / row.total if row.total else 0,
        "words": cells.impact_words(row),
        "short": short(row.digest),
        "files": len(changed(now.bundle.files, row.files)),
        "old": row.state == PreviewState.DONE and row.against != now.bundle.digest,
        "counts": row.digest == now.bundle.digest,
        "version": now.version,
        "changes": [_line(one) for one in lines[:SHOWN]],
        "same_endpoints": _same(row, lines, "endpoint"),
        "same_requests": _same(row, lines, "request"),
        "more": max(0, len(lines) - SHOWN),
        "uncounted": max(0, row.result.get("changed", 0) - len(row.result.get("changes", []))),
        "mine": row.by_id == request.principal.person.pk,
    }
    response = page(request, "approvals/policies/preview.html", context, part="progress")
    if settled and getattr(request, "htmx", None):
        response.status_code = STOP_POLLING
    return response


def preview_or_404(by: Principal, preview_id: int) -> Preview:
    """Return the preview; raises NotFound when it is gone or the reader may not see it."""
    rows = visible(by, Preview.objects.select_related("by"))
    found = rows.filter(pk=preview_id).first() if preview_id < 2**63 else None
    if found is None:
        raise NotFound("There is no such preview, or you may not see it.")
    row: Preview = found
    return row


def _line(one: dict[str, Any]) -> dict[str, Any]:
    name = "endpoint_detail" if one["kind"] == "endpoint" else "request_detail"
    return {
        **one,
        "url": reverse(name, args=[one["id"]]),
        "now_chip": cells.verdict_chip(one["now"]),
        "then_chip": cells.verdict_chip(one["then"]),
    }


def _same(row: Preview, lines: list[dict[str, Any]], kind: str) -> int:
    """Return how many objects of a kind stay as they are."""
    moved = sum(one["kind"] == kind for one in row.result.get("changes", []))
    left: int = row.result.get(f"{kind}s", 0) - moved
    return max(0, left)
