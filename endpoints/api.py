"""REST API of endpoints."""

from typing import Annotated, Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.http import HttpResponse
from ninja import Field, Query, Router

from endpoints import engine_logs, manifests, services, serving, telling
from endpoints.clusters import ClusterError
from endpoints.models import Endpoint, Phase
from endpoints.reading import endpoint_or_404, whole
from portal.errors import Invalid, Unavailable
from portal.http import cursor_page, require_match
from projects.api import Body, answer, idempotent, project_or_404, scope
from projects.permissions import can, visible
from projects.principal import PortalRequest, Principal

router = Router(tags=["endpoints"])
MAX_LINES = 5000


class Reason(Body):
    """Why something is done; kept in the audit log."""

    reason: str = Field("", max_length=500)


class Scale(Body):
    """How many replicas are to run."""

    replicas: int


class Rollback(Body):
    """The revision to go back to."""

    revision: int


class EndpointPatch(Body):
    """What may change on an endpoint without a request."""

    shareable: bool | None = None
    contact: str | None = Field(None, max_length=150)


# --- Endpoints
# -----------------------------------------------------------------------------------------------------------


def endpoint_json(row: Endpoint, reader: Principal | None = None) -> dict[str, Any]:
    """Return an endpoint as the API shows it; wants what `whole` selects.

    A `reader` with whom it is shared sees state and address, and nothing of purpose, people and holds.
    """
    shared = reader is not None and not can(reader, "inspect", row)
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
        "hold": {"reason": row.hold_reason, "by": row.hold_by} if row.hold_reason and not shared else None,
        "suspend_at": row.suspend_at if not shared else None,
        "url": f"{settings.BASE_URL}/v1",
        "model": f"{row.project.slug}/{row.name}",
        "progress": [] if shared or not revision else telling.document(row, revision.number),
        "revision": revision.number if revision else None,
        "next_revision": row.next_revision.number if row.next_revision else None,
        "canary_percent": row.canary_percent,
        "asset": revision.version.asset.slug if revision else None,
        "version": revision.version.version if revision else None,
        "hardware_profile": revision.profile.slug if revision else None,
        "replicas": revision.replicas if revision else None,
        "scale": row.wanted_replicas if revision else None,
        "concurrency": revision.concurrency if revision else None,
        "context_tokens": revision.context_tokens if revision else None,
        "demo_engine": bool(revision and revision.runtime.get("demo")),
        "purpose": "" if shared else row.purpose,
        "data_classification": "" if shared else row.data_classification,
        "contact": row.contact.username if row.contact and not shared else None,
        "shareable": row.shareable,
        "shared": shared,
        "created_at": row.created_at,
        "phase_since": row.phase_since,
        "ready_at": row.ready_at,
        "ends_on": row.ends_on,
        "deleted_at": row.deleted_at,
        "promoted_from": None if shared else row.promoted_from_id,
    }


@router.get("/endpoints", auth=scope("endpoints:read"))
def list_endpoints(
    request: PortalRequest,
    project: str | None = None,
    phase: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> HttpResponse:
    """The endpoints that the caller may see, newest first, those shared with the caller's projects too; deleted ones
    only with `phase=deleted`.
    """
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
    return answer(request, {"items": [endpoint_json(row, request.principal) for row in found], "next": following})


@router.get("/endpoints/{endpoint_id}", auth=scope("endpoints:read"))
def get_endpoint(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """One endpoint: what is wanted, what is observed, why, and whose turn it is."""
    row = endpoint_or_404(request.principal, endpoint_id, "view")
    return answer(request, endpoint_json(row, request.principal))


@router.patch("/endpoints/{endpoint_id}", auth=scope("endpoints:write"))
def change_endpoint(request: PortalRequest, endpoint_id: UUID, body: EndpointPatch) -> HttpResponse:
    """Change the contact, or whether other projects may ask for access; needs If-Match."""
    if body.shareable is None and body.contact is None:
        raise Invalid("Name what is to change: shareable, contact.")
    with transaction.atomic():
        row = endpoint_or_404(request.principal, endpoint_id)
        require_match(request, endpoint_json(row, request.principal))
        if body.shareable is not None:
            services.set_shareable(request.principal, row, body.shareable)
        if body.contact is not None and body.contact != (row.contact.username if row.contact else None):
            services.transfer(request.principal, row, body.contact)
        changed = endpoint_or_404(request.principal, endpoint_id)
    return answer(request, endpoint_json(changed, request.principal))


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
    request: PortalRequest,
    endpoint_id: UUID,
    on: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> HttpResponse:
    """What ran and runs, newest first, with the authorization of each and the times in which it answered calls; `on`
    keeps those that answered on a day (UTC).
    """
    row = endpoint_or_404(request.principal, endpoint_id)
    rows = row.revisions.select_related("version__asset", "profile")
    if on is not None:
        rows = rows.filter(pk__in=serving.answering_on(row, on).values("revision"))
    found, following = cursor_page(rows, limit=limit, cursor=cursor, order=("-number",))
    spans = serving.of([one.pk for one in found])
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
            "outcome": {"code": one.outcome, "sentence": one.outcome_sentence},
            **serving.document(spans.get(one.pk, [])),
        }
        for one in found
    ]
    return answer(request, {"items": items, "next": following})


@router.get("/endpoints/{endpoint_id}/manifests", auth=scope("endpoints:read"))
def get_manifests(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """The objects that are written for an endpoint, as YAML and without secrets; where others apply them from Git, the
    commit that they stand in. None for engines that are processes of the portal's own machine.
    """
    row = endpoint_or_404(request.principal, endpoint_id)
    try:
        return answer(request, manifests.document(manifests.of(row)))
    except ClusterError as error:
        raise Unavailable(error.sentence, code=error.code) from error


@router.get("/endpoints/{endpoint_id}/logs", auth=scope("endpoints:read"))
def get_logs(
    request: PortalRequest, endpoint_id: UUID, lines: int = 200, replica: int | None = None, previous: bool = False
) -> HttpResponse:
    """The last lines of each engine's output or of one replica's, oldest first; `previous` for the run before this one,
    where the cluster keeps it apart.
    """
    row = endpoint_or_404(request.principal, endpoint_id)
    if not 1 <= lines <= MAX_LINES:
        raise Invalid.field("lines", f"lines is {lines}; it must lie between 1 and {MAX_LINES:,}.")
    try:
        text = engine_logs.tail(row, lines, replica=replica, previous=previous)
    except ClusterError as error:
        raise Unavailable(error.sentence, code=error.code) from error
    return answer(request, {"items": text.splitlines(), "next": None})


@router.post("/endpoints/{endpoint_id}/suspend", auth=scope("endpoints:write"))
@idempotent
def suspend(request: PortalRequest, endpoint_id: UUID, body: Reason | None = None) -> HttpResponse:
    """Stop all engines and give back what is reserved."""
    row = endpoint_or_404(request.principal, endpoint_id)
    changed = services.suspend(request.principal, row, reason=body.reason if body else "")
    return accepted(request, changed)


@router.post("/endpoints/{endpoint_id}/resume", auth=scope("endpoints:write"))
@idempotent
def resume(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Run a suspended endpoint again."""
    row = endpoint_or_404(request.principal, endpoint_id)
    return accepted(request, services.resume(request.principal, row))


@router.post("/endpoints/{endpoint_id}/retry", auth=scope("endpoints:write"))
@idempotent
def retry(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Start a failed endpoint again."""
    row = endpoint_or_404(request.principal, endpoint_id)
    return accepted(request, services.retry(request.principal, row))


@router.post("/endpoints/{endpoint_id}/scale", auth=scope("endpoints:write"))
@idempotent
def scale(request: PortalRequest, endpoint_id: UUID, body: Scale) -> HttpResponse:
    """Run more or fewer replicas, up to the number that was approved; more than that is a request."""
    row = endpoint_or_404(request.principal, endpoint_id)
    return accepted(request, services.scale(request.principal, row, body.replicas))


@router.post("/endpoints/{endpoint_id}/rollback", auth=scope("endpoints:write"))
@idempotent
def rollback(request: PortalRequest, endpoint_id: UUID, body: Rollback) -> HttpResponse:
    """Go back to a revision whose authorization still holds; to the one that runs, to cancel a rollout."""
    row = endpoint_or_404(request.principal, endpoint_id)
    return accepted(request, services.rollback(request.principal, row, body.revision))


@router.delete("/endpoints/{endpoint_id}", auth=scope("endpoints:write"))
def delete(
    request: PortalRequest, endpoint_id: UUID, reason: Annotated[str, Query(max_length=500)] = ""
) -> HttpResponse:
    """Take an endpoint away for good; it is accepted now, and done when `phase` is deleted."""
    row = endpoint_or_404(request.principal, endpoint_id)
    return accepted(request, services.delete(request.principal, row, reason=reason))


def accepted(request: PortalRequest, row: Endpoint) -> HttpResponse:
    """Answer that a worker does what was asked of an endpoint."""
    return answer(request, endpoint_json(row, request.principal), status=202)
