"""Asking and deciding. Each verb: guard, change and audit row in one transaction, then the side effects."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from approvals import plan as plans
from approvals import policies
from approvals.bodies import EndpointBody, complete, parse
from approvals.models import Choice, Comment, Decision, Request, RequestKind, RequestState
from audit.services import record
from endpoints.services import Authorization, open_endpoint
from portal.errors import Conflict, Forbidden, Invalid
from portal.http import clean_text
from portal.states import move
from projects.permissions import can, require
from projects.principal import Principal
from quotas.services import reserve

MAX_REASON = 2000


def check(by: Principal, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan for a request body without creating anything; raises Invalid."""
    body = parse({key: value for key, value in data.items() if key != "draft"})
    complete(body)
    return plans.build(by, body)


def draft(by: Principal, data: Mapping[str, Any]) -> Request:
    """Keep a request that is not sent yet; it may still lack fields. Raises Invalid and Forbidden."""
    body = parse(data)
    with transaction.atomic():
        made = Request(kind=RequestKind.ENDPOINT, requester=by.person, body=body.stored())
        _attach(by, made, body)
        made.save()
        record("approvals.draft", by=by, obj=made, project=_slug(made), after={"name": made.name})
    return made


def change(by: Principal, request: Request, data: Mapping[str, Any]) -> Request:
    """Replace the body of a draft, or of a request that was sent back for changes. Raises Invalid, Forbidden and
    Conflict.
    """
    _own(by, request, "change")
    body = parse(data)
    with transaction.atomic():
        current = Request.objects.select_for_update().get(pk=request.pk)
        if current.state not in {RequestState.DRAFT, RequestState.CHANGES_REQUESTED}:
            raise Conflict(
                f"{current} is {current.get_state_display().lower()}; only a draft or one sent back can be changed."
            )
        before = current.body
        current.body = body.stored()
        _attach(by, current, body)
        current.save()
        changed = {key for key in current.body if current.body[key] != before.get(key)}
        record(
            "approvals.change",
            by=by,
            obj=current,
            project=_slug(current),
            before={key: before.get(key) for key in changed},
            after={key: current.body[key] for key in changed},
        )
    return current


def submit(by: Principal, request: Request) -> Request:
    """Send a draft, or send a changed request again: the plan is computed and frozen under its digest.

    Raises Invalid naming the fields whose checks fail, and Conflict when the request is not a draft or sent back.
    """
    _own(by, request, "submit")
    with transaction.atomic():
        current = Request.objects.select_for_update().get(pk=request.pk)
        source = current.state
        if source not in {RequestState.DRAFT, RequestState.CHANGES_REQUESTED}:
            raise Conflict(f"{current} is {current.get_state_display().lower()} already.")
        body = parse(current.body)
        complete(body)
        found = plans.resolve(by, body)
        plan = plans.build(by, body, resolved=found)
        _refuse_failed(plan)
        now = timezone.now()
        moved = move(
            Request.objects.filter(pk=current.pk),
            source,
            RequestState.SUBMITTED,
            plan=plan,
            plan_digest=plans.freeze(body, plan),
            submission=current.submission + 1,
            submitted_at=current.submitted_at or now,
            version=found.version,
            profile=found.profile,
            project=found.project,
            name=body.name,
            environment=body.environment,
            updated_at=now,
        )
        if not moved:
            raise Conflict(f"{current} was sent by somebody else at the same moment.")
        current.refresh_from_db()
        record(
            "approvals.submit",
            by=by,
            obj=current,
            project=_slug(current),
            before={"state": source},
            after={"state": current.state, "plan_digest": current.plan_digest, "submission": current.submission},
        )
    return current


def request_endpoint(by: Principal, data: Mapping[str, Any]) -> Request:
    """Draft and submit in one transaction: nothing is kept when it is refused."""
    with transaction.atomic():
        body = parse(data)
        complete(body)
        return submit(by, draft(by, data))


def withdraw(by: Principal, request: Request) -> Request:
    """Take a request back before it is decided. Raises Forbidden for others' requests and Conflict when it is
    decided.
    """
    _own(by, request, "withdraw")
    with transaction.atomic():
        current = Request.objects.select_for_update().get(pk=request.pk)
        if RequestState.WITHDRAWN not in Request.ARROWS["state"].get(current.state, ()):
            raise Conflict(f"{current} is {current.get_state_display().lower()} already.", code="already_decided")
        _move(current, current.state, RequestState.WITHDRAWN)
        record("approvals.withdraw", by=by, obj=current, project=_slug(current), before={"state": request.state})
    current.refresh_from_db()
    return current


def comment(by: Principal, request: Request, text: str) -> Comment:
    """Add a remark to a request that the caller may see."""
    require(by, "comment", request)
    cleaned = clean_text(text, field="text", low=1, high=MAX_REASON, lines=True)
    with transaction.atomic():
        made = Comment.objects.create(request=request, author=by.person, text=cleaned)
        record("approvals.comment", by=by, obj=request, project=_slug(request), after={"comment": made.pk})
    return made


def approve(by: Principal, request: Request, *, reason: str = "") -> Request:
    """Approve: the plan is checked again, GPUs are reserved or queued, and the endpoint is opened. All of it, or
    nothing.

    Approval never fails for room. Raises Forbidden for an own request, Conflict `already_decided` when somebody was
    faster, and Conflict
    `plan_stale` (with the new plan) when a check fails now that passed when the plan was frozen.
    """
    text = _reason(reason, low=0)
    with transaction.atomic():
        current = _decidable(by, request)
        body = parse_stored(current)
        found, now = _check_again(current, body)
        _decide(by, current, Choice.APPROVE, RequestState.APPROVED, text, plans.freeze(body, now))
        if found.cluster is None:
            raise Conflict("No cluster serves this environment any more.", code="plan_stale", extra={"plan": now})
        endpoint = open_endpoint(
            by,
            project=found.project,
            name=body.name or "",
            environment=body.environment or "",
            cluster=found.cluster,
            version=found.version,
            profile=found.profile,
            replicas=body.replicas or 1,
            concurrency=body.concurrency or 1,
            context_tokens=body.context_tokens or 1,
            purpose=body.purpose or "",
            data_classification=body.data_classification or "",
            ends_on=body.ends_on,
            created_by=current.requester,
            authorization=Authorization(reference=current.number, digest=current.plan_digest, valid_until=body.ends_on),
        )
        gpus = found.profile.accelerator_count * (body.replicas or 1)
        if found.pool is not None and gpus:
            reserve(by, found.pool, gpus, holder=("endpoint", str(endpoint.pk)), project=found.project)
        Request.objects.filter(pk=current.pk).update(endpoint=endpoint)
    current.refresh_from_db()
    return current


def reject(by: Principal, request: Request, *, reason: str) -> Request:
    """Say no, with a reason. Raises as `approve` does."""
    text = _reason(reason, low=1)
    with transaction.atomic():
        current = _decidable(by, request)
        _decide(by, current, Choice.REJECT, RequestState.REJECTED, text, "")
    current.refresh_from_db()
    return current


def request_changes(by: Principal, request: Request, *, reason: str) -> Request:
    """Send a request back to its requester, with a reason. Raises as `approve` does."""
    text = _reason(reason, low=1)
    with transaction.atomic():
        current = _decidable(by, request)
        _decide(by, current, Choice.REQUEST_CHANGES, RequestState.CHANGES_REQUESTED, text, "")
    current.refresh_from_db()
    return current


DECISIONS = {"approve": approve, "reject": reject, "request_changes": request_changes}


def may_decide(by: Principal, request: Request) -> bool:
    """Whether `by` may decide `request`: for templates, the same rule as the services."""
    return can(by, "decide", request) and not policies.is_own(by.person, request.requester_id)


def parse_stored(request: Request) -> EndpointBody:
    """Return the body of a submitted request; an end date that has passed since is kept, and is a matter for the
    reviewer.
    """
    ends_on = request.body.get("ends_on")
    if ends_on and dt.date.fromisoformat(ends_on) <= timezone.now().date():
        raise Conflict(
            f"The end date {ends_on} has passed while the request waited. Ask for changes.",
            code="plan_stale",
            extra={"plan": request.plan},
        )
    return parse(request.body)


def _check_again(current: Request, body: EndpointBody) -> tuple[plans.Resolved, dict[str, Any]]:
    """Return what the body names today and today's plan; raises Conflict when the frozen plan was altered or no
    longer holds.
    """
    if plans.freeze(body, current.plan) != current.plan_digest:
        raise Conflict(
            "The plan differs from the one that was frozen at submission. Ask for a new submission.",
            code="plan_tampered",
        )
    requester = Principal.of(current.requester)
    try:
        found = plans.resolve(requester, body)
    except Invalid as error:
        raise Conflict(
            f"The plan is stale: {error.sentence}", code="plan_stale", extra={"plan": current.plan}
        ) from error
    now = plans.build(requester, body, resolved=found)
    worse = policies.worse(current.plan["checks"], now["checks"])
    if worse:
        raise Conflict(
            f"The plan is stale: {worse[0]['title']} fails now. {worse[0]['reason']}",
            code="plan_stale",
            extra={"plan": now},
        )
    return found, now


def _decidable(by: Principal, request: Request) -> Request:
    require(by, "decide", request)
    if policies.is_own(by.person, request.requester_id):
        raise Forbidden("Nobody decides on an own request. Ask another platform engineer.", code="own_request")
    current = Request.objects.select_for_update().get(pk=request.pk)
    if current.state != RequestState.SUBMITTED:
        raise Conflict(
            f"{current} is {current.get_state_display().lower()} already; there is nothing left to decide.",
            code="already_decided",
        )
    return current


def _decide(
    by: Principal, current: Request, choice: Choice, target: RequestState, reason: str, digest_now: str
) -> None:
    decided = {} if choice == Choice.REQUEST_CHANGES else {"decided_at": timezone.now()}
    _move(current, RequestState.SUBMITTED, target, **decided)
    Decision.objects.create(
        request=current,
        requester=current.requester,
        reviewer=by.person,
        submission=current.submission,
        decision=choice,
        reason=reason,
        plan_digest=current.plan_digest,
        plan_digest_now=digest_now,
        via=by.via,
    )
    record(
        f"approvals.{choice.value}",
        by=by,
        obj=current,
        project=_slug(current),
        before={"state": RequestState.SUBMITTED.value},
        after={"state": target.value, "plan_digest": current.plan_digest, "plan_digest_now": digest_now},
        reason=reason,
    )


def _move(current: Request, source: str, target: str, **also: Any) -> None:
    if not move(Request.objects.filter(pk=current.pk), source, target, updated_at=timezone.now(), **also):
        raise Conflict(f"{current} was decided or withdrawn at the same moment.", code="already_decided")


def _reason(reason: str, *, low: int) -> str:
    if low and not reason.strip():
        raise Invalid.field("reason", "Write a reason: the requester must know what to do next.")
    return clean_text(reason, field="reason", low=low, high=MAX_REASON, lines=True)


def _own(by: Principal, request: Request, verb: str) -> None:
    require(by, "view", request)
    if request.requester_id != by.person.pk:
        raise Forbidden(f"Only {request.requester.username}, who made {request}, may {verb} it.")
    if request.project_id is not None and by.project_id not in (None, request.project_id):
        raise Forbidden("The token is bound to another project.")


def _attach(by: Principal, request: Request, body: EndpointBody) -> None:
    """Copy what lists filter by; a draft may name a project only if its author may send requests there."""
    if body.project is None:
        raise Invalid.field("project", "project is missing. Fill it in.")
    request.project = plans.project_for(by, body.project)
    request.name = body.name or ""
    request.environment = body.environment or ""


def _refuse_failed(plan: Mapping[str, Any]) -> None:
    failed = [check for check in plan["checks"] if check["verdict"] == policies.FAIL]
    if failed:
        fields = {check["field"]: f"{check['reason']} {check['fix']}".strip() for check in reversed(failed)}
        raise Invalid(f"{failed[0]['title']}: {fields[failed[0]['field']]}", fields=fields, code="checks_failed")


def _slug(request: Request) -> str:
    return request.project.slug if request.project else ""
