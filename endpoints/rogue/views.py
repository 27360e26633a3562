"""Pages of workloads without approval: the list, one of them, and what people do about it."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from endpoints.adopting import matching
from endpoints.models import Cluster
from endpoints.rogue import adopt, cells, scanning, services
from endpoints.rogue.lists import ROGUES
from endpoints.rogue.models import RUNNING, RogueScan, RogueWorkload
from endpoints.views.clusters import tabs
from portal import listing
from portal.errors import Conflict, Invalid, NotFound
from portal.http import page
from projects import saved_views
from projects.permissions import can, require_anywhere, visible
from projects.principal import PortalRequest, Principal

RELATED = ("cluster", "project", "owner", "waived_by")
TITLE = "Without approval"


@require_GET
def rogue_list(request: PortalRequest) -> HttpResponseBase:
    """What runs on registered clusters without an approval of this portal."""
    require_anywhere(request.principal, "view", RogueWorkload)
    asked, rows = listing.read(request, ROGUES), of(request.principal)
    if not request.GET.get("state"):
        rows = rows.filter(state__in=RUNNING)

    def lines(found: Sequence[RogueWorkload]) -> list[dict[str, Any]]:
        return [cells.line(row) for row in found]

    if asked.csv:
        return listing.csv_response(asked, rows, lines)
    found = listing.find(asked, rows)
    context = {
        "crumbs": _crumbs(),
        "tabs": tabs(request, "rogue_list"),
        "tabs_label": "Capacity",
        "rows": lines(found.rows),
        "views": saved_views.menu(request.principal, asked),
        "scans": _scans(request.principal),
        "may_scan": can(request.principal, "test", Cluster()),
    }
    return found.render("endpoints/rogue/list.html", context)


@require_GET
def rogue_detail(request: PortalRequest, rogue_id: int) -> HttpResponse:
    """One workload: what was seen, since when, whose it probably is, and what can be done."""
    return _detail(request, find(request.principal, rogue_id))


@require_GET
def rogue_adopt(request: PortalRequest, rogue_id: int) -> HttpResponse:
    """Open the form for a request that adopts it, filled with the best guess."""
    row = find(request.principal, rogue_id, told=True)
    guess = matching.guess(request.principal, row)
    return redirect(adopt.address(request.principal, row, **guess))


@require_POST
def rogue_notify(request: PortalRequest, rogue_id: int) -> HttpResponse:
    """Tell its people that it runs without approval."""
    row, typed = find(request.principal, rogue_id), request.POST.get("note", "")
    try:
        people = services.notify(request.principal, row, note=typed)
    except (Invalid, Conflict) as refused:
        return _detail(request, row, {"note": refused.sentence}, {"note": typed})
    messages.success(request, f"{', '.join(one.username for one in people)} were told.")
    return redirect("rogue_detail", rogue_id=row.pk)


@require_POST
def rogue_waive(request: PortalRequest, rogue_id: int) -> HttpResponse:
    """Leave it as it is until a day, with a reason."""
    row = find(request.principal, rogue_id)
    typed = {name: request.POST.get(name, "") for name in ("ends_on", "reason")}
    try:
        services.waive(request.principal, row, ends_on=_day(typed["ends_on"]), reason=typed["reason"])
    except Conflict as refused:
        return _detail(request, row, {"reason": refused.sentence}, typed)
    except Invalid as refused:
        return _detail(request, row, refused.fields or {"reason": refused.sentence}, typed)
    messages.success(request, f"{row} is left until {row.waived_until:%d %b %Y}; then it is open again.")
    return redirect("rogue_detail", rogue_id=row.pk)


@require_POST
def rogue_revoke(request: PortalRequest, rogue_id: int) -> HttpResponse:
    """End a waiver before its last day."""
    row = find(request.principal, rogue_id)
    try:
        services.revoke(request.principal, row)
    except Conflict as refused:
        messages.warning(request, refused.sentence)
    else:
        messages.success(request, f"The waiver of {row} is over; it is open again.")
    return redirect("rogue_detail", rogue_id=row.pk)


@require_POST
def rogue_scan(request: PortalRequest) -> HttpResponse:
    """Have every cluster scanned now."""
    require_anywhere(request.principal, "test", Cluster)
    count = scanning.want_all()
    messages.success(request, f"{count} clusters are scanned now. Reload the page in a moment.")
    return redirect("rogue_list")


def of(by: Principal) -> QuerySet[RogueWorkload]:
    """Return what `by` may see, with what lists show of it."""
    rows: QuerySet[RogueWorkload] = visible(by, RogueWorkload.objects.select_related(*RELATED))
    return rows


def find(by: Principal, pk: int, *, told: bool = False) -> RogueWorkload:
    """Return one workload that `by` may see, or was `told` of; raises NotFound."""
    row = of(by).filter(pk=pk).first() if pk < 2**63 else None
    if row is None and told and pk < 2**63 and by.is_authenticated:
        row = RogueWorkload.objects.select_related(*RELATED).filter(pk=pk, owner=by.person).first()
    if row is None:
        raise NotFound(f"There is no workload {pk}, or you may not see it.")
    return row


def _crumbs(*more: tuple[str, str]) -> list[tuple[str, str]]:
    return [("Capacity", reverse("capacity")), (TITLE, reverse("rogue_list") if more else ""), *more]


def _detail(
    request: PortalRequest, row: RogueWorkload, wrong: dict[str, str] | None = None, typed: dict[str, str] | None = None
) -> HttpResponse:
    wrong, typed = wrong or {}, typed or {}
    found = cells.detail(request.principal, row)
    context = {
        "crumbs": _crumbs((row.name, "")),
        "rogue": found,
        "errors": [{"field": name, "message": text} for name, text in wrong.items()],
        "note_field": {
            "name": "note", "label": "Your words", "kind": "textarea", "value": typed.get("note", ""),
            "error": wrong.get("note", ""), "help": "Before the text below. May stay empty.",
            "attrs": {"maxlength": services.MAX_REASON, "rows": 3},
        },
        "waive_fields": [
            {"name": "ends_on", "label": "Last day", "kind": "date", "value": typed.get("ends_on", ""),
             "required": True, "error": wrong.get("ends_on", ""),
             "help": f"At most {services.MOST_DAYS} days; then it is open again."},
            {"name": "reason", "label": "Reason", "kind": "text", "value": typed.get("reason", ""), "required": True,
             "error": wrong.get("reason", ""), "attrs": {"maxlength": services.MAX_REASON, "autocomplete": "off"}},
        ],
    }  # fmt: skip
    return page(request, "endpoints/rogue/detail.html", context, status=422 if wrong else 200)


def _scans(by: Principal) -> list[dict[str, Any]]:
    """Return how the last scans went, for those who may look at clusters (one query)."""
    if not can(by, "inspect", Cluster()):
        return []
    rows = RogueScan.objects.filter(cluster__removed_at=None).select_related("cluster").order_by("cluster__slug")
    return [
        {"name": row.cluster.name, "at": row.done_at, "seconds": row.seconds, "pods": row.pods, "problem": row.problem}
        for row in rows[:50]
    ]


def _day(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if text else None
    except ValueError:
        raise Invalid.field("ends_on", f"ends_on is {text[:20]!r}; write a date such as 2027-02-01.") from None
