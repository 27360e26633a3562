"""REST API of the keys of a project."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from ninja import Field, Router

from endpoints import services
from endpoints.key_revocation import revoke_keys
from endpoints.keys import INVOKE, PLAYGROUND
from endpoints.reading import key_or_404, names_of
from portal.http import cursor_page
from projects.api import Body, answer, idempotent, project_or_404, scope
from projects.models import ApiKey
from projects.permissions import visible
from projects.principal import PortalRequest

router = Router(tags=["endpoints"])


class RevokeBy(Body):
    """Which keys: all of a person, of a project, of an endpoint, or the one with a prefix; several narrow."""

    person: str | None = Field(None, max_length=400)
    project: str | None = Field(None, max_length=400)
    endpoint: str | None = Field(None, max_length=400)
    prefix: str | None = Field(None, max_length=400)


class RevokeIn(Body):
    """Keys to end. With `dry_run` they are counted and nothing changes."""

    by: RevokeBy
    reason: str = Field("", max_length=2000)
    dry_run: bool = False


class KeyIn(Body):
    """A new key. No endpoint means every endpoint of the project."""

    name: str = Field(max_length=400)
    endpoints: list[str] = Field([], max_length=200)
    scopes: list[str] = Field([INVOKE], max_length=20)
    days: int = 90
    acknowledge: list[str] = Field([], max_length=20)  # licences whose terms were read, for the project


def key_json(key: ApiKey, names: dict[str, str], secret: str = "") -> dict[str, Any]:
    """Return a key as the API shows it; an empty list of endpoints means every endpoint of the project."""
    return {
        "id": key.pk,
        "name": key.name,
        "prefix": key.prefix,
        "endpoints": sorted(names.get(target.target_id, target.target_id) for target in key.targets.all()),
        "scopes": key.scopes,
        "person": key.person.username,
        "state": key.state,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        **({"secret": secret} if secret else {}),
    }


@router.get("/projects/{slug}/keys", auth=scope("endpoints:read"))
def list_keys(request: PortalRequest, slug: str, limit: int | None = None, cursor: str | None = None) -> HttpResponse:
    """The keys of a project, newest first; those of the playground live 15 minutes and are left out."""
    project = project_or_404(request.principal, slug)
    rows = visible(request.principal, ApiKey.objects.filter(project=project)).exclude(purpose=PLAYGROUND)
    rows = rows.select_related("person").prefetch_related("targets")
    found, following = cursor_page(rows, limit=limit, cursor=cursor, order=("-created_at", "id"))
    names = names_of(found)
    return answer(request, {"items": [key_json(key, names) for key in found], "next": following})


@router.post("/projects/{slug}/keys", auth=scope("endpoints:write"))
@idempotent
def create_key(request: PortalRequest, slug: str, body: KeyIn) -> HttpResponse:
    """Create a key; the secret stands in this answer and nowhere else."""
    project = project_or_404(request.principal, slug)
    made, secret = services.issue_key(
        request.principal,
        project,
        body.name,
        body.endpoints,
        body.scopes,
        body.days,
        acknowledge=body.acknowledge,
    )
    return answer(request, key_json(made, names_of([made]), secret), status=201, secret=True)


@router.post("/projects/{slug}/keys/{key_id}/rotate", auth=scope("endpoints:write"))
@idempotent
def rotate_key(request: PortalRequest, slug: str, key_id: UUID) -> HttpResponse:
    """Replace a key: the answer is the new one with its secret, and the old one works on for up to seven days."""
    made, secret = services.rotate_key(request.principal, key_or_404(request.principal, slug, key_id))
    return answer(request, key_json(made, names_of([made]), secret), status=201, secret=True)


@router.delete("/projects/{slug}/keys/{key_id}", auth=scope("endpoints:write"))
def revoke_key(request: PortalRequest, slug: str, key_id: UUID) -> HttpResponse:
    """End a key at once."""
    ended = services.revoke_key(request.principal, key_or_404(request.principal, slug, key_id))
    return answer(request, key_json(ended, names_of([ended])))


@router.post("/keys/revoke", auth=scope("endpoints:write"))
@idempotent
def revoke_many(request: PortalRequest, body: RevokeIn) -> HttpResponse:
    """End many keys at once, or count them first. Those that you may not end are not among them."""
    which = body.by.model_dump(exclude_none=True)
    done = revoke_keys(request.principal, which, reason=body.reason, dry_run=body.dry_run)
    names = names_of(done.keys)
    items = [{**key_json(key, names), "project": key.project.slug} for key in done.keys]
    return answer(
        request,
        {
            "dry_run": body.dry_run,
            "count": len(items),
            "keys": items,
            "also_for_whole_project": done.also_for_whole_project,
        },
    )
