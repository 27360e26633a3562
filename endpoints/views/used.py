"""Tab “Used by” of an asset: the endpoints that run it, and the projects that may use a server."""

from typing import Any

from django.db.models import Q
from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from catalog.models import Asset, Kind, ServerGrant
from catalog.views.detail import find, show
from endpoints import cells
from endpoints.models import Desired, Endpoint, Phase
from projects.permissions import visible
from projects.principal import PortalRequest, Principal

SHOWN = 50


@require_GET
def catalog_used(request: PortalRequest, slug: str) -> HttpResponse:
    """Who uses an asset: by name where the reader may know, else by number."""
    asset = find(request, slug)
    more = _endpoints(request.principal, asset)
    if asset.kind == Kind.MCP_SERVER:
        more |= _grants(request.principal, asset)
    return show(request, asset, "used", template="endpoints/used.html", more=more)


def _endpoints(principal: Principal, asset: Asset) -> dict[str, Any]:
    living = Endpoint.objects.exclude(phase=Phase.DELETED).exclude(desired=Desired.DELETED)
    every = living.filter(revision__version__asset=asset)
    mine = visible(principal, every, "inspect")
    seen = mine.count()
    rows = mine.select_related("project", "revision__version", "revision__profile").order_by("project__slug", "name")
    return {
        "endpoints": [_line(row) for row in rows[:SHOWN]],
        "more_endpoints": max(0, seen - SHOWN),
        "other_endpoints": every.count() - seen,
    }


def _line(row: Endpoint) -> dict[str, Any]:
    revision = row.revision
    return {
        "name": f"{row.project.slug}/{row.name}",
        "url": reverse("endpoint_detail", args=[row.pk]),
        "chip": cells.phase_chip(row),
        "version": revision.version.version if revision else "",
        "where": f"{row.environment}, {revision.replicas} × {revision.profile.name}" if revision else row.environment,
        "ends_on": row.ends_on,
    }


def _grants(principal: Principal, asset: Asset) -> dict[str, Any]:
    today = timezone.now().date()
    every = ServerGrant.objects.filter(Q(ends_on__isnull=True) | Q(ends_on__gte=today), asset=asset, ended_at=None)
    mine = visible(principal, every)
    rows = mine.select_related("project", "version").order_by("project__slug", "pk")
    lines = [
        {
            "project": row.project.slug,
            "url": reverse("project_detail", args=[row.project.slug]),
            "version": row.version.version,
            "tools": ", ".join(str(name) for name in row.tools) or "no tool",
            "ends_on": row.ends_on,
        }
        for row in rows[:SHOWN]
    ]
    seen = mine.count()
    return {"server_grants": lines, "more_grants": max(0, seen - SHOWN), "other_grants": every.count() - seen}
