"""REST API of endpoints, clusters and keys."""

from typing import Annotated, Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.http import HttpResponse
from ninja import Field, Query, Router

from endpoints import services
from endpoints.clusters import ClusterError
from endpoints.drivers import driver_for
from endpoints.keys import INVOKE, PLAYGROUND
from endpoints.models import Cluster, Endpoint, Phase
from endpoints.reading import endpoint_or_404, key_or_404, names_of, whole
from portal.errors import Invalid, NotFound, Unavailable
from portal.http import cursor_page, require_match
from projects.api import Body, answer, idempotent, project_or_404, scope
from projects.models import ApiKey
from projects.permissions import visible
from projects.principal import PortalRequest, Principal

router = Router(tags=["endpoints"])
MAX_LINES = 5000


class KeyIn(Body):
    """A new key. No endpoint means every endpoint of the project."""

    name: str = Field(max_length=400)
    endpoints: list[str] = Field([], max_length=200)
    scopes: list[str] = Field([INVOKE], max_length=20)
    days: int = 90


class Reason(Body):
    """Why something is done; kept in the audit log."""

    reason: str = Field("", max_length=500)


class ClusterPatch(Body):
    """What may change on a cluster."""

    paused: bool


# --- Endpoints
# -----------------------------------------------------------------------------------------------------------


def endpoint_json(row: Endpoint) -> dict[str, Any]:
    """Return an endpoint as the API shows it; wants project, cluster and revision with version, asset and profile
    selected.
    """
    revision = row.revision
    return {
        "id": row.pk,
        "name": row.name,
        "project": row.project.slug,
        "environment": row.environment,
        "cluster": row.cluster.slug,
        "simulated": row.cluster.simulated,
        "desired": row.desired,
        "phase": row.phase,
        "reason": {"code": row.reason_code, "sentence": row.reason_sentence, "turn": row.reason_turn},
        "hold": {"reason": row.hold_reason, "by": row.hold_by} if row.hold_reason else None,
        "url": f"{settings.BASE_URL}/v1",
        "model": f"{row.project.slug}/{row.name}",
        "revision": revision.number if revision else None,
        "asset": revision.version.asset.slug if revision else None,
        "version": revision.version.version if revision else None,
        "hardware_profile": revision.profile.slug if revision else None,
        "replicas": revision.replicas if revision else None,
        "concurrency": revision.concurrency if revision else None,
        "context_tokens": revision.context_tokens if revision else None,
        "demo_engine": bool(revision and revision.runtime.get("demo")),
        "purpose": row.purpose,
        "data_classification": row.data_classification,
        "created_at": row.created_at,
        "phase_since": row.phase_since,
        "ready_at": row.ready_at,
        "ends_on": row.ends_on,
        "deleted_at": row.deleted_at,
    }


@router.get("/endpoints", auth=scope("endpoints:read"))
def list_endpoints(
    request: PortalRequest,
    project: str | None = None,
    phase: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> HttpResponse:
    """The endpoints that the caller may see, newest first; deleted ones only with `phase=deleted`."""
    rows = whole(visible(request.principal, Endpoint.objects.all()))
    if project is not None:
        rows = rows.filter(project=project_or_404(request.principal, project))
    if phase is None:
        rows = rows.exclude(phase=Phase.DELETED)
    elif phase in Phase.values:
        rows = rows.filter(phase=phase)
    else:
        raise Invalid.field("phase", f"phase is {phase[:40]!r}; choose one of {', '.join(Phase.values)}.")
    found, following = cursor_page(rows, limit=limit, cursor=cursor, order=("-created_at", "-id"))
    return answer(request, {"items": [endpoint_json(row) for row in found], "next": following})


@router.get("/endpoints/{endpoint_id}", auth=scope("endpoints:read"))
def get_endpoint(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """One endpoint: what is wanted, what is observed, why, and whose turn it is."""
    return answer(request, endpoint_json(endpoint_or_404(request.principal, endpoint_id)))


@router.get("/endpoints/{endpoint_id}/events", auth=scope("endpoints:read"))
def list_events(
    request: PortalRequest, endpoint_id: UUID, limit: int | None = None, cursor: str | None = None
) -> HttpResponse:
    """What happened to an endpoint, newest first."""
    row = endpoint_or_404(request.principal, endpoint_id)
    found, following = cursor_page(row.events.all(), limit=limit, cursor=cursor, order=("-id",))
    items = [{"at": one.at, "code": one.code, "phase": one.phase, "sentence": one.sentence} for one in found]
    return answer(request, {"items": items, "next": following})


@router.get("/endpoints/{endpoint_id}/revisions", auth=scope("endpoints:read"))
def list_revisions(
    request: PortalRequest, endpoint_id: UUID, limit: int | None = None, cursor: str | None = None
) -> HttpResponse:
    """What ran and runs, newest first, with the authorization of each."""
    row = endpoint_or_404(request.principal, endpoint_id)
    rows = row.revisions.select_related("version__asset", "profile")
    found, following = cursor_page(rows, limit=limit, cursor=cursor, order=("-number",))
    items = [
        {
            "number": one.number,
            "current": one.pk == row.revision_id,
            "asset": one.version.asset.slug,
            "version": one.version.version,
            "hardware_profile": one.profile.slug,
            "replicas": one.replicas,
            "concurrency": one.concurrency,
            "context_tokens": one.context_tokens,
            "authorization": {
                "reference": one.authorization_reference,
                "digest": one.authorization_digest,
                "valid_until": one.authorization_valid_until,
            },
            "created_at": one.created_at,
        }
        for one in found
    ]
    return answer(request, {"items": items, "next": following})


@router.get("/endpoints/{endpoint_id}/logs", auth=scope("endpoints:read"))
def get_logs(request: PortalRequest, endpoint_id: UUID, lines: int = 200) -> HttpResponse:
    """The last lines of each engine's output, oldest first."""
    row = endpoint_or_404(request.principal, endpoint_id)
    if not 1 <= lines <= MAX_LINES:
        raise Invalid.field("lines", f"lines is {lines}; it must lie between 1 and {MAX_LINES:,}.")
    try:
        text = driver_for(row.cluster).logs(str(row.pk), lines)
    except ClusterError as error:
        raise Unavailable(error.sentence, code=error.code) from error
    return answer(request, {"items": text.splitlines(), "next": None})


@router.post("/endpoints/{endpoint_id}/suspend", auth=scope("endpoints:write"))
@idempotent
def suspend(request: PortalRequest, endpoint_id: UUID, body: Reason | None = None) -> HttpResponse:
    """Stop all engines and give back what is reserved."""
    row = endpoint_or_404(request.principal, endpoint_id)
    changed = services.suspend(request.principal, row, reason=body.reason if body else "")
    return answer(request, endpoint_json(changed), status=202)


@router.post("/endpoints/{endpoint_id}/resume", auth=scope("endpoints:write"))
@idempotent
def resume(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Run a suspended endpoint again."""
    row = endpoint_or_404(request.principal, endpoint_id)
    return answer(request, endpoint_json(services.resume(request.principal, row)), status=202)


@router.post("/endpoints/{endpoint_id}/retry", auth=scope("endpoints:write"))
@idempotent
def retry(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Start a failed endpoint again."""
    row = endpoint_or_404(request.principal, endpoint_id)
    return answer(request, endpoint_json(services.retry(request.principal, row)), status=202)


@router.delete("/endpoints/{endpoint_id}", auth=scope("endpoints:write"))
def delete(
    request: PortalRequest, endpoint_id: UUID, reason: Annotated[str, Query(max_length=500)] = ""
) -> HttpResponse:
    """Take an endpoint away for good; it is accepted now, and done when `phase` is deleted."""
    row = endpoint_or_404(request.principal, endpoint_id)
    return answer(request, endpoint_json(services.delete(request.principal, row, reason=reason)), status=202)


# --- Clusters
# ------------------------------------------------------------------------------------------------------------


def cluster_json(cluster: Cluster) -> dict[str, Any]:
    """Return a cluster as the API shows it."""
    return {
        "slug": cluster.slug,
        "name": cluster.name,
        "driver": cluster.driver,
        "environments": cluster.environments,
        "simulated": cluster.simulated,
        "paused": cluster.paused,
    }


@router.get("/clusters", auth=scope("endpoints:read"))
def list_clusters(request: PortalRequest, limit: int | None = None, cursor: str | None = None) -> HttpResponse:
    """Where endpoints run."""
    rows = visible(request.principal, Cluster.objects.all())
    found, following = cursor_page(rows, limit=limit, cursor=cursor, order=("slug",))
    return answer(request, {"items": [cluster_json(row) for row in found], "next": following})


@router.get("/clusters/{slug}", auth=scope("endpoints:read"))
def get_cluster(request: PortalRequest, slug: str) -> HttpResponse:
    """One cluster."""
    return answer(request, cluster_json(_cluster(request.principal, slug)))


@router.patch("/clusters/{slug}", auth=scope("admin"))
def change_cluster(request: PortalRequest, slug: str, body: ClusterPatch) -> HttpResponse:
    """Pause a cluster or let it go on; needs If-Match."""
    with transaction.atomic():
        cluster = _cluster(request.principal, slug)
        require_match(request, cluster_json(cluster))
        changed = services.change_cluster(request.principal, cluster, paused=body.paused)
    return answer(request, cluster_json(changed))


def _cluster(principal: Principal, slug: str) -> Cluster:
    cluster: Cluster | None = visible(principal, Cluster.objects.all()).filter(slug=slug[:40]).first()
    if cluster is None:
        raise NotFound(f"There is no cluster {slug[:40]}.")
    return cluster


# --- Keys
# ----------------------------------------------------------------------------------------------------------------


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
    made, secret = services.issue_key(request.principal, project, body.name, body.endpoints, body.scopes, body.days)
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
