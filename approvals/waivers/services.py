"""The life of a waiver: granted, carried over to the endpoint, ended. Nothing here moves an end date, and nothing may:
a longer waiver is another one, with a reason and an approver of its own.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from approvals import findings, waiving
from approvals.models import Request, Waiver, WaiverState
from approvals.waivers import telling
from audit.services import Actor, record, system
from endpoints.models import Endpoint
from portal.errors import Conflict
from portal.http import clean_text
from portal.states import move
from projects.models import Project, User
from projects.permissions import require
from projects.principal import Principal

MAX_REASON = 2000
REMINDERS = (14, 3)  # days before the last one
RELATED = ("request__requester", "endpoint__contact", "project", "owner", "requested_by", "approved_by", "asked")


def grant(
    by: Principal,
    asked: Request,
    *,
    check: str,
    project: Project,
    request: Request | None,
    endpoint: Endpoint | None,
    asks: Mapping[str, Any],
    beneficiary: User | None,
    owner: User,
    reason: str,
    compensating_control: str,
    ends_on: dt.date,
) -> Waiver:
    """Write the waiver that `asked` asked for, in the transaction of its approval; who may approve is judged before
    (approvals/waivers/judging.py), and the database holds it too. `asks`: for what of `request` it is.

    Raises Conflict `already_waived` when another one counts for the same check of the same object.
    """
    if request is not None:
        _outgrown(request, check)
    try:
        with transaction.atomic():
            made = Waiver.objects.create(
                asked=asked,
                check_id=check,
                project=project,
                request=request,
                endpoint=endpoint,
                asks=asks,
                beneficiary=beneficiary,
                reason=reason,
                compensating_control=compensating_control,
                owner=owner,
                requested_by=asked.requester,
                approved_by=by.person,
                ends_on=ends_on,
            )
    except IntegrityError as error:
        raise Conflict(
            f"{check} is waived already. See the waivers of {project.slug}.", code="already_waived"
        ) from error
    facts = {"check": check, "about": telling.subject(made), "owner": owner.username, "ends_on": ends_on}
    record(
        "waivers.grant", by=by, obj=made, project=project.slug, after=facts | {"request": asked.number}, reason=reason
    )
    if request is not None:  # the story of what it is about goes on there
        record(
            "approvals.waive",
            by=by,
            obj=request,
            project=project.slug,
            after={"check": check, "waiver": str(made), "ends_on": ends_on},
            reason=reason,
        )
    findings.waived(made)
    return made


def carry(request: Request, endpoint: Endpoint) -> int:
    """Let the waivers of an approved request count for the endpoint that it opened or changed; return how many.

    Call it in the transaction of the approval. A check that has a waiver there already keeps that one.
    """
    held = Waiver.objects.filter(endpoint=endpoint, state=WaiverState.ACTIVE).values_list("check_id", flat=True)
    taken, carried = set(held), 0
    rows = Waiver.objects.filter(request=request, endpoint=None, state=WaiverState.ACTIVE).order_by("-ends_on")
    for waiver in rows.select_related("project"):
        if waiver.check_id in taken or not waiving.counts(waiver, request.body):
            continue
        Waiver.objects.filter(pk=waiver.pk).update(endpoint=endpoint)
        after = {"endpoint": str(endpoint.pk), "name": endpoint.name}
        record("waivers.carry", by=system("waivers"), obj=waiver, project=waiver.project.slug, after=after)
        taken.add(waiver.check_id)
        carried += 1
    return carried


def _outgrown(request: Request, check: str) -> None:
    """End the waiver of a request that was changed since: another one takes its place."""
    for row in _locked(Waiver.objects.filter(request=request, check_id=check, state=WaiverState.ACTIVE)):
        if not waiving.counts(row, request.body):
            reason = f"{request} asks for something else by now."
            _end(system("waivers"), row, WaiverState.REVOKED, "waivers.outgrow", reason)


def revoke(by: Principal, waiver: Waiver, *, reason: str) -> Waiver:
    """End a waiver before its last day: the rule counts again at once.

    Raises Forbidden, Invalid without a reason, and Conflict `waiver_closed` for one that is over.
    """
    require(by, "revoke", waiver)
    text = clean_text(reason, field="reason", low=3, high=MAX_REASON, lines=True)
    with transaction.atomic():
        current = _locked(Waiver.objects.filter(pk=waiver.pk))[0]
        _end(by, current, WaiverState.REVOKED, "waivers.revoke", text)
        telling.revoked(current, by.person, text)
    waiver.refresh_from_db()
    return waiver


def expire(today: dt.date | None = None) -> int:
    """End the waivers whose last day is over and open their findings again; return how many. Each in a transaction of
    its own, so that one that cannot be ended holds up no other.
    """
    day, count = today or timezone.now().date(), 0
    over = Waiver.objects.filter(state=WaiverState.ACTIVE, ends_on__lt=day).order_by("ends_on", "pk")
    for key in list(over.values_list("pk", flat=True)):
        with transaction.atomic():
            due = _locked(over.filter(pk=key))
            if due:
                _end(system("waivers"), due[0], WaiverState.EXPIRED, "waivers.expire", "Its last day is over.")
                telling.expired(due[0])
                count += 1
    return count


def remind(today: dt.date | None = None) -> int:
    """Tell people of waivers that have 14 or 3 days left, once for each; return of how many."""
    day, count = today or timezone.now().date(), 0
    soon = Waiver.objects.filter(state=WaiverState.ACTIVE, ends_on__gte=day)
    for waiver in soon.filter(ends_on__lte=day + dt.timedelta(days=REMINDERS[0])).select_related(*RELATED):
        mark = max(waiver.ends_on - dt.timedelta(days=left) for left in REMINDERS if _due(waiver, left, day))
        if waiver.reminded_on is not None and waiver.reminded_on >= mark:
            continue
        with transaction.atomic():
            rows = Waiver.objects.filter(pk=waiver.pk, state=WaiverState.ACTIVE, reminded_on=waiver.reminded_on)
            if rows.update(reminded_on=day):
                left = (waiver.ends_on - day).days
                telling.ending(waiver, left)
                after = {"reminded_on": day, "days_left": left}
                record("waivers.remind", by=system("waivers"), obj=waiver, project=waiver.project.slug, after=after)
                count += 1
    return count


def _due(waiver: Waiver, left: int, day: dt.date) -> bool:
    return waiver.ends_on - dt.timedelta(days=left) <= day


def _locked(rows: QuerySet[Waiver]) -> list[Waiver]:
    return list(rows.select_for_update(of=("self",)).select_related(*RELATED))


def _end(by: Actor, waiver: Waiver, target: WaiverState, action: str, reason: str) -> None:
    rows = Waiver.objects.filter(pk=waiver.pk)
    if not move(rows, WaiverState.ACTIVE, target, closed_at=timezone.now()):
        raise Conflict(f"{waiver} is over already: it was revoked, or its last day has passed.", code="waiver_closed")
    before = {"state": WaiverState.ACTIVE.value, "ends_on": waiver.ends_on}
    record(
        action,
        by=by,
        obj=waiver,
        project=waiver.project.slug,
        before=before,
        after={"state": target.value},
        reason=reason,
    )
    findings.counts_again(waiver)
