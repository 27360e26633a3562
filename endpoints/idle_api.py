"""REST API of what could be given back."""

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.utils import timezone
from ninja import Router

from endpoints import idle
from endpoints.models import Endpoint
from portal.errors import NotFound
from portal.http import cursor_page
from projects.api import answer, project_or_404, scope
from projects.models import is_slug
from projects.principal import PortalRequest

router = Router(tags=["insights"])


@router.get("/insights/idle", auth=scope("usage:read"))
def list_idle(
    request: PortalRequest, project: str | None = None, limit: int | None = None, cursor: str | None = None
) -> HttpResponse:
    """The endpoints that hold accelerators and used no token for `idle_days`, of those that the caller may see."""
    if project is not None and not is_slug(project):
        raise NotFound(f"There is no project {project[:40]!r}, or you may not see it.")
    chosen = project_or_404(request.principal, project) if project is not None else None
    found = {one.endpoint.pk: one for one in idle.find(request.principal, chosen)}
    rows, following = cursor_page(
        Endpoint.objects.filter(pk__in=found), limit=limit, cursor=cursor, order=("name", "id")
    )
    items = [idle_json(found[row.pk]) for row in rows]
    return answer(request, {"items": items, "next": following, "idle_days": settings.IDLE_DAYS})


def idle_json(one: idle.Idle) -> dict[str, Any]:
    """Return an idle endpoint as the API shows it; the price is the list price of what it holds."""
    row, held, month = one.endpoint, one.reservation, one.per_month
    return {
        "id": row.pk,
        "name": row.name,
        "project": row.project.slug,
        "environment": row.environment,
        "pool": held.pool.slug,
        "accelerators": held.amount,
        "idle_since": one.since,
        "idle_seconds": int((timezone.now() - one.since).total_seconds()),
        "never_called": one.never,
        "suggested_at": one.suggested_at,
        "cost_per_month": None if month is None else f"{month:.2f}",
        "currency": held.currency or None,
    }
