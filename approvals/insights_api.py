"""REST API of the numbers behind the objective."""

from django.conf import settings
from django.http import HttpResponse
from ninja import Router

from approvals import insights
from approvals.lead_time import SAMPLE_DAYS
from approvals.models import RequestKind
from portal.errors import Invalid, NotFound
from projects.api import answer, project_or_404, scope
from projects.models import is_slug
from projects.principal import PortalRequest

router = Router(tags=["insights"])


@router.get("/insights/lead-time", auth=scope("requests:read"))
def lead_time(request: PortalRequest, project: str | None = None, kind: str | None = None) -> HttpResponse:
    """How long each stage of each kind of request took in the last 90 days, of the requests that the caller may see.

    Durations in seconds; null without a sample. `share_within_objective` is the share inside `objective_seconds`.
    """
    if kind is not None and kind not in RequestKind.values:
        raise Invalid.field("kind", f"kind is {kind[:40]!r}; choose one of {', '.join(RequestKind.values)}.")
    if project is not None and not is_slug(project):
        raise NotFound(f"There is no project {project[:40]!r}, or you may not see it.")
    chosen = project_or_404(request.principal, project) if project is not None else None
    items = [
        {
            "kind": one.kind,
            "stage": one.stage,
            "samples": one.samples,
            "p50_seconds": one.p50,
            "p90_seconds": one.p90,
            "share_within_objective": one.within,
        }
        for one in insights.lead_times(request.principal, project=chosen, kind=kind)
    ]
    return answer(
        request,
        {
            "items": items,
            "next": None,
            "days": SAMPLE_DAYS,
            "objective_seconds": settings.LEAD_TIME_OBJECTIVE_SECONDS,
        },
    )
