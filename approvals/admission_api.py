"""REST API of sending a version to review: it makes and sends the caller's admission request."""

from django.http import HttpResponse
from ninja import Router
from pydantic import Field

from approvals import admission
from catalog.api import WRITE, version_json, version_or_404
from projects.api import Body, answer, idempotent, scope
from projects.principal import PortalRequest

router = Router(tags=["catalog"])


class SubmitIn(Body):
    """What reviewers read first."""

    purpose: str = Field(default="", max_length=8192)


@router.post("/catalog/assets/{slug}/versions/{version}/submit", auth=scope(WRITE))
@idempotent
def submit(request: PortalRequest, slug: str, version: str, body: SubmitIn | None = None) -> HttpResponse:
    """Hand a draft, or a blocked version, to review; a second call answers with the request that waits already."""
    found = version_or_404(request.principal, slug, version)
    made = admission.submit(request.principal, found, body.purpose if body else "")
    now = version_or_404(request.principal, slug, version)
    asked = {"id": made.pk, "number": made.number, "state": made.state}
    return answer(request, version_json(now, full=True) | {"request": asked})
