"""REST API of waivers. Asking for one is a request of the kind waiver; somebody else decides."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from ninja import Body as JsonBody
from ninja import Router
from pydantic import Field

from approvals import services as requests
from approvals.bodies import WaiverBody
from approvals.models import Request, Waiver, WaiverState
from approvals.representation import requests_json, with_all
from approvals.waivers import reading, services
from portal.errors import Invalid, NotFound
from portal.http import cursor_page
from projects.api import Body, answer, idempotent, project_or_404, scope
from projects.models import is_slug
from projects.principal import PortalRequest, Principal

router = Router(tags=["waivers"])
SCHEMA = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": WaiverBody.model_json_schema()}}}
}


class RevokeIn(Body):
    """Why a waiver ends before its last day."""

    reason: str = Field(max_length=8192)


@router.get("/waivers", auth=scope("requests:read"))
def list_waivers(
    request: PortalRequest,
    state: str | None = None,
    project: str | None = None,
    check: str | None = None,
    endpoint: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> HttpResponse:
    """Waivers that the caller may see, the newest first."""
    if state is not None and state not in WaiverState.values:
        raise Invalid.field("state", f"state is {state[:20]!r}; choose one of {', '.join(WaiverState.values)}.")
    if project is not None and not is_slug(project):
        raise NotFound(f"There is no project {project[:40]!r}, or you may not see it.")
    within = project_or_404(request.principal, project) if project is not None else None
    filters = {"state": state, "project": within, "check_id": check}
    rows = reading.of(request.principal).filter(**{name: one for name, one in filters.items() if one is not None})
    if endpoint is not None:
        rows = rows.filter(endpoint=_uuid(endpoint))
    found, following = cursor_page(rows, limit=limit, cursor=cursor, order=("-id",))
    return answer(request, {"items": [reading.waiver_json(row) for row in found], "next": following})


@router.post("/waivers", auth=scope("requests:write"), openapi_extra=SCHEMA)
@idempotent
def ask(request: PortalRequest, payload: JsonBody[dict[str, Any]]) -> HttpResponse:
    """Ask for a waiver: sends a request of the kind waiver and answers with it."""
    if payload.get("kind", "waiver") != "waiver":
        raise Invalid.field("kind", f"kind is {str(payload['kind'])[:40]!r}; here it is waiver. Leave it out.")
    made = requests.send(request.principal, {**payload, "kind": "waiver"})
    rows = with_all(Request.objects.filter(pk=made.pk))
    return answer(request, requests_json(request.principal, rows)[0], 201)


@router.get("/waivers/{waiver_id}", auth=scope("requests:read"))
def get_waiver(request: PortalRequest, waiver_id: int) -> HttpResponse:
    """One waiver."""
    return answer(request, reading.waiver_json(_get(request.principal, waiver_id)))


@router.post("/waivers/{waiver_id}/revoke", auth=scope("requests:write"))
@idempotent
def revoke(request: PortalRequest, waiver_id: int, body: RevokeIn) -> HttpResponse:
    """End a waiver before its last day: the rule counts again."""
    services.revoke(request.principal, _get(request.principal, waiver_id), reason=body.reason)
    return answer(request, reading.waiver_json(_get(request.principal, waiver_id)))


def _get(by: Principal, waiver_id: int) -> Waiver:
    found = reading.of(by).filter(pk=waiver_id).first() if waiver_id < 2**63 else None
    if found is None:
        raise NotFound(f"There is no waiver {waiver_id}, or you may not see it.")
    return found


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise Invalid.field("endpoint", f"endpoint is {text[:40]!r}; give the id of an endpoint.") from error
