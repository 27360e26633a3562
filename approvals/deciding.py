"""Deciding: approve, reject, send back. Each is one transaction with its guard, its audit row and who is told.

Somebody decides the open stage. The last stage that is passed approves the request, and does what was asked for. Who
may sit in judgement stands in approvals/stages/sitting.py.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from approvals import plan as plans
from approvals import telling, waivers
from approvals.bodies import RequestBody, parse
from approvals.kinds import KINDS, ended
from approvals.kinds.base import Found, not_open
from approvals.models import Choice, Decision, Request, RequestState, Stage
from approvals.objective import clock
from approvals.planning.reading import as_read
from approvals.policies import record as records
from approvals.stages import keeping, needed
from approvals.stages.sitting import Session, rule_session, session
from approvals.stages.sitting import may_decide as may_decide
from approvals.verdicts import worse
from audit.services import record
from portal.errors import Conflict, Invalid
from portal.http import clean_text
from portal.states import move
from projects.principal import Principal

MAX_REASON = 2000


@dataclass(frozen=True)
class Judged:
    """What a decision was taken from: what the body names today, and today's plan with its digest."""

    found: Found
    plan: dict[str, Any]
    digest: str


def approve(by: Principal, request: Request, *, reason: str = "", plan_digest: str = "") -> Request:
    """Say yes in the open stage: the plan is checked again; the last yes does what was asked for. All, or nothing.

    Approval never fails for room. Raises Forbidden for an own request, Conflict `already_decided` when somebody was
    faster, `one_person_one_stage` when the person or who lends to them said yes to another stage, and `plan_stale`
    (with the new plan) when a check fails now that passed when the plan was frozen, when the rules ask for more
    reviewers, or when what it is about is gone; `asset_not_open` when the grant of its asset has ended since.
    `plan_digest`: the plan that the reviewer read and signs; another one by now is `plan_stale`, too.
    """
    text = _reason(reason, low=0)
    with transaction.atomic():
        held = session(by, request)
        _as_read(held, plan_digest)
        return _approve(held, text)


def _as_read(held: Session, plan_digest: str) -> None:
    """Raise Conflict when the plan that somebody read is not the one that waits for a decision."""
    if plan_digest and plan_digest != held.request.plan_digest:
        raise Conflict(
            "The plan was changed since you opened it. Read the new one, then decide.",
            code="plan_stale",
            extra={"plan": as_read(held.by, held.request)},
        )


def approve_by_rule(request: Request, *, rule: str, why: str) -> Request:
    """Approve at once in the name of an envelope of the policies (`rule` is its id), in the caller's transaction.

    Raises Conflict `needs_a_person` when a stage takes a person, and as `approve` does.
    """
    with transaction.atomic():
        held = rule_session(request, rule)
        return _approve(held, why[:MAX_REASON])


def reject(by: Principal, request: Request, *, reason: str) -> Request:
    """Say no, with a reason. Raises as `approve` does."""
    return _refuse(by, request, Choice.REJECT, RequestState.REJECTED, reason)


def request_changes(by: Principal, request: Request, *, reason: str) -> Request:
    """Send a request back to its requester, with a reason. Raises as `approve` does."""
    return _refuse(by, request, Choice.REQUEST_CHANGES, RequestState.CHANGES_REQUESTED, reason)


DECISIONS = {"approve": approve, "reject": reject, "request_changes": request_changes}


def parse_stored(by: Principal, request: Request) -> RequestBody:
    """Return the body of a submitted request, which `by` decides; an end date that has passed since is kept, and is a
    matter for the reviewer.
    """
    ends_on = request.body.get("ends_on")
    if ends_on and dt.date.fromisoformat(ends_on) <= timezone.now().date():
        raise Conflict(
            f"The end date {ends_on} has passed while the request waited. Ask for changes.",
            code="plan_stale",
            extra={"plan": as_read(by, request)},
        )
    return parse(request.body)


def _approve(held: Session, reason: str) -> Request:
    current = held.request
    body = parse_stored(held.by, current)
    judged = _check_again(held, body)
    mark = _decide(held, Choice.APPROVE, reason, judged)
    clock.triaged(current, held.by.person)
    following = _advance(held, reason, mark)
    if following is not None:
        current.refresh_from_db()
        if following.position != held.stage.position:
            telling.stage_passed(current, held.stage, following)
        return current
    _finish(held, Choice.APPROVE, RequestState.APPROVED, reason, judged.digest, mark)
    endpoint = KINDS[body.kind].apply(held.acting, current, body, judged.found)
    if endpoint is not None:
        Request.objects.filter(pk=current.pk).update(endpoint=endpoint)
        if endpoint.project_id == current.project_id:  # else another project's, which only lets this one call it
            waivers.carry(current, endpoint)
    current.refresh_from_db()
    clock.stopped(current)
    telling.decided(current, held.who, Choice.APPROVE, reason)
    return current


def _refuse(by: Principal, request: Request, choice: Choice, target: RequestState, reason: str) -> Request:
    text = _reason(reason, low=1)
    with transaction.atomic():
        held = session(by, request)
        current = held.request
        clock.triaged(current, by.person)
        mark = _decide(held, choice, text, None)
        _finish(held, choice, target, text, "", mark)
        (clock.paused if choice == Choice.REQUEST_CHANGES else clock.stopped)(current)
        ended(held.acting, current, text)
        telling.decided(current, held.who, choice, text)
    current.refresh_from_db()
    return current


def _check_again(held: Session, body: RequestBody) -> Judged:
    """Return what the body names today and today's plan; raises Conflict when the frozen plan was altered or no
    longer holds.
    """
    current = held.request
    altered = keeping.differ(current, held.stages)
    if altered or plans.freeze(body, current.plan) != current.plan_digest:
        raise Conflict(
            "The plan differs from the one that was frozen at submission"
            f"{f': {altered} was altered' if altered else ''}. Ask for a new submission.",
            code="plan_tampered",
        )
    requester = Principal.of(current.requester)
    _still_open(held.by, requester, current)
    try:
        found: Found = plans.resolve(requester, body)
    except (Invalid, Conflict) as error:
        raise _stale(held, error.sentence, current.plan) from error
    now = plans.build(requester, body, resolved=found, request=current)
    fallen = worse(current.plan["checks"], now["checks"])
    if fallen:
        raise _stale(held, f"{fallen[0]['title']} fails now. {fallen[0]['reason']}", now)
    more = needed.missing(keeping.of_plan(current.plan), keeping.of_plan(now))
    if more:
        raise _stale(held, f"{more}. Ask for changes, so that it is sent again.", now)
    return Judged(found, now, plans.freeze(body, now))


def _stale(held: Session, sentence: str, plan: dict[str, Any]) -> Conflict:
    shown = as_read(held.by, held.request, plan)
    return Conflict(f"The plan is stale: {sentence}", code="plan_stale", extra={"plan": shown})


def _still_open(by: Principal, requester: Principal, current: Request) -> None:
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
            extra={"plan": as_read(by, current)},
        )


def _decide(held: Session, choice: Choice, reason: str, judged: Judged | None) -> str:
    """Write the decision with what it was taken from, and return the digest over that, which the audit row keeps; a
    refusal is taken from the frozen plan.
    """
    current = held.request
    try:
        with transaction.atomic():
            made = Decision.objects.create(
                request=current,
                requester=current.requester,
                reviewer=held.by.person,
                on_behalf_of=held.behalf,
                submission=current.submission,
                stage=held.stage,
                decision=choice,
                reason=reason,
                plan_digest=current.plan_digest,
                plan_digest_now=judged.digest if judged else "",
                via=held.by.via,
                second_factor=held.by.second_factor,
                rule=held.rule,
                **records.of(judged.plan if judged else current.plan),
            )
    except IntegrityError as error:  # one_decision_per_person
        raise Conflict(f"You have decided on {current} already.", code="already_decided") from error
    return records.mark(made)


def _advance(held: Session, reason: str, mark: str) -> Stage | None:
    """Return the stage that is open after this yes: the same one when it takes more people, the next one, or None after
    the last; audit row included where the request goes on.
    """
    current, stage = held.request, held.stage
    if held.rule:
        for one in held.stages:
            if one.position >= stage.position:
                keeping.advance(current, held.stages, one)
        return None
    answered = {*held.used, str(held.by.person.pk), *([str(held.behalf.pk)] if held.behalf else [])}
    yes = Decision.objects.filter(stage=stage, decision=Choice.APPROVE).count()
    following = keeping.advance(current, held.stages, stage) if yes >= stage.count else stage
    if following is not None:
        keeping.turn(current, following, answered)
        passed = following.position != stage.position
        record(
            "approvals.pass_stage" if passed else "approvals.endorse",
            by=held.by,
            obj=current,
            project=slug_of(current),
            before={"stage": stage.name},
            after={"stage": following.name, "yes": yes, "of": stage.count, "record": mark, **held.facts()},
            reason=reason,
        )
        if passed:
            Request.objects.filter(pk=current.pk).update(assignee=None)
    return following


def _finish(held: Session, choice: Choice, target: RequestState, reason: str, digest_now: str, mark: str) -> None:
    """Move the request to its answer, close what is left of its review, and record it."""
    current = held.request
    decided: dict[str, Any] = {} if choice == Choice.REQUEST_CHANGES else {"decided_at": timezone.now()}
    waiting = Request.objects.filter(pk=current.pk)
    if not move(waiting, RequestState.SUBMITTED, target, updated_at=timezone.now(), **decided):
        raise Conflict(f"{current} was decided or withdrawn at the same moment.", code="already_decided")
    keeping.close(current)
    record(
        f"approvals.{choice.value}",
        by=held.by,
        obj=current,
        project=slug_of(current),
        before={"state": RequestState.SUBMITTED.value, "stage": held.stage.name},
        after={
            "state": target.value,
            "plan_digest": current.plan_digest,
            "plan_digest_now": digest_now,
            "record": mark,
            **held.facts(),
        },
        reason=reason,
    )


def _reason(reason: str, *, low: int) -> str:
    if low and not reason.strip():
        raise Invalid.field("reason", "Write a reason: the requester must know what to do next.")
    return clean_text(reason, field="reason", low=low, high=MAX_REASON, lines=True)


def slug_of(request: Request) -> str:
    """Return the project of a request as audit rows name it."""
    return request.project.slug if request.project else ""
