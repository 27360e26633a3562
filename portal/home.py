"""The first page, by person, and the pages for errors."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db.models import Case, Count, Exists, OuterRef, Q, QuerySet, When, Window
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from approvals.models import Request, RequestKind, RequestState
from approvals.permissions import DECIDERS
from approvals.representation import with_all
from approvals.views.cells import state_line
from catalog.models import Version, VersionState
from endpoints import cells, numbers
from endpoints.models import Endpoint, Phase
from portal.http import page
from portal.templatetags.gatehouse import money
from projects.models import ApiKey, Project, User
from projects.permissions import can_anywhere, visible
from projects.principal import PortalRequest
from quotas import panels, period
from quotas import usage as ledger
from quotas.models import Pool

OPEN = (RequestState.DRAFT, RequestState.SUBMITTED, RequestState.CHANGES_REQUESTED)
SHOWN, NEWEST = 6, 3


@require_GET
def home(request: PortalRequest) -> HttpResponse:
    """Own requests with whose turn it is, endpoints, tokens, first steps; for deciders the queue and the pool."""
    principal = request.principal
    scoped = {"project": request.project} if request.project else {}
    endpoints = visible(principal, Endpoint.objects.exclude(phase=Phase.DELETED)).filter(**scoped)
    counts = endpoints.aggregate(
        ready=Count("pk", filter=Q(phase=Phase.READY)),
        failed=Count("pk", filter=Q(phase=Phase.FAILED)),
        total=Count("pk"),
    )
    decides = bool(principal.groups & DECIDERS)
    queue = visible(principal, Request.objects.all(), "decide").filter(
        state=RequestState.SUBMITTED, kind=RequestKind.ENDPOINT, **scoped
    )
    oldest = list(_oldest(queue, request)) if decides else []
    waiting = oldest[0].total if oldest else 0
    mine = _mine(request, scoped)
    span = period.of({}, timezone.now())
    project = request.project.slug if request.project else None
    used = ledger.load(principal, start=span.start, end=span.end, hours=span.interval == "hour", project=project)
    steps = [] if decides else _steps(request)
    context = {
        "decides": decides,
        "may_request": can_anywhere(principal, "request", Project),
        "news": _news(waiting, counts, [item for item in mine if item["state"]["mine"]]),
        "waiting": waiting,
        "queue": [_queue_line(item) for item in oldest],
        "requests": mine,
        "endpoints": _endpoint_lines(endpoints),
        "total": counts["total"],
        "chart": panels.tokens_chart(used, span) if used else None,
        "steps": steps,
        "steps_done": sum(step["done"] for step in steps),
        "pools": _pools(request) if decides else [],
        "newest": _newest(request),
    }
    return page(request, "portal/home.html", context)


def _mine(request: PortalRequest, scoped: dict[str, Project]) -> list[dict[str, Any]]:
    """Return own requests that are open, and approved ones whose endpoint has never been ready (two queries)."""
    on_its_way = Q(state=RequestState.APPROVED, endpoint__isnull=False, endpoint__ready_at__isnull=True)
    on_its_way &= ~Q(endpoint__phase=Phase.DELETED)
    found = Request.objects.filter(Q(state__in=OPEN) | on_its_way, requester=request.principal.person, **scoped)
    return [
        {
            "label": item.number,
            "url": reverse("request_detail", args=[item.pk]),
            "name": item.name,
            "what": f"{item.version.asset.name}, {item.environment}" if item.version else "",
            "state": state_line(item, mine=True, decides=False),
        }
        for item in with_all(found).order_by("-id")[:SHOWN]
    ]


def _oldest(queue: QuerySet[Request], request: PortalRequest) -> QuerySet[Any]:
    """Return the oldest requests of others, each with the `total` that waits."""
    others = queue.exclude(requester=request.principal.person).annotate(total=Window(Count("pk")))
    return others.select_related("project", "requester", "version__asset").order_by("submitted_at", "id")[:SHOWN]


def _queue_line(item: Request) -> dict[str, Any]:
    goal = dt.timedelta(seconds=settings.LEAD_TIME_OBJECTIVE_SECONDS)
    cost = item.plan.get("cost", {"per_month": "0", "currency": settings.CURRENCY})
    what = item.version.asset.name if item.version else ""
    project = item.project.slug if item.project else "catalog"
    return {
        "label": item.number,
        "url": reverse("approval_detail", args=[item.pk]),
        "name": item.name,
        "context": f"{what}, {item.environment} · {project} · {item.requester.username}",
        "sent": item.submitted_at,
        "late": item.submitted_at is not None and timezone.now() - item.submitted_at > goal,
        "per_month": money(cost["per_month"], cost["currency"]),
    }


def _endpoint_lines(endpoints: QuerySet[Endpoint]) -> list[dict[str, Any]]:
    """Return the endpoints that need somebody first, with the calls of the last 24 hours (two queries)."""
    urgency = Case(When(phase=Phase.FAILED, then=0), When(phase=Phase.DEGRADED, then=1), default=2)
    related = ("project", "cluster", "revision__version__asset", "revision__profile")
    found = list(endpoints.select_related(*related).order_by(urgency, "project__slug", "name")[:SHOWN])
    calls = numbers.last_day([str(item.pk) for item in found])
    return [
        {
            "name": item.name,
            "context": f"{item.project.slug} · {item.environment}",
            "url": reverse("endpoint_detail", args=[item.pk]),
            "chip": cells.phase_chip(item),
            "model": item.revision.version.asset.name if item.revision else "–",
            "calls": calls.get(str(item.pk), numbers.Calls()).requests,
            "until": item.ends_on,
        }
        for item in found
    ]


def _news(waiting: int, counts: dict[str, int], my_turn: Sequence[object]) -> str:
    """Return today's news in one sentence, the most urgent first."""
    said = []
    if waiting:
        said.append(f"{waiting} request{'s wait' if waiting != 1 else ' waits'} for a decision")
    if my_turn:
        said.append(f"{len(my_turn)} of your requests {'wait' if len(my_turn) != 1 else 'waits'} for you")
    if counts["failed"]:
        failed = counts["failed"]
        said.append(f"{failed} endpoint{'s' if failed != 1 else ''} failed")
    if said:
        return f"{', and '.join(said)}."
    return "Nothing waits for you." if counts["total"] else "Nothing runs yet. The catalog is a good place to start."


def _steps(request: PortalRequest) -> list[dict[str, Any]]:
    """Return the first steps of a new person, ticked from what happened (one query)."""
    asked = Request.objects.filter(requester=OuterRef("pk"))
    keys = ApiKey.objects.filter(person=OuterRef("pk"))
    done = {
        "begun": Exists(asked),
        "sent": Exists(asked.exclude(state=RequestState.DRAFT)),
        "made": Exists(keys.filter(purpose="api")),
        "used": Exists(keys.filter(last_used_at__isnull=False)),
    }
    did = User.objects.filter(pk=request.principal.person.pk).annotate(**done).values(*done).get()
    return [
        {"label": "Pick a model", "help": "the plan shows what it needs and costs", "done": did["begun"],
         "url": reverse("catalog_list")},
        {"label": "Send the request", "help": "somebody else decides", "done": did["sent"],
         "url": reverse("request_new")},
        {"label": "Make a key", "help": "its secret is shown once", "done": did["made"],
         "url": reverse("endpoint_list")},
        {"label": "Call the endpoint", "help": "from the playground or your program", "done": did["used"],
         "url": reverse("endpoint_list")},
    ]  # fmt: skip


def _pools(request: PortalRequest) -> list[dict[str, Any]]:
    """Return each pool with how much of it is held and left (one query)."""
    return [
        {
            "name": pool.name,
            "held": pool.held,
            "limit": pool.limit,
            "free": max(0, min(pool.limit, pool.observed) - pool.held),
            "percent": pool.held * 100 / max(1, pool.limit),
        }
        for pool in visible(request.principal, Pool.objects.all())[:SHOWN]
    ]


def _newest(request: PortalRequest) -> list[dict[str, Any]]:
    """Return what came into the catalog last (one query)."""
    found = Version.objects.visible_to(request.principal).filter(state=VersionState.APPROVED).select_related("asset")
    return [
        {
            "name": f"{version.asset.name} {version.version}",
            "url": reverse("catalog_detail", args=[version.asset.slug]),
            "context": f"{version.asset.publisher}, {version.licence or 'licence not verified'}",
            "at": version.approved_at,
        }
        for version in found.order_by("-approved_at", "-id")[:NEWEST]
    ]


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
