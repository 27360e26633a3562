"""REST API of the numbers behind the objective."""

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from ninja import Router

from approvals import insights
from approvals.insights import Stage
from approvals.models import Calendar, RequestKind
from approvals.objective.calendar import facts
from approvals.objective.clock import SAMPLE_DAYS
from approvals.objective.report import Ageing, Budget
from portal.errors import Invalid, NotFound
from projects.api import answer, project_or_404, scope
from projects.models import is_slug
from projects.principal import PortalRequest

router = Router(tags=["insights"])


@router.get("/insights/lead-time", auth=scope("requests:read"))
def lead_time(request: PortalRequest, project: str | None = None, kind: str | None = None) -> HttpResponse:
    """How long each stage of each kind of request took in the last 90 days, of the requests that the caller may see;
    how much of the error budget is used, and how old the open ones are.

    Durations in seconds; null without a sample. `share_within_objective` is the share inside `objective_seconds`; of
    the stage `total` it is by the business clock, which `business_p50_seconds` and `business_p90_seconds` tell.
    """
    if kind is not None and kind not in RequestKind.values:
        raise Invalid.field("kind", f"kind is {kind[:40]!r}; choose one of {', '.join(RequestKind.values)}.")
    if project is not None and not is_slug(project):
        raise NotFound(f"There is no project {project[:40]!r}, or you may not see it.")
    chosen = project_or_404(request.principal, project) if project is not None else None
    rows = insights.past(request.principal, project=chosen, kind=kind)
    open_ones = insights.ageing(request.principal, project=chosen, kind=kind)
    return answer(
        request,
        {
            "items": [_stage(one) for one in insights.stages(rows, kind)],
            "next": None,
            "days": SAMPLE_DAYS,
            "objective_seconds": settings.LEAD_TIME_OBJECTIVE_SECONDS,
            "budget": _budget(insights.budget(rows, open_ones.overdue)),
            "open": _open(open_ones),
            "calendar": facts(Calendar.objects.order_by("pk").first()),
        },
    )


def _stage(one: Stage) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "stage": one.stage,
        "samples": one.samples,
        "p50_seconds": one.p50,
        "p90_seconds": one.p90,
        "share_within_objective": one.within,
        "business_p50_seconds": one.counted[0],
        "business_p90_seconds": one.counted[1],
    }


def _budget(found: Budget) -> dict[str, Any]:
    return {
        "share": found.share,
        "finished": found.finished,
        "late": found.late,
        "allowed": found.allowed,
        "left": found.left,
        "burn": found.burn,
        "share_kept": found.kept,
    }


def _open(found: Ageing) -> dict[str, Any]:
    return {
        "waiting": found.waiting,
        "overdue": found.overdue,
        "with_requester": found.with_requester,
        "by_age": [{"from_days": one.low, "to_days": one.high, "requests": one.count} for one in found.buckets],
    }
