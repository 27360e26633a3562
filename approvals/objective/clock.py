"""The clock of a request: how much business time of the objective is used.

It runs from the submission until what was asked for can be used, and stands still while it is the requester's turn.
`clock_seconds` is what was counted up to `clock_since`; `due_at` is when the objective will be reached if it runs on.
Whatever moves a request calls one of these in its own transaction, after the state has moved.
"""

import datetime as dt

from django.conf import settings
from django.db.models import Min, Q, QuerySet
from django.utils import timezone

from approvals.models import Request, RequestKind, RequestState
from approvals.objective import calendar
from approvals.objective.days import Days
from endpoints.models import Phase
from projects.models import User
from quotas.models import UsageEvent

SAMPLE_DAYS = 90  # what every number about lead time is computed from
BATCH = 500
COLUMNS = ("clock_seconds", "clock_since", "due_at")


def seconds(request: Request, now: dt.datetime, days: Days | None = None) -> int:
    """Return the business time in seconds that `request` has used by `now`."""
    since = request.clock_since
    if since is None and request.state == RequestState.SUBMITTED:
        since = request.submitted_at  # written by the release before this one, which knows no clock
    if since is None:
        return request.clock_seconds
    return request.clock_seconds + (days or calendar.current()).business_seconds(since, now)


def started(request: Request) -> None:
    """Let the clock run: it was submitted, or submitted again. A clock that runs is left alone."""
    current = _fresh(request)
    if current.clock_since is None:
        now = timezone.now()
        _keep(request, current.clock_seconds, now, _due(current.clock_seconds, now, calendar.current()))


def paused(request: Request) -> None:
    """Let the clock stand still: it is the requester's turn."""
    _halt(request, timezone.now())


def stopped(request: Request) -> None:
    """Stop the clock: nothing is left to wait for. An approved endpoint's clock goes on until it answers (`settle`)."""
    current = _fresh(request)
    if current.kind == RequestKind.ENDPOINT and current.state == RequestState.APPROVED:
        return
    _halt(request, timezone.now())


def triaged(request: Request, by: User) -> bool:
    """Note that somebody other than the requester has turned to `request`, the first time only; return whether this
    was it.
    """
    if request.triaged_at is not None or by.pk == request.requester_id:
        return False
    now = timezone.now()
    first = Request.objects.filter(pk=request.pk, triaged_at=None, state=RequestState.SUBMITTED)
    if not first.exclude(requester=by).update(triaged_at=now):
        return False
    request.triaged_at = now
    return True


def settle() -> int:
    """Stop the clocks of approved endpoints that have answered, at that moment, or that are gone; return how many.

    `endpoints` does not know that somebody waits, so this asks: it is called by beat.
    """
    waiting = running().filter(kind=RequestKind.ENDPOINT, state=RequestState.APPROVED)
    done = waiting.filter(Q(endpoint__ready_at__isnull=False) | Q(endpoint__phase=Phase.DELETED) | Q(endpoint=None))
    count = 0
    for one in done.select_related("endpoint")[:BATCH]:
        ready = one.endpoint.ready_at if one.endpoint else None
        gone = one.endpoint.deleted_at if one.endpoint else None
        count += _halt(one, ready or gone or timezone.now())
    return count


def first_calls() -> int:
    """Note when endpoints answered their first call, from the ledger in one query; return how many of them are new.

    Only those that were first asked for in the last days of SAMPLE_DAYS are looked for: the ledger forgets older calls.
    """
    since = timezone.now() - dt.timedelta(days=SAMPLE_DAYS)
    asked = Request.objects.filter(kind=RequestKind.ENDPOINT, state=RequestState.APPROVED, first_token_at=None)
    rows = asked.filter(endpoint__ready_at__isnull=False, submitted_at__gte=since).order_by("-pk")
    waiting = {str(endpoint): pk for pk, endpoint in rows.values_list("pk", "endpoint_id")[:BATCH]}
    answered = UsageEvent.objects.filter(endpoint_id__in=list(waiting), status__lt=400).order_by()
    count = 0
    for endpoint, at in answered.values_list("endpoint_id").annotate(first=Min("at")):
        count += Request.objects.filter(pk=waiting[endpoint], first_token_at=None).update(first_token_at=at)
    return count


def recount(old: Days, new: Days, now: dt.datetime) -> int:
    """Count every clock that runs up to `now` by `old`, and from then on by `new`; return how many that were.

    Call it in the transaction that changes the calendar: so a change never rewrites the past.
    """
    count, last = 0, 0
    while batch := list(running().filter(pk__gt=last).order_by("pk").only("pk", *COLUMNS)[:BATCH]):
        for one in batch:
            one.clock_seconds = seconds(one, now, old)
            one.clock_since, one.due_at = now, _due(one.clock_seconds, now, new)
        Request.objects.bulk_update(batch, COLUMNS)
        count, last = count + len(batch), batch[-1].pk
    return count


def running() -> QuerySet[Request]:
    """Return the requests whose clock runs."""
    return Request.objects.filter(clock_since__isnull=False)


def _due(used: int, now: dt.datetime, days: Days) -> dt.datetime:
    """Return when the objective is reached; a moment in the past when it has been."""
    return days.shift(now, settings.LEAD_TIME_OBJECTIVE_SECONDS - used)


def _fresh(request: Request) -> Request:
    columns = ("kind", "state", "clock_seconds", "clock_since")
    return Request.objects.only(*columns).get(pk=request.pk)


def _halt(request: Request, at: dt.datetime) -> bool:
    """Stop the clock of `request` as of `at`; False when it stood still already, or moved at the same moment."""
    current = _fresh(request)
    if current.clock_since is None:
        return False
    used = current.clock_seconds + calendar.business_seconds(current.clock_since, at)
    return _keep(request, used, None, None, was=current.clock_since)


def _keep(
    request: Request,
    used: int,
    since: dt.datetime | None,
    due: dt.datetime | None,
    *,
    was: dt.datetime | None = None,
) -> bool:
    changed = Request.objects.filter(pk=request.pk, clock_since=was).update(
        clock_seconds=used, clock_since=since, due_at=due
    )
    if changed:
        request.clock_seconds, request.clock_since, request.due_at = used, since, due
    return bool(changed)
