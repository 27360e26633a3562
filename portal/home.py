"""The first page, and the pages for errors."""

from typing import Any

from django.db.models import Count, F, Q, Sum
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from approvals.models import Request, RequestState
from approvals.permissions import DECIDERS
from approvals.representation import with_all
from approvals.views.cells import state_line
from catalog.models import Asset, VersionState
from endpoints.cells import environment_chip, phase_chip
from endpoints.models import Endpoint, Phase
from portal.http import page
from projects.models import Project
from projects.permissions import visible
from projects.principal import PortalRequest
from quotas.models import UsageDay

SHOWN = 8
OPEN = (RequestState.DRAFT, RequestState.SUBMITTED, RequestState.CHANGES_REQUESTED, RequestState.APPROVED)


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
    decides = bool(principal.groups & DECIDERS)
    waiting = Request.objects.filter(state=RequestState.SUBMITTED).exclude(requester=principal.person)
    queue = waiting.count() if decides else 0
    settled = Q(state=RequestState.APPROVED) & (Q(endpoint__isnull=True) | Q(endpoint__ready_at__isnull=False))
    mine = Request.objects.filter(requester=principal.person, state__in=OPEN, **scoped).exclude(settled)
    shown = endpoints.select_related("project").order_by("project_id", "name")
    context = {
        "stats": _stats(counts, _tokens_today(request), queue if decides else None),
        "decides": decides,
        "requests": [_request_line(item) for item in with_all(mine)[:SHOWN]],
        "endpoints": [_endpoint_line(item) for item in shown[:SHOWN]],
        "approved_assets": Asset.objects.filter(versions__state=VersionState.APPROVED).distinct().count(),
        "news": _news(queue, counts),
    }
    return page(request, "portal/home.html", context)


def _tokens_today(request: PortalRequest) -> int:
    projects = visible(request.principal, Project.objects.all())
    if request.project:
        projects = projects.filter(pk=request.project.pk)
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    days = UsageDay.objects.filter(start=midnight, project_id__in=projects.values("pk"))
    total: int | None = days.aggregate(total=Sum(F("input_tokens") + F("output_tokens")))["total"]
    return total or 0


def _stats(counts: dict[str, int], tokens: int, queue: int | None) -> list[dict[str, Any]]:
    stats = [
        {"label": "Endpoints ready", "value": counts["ready"], "scope": f"of {counts['total']}", "bad": False},
        {"label": "Failed", "value": counts["failed"], "scope": "need somebody to act", "bad": counts["failed"] > 0},
        {"label": "Tokens today", "value": f"{tokens:,}", "scope": "UTC, in and out", "bad": False},
    ]
    if queue is not None:
        stats.insert(0, {"label": "Waiting for a decision", "value": queue, "scope": "requests", "bad": False})
    return stats


def _count(number: int, noun: str, verb: str) -> str:
    return f"1 {noun} {verb}s" if number == 1 else f"{number} {noun}s {verb}"


def _news(queue: int, counts: dict[str, int]) -> str:
    if queue:
        return f"{_count(queue, 'request', 'wait')} for a decision."
    if counts["failed"]:
        return f"{_count(counts['failed'], 'endpoint', 'need')} somebody to act."
    if counts["total"]:
        return "Everything that you may see is quiet."
    return "Nothing runs yet. The catalog is a good place to start."


def _request_line(item: Request) -> dict[str, Any]:
    return {
        "label": f"{item.number} {item.name}",
        "url": reverse("request_detail", args=[item.pk]),
        "project": item.project.slug if item.project else "",
        "state": state_line(item, mine=True, decides=False),
    }


def _endpoint_line(item: Endpoint) -> dict[str, Any]:
    return {
        "label": f"{item.project.slug}/{item.name}",
        "url": reverse("endpoint_detail", args=[item.pk]),
        "sentence": item.reason_sentence,
        "chip": phase_chip(item),
        "environment": environment_chip(item),
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
