"""The list of endpoints."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from endpoints import cells, numbers
from endpoints.models import Endpoint, Environment, Phase
from portal.http import page
from projects.models import Project
from projects.permissions import can_anywhere, visible
from projects.principal import PortalRequest

PER_PAGE = 50


@require_GET
def endpoint_list(request: PortalRequest) -> HttpResponse:
    """The endpoints that the person may see, filtered by name, phase and environment; the project comes from the
    switcher.
    """
    chosen = {name: request.GET.get(name, "").strip()[:80] for name in ("q", "phase", "environment")}
    rows = visible(request.principal, Endpoint.objects.all())
    if request.project is not None:
        rows = rows.filter(project=request.project)
    rows = rows.filter(phase=chosen["phase"]) if chosen["phase"] in Phase.values else rows.exclude(phase=Phase.DELETED)
    if chosen["environment"] in Environment.values:
        rows = rows.filter(environment=chosen["environment"])
    if chosen["q"]:
        rows = rows.filter(Q(name__icontains=chosen["q"]) | Q(project__slug__icontains=chosen["q"]))
    rows = rows.select_related("project", "cluster", "revision__version__asset", "revision__profile")
    pages = Paginator(rows.order_by("project__slug", "name", "pk"), PER_PAGE)
    shown = pages.get_page(request.GET.get("page"))
    calls = numbers.last_day([str(row.pk) for row in shown])
    query = request.GET.copy()
    query.pop("page", None)
    link = f"?{query.urlencode()}&" if query else "?"
    context = {
        "rows": [_line(row, calls.get(str(row.pk), numbers.Calls())) for row in shown],
        "fields": _fields(chosen),
        "filtered": any(chosen.values()),
        "may_request": can_anywhere(request.principal, "request", Project),
        "crumbs": [("Home", reverse("home")), ("Endpoints", "")],
        "page": {
            "start": shown.start_index(), "end": shown.end_index(), "total": pages.count,
            "previous_url": f"{link}page={shown.previous_page_number()}" if shown.has_previous() else "",
            "next_url": f"{link}page={shown.next_page_number()}" if shown.has_next() else "",
        },
    }  # fmt: skip
    return page(request, "endpoints/list.html", context)


def _line(row: Endpoint, calls: numbers.Calls) -> dict[str, Any]:
    revision = row.revision
    return {
        "name": row.name, "project": row.project.slug, "url": reverse("endpoint_detail", args=[row.pk]),
        "chip": cells.phase_chip(row), "sentence": row.reason_sentence, "environment": cells.environment_chip(row),
        "truth": cells.truth_chips(row),
        "model": f"{revision.version.asset.name} {revision.version.version}" if revision else "–",
        "hardware": revision.profile.name if revision else "–", "replicas": revision.replicas if revision else 0,
        "requests": calls.requests, "tokens": calls.input_tokens + calls.output_tokens, "ends_on": row.ends_on,
    }  # fmt: skip


def _fields(chosen: dict[str, str]) -> dict[str, Any]:
    phases = [("", "Every state"), *((value, str(label)) for value, label in Phase.choices)]
    environments = [("", "Every environment"), *((value, str(label)) for value, label in Environment.choices)]
    return {
        "q": chosen["q"],
        "phase": [(value, label, value == chosen["phase"]) for value, label in phases],
        "environment": [(value, label, value == chosen["environment"]) for value, label in environments],
    }
