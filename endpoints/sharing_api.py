"""REST API of shares: which other projects may call an endpoint."""

import datetime as dt
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from ninja import Field, Router

from endpoints import services
from endpoints.models import Share
from endpoints.reading import endpoint_or_404
from portal.errors import Invalid, NotFound
from portal.http import cursor_page
from projects.api import Body, answer, idempotent, scope
from projects.models import Project
from projects.permissions import require
from projects.principal import PortalRequest

router = Router(tags=["endpoints"])


class ShareIn(Body):
    """A project that may call the endpoint, until its last day (UTC); none: until it is ended."""

    project: str = Field(max_length=40)
    ends_on: dt.date | None = None
    reason: str = Field("", max_length=2000)


def share_json(share: Share) -> dict[str, Any]:
    """Return a share as the API shows it; wants project and granted_by selected."""
    return {
        "id": share.pk,
        "project": share.project.slug,
        "ends_on": share.ends_on,
        "reason": share.reason,
        "granted_by": share.granted_by.username if share.granted_by else None,
        "authorization": share.authorization_reference,
        "created_at": share.created_at,
        "ended_at": share.ended_at,
    }


@router.get("/endpoints/{endpoint_id}/shares", auth=scope("endpoints:read"))
def list_shares(
    request: PortalRequest, endpoint_id: UUID, limit: int | None = None, cursor: str | None = None
) -> HttpResponse:
    """The projects that may call an endpoint, newest share first, with those that have ended."""
    row = endpoint_or_404(request.principal, endpoint_id)
    rows = row.shares.select_related("project", "granted_by")
    found, following = cursor_page(rows, limit=limit, cursor=cursor, order=("-id",))
    return answer(request, {"items": [share_json(one) for one in found], "next": following})


@router.post("/endpoints/{endpoint_id}/shares", auth=scope("endpoints:write"))
@idempotent
def create_share(request: PortalRequest, endpoint_id: UUID, body: ShareIn) -> HttpResponse:
    """Let another project call a shareable endpoint with keys of its own, as `<project>/<endpoint>`."""
    row = endpoint_or_404(request.principal, endpoint_id)
    require(request.principal, "share", row)
    project = Project.objects.filter(slug=body.project).first()
    if project is None:
        raise Invalid.field("project", f"project is {body.project!r}; there is no such project. Use its short name.")
    made = services.share(request.principal, row, project, ends_on=body.ends_on, reason=body.reason)
    return answer(request, share_json(made), status=201)


@router.delete("/endpoints/{endpoint_id}/shares/{share_id}", auth=scope("endpoints:write"))
def delete_share(request: PortalRequest, endpoint_id: UUID, share_id: int) -> HttpResponse:
    """End a share; calls from its project are refused within a second."""
    row = endpoint_or_404(request.principal, endpoint_id)
    share = row.shares.select_related("endpoint__project", "project", "granted_by").filter(pk=share_id).first()
    if share is None:
        raise NotFound(f"{row.name} has no share {share_id}.")
    return answer(request, share_json(services.unshare(request.principal, share)))
