"""REST API of blocking a version: counted first, then done."""

from django.http import HttpResponse
from ninja import Router
from pydantic import Field

from catalog.api import WRITE, version_json, version_or_404
from endpoints import blocking
from projects.api import Body, answer, idempotent, scope
from projects.permissions import require
from projects.principal import PortalRequest

router = Router(tags=["catalog"])


class BlockIn(Body):
    """Why, and what becomes of the endpoints that run it: `suspend` none, now, or later, after `grace_hours`. With
    `dry_run` nothing happens: the answer says what it would concern.
    """

    reason: str = Field(default="", max_length=2000)
    suspend: str = Field(default="none", max_length=20)
    grace_hours: int | None = None
    dry_run: bool = False


@router.post("/catalog/assets/{slug}/versions/{version}/block", auth=scope(WRITE))
@idempotent
def block(request: PortalRequest, slug: str, version: str, body: BlockIn) -> HttpResponse:
    """Stop every new start of a version at once; with a choice for what runs."""
    found = version_or_404(request.principal, slug, version)
    require(request.principal, "block", found)
    if body.dry_run:
        return answer(request, {"dry_run": True, "affected": blocking.affected(found).json()})
    concerned = blocking.block(
        request.principal, found, body.reason, suspend=body.suspend, grace_hours=body.grace_hours
    )
    now = version_or_404(request.principal, slug, version)
    return answer(request, version_json(now, full=True) | {"affected": concerned.json()})
