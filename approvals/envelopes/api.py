"""REST API of the rules that approve by themselves. What they do is part of `GET /policies`."""

from django.http import HttpResponse
from ninja import Router
from pydantic import Field, StrictInt

from approvals.envelopes import services
from approvals.envelopes.reading import standing_json, standings
from projects.api import Body, answer, idempotent, scope
from projects.principal import PortalRequest

router = Router(tags=["policies"])


class ModeIn(Body):
    """What a rule does from now on. `digest`: of the text that the caller has read."""

    mode: str = Field(max_length=20, description="live, shadow or off")
    reason: str = Field("", max_length=8192)
    sample_percent: StrictInt | None = Field(None, description="Of what it approves, to be read later by a person.")
    digest: str = Field("", max_length=80)


class OffIn(Body):
    """Why everything is stopped, if there is time to say so."""

    reason: str = Field("", max_length=8192)


@router.post("/policies/envelopes/off", auth=scope("policies:write"))
@idempotent
def switch_all_off(request: PortalRequest, body: OffIn) -> HttpResponse:
    """Switch off every auto-approve rule that decides; the next request waits for people."""
    return answer(request, {"switched_off": services.switch_all_off(request.principal, reason=body.reason)})


@router.post("/policies/envelopes/{rule}/mode", auth=scope("policies:write"))
@idempotent
def set_mode(request: PortalRequest, rule: str, body: ModeIn) -> HttpResponse:
    """Let an auto-approve rule decide, put it into shadow, or switch it off."""
    services.set_mode(
        request.principal,
        rule,
        body.mode,
        reason=body.reason,
        sample_percent=body.sample_percent,
        seen=body.digest,
    )
    return answer(request, standing_json(standings(only=rule)[0]))
