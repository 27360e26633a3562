"""REST API of quotas and limits. It stands here because endpoints are named in it."""

from typing import Any

from django.db import transaction
from django.http import HttpResponse
from ninja import Query, Router, Schema
from pydantic import Field

from endpoints import limits as reading
from portal.http import etag, require_match
from projects.api import answer, project_or_404, scope
from projects.models import Project
from projects.permissions import require
from projects.principal import PortalRequest
from quotas.bodies import QuotaDocument
from quotas.grants import set_quotas
from quotas.limits import binding, limits
from quotas.models import Quota

router = Router(tags=["usage"])


class LimitsQuery(Schema):
    """Which call the limits are asked for."""

    endpoint: str = Field("", max_length=81)
    key: str = Field("", max_length=36)


@router.get("/projects/{slug}/quotas", auth=scope("usage:read"))
def get_quotas(request: PortalRequest, slug: str) -> HttpResponse:
    """The quotas of a project: accelerators, and tokens by target and window. Raises that last are in /limits."""
    project = project_or_404(request.principal, slug)
    return answer(request, reading.quota_document(project, reading.living(project)))


@router.put("/projects/{slug}/quotas", auth=scope("admin"))
def put_quotas(request: PortalRequest, slug: str, body: QuotaDocument) -> HttpResponse:
    """Replace the quotas of a project; needs If-Match. `warnings` in the answer name limits that are used up already.

    Platform engineers set everything; an owner of the project sets the quotas of endpoints and keys and what warns the
    project.
    """
    project = project_or_404(request.principal, slug)
    require(request.principal, "change", project, model=Quota)
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        endpoints = reading.living(project)
        require_match(request, reading.quota_document(project, endpoints))
        warnings = set_quotas(request.principal, project, body, endpoints=endpoints)
        now = reading.quota_document(project, endpoints)
    response = answer(request, {**now, "warnings": warnings})
    response["ETag"] = etag(now)  # that of the document, as GET gives it
    return response


@router.get("/projects/{slug}/limits", auth=scope("usage:read"))
def get_limits(request: PortalRequest, slug: str, query: Query[LimitsQuery]) -> HttpResponse:
    """Every limit that applies: quotas of tokens and accelerators, room in the pools, calls to this API.

    With `key` (prefix or id) and `endpoint` (name, or project/name of a shared one) their own quotas too. Of the quotas
    the one that is reached first `binds`.
    """
    principal = request.principal
    project = project_or_404(principal, slug)
    endpoint = reading.find_endpoint(principal, project, query.endpoint) if query.endpoint else None
    key = reading.find_key(principal, project, query.key) if query.key else None
    found = limits(project, endpoint=endpoint, key=key)
    first = binding(found)
    items: list[dict[str, Any]] = [reading.limit_json(limit) for limit in found]
    items += [reading.pool_json(pool, room) for pool, room in reading.pools(principal)]
    items.append(reading.rate_json(principal))
    return answer(
        request, {"project": project.slug, "items": items, "binds": reading.limit_json(first) if first else None}
    )
