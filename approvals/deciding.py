"""Deciding: approve, reject, send back. Each is one transaction with its guard, its audit row and who is told."""

import datetime as dt
from typing import Any

from django.db import transaction
from django.utils import timezone

from approvals import builtin, telling
from approvals import plan as plans
from approvals.bodies import RequestBody, parse
from approvals.kinds import KINDS, ended
from approvals.kinds.base import Found, not_open
from approvals.models import Choice, Decision, Request, RequestState
from approvals.verdicts import worse
from audit.services import record
from portal.errors import Conflict, Forbidden, Invalid
from portal.http import clean_text
from portal.states import move
from projects.permissions import can, require
from projects.principal import Principal

MAX_REASON = 2000


def approve(by: Principal, request: Request, *, reason: str = "") -> Request:
    """Approve: the plan is checked again, and what was asked for is done. All of it, or nothing.

    Approval never fails for room. Raises Forbidden for an own request, Conflict `already_decided` when somebody was
    faster, and Conflict `plan_stale` (with the new plan) when a check fails now that passed when the plan was frozen,
    or when what it is about is gone; `asset_not_open` when the grant of its asset has ended since.
    """
    text = _reason(reason, low=0)
    with transaction.atomic():
        current = _decidable(by, request)
        body = parse_stored(current)
        found, now = _check_again(current, body)
        _decide(by, current, Choice.APPROVE, RequestState.APPROVED, text, plans.freeze(body, now))
        endpoint = KINDS[body.kind].apply(by, current, body, found)
        if endpoint is not None:
            Request.objects.filter(pk=current.pk).update(endpoint=endpoint)
        current.refresh_from_db()
        telling.decided(current, by.person, Choice.APPROVE, text)
    return current


def reject(by: Principal, request: Request, *, reason: str) -> Request:
    """Say no, with a reason. Raises as `approve` does."""
    text = _reason(reason, low=1)
    with transaction.atomic():
        current = _decidable(by, request)
        _decide(by, current, Choice.REJECT, RequestState.REJECTED, text, "")
        ended(by, current, text)
        telling.decided(current, by.person, Choice.REJECT, text)
    current.refresh_from_db()
    return current


def request_changes(by: Principal, request: Request, *, reason: str) -> Request:
    """Send a request back to its requester, with a reason. Raises as `approve` does."""
    text = _reason(reason, low=1)
    with transaction.atomic():
        current = _decidable(by, request)
        _decide(by, current, Choice.REQUEST_CHANGES, RequestState.CHANGES_REQUESTED, text, "")
        ended(by, current, text)
        telling.decided(current, by.person, Choice.REQUEST_CHANGES, text)
    current.refresh_from_db()
    return current


DECISIONS = {"approve": approve, "reject": reject, "request_changes": request_changes}


def may_decide(by: Principal, request: Request) -> bool:
    """Whether `by` may decide `request`: for templates, the same rule as the services."""
    return can(by, "decide", request) and not builtin.is_own(by.person, request.requester_id)


def parse_stored(request: Request) -> RequestBody:
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


def _check_again(current: Request, body: RequestBody) -> tuple[Found, dict[str, Any]]:
    """Return what the body names today and today's plan; raises Conflict when the frozen plan was altered or no
    longer holds.
    """
    if plans.freeze(body, current.plan) != current.plan_digest:
        raise Conflict(
            "The plan differs from the one that was frozen at submission. Ask for a new submission.",
            code="plan_tampered",
        )
    requester = Principal.of(current.requester)
    _still_open(requester, current)
    try:
        found: Found = plans.resolve(requester, body)
    except (Invalid, Conflict) as error:
        raise Conflict(
            f"The plan is stale: {error.sentence}", code="plan_stale", extra={"plan": current.plan}
        ) from error
    now = plans.build(requester, body, resolved=found, request=current)
    fallen = worse(current.plan["checks"], now["checks"])
    if fallen:
        raise Conflict(
            f"The plan is stale: {fallen[0]['title']} fails now. {fallen[0]['reason']}",
            code="plan_stale",
            extra={"plan": now},
        )
    return found, now


def _still_open(requester: Principal, current: Request) -> None:
    """Raise Conflict `asset_not_open` when what the request would run was for its project then, and is not now. Who has
    left the project is another matter.
    """
    version, project = current.version, current.project
    if version is None or project is None or requester.role_in(project.pk) is None:
        return
    words = not_open(requester, version.asset, project)
    if words:
        raise Conflict(
            f"{version.asset.slug} was open when {current} was sent. Now it {words} Grant it anew, or ask for changes.",
            code="asset_not_open",
            extra={"plan": current.plan},
        )


def _decidable(by: Principal, request: Request) -> Request:
    require(by, "decide", request)
    if builtin.is_own(by.person, request.requester_id):
        raise Forbidden("Nobody decides on an own request. Ask another reviewer.", code="own_request")
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
    decided: dict[str, Any] = {} if choice == Choice.REQUEST_CHANGES else {"decided_at": timezone.now()}
    waiting = Request.objects.filter(pk=current.pk)
    if not move(waiting, RequestState.SUBMITTED, target, updated_at=timezone.now(), **decided):
        raise Conflict(f"{current} was decided or withdrawn at the same moment.", code="already_decided")
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
        second_factor=by.second_factor,
    )
    record(
        f"approvals.{choice.value}",
        by=by,
        obj=current,
        project=slug_of(current),
        before={"state": RequestState.SUBMITTED.value},
        after={"state": target.value, "plan_digest": current.plan_digest, "plan_digest_now": digest_now},
        reason=reason,
    )


def _reason(reason: str, *, low: int) -> str:
    if low and not reason.strip():
        raise Invalid.field("reason", "Write a reason: the requester must know what to do next.")
    return clean_text(reason, field="reason", low=low, high=MAX_REASON, lines=True)


def slug_of(request: Request) -> str:
    """Return the project of a request as audit rows name it."""
    return request.project.slug if request.project else ""
