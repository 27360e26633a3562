"""How the API shows a request. Field names are a contract."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Prefetch, QuerySet

from approvals.bodies import BODIES, EndpointBody
from approvals.models import Choice, Decision, Request, RequestKind, RequestState, Stage, StageState
from approvals.planning.reading import Reader, reader
from approvals.stages.changes import changes
from approvals.stages.keeping import of_plan, roles_now
from endpoints.models import Phase
from projects.principal import Principal

OWN = {"kind", "project", "name", "endpoint"}  # of every request, whatever its body says
ENDED = {
    RequestState.CHANGES_REQUESTED: "changes_requested",
    RequestState.REJECTED: "rejected",
    RequestState.WITHDRAWN: "skipped",
    RequestState.EXPIRED: "skipped",
}
STAGE = {StageState.WAITING: "not_started", StageState.OPEN: "waiting", StageState.PASSED: "approved"}


def with_all(queryset: QuerySet[Request]) -> QuerySet[Request]:
    """Return `queryset` with everything that `request_json` and the pages read, in three queries."""
    decisions = Decision.objects.select_related("reviewer", "on_behalf_of").order_by("id")
    return with_related(queryset).prefetch_related(
        Prefetch("decisions", decisions), Prefetch("stages", Stage.objects.order_by("submission", "position"))
    )


def with_related(queryset: QuerySet[Request]) -> QuerySet[Request]:
    """Return `queryset` with what a request refers to, but not its decisions, in one query."""
    return queryset.select_related("project", "requester", "endpoint__project", "version__asset", "profile", "assignee")


def requests_json(by: Principal, requests: Iterable[Request]) -> list[dict[str, Any]]:
    """Return requests of `with_all` as the API shows them to `by` (one query at most)."""
    rows = list(requests)
    reads = reader(by, [request.plan for request in rows])
    return [request_json(reads, request) for request in rows]


def request_json(reads: Reader, request: Request) -> dict[str, Any]:
    """Return a request of `with_all` as the API shows it to whoever `reads` its plan."""
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
        "plan": reads.plan(request.plan, request.project_id) or None,
        "plan_digest": request.plan_digest or None,
        "checks": request.plan.get("checks", []),
        "stages": stages(request),
        "assignee": request.assignee.username if request.assignee else None,
        "decisions": [decision_json(decision) for decision in request.decisions.all()],
        "endpoint": str(request.endpoint_id) if request.endpoint_id else request.body.get("endpoint"),
        "created_at": request.created_at,
        "submitted_at": request.submitted_at,
        "decided_at": request.decided_at,
        "ready_at": request.ready_at,
        "lead_time_seconds": lead_time.total_seconds() if lead_time else None,
    }


def whole_json(by: Principal, request: Request) -> dict[str, Any]:
    """Return one request as the API shows it to `by`, with what its newest submission changed against the one before
    (a query more, from the second on).
    """
    shown = request_json(reader(by, [request.plan]), request)
    return shown | {"changes": [change.json() for change in changes(request)]}


def body_fields(kind: str) -> list[str]:
    """Return the fields of a body of `kind` that the API shows beside those of every request."""
    return [name for name in BODIES.get(kind, EndpointBody).model_fields if name not in OWN]


def decision_json(decision: Decision) -> dict[str, Any]:
    """Return one decision with the digests that it binds."""
    return {
        "decision": decision.decision,
        "reviewer": decision.reviewer.username,
        "on_behalf_of": decision.on_behalf_of.username if decision.on_behalf_of else None,
        "rule": decision.rule or None,
        "stage": decision.stage_id,
        "submission": decision.submission,
        "reason": decision.reason,
        "plan_digest": decision.plan_digest,
        "plan_digest_now": decision.plan_digest_now or None,
        "bundle_digest": decision.bundle_digest or None,
        "evidence": decision.evidence,
        "via": decision.via,
        "second_factor": decision.second_factor or None,
        "at": decision.at,
    }


def last_decision(request: Request) -> Decision | None:
    """Return the newest decision of a request of `with_all`, without a query."""
    return next(iter(sorted(request.decisions.all(), key=lambda decision: -decision.pk)), None)


def who(decision: Decision) -> str:
    """Return who decided, as people read it: omar for pat, or the rule that did."""
    if decision.rule:
        return f"the rule {decision.rule}"
    behalf = decision.on_behalf_of
    return f"{decision.reviewer.username} for {behalf.username}" if behalf else decision.reviewer.username


def stages_of(request: Request) -> list[Stage]:
    """Return the stages of the newest submission of a request of `with_all`, in their order, without a query."""
    return [stage for stage in request.stages.all() if stage.submission == request.submission]


def stages(request: Request) -> list[dict[str, Any]]:
    """Return the named steps of a request: each stage of its review, and how far what was asked for is.

    A request that was never sent, or was answered by an earlier release, has the stages that its plan names.
    """
    rows = stages_of(request)
    review = [_stage(request, stage) for stage in rows] or [_planned(request, stage) for stage in of_plan(request.plan)]
    # A new endpoint is provisioned; everything else is done by the approval itself.
    name = "provision" if request.kind == RequestKind.ENDPOINT else "apply"
    done = {"roles": [], "count": 0, "state": _doing(request), "by": [], "at": request.ready_at, "reason": ""}
    return [*review, {"name": name, **done}]


def _stage(request: Request, stage: Stage) -> dict[str, Any]:
    said = [one for one in request.decisions.all() if one.stage_id == stage.pk]
    by_rule = [one for one in request.decisions.all() if one.rule and one.submission == stage.submission]
    state, ending = StageState(stage.state), bool(said) and said[-1].decision != Choice.APPROVE
    if state == StageState.CLOSED:  # the one in which it ended says how; those behind it never came
        words = ENDED.get(RequestState(request.state), "skipped") if ending or stage.opened_at else "skipped"
    else:
        words = STAGE[state]
    return {
        "name": stage.name,
        "roles": roles_now(stage),
        "count": stage.count,
        "state": words,
        "by": [who(one) for one in said or (by_rule if state == StageState.PASSED else [])],
        "at": stage.closed_at if state != StageState.WAITING else None,
        "reason": stage.reason,
        "rule": stage.rule,
        "escalated_at": stage.escalated_at,
    }


def _planned(request: Request, stage: Mapping[str, Any]) -> dict[str, Any]:
    last = last_decision(request)
    answered = RequestState(request.state) in {RequestState.APPROVED, RequestState.REJECTED}
    words = (
        "approved" if request.state == RequestState.APPROVED else ENDED.get(RequestState(request.state), "not_started")
    )
    return {
        "name": stage["name"],
        "roles": list(stage["roles"]),
        "count": stage["count"],
        "state": words,
        "by": [who(last)] if last and answered else [],
        "at": last.at if last and answered else None,
        "reason": stage["reason"],
        "rule": stage["rule"],
        "escalated_at": None,
    }


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
