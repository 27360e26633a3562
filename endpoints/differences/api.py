"""REST API of what clusters have against what was approved."""

from typing import Any
from uuid import UUID

from django.db.models import Q
from django.http import HttpResponse
from ninja import Router

from endpoints.api import endpoint_json
from endpoints.differences import reading, services
from endpoints.differences.accepting import offer
from endpoints.differences.models import DriftLook, LiveDifference
from endpoints.models import Cluster, Endpoint, Environment
from endpoints.reading import endpoint_or_404
from portal.errors import Invalid, NotFound
from portal.http import cursor_page
from projects.api import answer, idempotent, project_or_404, scope
from projects.models import is_slug
from projects.permissions import can, visible
from projects.principal import PortalRequest

router = Router(tags=["drift"])
STATES = {
    "open": Q(resolved_at=None), "resolved": Q(resolved_at__isnull=False), "all": Q(),
}  # fmt: skip


@router.get("/endpoints/{endpoint_id}/drift", auth=scope("endpoints:read"))
def get_drift(
    request: PortalRequest, endpoint_id: UUID, limit: int | None = None, cursor: str | None = None
) -> HttpResponse:
    """In what the cluster differs from what was approved, with both values and who changed each; what is over stands in
    `earlier`. `accept` holds the body of a request that asks for what was found, and what no request can hold.
    """
    row = endpoint_or_404(request.principal, endpoint_id)
    rows, look = reading.open_of(row), reading.look_of(row.cluster)
    made = offer(row, rows) if rows else None
    open_ones = LiveDifference.objects.filter(endpoint=row, resolved_at=None)
    found, following = cursor_page(open_ones, limit=limit, cursor=cursor, order=("id",))
    return answer(
        request,
        {
            "items": [reading.json_of(one) for one in found],
            "next": following,
            "earlier": [reading.json_of(one) for one in reading.earlier_of(row)],
            "looked_at": look.finished_at if look else None,
            "problem": look.problem if look and look.failures else None,
            "not_compared": reading.why_not(row) or None,
            "rewriting": row.rewrite_at is not None,
            "accept": {
                "request": made.body if made and made.body else None,
                "cannot": [
                    {"field": one.field or None, "kind": one.kind, "name": one.name, "reason": why}
                    for one, why in (made.refused if made else ())
                ],
            },
        },
    )


@router.post("/endpoints/{endpoint_id}/drift/reapply", auth=scope("endpoints:write"))
@idempotent
def reapply(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Have what was approved written into the cluster again."""
    row = services.reapply(request.principal, endpoint_or_404(request.principal, endpoint_id))
    return answer(request, endpoint_json(endpoint_or_404(request.principal, row.pk)), status=202)


@router.post("/endpoints/{endpoint_id}/drift/look", auth=scope("endpoints:write"))
@idempotent
def look(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Have the endpoint's cluster compared now instead of with the next sweep."""
    row = endpoint_or_404(request.principal, endpoint_id)
    services.look_again(request.principal, row)
    return answer(request, {"cluster": row.cluster.slug}, status=202)


@router.get("/insights/drift", auth=scope("endpoints:read"))
def list_drift(
    request: PortalRequest,
    project: str | None = None,
    environment: str | None = None,
    cluster: str | None = None,
    state: str = "open",
    limit: int | None = None,
    cursor: str | None = None,
) -> HttpResponse:
    """The differences of all endpoints that the caller may see, newest first; `state` is open, resolved or all. What
    the portal itself would write otherwise today is left out. `clusters` says when each was compared.
    """
    rows = reading.rows(request.principal).filter(own=False)
    if state not in STATES:
        raise Invalid.field("state", f"state is {state[:20]!r}; choose one of {', '.join(STATES)}.")
    rows = rows.filter(STATES[state])
    if project is not None:
        if not is_slug(project):
            raise NotFound(f"There is no project {project[:40]!r}, or you may not see it.")
        rows = rows.filter(endpoint__project=project_or_404(request.principal, project))
    if environment is not None:
        if environment not in Environment.values:
            known = ", ".join(Environment.values)
            raise Invalid.field("environment", f"environment is {environment[:20]!r}; choose one of {known}.")
        rows = rows.filter(endpoint__environment=environment)
    if cluster is not None:
        if not visible(request.principal, Cluster.objects.all()).filter(slug=cluster[:40]).exists():
            raise NotFound(f"There is no cluster {cluster[:40]!r}.")
        rows = rows.filter(endpoint__cluster__slug=cluster[:40])
    found, following = cursor_page(rows, limit=limit, cursor=cursor, order=("-first_seen", "-id"))
    items = [{"endpoint": _endpoint(one.endpoint), **reading.json_of(one)} for one in found]
    return answer(request, {"items": items, "next": following, "clusters": _clusters(request)})


def _endpoint(row: Endpoint) -> dict[str, Any]:
    return {
        "id": row.pk, "name": row.name, "project": row.project.slug, "environment": row.environment,
        "cluster": row.cluster.slug,
    }  # fmt: skip


def _clusters(request: PortalRequest) -> list[dict[str, Any]]:
    """Return when each cluster was compared (one query); what went wrong, for who may look at clusters."""
    told = can(request.principal, "inspect", Cluster())
    looks = DriftLook.objects.filter(cluster__in=visible(request.principal, Cluster.objects.all()))
    return [
        {
            "slug": one.cluster.slug, "looked_at": one.finished_at,
            "problem": one.problem if told and one.failures else None,
        }
        for one in looks.select_related("cluster").order_by("cluster__slug")
    ]  # fmt: skip
