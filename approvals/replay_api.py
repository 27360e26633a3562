"""REST API of replays."""

from django.http import HttpResponse
from ninja import Router

from approvals.api import request_or_404
from approvals.policies import replay
from projects.api import answer, scope
from projects.principal import PortalRequest

router = Router(tags=["policies"])


@router.get("/requests/{request_id}/replay", auth=scope("requests:read"))
def replay_request(request: PortalRequest, request_id: int, bundle: str = replay.NOW) -> HttpResponse:
    """What another bundle says of the input of the last decision, or of the submission while nobody decided: per rule
    the verdict then and now. `bundle`: now, baseline, or the version or digest of one that was published.
    """
    return answer(request, replay.of(request_or_404(request.principal, request_id), bundle).json())
