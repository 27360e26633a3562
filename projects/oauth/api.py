"""REST API of the applications of a project."""

import datetime as dt
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from ninja import Field, Router

from portal.http import cursor_page
from projects.api import Body, answer, idempotent, project_or_404, scope
from projects.models import Application
from projects.oauth import applications, fields
from projects.oauth.living import last_day, why_ended
from projects.permissions import visible
from projects.principal import PortalRequest

router = Router(tags=["applications"])


class ApplicationIn(Body):
    """A new application. `owner` empty: the caller; `ends_on` is its last day, 90 days ahead without it; `client_id`
    only with the grant external: its id at the issuer outside.
    """

    name: str = Field(max_length=400)
    grants: list[str] = Field([fields.CREDENTIALS], max_length=10)
    scopes: list[str] = Field(max_length=40)
    redirect_uris: list[str] = Field([], max_length=50)
    kind: str = Field("confidential", max_length=20)
    owner: str = Field("", max_length=400)
    ends_on: dt.date | None = None
    role: str = Field("", max_length=40)
    description: str = Field("", max_length=2000)
    client_id: str = Field("", max_length=400)


def application_json(application: Application, secret: str = "") -> dict[str, Any]:
    """Return an application as the API shows it."""
    client = application.client
    return {
        "id": application.pk,
        "name": client.name,
        "description": application.description,
        "client_id": client.pk,
        "kind": client.type,
        "grants": applications.grants_of(client),
        "scopes": client.get_scopes(),
        "redirect_uris": client.get_redirect_uris(),
        "owner": application.owner.username,
        "service_account": application.account.username if application.account else None,
        "ends_on": last_day(application),
        "state": why_ended(application) or "works",
        "created_at": application.created_at,
        "last_used_at": application.last_used_at,
        **({"secret": secret} if secret else {}),
    }


@router.get("/projects/{slug}/applications", auth=scope("endpoints:read"))
def list_applications(
    request: PortalRequest, slug: str, limit: int | None = None, cursor: str | None = None
) -> HttpResponse:
    """The applications of a project, newest first."""
    project = project_or_404(request.principal, slug)
    rows = visible(request.principal, Application.objects.filter(project=project))
    rows = rows.select_related("client", "owner", "account")
    found, following = cursor_page(rows, limit=limit, cursor=cursor, order=("-created_at", "id"))
    return answer(request, {"items": [application_json(row) for row in found], "next": following})


@router.post("/projects/{slug}/applications", auth=scope("admin"))
@idempotent
def create_application(request: PortalRequest, slug: str, body: ApplicationIn) -> HttpResponse:
    """Register an application; the secret stands in this answer and nowhere else."""
    project = project_or_404(request.principal, slug)
    made, secret = applications.create(request.principal, project=project, **body.model_dump())
    return answer(request, application_json(made, secret), status=201, secret=bool(secret))


@router.get("/projects/{slug}/applications/{application_id}", auth=scope("endpoints:read"))
def get_application(request: PortalRequest, slug: str, application_id: UUID) -> HttpResponse:
    """One application."""
    return answer(request, application_json(_found(request, slug, application_id)))


@router.post("/projects/{slug}/applications/{application_id}/rotate", auth=scope("admin"))
@idempotent
def rotate_application(request: PortalRequest, slug: str, application_id: UUID) -> HttpResponse:
    """Give an application a new secret; the old one stops at once."""
    found = _found(request, slug, application_id)
    secret = applications.rotate(request.principal, found)
    return answer(request, application_json(found, secret), secret=True)


@router.delete("/projects/{slug}/applications/{application_id}", auth=scope("admin"))
def end_application(request: PortalRequest, slug: str, application_id: UUID) -> HttpResponse:
    """End an application at once, with its tokens, its service account and the account's keys."""
    ended = applications.end(request.principal, _found(request, slug, application_id))
    return answer(request, application_json(ended))


def _found(request: PortalRequest, slug: str, application_id: UUID) -> Application:
    project = project_or_404(request.principal, slug)
    return applications.application_or_404(request.principal, application_id, project)
