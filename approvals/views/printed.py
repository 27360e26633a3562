"""The frozen plan of a request on paper: what the reviewers read and signed, with its digest and their answers."""

from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from approvals.representation import stages
from approvals.views.requests import facts_of, find, frozen
from approvals.views.review import decision_cells
from portal.errors import NotFound
from portal.http import page
from projects.principal import PortalRequest

STATES = {
    "not_started": "not its turn yet",
    "waiting": "waits",
    "approved": "passed",
    "changes_requested": "asked for changes",
    "rejected": "rejected",
    "skipped": "not needed any more",
    "running": "under way",
    "done": "done",
    "failed": "failed",
}


@require_GET
def request_plan(request: PortalRequest, pk: int) -> HttpResponse:
    """The plan as it was frozen, for print: digest, policies, checks, security, cost, stages, decisions."""
    item = find(request, pk)
    plan = frozen(request.principal, item)
    if plan is None:
        raise NotFound(f"{item} has no plan yet: it is frozen when the request is sent.")
    context = {
        "crumbs": [
            ("Requests", reverse("request_list")),
            (item.number, reverse("request_detail", args=[pk])),
            ("Plan", ""),
        ],
        "item": item,
        "plan": plan,
        "facts": facts_of(item),
        "purpose": item.body.get("purpose") or "",
        "printed_at": timezone.now(),
        "stages": [
            {
                "name": one["name"],
                "words": STATES.get(one["state"], one["state"]),
                "by": ", ".join(one["by"] or []),
                "at": one["at"],
                "reason": one.get("reason", ""),
            }
            for one in stages(item)
        ],
        "decisions": decision_cells(item),
    }
    return page(request, "approvals/plan.html", context)
