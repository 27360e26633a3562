"""REST API of workloads without approval."""

import datetime as dt

from django.http import HttpResponse
from ninja import Field, Router

from endpoints.rogue import cells, services
from endpoints.rogue.lists import REASONS, STATES, UNAPPROVED, in_state
from endpoints.rogue.views import find, of
from portal.errors import Invalid
from portal.http import cursor_page
from projects.api import Body, answer, idempotent, scope
from projects.principal import PortalRequest

router = Router(tags=["insights"])


class NotifyIn(Body):
    """Words of whoever asks, before the text of the portal."""

    note: str = Field("", max_length=4000)


class WaiveIn(Body):
    """Until when it may run as it is, and why."""

    ends_on: dt.date
    reason: str = Field(max_length=4000)


@router.get("/insights/rogue", auth=scope("endpoints:read"))
def list_rogues(
    request: PortalRequest,
    cluster: str | None = None,
    state: str | None = None,
    reason: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> HttpResponse:
    """What runs on registered clusters without approval, of what the caller may see; `state` shows others, too."""
    rows = of(request.principal)
    known = {name for name, _ in STATES}
    if state is not None and state not in known:
        raise Invalid.field("state", f"state is {state[:20]!r}; choose one of {', '.join(sorted(known))}.")
    if reason is not None and reason not in REASONS:
        raise Invalid.field("reason", f"reason is {reason[:20]!r}; choose one of {', '.join(REASONS)}.")
    rows = in_state(rows, state or UNAPPROVED)
    rows = rows.filter(cluster__slug=cluster[:40]) if cluster is not None else rows
    rows = rows.filter(REASONS[reason]) if reason is not None else rows
    found, following = cursor_page(rows, limit=limit, cursor=cursor, order=("id",))
    return answer(request, {"items": [cells.document(row) for row in found], "next": following})


@router.get("/insights/rogue/{rogue_id}", auth=scope("endpoints:read"))
def get_rogue(request: PortalRequest, rogue_id: int) -> HttpResponse:
    """One workload, with its timeline."""
    row = find(request.principal, rogue_id)
    return answer(request, cells.document(row) | {"timeline": row.timeline})


@router.post("/insights/rogue/{rogue_id}/notify", auth=scope("endpoints:write"))
@idempotent
def notify_rogue(request: PortalRequest, rogue_id: int, body: NotifyIn) -> HttpResponse:
    """Tell its people that it runs without approval (platform engineers and governance leads)."""
    row = find(request.principal, rogue_id)
    people = services.notify(request.principal, row, note=body.note)
    told = [one.username for one in people]
    return answer(request, cells.document(find(request.principal, rogue_id)) | {"told": told})


@router.post("/insights/rogue/{rogue_id}/waive", auth=scope("endpoints:write"))
@idempotent
def waive_rogue(request: PortalRequest, rogue_id: int, body: WaiveIn) -> HttpResponse:
    """Leave it as it is until a day, at most 180 days (platform engineers and governance leads)."""
    row = find(request.principal, rogue_id)
    services.waive(request.principal, row, ends_on=body.ends_on, reason=body.reason)
    return answer(request, cells.document(find(request.principal, rogue_id)))
