"""The page of an endpoint that shows in what its cluster differs from what was approved, and what can be done."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from endpoints import promoting
from endpoints.differences import reading, services
from endpoints.differences.accepting import Offer, offer
from endpoints.differences.models import DriftLook, LiveDifference, Resolution
from endpoints.differences.sweeping import GIT
from endpoints.models import Desired, Endpoint, Phase
from endpoints.reading import endpoint_or_404
from endpoints.views.head import ask_url, head
from portal.http import page
from projects.permissions import can, require
from projects.principal import PortalRequest

STATES = {
    "open": ("stays until you decide", "orange", "drift"),
    "accepted": ("asked for", "blue", "send"),
    "reverting": ("is being taken back", "red", "rotate"),
    "own": ("the portal’s own", "grey", "info"),
    Resolution.REAPPLIED: ("written again", "green", "ok"),
    Resolution.TAKEN_BACK: ("taken back", "green", "rotate"),
    Resolution.GONE: ("no longer there", "grey", "ok"),
    Resolution.REPLACED: ("replaced", "grey", "ok"),
}
HELD = frozenset({"git_edited", "git_taken_away"})  # why nothing is written, whether or not it was compared since
PURPOSE = "Accept what was changed in the cluster by hand."


@require_GET
def endpoint_drift(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """What differs now with both values and who changed it, what a request could ask for, and what is over."""
    row = endpoint_or_404(request.principal, endpoint_id)
    rows, look = reading.open_of(row), reading.look_of(row.cluster)
    by_hand = [one for one in rows if one.by_hand]
    asks = can(request.principal, "request", row.project)
    runs = row.desired == Desired.RUNNING and row.phase not in {Phase.FAILED, Phase.DELETED}
    made = offer(row, by_hand) if by_hand else None
    context = head(request, row, "Drift") | {
        "rows": [line(one) for one in rows],
        "by_hand": len(by_hand),
        "earlier": [line(one) for one in reading.earlier_of(row)],
        "look": look_words(look),
        "why_not": reading.why_not(row),
        "rewriting": row.rewrite_at is not None,
        "paused": row.cluster.paused,
        "found_in": "In Git" if row.cluster.driver == GIT else "In the cluster",
        "can_look": not reading.why_not(row) and can(request.principal, "compare", row),
        "can_reapply": (rows or row.reason_code in HELD)
        and runs
        and not row.cluster.paused
        and can(request.principal, "reapply", row),
        "accept": _accept(made, asks),
        "promote": _promote(row) if asks else [],
    }
    return page(request, "endpoints/drift.html", context)


@require_POST
def endpoint_drift_reapply(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Write what was approved into the cluster again."""
    row = services.reapply(request.principal, endpoint_or_404(request.principal, endpoint_id))
    messages.success(request, f"What was approved for {row.name} is being written again; it takes a few seconds.")
    return redirect("endpoint_drift", endpoint_id=row.pk)


@require_POST
def endpoint_drift_accept(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Open the form of a revision that asks for what was found in the cluster, as far as a request can."""
    row = endpoint_or_404(request.principal, endpoint_id)
    made = services.accept(request.principal, row)
    if made.refused:
        messages.info(request, f"Not part of the request: {fields(one for one, _ in made.refused)}. {made.words}")
    return redirect(ask_url("revision", row, **made.changes, purpose=PURPOSE))


@require_POST
def endpoint_drift_look(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Have the cluster compared now."""
    row = endpoint_or_404(request.principal, endpoint_id)
    services.look_again(request.principal, row)
    messages.success(request, f"{row.cluster.name} is being compared; load the page again in a moment.")
    return redirect("endpoint_drift", endpoint_id=row.pk)


@require_GET
def endpoint_promote(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Open the form that asks for this endpoint in the environment `?to=`, by default the next one."""
    row = endpoint_or_404(request.principal, endpoint_id)
    require(request.principal, "request", row.project)
    return redirect(promoting.form_url(row, request.GET.get("to") or promoting.following(row.environment)))


def line(row: LiveDifference) -> dict[str, Any]:
    """Return a difference as a line of a table."""
    label, colour, icon = STATES[reading.state(row)]
    where = f"{row.namespace}/{row.name}" if row.namespace else row.name
    return {
        "row": row, "object": f"{row.kind} {where}", "field": row.field, "whole": not row.field,
        "wanted": row.wanted, "found": row.found, "who": row.manager, "sure": row.sure,
        "chip": {"label": label, "colour": colour, "icon": icon, "kind": "outline"},
    }  # fmt: skip


def look_words(look: DriftLook | None) -> dict[str, Any]:
    """Return when a cluster was compared, and why it could not be."""
    if look is None:
        return {"at": None, "problem": ""}
    return {"at": look.finished_at, "problem": look.problem if look.failures else ""}


def fields(rows: Any) -> str:
    """Return the names of a few fields for a sentence."""
    names = [row.field or f"{row.kind} {row.name}" for row in rows]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _accept(made: Offer | None, asks: bool) -> dict[str, Any] | None:
    if made is None:
        return None
    names: Sequence[tuple[str, Any]] = [(name.replace("_", " "), value) for name, value in made.changes.items()]
    return {
        "asks": names, "may": asks and bool(names),
        "refused": [(one.field or f"{one.kind} {one.name}", why) for one, why in made.refused],
    }  # fmt: skip


def _promote(row: Endpoint) -> list[tuple[str, str]]:
    url = reverse("endpoint_promote", args=[row.pk])
    return [(str(to), f"{url}?to={to}") for to in promoting.ORDER if str(to) != row.environment]
