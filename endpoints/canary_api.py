"""REST API of canaries: the share of the calls that a revision gets on trial, and what becomes of it."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from ninja import Field, Router

from endpoints import canaries, services, trials
from endpoints.api import Reason, accepted
from endpoints.reading import endpoint_or_404
from projects.api import Body, answer, idempotent, scope
from projects.principal import PortalRequest

router = Router(tags=["endpoints"])


class Share(Body):
    """Which share of the calls, in per cent, and of which revision: none for the one that is on its way."""

    percent: int = Field(description="1 to 50.")
    revision: int | None = Field(None, description="One of its revisions, with which a canary begins.")


def _trial_json(one: trials.Trial) -> dict[str, Any]:
    return {
        "revision": one.revision,
        "percent": one.percent,
        "requests": one.requests,
        "errors": one.errors,
        "ttft_p50": one.ttft_p50,
        "ttft_p95": one.ttft_p95,
    }


@router.get("/endpoints/{endpoint_id}/canary", auth=scope("endpoints:read"))
def get_canary(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """The canary of an endpoint: calls, errors and time to the first token (ms) of what runs and of the canary, since
    the canary's first call, at most of a day. `percent` is null without one.
    """
    row = endpoint_or_404(request.principal, endpoint_id)
    since, found = trials.compared(row)
    items = [_trial_json(one) for one in found]
    return answer(request, {"percent": row.canary_percent, "since": since, "items": items})


@router.post("/endpoints/{endpoint_id}/canary", auth=scope("endpoints:write"))
@idempotent
def set_canary(request: PortalRequest, endpoint_id: UUID, body: Share) -> HttpResponse:
    """Give the revision that is on its way this share of the calls instead of letting it take over; with `revision`:
    begin with a revision whose approval still holds.
    """
    row = endpoint_or_404(request.principal, endpoint_id)
    on_its_way = row.next_revision.number if row.next_revision else None
    if body.revision in (None, on_its_way):
        changed = canaries.set_share(request.principal, row, body.percent)
    else:
        changed = services.rollback(request.principal, row, body.revision or 0, canary_percent=body.percent)
    return accepted(request, changed)


@router.post("/endpoints/{endpoint_id}/canary/promote", auth=scope("endpoints:write"))
@idempotent
def promote(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Let the canary take over; what ran finishes its calls and ends."""
    row = endpoint_or_404(request.principal, endpoint_id)
    return accepted(request, canaries.promote(request.principal, row))


@router.post("/endpoints/{endpoint_id}/canary/abort", auth=scope("endpoints:write"))
@idempotent
def abort(request: PortalRequest, endpoint_id: UUID, body: Reason | None = None) -> HttpResponse:
    """End the canary; all calls go to what runs at once."""
    row = endpoint_or_404(request.principal, endpoint_id)
    return accepted(request, canaries.abort(request.principal, row, reason=body.reason if body else ""))
