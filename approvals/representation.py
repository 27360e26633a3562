"""How the API shows a request. Field names are a contract."""

from typing import Any

from django.db.models import Prefetch, QuerySet

from approvals.bodies import BODIES, EndpointBody
from approvals.models import Decision, Request, RequestKind, RequestState
from approvals.permissions import DECIDERS
from endpoints.models import Phase
from projects.permissions import OWNER

OWN = {"kind", "project", "name", "endpoint"}  # of every request, whatever its body says
REVIEW = {
    RequestState.DRAFT: "not_started",
    RequestState.SUBMITTED: "waiting",
    RequestState.CHANGES_REQUESTED: "changes_requested",
    RequestState.APPROVED: "approved",
    RequestState.REJECTED: "rejected",
    RequestState.WITHDRAWN: "skipped",
    RequestState.EXPIRED: "skipped",
}


def with_all(queryset: QuerySet[Request]) -> QuerySet[Request]:
    """Return `queryset` with everything that `request_json` and the pages read, in two queries."""
    decisions = Decision.objects.select_related("reviewer").order_by("id")
    return with_related(queryset).prefetch_related(Prefetch("decisions", decisions))


def with_related(queryset: QuerySet[Request]) -> QuerySet[Request]:
    """Return `queryset` with what a request refers to, but not its decisions, in one query."""
    return queryset.select_related("project", "requester", "endpoint__project", "version__asset", "profile")


def request_json(request: Request) -> dict[str, Any]:
    """Return a request of `with_all` as the API shows it."""
    lead_time = request.lead_time
    return {
        "id": request.pk,
        "number": request.number,
        "kind": request.kind,
        "project": request.project.slug if request.project else None,
        "name": request.name,
        "state": request.state,
        "requester": request.requester.username,
        "submission": request.submission,
        **{name: request.body.get(name) for name in body_fields(request.kind)},
        "plan": request.plan or None,
        "plan_digest": request.plan_digest or None,
        "checks": request.plan.get("checks", []),
        "stages": stages(request),
        "decisions": [decision_json(decision) for decision in request.decisions.all()],
        "endpoint": str(request.endpoint_id) if request.endpoint_id else request.body.get("endpoint"),
        "created_at": request.created_at,
        "submitted_at": request.submitted_at,
        "decided_at": request.decided_at,
        "ready_at": request.ready_at,
        "lead_time_seconds": lead_time.total_seconds() if lead_time else None,
    }


def body_fields(kind: str) -> list[str]:
    """Return the fields of a body of `kind` that the API shows beside those of every request."""
    return [name for name in BODIES.get(kind, EndpointBody).model_fields if name not in OWN]


def reviewing_roles(request: Request) -> list[str]:
    """Return the roles that may decide `request`."""
    owner = {OWNER} if request.kind == RequestKind.ACCESS else set()
    return sorted(DECIDERS | owner)


def decision_json(decision: Decision) -> dict[str, Any]:
    """Return one decision with the digests that it binds."""
    return {
        "decision": decision.decision,
        "reviewer": decision.reviewer.username,
        "submission": decision.submission,
        "reason": decision.reason,
        "plan_digest": decision.plan_digest,
        "plan_digest_now": decision.plan_digest_now or None,
        "via": decision.via,
        "at": decision.at,
    }


def last_decision(request: Request) -> Decision | None:
    """Return the newest decision of a request of `with_all`, without a query."""
    return next(iter(sorted(request.decisions.all(), key=lambda decision: -decision.pk)), None)


def stages(request: Request) -> list[dict[str, Any]]:
    """Return the named steps of a request: who reviews it, and how far what was asked for is."""
    state = RequestState(request.state)
    last = last_decision(request)
    answered = last if last and (state != RequestState.SUBMITTED or last.submission == request.submission) else None
    review = {
        "name": "review",
        "roles": reviewing_roles(request),
        "state": REVIEW[state],
        "by": answered.reviewer.username if answered else None,
        "at": answered.at if answered else None,
    }
    # A new endpoint is provisioned; everything else is done by the approval itself.
    name = "provision" if request.kind == RequestKind.ENDPOINT else "apply"
    return [review, {"name": name, "roles": [], "state": _doing(request), "by": None, "at": request.ready_at}]


def _doing(request: Request) -> str:
    state = RequestState(request.state)
    if state in {RequestState.REJECTED, RequestState.WITHDRAWN, RequestState.EXPIRED}:
        return "skipped"
    if state == RequestState.APPROVED and request.kind != RequestKind.ENDPOINT:
        return "done"
    if state != RequestState.APPROVED or request.endpoint is None:
        return "not_started"
    if request.endpoint.ready_at is not None:
        return "done"
    return "failed" if request.endpoint.phase in {Phase.FAILED, Phase.DELETED} else "running"
