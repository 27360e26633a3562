"""The revisions of an endpoint, and the way back to one."""

import datetime as dt
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from catalog.models import with_pins
from endpoints import effects, revisions, services, serving
from endpoints.models import Endpoint, Revision
from endpoints.reading import endpoint_or_404
from endpoints.rollouts import MAX_NUMBER
from endpoints.views.canary import canary_context, steer
from endpoints.views.head import ask_url, head
from portal.errors import Conflict, Invalid, NotFound
from portal.http import page
from portal.templatetags.gatehouse import day as day_words
from projects.permissions import require
from projects.principal import PortalRequest

SHOWN = 25
SPANS = 3  # of one revision, in its line


@require_GET
def endpoint_revisions(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """What ran and runs: what changed, what became of it, under which approval, and the way back."""
    return _page(request, endpoint_or_404(request.principal, endpoint_id))


@require_POST
def endpoint_canary(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Give the revision that is on its way a share of the calls, promote it, or abort it."""
    row = endpoint_or_404(request.principal, endpoint_id)
    require(request.principal, "rollback", row)
    try:
        messages.success(request, steer(request.principal, row, request.POST))
    except (Conflict, Invalid) as error:  # a bad number, or somebody else was faster: the page shows how it is now
        return _page(request, endpoint_or_404(request.principal, endpoint_id), error)
    return redirect("endpoint_revisions", endpoint_id=row.pk)


def _page(request: PortalRequest, row: Endpoint, error: Conflict | Invalid | None = None) -> HttpResponse:
    rows = with_pins(row.revisions.select_related("version__asset", "profile"), "version")
    pages = Paginator(rows.order_by("-number"), SHOWN)
    shown = pages.get_page(request.GET.get("page"))
    found = list(shown)
    oldest = found[-1].number if found else 1
    before = rows.filter(number=oldest - 1) if oldest > 1 else []
    context = head(request, row, "Revisions")
    may = context["may"]
    asked = request.GET.get("on", "")[:40]
    day = serving.day_of(asked) if asked else None
    context |= {
        "errors": [{"message": error.sentence}] if error else [],
        "history": _history(row, asked, day),
        "rows": _with_spans(revisions.lines(row, found, before, now=timezone.now(), may=may["rollback"]), found),
        "rolling": row.rolling_out,
        "canary": canary_context(row, may=may["rollback"]),
        "ask_url": ask_url("revision", row) if may["ask"] and not row.rolling_out else "",
        "page": {
            "start": shown.start_index(), "end": shown.end_index(), "total": pages.count,
            "previous_url": f"?page={shown.previous_page_number()}" if shown.has_previous() else "",
            "next_url": f"?page={shown.next_page_number()}" if shown.has_next() else "",
        },
    }  # fmt: skip
    wrong = 422 if asked and day is None else 200
    return page(request, "endpoints/revisions.html", context, status=error.status if error else wrong)


def _history(row: Endpoint, asked: str, day: dt.date | None) -> dict[str, Any]:
    """Return the question which version answered on a day, and its answer."""
    wrong = f"{asked!r} is no day. Write one like 2027-03-12." if asked and day is None else ""
    field = {
        "name": "on", "label": "Which version answered on", "kind": "date", "value": asked, "error": wrong,
        "attrs": {"max": timezone.localdate().isoformat()},
    }  # fmt: skip
    spans = serving.on(row, day) if day else []
    return {"field": field, "sentence": serving.sentence(day_words(day), spans) if day else "", "spans": spans}


def _with_spans(lines: list[dict[str, Any]], found: list[Revision]) -> list[dict[str, Any]]:
    """Add to each line the times in which its revision answered, the newest first."""
    spans = serving.of([one.pk for one in found])
    for line, one in zip(lines, found, strict=True):
        mine = spans.get(one.pk, [])
        line["spans"] = [{"since": since, "until": until} for since, until in mine[:SPANS]]
        line["more_spans"] = max(0, len(mine) - SPANS)
    return lines


@require_http_methods(["GET", "POST"])
def endpoint_rollback(request: PortalRequest, endpoint_id: UUID, number: int) -> HttpResponse:
    """Ask before going back to revision `number`, saying what will happen; POST goes back."""
    row = endpoint_or_404(request.principal, endpoint_id)
    require(request.principal, "rollback", row)
    rows = with_pins(row.revisions.select_related("version__asset", "profile"), "version")
    target = rows.filter(number=min(number, MAX_NUMBER)).first()
    if target is None or row.revision is None:
        raise NotFound(f"{row.name} never had this revision. Its page lists those that it has.")
    if request.method == "POST":
        services.rollback(request.principal, row, number)
        messages.success(request, f"{row.name} goes back to revision {number}.")
        return redirect("endpoint_detail", endpoint_id=row.pk)
    context = head(request, row, "") | {"confirm": _confirm(row, row.revision, target), "errors": []}
    return page(request, "endpoints/confirm.html", context)


def _confirm(row: Endpoint, running: Revision, target: Revision) -> dict[str, Any]:
    """Return what going back to `target` changes and how it happens."""
    shared: dict[str, Any] = {
        "action_url": reverse("endpoint_rollback", args=[row.pk, target.number]),
        "cancel_url": reverse("endpoint_revisions", args=[row.pk]),
    }
    if target.pk == running.pk and row.next_revision is not None:
        return shared | {
            "title": f"Cancel the rollout of revision {row.next_revision.number}?",
            "intro": f"Revision {target.number} goes on answering calls; no call fails. The engines of revision "
            f"{row.next_revision.number} end, and what it holds or waits for is given back.",
            "submit_label": "Cancel the rollout",
        }
    changed = [
        {"count": one["name"], "text": f": {one['old']} → {one['new']}" if one["old"] else f": {one['new']}"}
        for one in revisions.changes(target, running)
    ]
    why = revisions.barred(target, timezone.now())
    return shared | {
        "title": f"Go back from revision {running.number} to revision {target.number}?",
        "intro": why or effects.rolling(row, target),
        "effects": changed or [{"count": "Nothing", "text": " is different but the number"}],
        "submit_label": f"Go back to revision {target.number}",
    }
