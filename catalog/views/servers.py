"""MCP servers of a project: what it was granted, until when, with which tools; and what anybody may read of."""

import datetime as dt
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from catalog import cells
from catalog.doubts import doubt
from catalog.mcp import clients, grants, publishing
from catalog.mcp.granted import USABLE, living_grants
from catalog.models import ServerGrant, Version
from catalog.views.detail import find
from portal.errors import Conflict, Invalid, NotFound
from portal.http import page
from projects.api import project_or_404
from projects.permissions import can, visible
from projects.principal import PortalRequest

MOST = 200
SOON = dt.timedelta(days=14)
DOUBT = {"colour": "orange", "icon": "warn", "kind": "outline"}


@require_GET
def server_list(request: PortalRequest, slug: str) -> HttpResponse:
    """The servers that a project may use, and the settings for its clients."""
    project = project_or_404(request.principal, slug)
    rows = living_grants().filter(project=project).select_related("asset", "version__asset", "project", "granted_by")
    found = list(rows.order_by("asset__name", "-id")[:MOST])
    usable = [row for row in found if row.version.state in USABLE]
    versions = Version.objects.filter(pk__in=[row.version_id for row in found])
    doubts = dict(versions.annotate(doubt=doubt()).filter(doubt__isnull=False).values_list("pk", "doubt"))
    member = request.principal.role_in(project.pk) is not None
    may = can(request.principal, "request", project)
    context = {
        "crumbs": [
            ("Projects", reverse("project_list")),
            (project.slug, reverse("project_detail", args=[project.slug])),
            ("MCP servers", ""),
        ],
        "project": project,
        "rows": [_row(request, row, doubts.get(row.version_id, "")) for row in found],
        "snippets": clients.snippets(usable) if member else [],
        "registry_url": clients.registry_url(project.slug),
        "ask_url": f"{reverse('request_new')}?kind=mcp-access&project={project.slug}" if may else "",
        "catalog_url": f"{reverse('catalog_list')}?kind=mcp-server",
    }
    return page(request, "catalog/servers.html", context)


def _row(request: PortalRequest, row: ServerGrant, doubted: str) -> dict[str, Any]:
    today = timezone.now().date()
    dead = row.version.state not in USABLE
    return {
        "name": row.asset.name,
        "url": cells.detail_url(row.asset, row.version, "tools"),
        "version": row.version.version,
        "chip": cells.state_chip(row.version.state),
        "doubt": DOUBT | {"label": doubted.capitalize()} if doubted else None,
        "dead": dead,
        "tools": row.tools,
        "few": row.tools[:6],
        "more": max(0, len(row.tools) - 6),
        "ends_on": row.ends_on,
        "soon": row.ends_on is not None and row.ends_on - today <= SOON,
        "reference": row.reference,
        "granted_by": row.granted_by.username if row.granted_by else "",
        "created_at": row.created_at,
        "end_url": reverse("server_end", args=[row.project.slug, row.pk]) if can(request.principal, "end", row) else "",
    }


@require_POST
def server_end(request: PortalRequest, slug: str, server_grant_id: int) -> HttpResponse:
    """End what a project was granted, at once."""
    project = project_or_404(request.principal, slug)
    rows = visible(request.principal, ServerGrant.objects.all()).select_related("asset", "version", "project")
    row = rows.filter(pk=server_grant_id, project=project).first()
    if row is None:
        raise NotFound("There is no such grant, or you may not see it.")
    grants.end(request.principal, row, request.POST.get("reason", ""))
    messages.success(request, f"{project.slug} may no longer use {row.asset.name}.")
    return redirect("server_list", slug=project.slug)


@require_POST
def catalog_registry(request: PortalRequest, slug: str) -> HttpResponse:
    """Put a server into the registry that anybody may read, or take it out."""
    asset = find(request, slug)
    public, reason = request.POST.get("public") == "1", request.POST.get("reason", "")
    try:
        (publishing.publish if public else publishing.unpublish)(request.principal, asset, reason)
    except (Invalid, Conflict) as error:
        messages.error(request, error.sentence)
    else:
        words = "stands in the public registry now" if public else "is out of the public registry"
        messages.success(request, f"{asset.name} {words}.")
    return redirect(f"{reverse('catalog_detail', args=[asset.slug])}?tab=tools")
