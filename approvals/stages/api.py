"""REST API of delegations, and of asking somebody in person."""

import datetime as dt
from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from ninja import Router
from pydantic import Field

from approvals.api import request_or_404, shown
from approvals.models import Delegation
from approvals.stages import assigning, delegating
from portal.errors import Invalid
from portal.http import cursor_page
from projects.api import Body, answer, idempotent, scope
from projects.principal import PortalRequest

router = Router(tags=["requests"])
STATES = ("planned", "active", "revoked", "ended")


class DelegationIn(Body):
    """Who decides for the caller, until when, and why. Days are days in the caller's time zone."""

    delegate: str = Field(max_length=150, description="user name")
    starts_on: dt.date | None = Field(None, description="today, when it is left out")
    ends_on: dt.date = Field(description="its last day, at most 90 days from the first one")
    reason: str = Field(max_length=8192)


class AssignIn(Body):
    """Who is asked to decide; an empty name asks nobody in particular."""

    to: str = Field(max_length=150, description="user name")
    reason: str = Field("", max_length=8192)


def delegation_json(one: Delegation, now: dt.datetime) -> dict[str, Any]:
    """Return a delegation as the API shows it."""
    return {
        "id": one.pk,
        "delegator": one.delegator.username,
        "delegate": one.delegate.username,
        "starts_at": one.starts_at,
        "ends_at": one.ends_at,
        "reason": one.reason,
        "state": delegating.state(one, now),
        "created_at": one.created_at,
        "revoked_at": one.revoked_at,
    }


@router.get("/delegations", auth=scope("requests:read"))
def list_delegations(
    request: PortalRequest, state: str | None = None, limit: int | None = None, cursor: str | None = None
) -> HttpResponse:
    """The delegations that the caller gave or got, newest first; governance leads and auditors see all."""
    now, rows = timezone.now(), delegating.seen(request.principal)
    if state is not None:
        if state not in STATES:
            raise Invalid.field("state", f"state is {state[:40]!r}; choose one of {', '.join(STATES)}.")
        rows = delegating.in_state(rows, state, now)
    page, following = cursor_page(rows, limit=limit, cursor=cursor, order=("-id",))
    return answer(request, {"items": [delegation_json(one, now) for one in page], "next": following})


@router.post("/delegations", auth=scope("approvals:decide"))
@idempotent
def delegate(request: PortalRequest, body: DelegationIn) -> HttpResponse:
    """Let somebody decide for the caller."""
    made = delegating.delegate(
        request.principal, to=body.delegate, starts_on=body.starts_on, ends_on=body.ends_on, reason=body.reason
    )
    return answer(request, delegation_json(made, timezone.now()), 201)


@router.delete("/delegations/{delegation_id}", auth=scope("approvals:decide"))
def revoke(request: PortalRequest, delegation_id: int) -> HttpResponse:
    """End a delegation now."""
    ended = delegating.revoke(request.principal, delegating.get(request.principal, delegation_id))
    return answer(request, delegation_json(ended, timezone.now()))


@router.post("/requests/{request_id}/assign", auth=scope("requests:write"))
@idempotent
def assign(request: PortalRequest, request_id: int, body: AssignIn) -> HttpResponse:
    """Ask one of the reviewers in person to decide the open stage."""
    assigning.assign(request.principal, request_or_404(request.principal, request_id), to=body.to, reason=body.reason)
    return shown(request, request_id)
