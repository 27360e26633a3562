"""Waivers and findings as lists, pages and the API show them."""

import datetime as dt
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from approvals import waiving
from approvals.models import Finding, Request, Waiver, WaiverState
from approvals.verdicts import FAIL, WAIVED
from endpoints.models import Endpoint
from projects.permissions import visible
from projects.principal import Principal

Cell = dict[str, Any]
SOON = 14  # days before the last one from which pages speak of it
LOOKS = {
    WaiverState.ACTIVE: ("Active", "purple", "waiver"),
    WaiverState.EXPIRED: ("Expired", "grey", "expired"),
    WaiverState.REVOKED: ("Revoked", "grey", "ban"),
}
VERDICTS = {FAIL: ("Fails", "red", "err"), WAIVED: ("Waived", "purple", "waiver")}


def with_related(rows: QuerySet[Waiver]) -> QuerySet[Waiver]:
    """Return `rows` with everything that is shown of a waiver, in one query."""
    return rows.select_related("project", "request", "endpoint", "owner", "requested_by", "approved_by", "asked")


def of(by: Principal) -> QuerySet[Waiver]:
    """Return the waivers that `by` may read."""
    found: QuerySet[Waiver] = with_related(visible(by, Waiver.objects.all()))
    return found


def findings_of(by: Principal) -> QuerySet[Finding]:
    """Return the open findings that `by` may read."""
    rows = Finding.objects.filter(closed_at=None).select_related("endpoint__project", "waiver")
    found: QuerySet[Finding] = visible(by, rows)
    return found


def waiver_json(waiver: Waiver) -> dict[str, Any]:
    """Return a waiver of `with_related` as the API shows it."""
    return {
        "id": waiver.pk,
        "number": str(waiver),
        "state": waiver.state,
        "counts": waiver.state == WaiverState.ACTIVE and counts(waiver),
        "check": waiver.check_id,
        "project": waiver.project.slug,
        "request": waiver.request_id,
        "endpoint": str(waiver.endpoint_id) if waiver.endpoint_id else None,
        "reason": waiver.reason,
        "compensating_control": waiver.compensating_control,
        "owner": waiver.owner.username,
        "requested_by": waiver.requested_by.username,
        "approved_by": waiver.approved_by.username,
        "asked_in": waiver.asked_id,
        "ends_on": waiver.ends_on,
        "created_at": waiver.created_at,
        "closed_at": waiver.closed_at,
    }


def counts(waiver: Waiver) -> bool:
    """Whether a waiver of `with_related` counts for what its request asks for now (no query)."""
    return waiver.request is None or waiving.counts(waiver, waiver.request.body)


def state_chip(waiver: Waiver) -> Cell:
    """Return the chip of a waiver's state."""
    label, colour, icon = LOOKS[WaiverState(waiver.state)]
    if waiver.state == WaiverState.ACTIVE and not counts(waiver):
        label, colour = "Request changed", "grey"
    return {"label": label, "colour": colour, "icon": icon, "kind": "filled"}


def cell(waiver: Waiver, today: dt.date | None = None) -> Cell:
    """Return a waiver of `with_related` as pages show it (no query)."""
    day = today or timezone.now().date()
    active = waiver.state == WaiverState.ACTIVE
    about = []
    if waiver.endpoint is not None:
        about.append(
            (f"{waiver.project.slug}/{waiver.endpoint.name}", reverse("endpoint_detail", args=[waiver.endpoint_id]))
        )
    if waiver.request is not None:
        about.append(
            (f"{waiver.request} {waiver.request.name}".strip(), reverse("request_detail", args=[waiver.request_id]))
        )
    return {
        "id": waiver.pk,
        "number": str(waiver),
        "url": reverse("waiver_detail", args=[waiver.pk]),
        "check": waiver.check_id,
        "project": waiver.project.slug,
        "about": about,
        "thing": about[0][0] if about else "",
        "reason": waiver.reason,
        "control": waiver.compensating_control,
        "owner": waiver.owner.username,
        "requested_by": waiver.requested_by.username,
        "approved_by": waiver.approved_by.username,
        "asked": waiver.asked.number,
        "asked_url": reverse("request_detail", args=[waiver.asked_id]),
        "ends_on": waiver.ends_on,
        "soon": active and waiver.ends_on <= day + dt.timedelta(days=SOON),
        "state": waiver.state,
        "counts": counts(waiver),
        "chip": state_chip(waiver),
        "closed_at": waiver.closed_at,
    }


def on_request(by: Principal, request: Request) -> list[Cell]:
    """Return the waivers of a request, for its page (one query)."""
    return [cell(row) for row in of(by).filter(request=request)]


def on_endpoint(by: Principal, endpoint: Endpoint) -> list[Cell]:
    """Return the waivers of an endpoint, those first that count (one query)."""
    return [cell(row) for row in of(by).filter(endpoint=endpoint).order_by("state", "ends_on", "pk")]


def finding_cells(rows: Iterable[Finding], *, asks: bool) -> list[Cell]:
    """Return findings as pages show them, failures first. `asks`: the reader may ask for a waiver."""
    place = {FAIL: 0, WAIVED: 1}
    return [
        finding_cell(row, asks=asks) for row in sorted(rows, key=lambda row: (place.get(row.verdict, 2), row.check_id))
    ]


def finding_cell(row: Finding, *, asks: bool) -> Cell:
    """Return a finding as pages show it (no query)."""
    label, colour, icon = VERDICTS.get(row.verdict, ("Warns", "orange", "warn"))
    endpoint = row.endpoint
    return {
        "id": row.pk,
        "check": row.check_id,
        "title": row.title,
        "reason": row.reason,
        "fix": row.fix,
        "chip": {"label": label, "colour": colour, "icon": icon, "kind": "filled"},
        "verdict": row.verdict,
        "since": row.opened_at,
        "name": f"{endpoint.project.slug}/{endpoint.name}",
        "url": reverse("endpoint_rules", args=[endpoint.pk]),
        "waiver": str(row.waiver) if row.waiver is not None else "",
        "waiver_url": reverse("waiver_detail", args=[row.waiver_id]) if row.waiver_id else "",
        "until": row.waiver.ends_on if row.waiver is not None else None,
        "ask_url": ask_url(check=row.check_id, endpoint=str(endpoint.pk)) if asks and row.verdict == FAIL else "",
    }


def ask_url(**about: str) -> str:
    """Return the form that asks for a waiver: check, and endpoint or request."""
    return f"{reverse('request_new')}?{urlencode({'kind': 'waiver', **about})}"
