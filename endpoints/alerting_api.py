"""REST API of alerts: where Alertmanager posts to, and what fires on an endpoint."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from ninja import Body as JsonBody
from ninja import Router

from endpoints import alerting
from endpoints.models import Alert
from endpoints.reading import endpoint_or_404
from portal.http import cursor_page
from projects.api import answer, idempotent, scope
from projects.principal import PortalRequest

router = Router(tags=["endpoints"])


def alert_json(row: Alert) -> dict[str, Any]:
    """Return an alert as the API shows it."""
    return {
        "id": row.pk,
        "name": row.name,
        "severity": row.severity,
        "summary": row.summary,
        "runbook_url": row.runbook_url or None,
        "fingerprint": row.fingerprint,
        "state": "resolved" if row.ends_at else "firing",
        "starts_at": row.starts_at,
        "ends_at": row.ends_at,
    }


@router.post("/alerts/alertmanager", auth=scope("endpoints:write"))
@idempotent
def receive(request: PortalRequest, payload: JsonBody[dict[str, Any]]) -> HttpResponse:
    """Take the alerts that Alertmanager posts (webhook, version 4). Labels name the endpoint: `gatehouse_endpoint_id`,
    or `gatehouse_project` and `gatehouse_endpoint`. What names none that the caller operates is only counted.
    """
    counts = alerting.receive(request.principal, payload)
    names = ("firing", "resolved", "unchanged", "unknown", "invalid", "left_out")
    return answer(request, {name: getattr(counts, name) for name in names})


@router.get("/endpoints/{endpoint_id}/alerts", auth=scope("endpoints:read"))
def list_alerts(
    request: PortalRequest, endpoint_id: UUID, limit: int | None = None, cursor: str | None = None
) -> HttpResponse:
    """The alerts of an endpoint, the newest first, with those that were resolved in the last 30 days."""
    rows = endpoint_or_404(request.principal, endpoint_id).alerts.all()
    found, following = cursor_page(rows, limit=limit, cursor=cursor, order=("-starts_at", "-id"))
    return answer(request, {"items": [alert_json(row) for row in found], "next": following})
