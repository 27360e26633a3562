"""Asking and deciding. Each verb: guard, change, audit row and notification in one transaction.

What a kind of request means stands in approvals/kinds/; nothing here asks which one it is.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from approvals import envelopes, telling
from approvals import plan as plans
from approvals.bodies import RequestBody, complete, parse
from approvals.deciding import (
    DECISIONS,
    MAX_REASON,
    approve,
    may_decide,
    parse_stored,
    reject,
    request_changes,
    slug_of,
)
from approvals.drafts import clone
from approvals.kinds import KINDS, ended, sent
from approvals.kinds.base import Subject
from approvals.models import Comment, Request, RequestState
from approvals.objective import clock
from approvals.stages import keeping, mentions
from approvals.verdicts import failed
from audit.models import Row
from audit.services import record
from portal.errors import Conflict, Forbidden, Invalid
from portal.http import clean_text
from portal.states import move
from projects.permissions import require
from projects.principal import Principal

__all__ = [
    "DECISIONS",
    "MAX_REASON",
    "approve",
    "change",
    "check",
    "clone",
    "comment",
    "draft",
    "may_decide",
    "parse_stored",
    "reject",
    "request_changes",
    "send",
    "submit",
    "withdraw",
]

QUIET = dt.timedelta(minutes=10)  # within it, the autosaves of a draft share one audit row
CHANGEABLE = {RequestState.DRAFT, RequestState.CHANGES_REQUESTED}


def check(by: Principal, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan for a request body without creating anything; raises Invalid."""
    body = parse({key: value for key, value in data.items() if key != "draft"})
    complete(body)
    return plans.build(by, body)


def draft(by: Principal, data: Mapping[str, Any]) -> Request:
    """Keep a request that is not sent yet; it may lack all fields but the one that says in which project it is.

    Raises Invalid and Forbidden.
    """
    body = parse(data)
    with transaction.atomic():
        made = Request(kind=body.kind, requester=by.person, body=body.stored())
        _attach(made, KINDS[body.kind].subject(by, body))
        made.save()
        record("approvals.draft", by=by, obj=made, project=slug_of(made), after={"kind": made.kind, "name": made.name})
    return made


def change(
    by: Principal,
    request: Request,
    data: Mapping[str, Any],
    *,
    autosaved: bool = False,
    seen: dt.datetime | None = None,
) -> Request:
    """Replace the body of a draft, or of a request that was sent back for changes. The same body changes nothing.

    `autosaved`: a form saved itself; for a draft at most one audit row in ten minutes is written for that, since
    nobody has sent anything yet and submission keeps the whole body under its digest. `seen`: `updated_at` as the
    caller knows it, so that two open forms do not overwrite each other. Raises Invalid, Forbidden, and Conflict:
    `changed_meanwhile` when it is newer than `seen`.
    """
    _own(by, request, "change")
    body = parse(data)
    with transaction.atomic():
        current = Request.objects.select_for_update().get(pk=request.pk)
        if current.state not in CHANGEABLE:
            raise Conflict(
                f"{current} is {current.get_state_display().lower()}; only a draft or one sent back can be changed."
            )
        if body.kind != current.kind:
            raise Invalid.field(
                "kind", f"kind is {body.kind!r}; {current} is of the kind {current.kind}. Make a new one."
            )
        if seen is not None and current.updated_at != seen:
            raise Conflict(
                f"{current} was changed in another window since this one was opened. Reload to see it.",
                code="changed_meanwhile",
            )
        before, after = current.body, body.stored()
        if before == after:
            return current
        current.body = after
        _attach(current, KINDS[body.kind].subject(by, body))
        current.save()
        if not (autosaved and _just_recorded(by, current)):
            changed = [key for key in after if after[key] != before.get(key)]
            record(
                "approvals.change",
                by=by,
                obj=current,
                project=slug_of(current),
                before={key: before.get(key) for key in changed},
                after={key: after[key] for key in changed},
            )
    return current


def submit(by: Principal, request: Request) -> Request:
    """Send a draft, or send a changed request again: the plan is computed and frozen under its digest.

    Raises Invalid naming the fields whose checks fail, and Conflict when the request is not a draft or sent back, or
    when another one like it waits already (`already_asked`).
    """
    _own(by, request, "submit")
    with transaction.atomic():
        current = Request.objects.select_for_update().get(pk=request.pk)
        source = current.state
        if source not in CHANGEABLE:
            raise Conflict(f"{current} is {current.get_state_display().lower()} already.")
        body = parse(current.body)
        complete(body)
        kind = KINDS[body.kind]
        found = kind.resolve(by, body)
        plan = plans.build(by, body, resolved=found, request=current)
        _refuse_failed(plan)
        kind.guard(current, found)
        _freeze(current, body, plan, found.subject)
        sent(by, current, found)
        current.refresh_from_db()
        stages = keeping.write(current, current.updated_at)
        clock.started(current)
        record(
            "approvals.submit",
            by=by,
            obj=current,
            project=slug_of(current),
            before={"state": source},
            after={"state": current.state, "plan_digest": current.plan_digest, "submission": current.submission},
        )
        envelopes.submitted(current, plan)
        current.refresh_from_db()
        if current.state == RequestState.SUBMITTED:  # no rule has approved it: people do
            telling.submitted(current, stages[0])
    return current


def send(by: Principal, data: Mapping[str, Any]) -> Request:
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
        own = Request.objects.filter(pk=current.pk)
        if not move(own, current.state, RequestState.WITHDRAWN, updated_at=timezone.now()):
            raise Conflict(f"{current} was decided at the same moment.", code="already_decided")
        if current.state == RequestState.SUBMITTED:
            keeping.close(current)
            clock.stopped(current)
            ended(by, current, None)
        record("approvals.withdraw", by=by, obj=current, project=slug_of(current), before={"state": current.state})
    current.refresh_from_db()
    return current


def comment(by: Principal, request: Request, text: str) -> Comment:
    """Add a remark to a request that the caller may see. Whoever is mentioned as @name, and may see it, is told."""
    if not may_decide(by, request):
        require(by, "comment", request)
    cleaned = clean_text(text, field="text", low=1, high=MAX_REASON, lines=True)
    with transaction.atomic():
        made = Comment.objects.create(request=request, author=by.person, text=cleaned)
        people = mentions.mentioned(request, cleaned, by.person)
        after = {"comment": made.pk, "mentions": [one.username for one in people]}
        record("approvals.comment", by=by, obj=request, project=slug_of(request), after=after)
        if request.state == RequestState.SUBMITTED and may_decide(by, request):
            clock.triaged(request, by.person)
        telling.mentioned(made, people)
        telling.commented(made)
    return made


def _own(by: Principal, request: Request, verb: str) -> None:
    require(by, "view", request)
    if request.requester_id != by.person.pk:
        raise Forbidden(f"Only {request.requester.username}, who made {request}, may {verb} it.")
    if request.project_id is not None and by.project_id not in (None, request.project_id):
        raise Forbidden("The token is bound to another project.")


def _attach(request: Request, subject: Subject) -> None:
    """Copy what lists filter by."""
    request.project = subject.project
    request.name = subject.name
    request.environment = subject.environment
    # What an earlier submission named stays until the next one names it anew.
    request.version = subject.version or request.version
    request.profile = subject.profile or request.profile
    request.endpoint = subject.endpoint or request.endpoint


def _just_recorded(by: Principal, request: Request) -> bool:
    """Whether a change of this draft is in the audit log already, so recent that another row would only fill it."""
    if request.state != RequestState.DRAFT:
        return False
    rows = Row.objects.filter(object_kind="request", object_id=str(request.pk), actor=by.key)
    return rows.filter(action__in=("approvals.draft", "approvals.change"), at__gt=timezone.now() - QUIET).exists()


def _freeze(current: Request, body: RequestBody, plan: dict[str, Any], subject: Subject) -> None:
    """Move to submitted with the plan under its digest; raises Conflict when somebody was faster."""
    now = timezone.now()
    try:
        with transaction.atomic():
            moved = move(
                Request.objects.filter(pk=current.pk),
                current.state,
                RequestState.SUBMITTED,
                plan=plan,
                plan_digest=plans.freeze(body, plan),
                submission=current.submission + 1,
                submitted_at=current.submitted_at or now,
                version=subject.version,
                profile=subject.profile,
                project=subject.project,
                endpoint=subject.endpoint,
                name=subject.name,
                environment=subject.environment,
                updated_at=now,
            )
    except IntegrityError as error:  # one_open_request_per_endpoint
        raise Conflict("Another request like this was sent at the same moment.", code="already_asked") from error
    if not moved:
        raise Conflict(f"{current} was sent by somebody else at the same moment.")


def _refuse_failed(plan: Mapping[str, Any]) -> None:
    found = failed(plan["checks"])
    if found:
        fields = {check["field"]: f"{check['reason']} {check['fix']}".strip() for check in reversed(found)}
        raise Invalid(f"{found[0]['title']}: {fields[found[0]['field']]}", fields=fields, code="checks_failed")
