"""Telling people before the objective is missed, and when it is: once each per request."""

import datetime as dt
from collections.abc import Iterable

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from approvals import telling
from approvals.models import Request, RequestState
from approvals.objective import calendar, clock, report
from approvals.objective.words import rough
from projects.models import User
from projects.notify.audience import governance_leads, platform_engineers
from projects.notify.services import tell

BATCH = 200  # requests in one run; the next one goes on
NEAR, PASSED = "request.due", "request.overdue"


def watch(now: dt.datetime | None = None) -> int:
    """Stop the clocks of what can be used by now, then tell of what is near the objective or beyond it; return of how
    many requests people were told.
    """
    now = now or timezone.now()
    clock.settle()
    clock.first_calls()
    late = report.untold(report.overdue(clock.running(), now))
    count = sum(_told(request, now, PASSED) for request in _whole(late))
    left = settings.LEAD_TIME_OBJECTIVE_SECONDS * (100 - settings.OBJECTIVE_ALERT_PERCENT) // 100
    near = clock.running().filter(alerted_at=None, due_at__lte=calendar.current().shift(now, left), due_at__gt=now)
    return count + sum(_told(request, now, NEAR) for request in _whole(near))


def _whole(rows: QuerySet[Request]) -> Iterable[Request]:
    return rows.select_related("project", "requester", "assignee", "endpoint__project").order_by("due_at")[:BATCH]


def _told(request: Request, now: dt.datetime, kind: str) -> bool:
    """Tell of one request; False when another worker did, or when it moved meanwhile."""
    with transaction.atomic():
        same = {"alerted_at": request.alerted_at, "due_at": request.due_at, "state": request.state}
        if not Request.objects.filter(pk=request.pk, **same).update(alerted_at=now):
            return False
        used = clock.seconds(request, now)
        left = settings.LEAD_TIME_OBJECTIVE_SECONDS - used
        waits = "has not been live" if request.state == RequestState.APPROVED else "waits"
        words = f"{rough(left)} left" if left > 0 else f"{rough(-left)} over"
        tell(
            kind,
            _people(request),
            title=f"{request} {waits} for {rough(used)} of business time: {telling.subject(request)}, {words}.",
            text=f"The objective is {rough(settings.LEAD_TIME_OBJECTIVE_SECONDS)} from request to use.",
            url=_page(request),
            project=request.project,
            about=("request", str(request.pk)),
            once=f"request:{request.pk}:{kind}",
            data={
                "request": request.number,
                "request_kind": request.kind,
                "state": request.state,
                "used_seconds": used,
                "objective_seconds": settings.LEAD_TIME_OBJECTIVE_SECONDS,
                "due_at": request.due_at,
            },
        )
    return True


def _page(request: Request) -> str:
    route = "request_detail" if request.state == RequestState.APPROVED else "approval_detail"
    return reverse(route, args=[request.pk])


def _people(request: Request) -> list[User]:
    """Return who can still keep the objective, and the governance leads; never who asked."""
    if request.state == RequestState.APPROVED:
        people = platform_engineers()
    else:
        people = telling.deciders(request)
        people += [request.assignee] if request.assignee else []
    people += governance_leads()
    return [person for person in {one.pk: one for one in people}.values() if person.pk != request.requester_id]
