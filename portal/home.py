"""The first page, and the pages for errors."""

from typing import Any

from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from approvals.models import Request, RequestState
from approvals.permissions import DECIDERS
from catalog.models import Asset, VersionState
from endpoints.models import Endpoint, Phase
from portal.http import page
from projects.permissions import visible
from projects.principal import PortalRequest
from quotas.models import UsageDay

TURNS = {
    RequestState.DRAFT: ("Not sent yet.", "you"),
    RequestState.SUBMITTED: ("A platform engineer reads the plan.", "a platform engineer"),
    RequestState.CHANGES_REQUESTED: ("Sent back: read the reason and change the request.", "you"),
    RequestState.APPROVED: ("Approved; the endpoint is on its way.", "the portal"),
}
CHIPS = {
    RequestState.DRAFT: ("grey", "draft"),
    RequestState.SUBMITTED: ("blue", "expired"),
    RequestState.CHANGES_REQUESTED: ("orange", "rotate"),
    RequestState.APPROVED: ("green", "ok"),
}
PHASES = {
    Phase.READY: ("green", "ok"),
    Phase.FAILED: ("red", "err"),
    Phase.DEGRADED: ("orange", "degraded"),
    Phase.PROVISIONING: ("blue", "progress"),
}


@require_GET
def home(request: PortalRequest) -> HttpResponse:
    """Own requests with whose turn it is, endpoints, tokens of today; for deciders the queue."""
    principal = request.principal
    scoped = {"project": request.project} if request.project else {}
    endpoints = visible(principal, Endpoint.objects.exclude(phase=Phase.DELETED)).filter(**scoped)
    counts = endpoints.aggregate(
        ready=Count("pk", filter=Q(phase=Phase.READY)),
        failed=Count("pk", filter=Q(phase=Phase.FAILED)),
        total=Count("pk"),
    )
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    days = UsageDay.objects.filter(
        start=midnight, project_id__in=visible(principal, Endpoint.objects.all()).values("project_id")
    )
    if request.project:
        days = days.filter(project_id=request.project.pk)
    tokens = sum(row[0] + row[1] for row in days.values_list("input_tokens", "output_tokens"))
    mine = (
        Request.objects.filter(requester=principal.person, state__in=list(TURNS), **scoped)
        .exclude(Q(state=RequestState.APPROVED) & (Q(endpoint__isnull=True) | Q(endpoint__ready_at__isnull=False)))
        .select_related("project")[:8]
    )
    stats = [
        {"label": "Endpoints ready", "value": counts["ready"], "scope": f"of {counts['total']}", "bad": False},
        {"label": "Failed", "value": counts["failed"], "scope": "need somebody to act", "bad": counts["failed"] > 0},
        {"label": "Tokens today", "value": f"{tokens:,}", "scope": "UTC, in and out", "bad": False},
    ]
    decides = bool(principal.groups & DECIDERS)
    if decides:
        queue = Request.objects.filter(state=RequestState.SUBMITTED).exclude(requester=principal.person).count()
        stats.insert(0, {"label": "Waiting for a decision", "value": queue, "scope": "requests", "bad": False})
    context = {
        "stats": stats,
        "decides": decides,
        "requests": [_request_line(item) for item in mine],
        "endpoints": [
            _endpoint_line(item) for item in endpoints.select_related("project").order_by("project_id", "name")[:8]
        ],
        "approved_assets": Asset.objects.filter(versions__state=VersionState.APPROVED).distinct().count(),
        "news": _news(decides, stats, counts),
    }
    return page(request, "portal/home.html", context)


def _news(decides: bool, stats: list[dict[str, Any]], counts: dict[str, int]) -> str:
    if decides and stats[0]["value"]:
        return f"{stats[0]['value']} request{'s' if stats[0]['value'] != 1 else ''} wait for a decision."
    if counts["failed"]:
        return f"{counts['failed']} endpoint{'s' if counts['failed'] != 1 else ''} failed."
    return (
        "Everything that you may see is quiet."
        if counts["total"]
        else "Nothing runs yet. The catalog is a good place to start."
    )


def _request_line(item: Request) -> dict[str, Any]:
    state = RequestState(item.state)
    colour, icon = CHIPS[state]
    sentence, turn = TURNS[state]
    return {
        "label": f"{item.number} {item.name}",
        "url": reverse("request_detail", args=[item.pk]),
        "project": item.project.slug if item.project else "",
        "state": {
            "chip": {"label": state.label.capitalize(), "colour": colour, "icon": icon, "kind": "filled"},
            "sentence": sentence,
            "turn": "Your turn" if turn == "you" else f"Waits for {turn}",
            "mine": turn == "you",
            "since": item.updated_at,
        },
    }


def _endpoint_line(item: Endpoint) -> dict[str, Any]:
    colour, icon = PHASES.get(Phase(item.phase), ("grey", "clock"))
    return {
        "label": f"{item.project.slug}/{item.name}",
        "url": reverse("endpoint_detail", args=[item.pk]),
        "sentence": item.reason_sentence,
        "chip": {"label": Phase(item.phase).label, "colour": colour, "icon": icon, "kind": "filled"},
        "environment": {"label": item.environment, "colour": "grey", "icon": "", "kind": "outline"},
    }


def bad_request(request: PortalRequest, exception: Exception) -> HttpResponse:
    """400: the browser sent something that cannot be read."""
    return render(
        request, "400.html", {"sentence": "The request could not be read. Go back and try again."}, status=400
    )


def forbidden(request: PortalRequest, exception: Exception) -> HttpResponse:
    """403."""
    return render(request, "403.html", {"sentence": "Your role does not allow this."}, status=403)


def missing(request: PortalRequest, exception: Exception) -> HttpResponse:
    """404."""
    return render(request, "404.html", {"sentence": "There is no such page, or you may not see it."}, status=404)


def mistake(request: PortalRequest) -> HttpResponse:
    """500: says the request id and nothing else."""
    return render(request, "500.html", {"request_id": getattr(request, "request_id", "")}, status=500)
