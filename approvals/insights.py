"""The numbers behind the objective: how long each stage takes, how much is asked and decided, what fails and why.

All of them are of the requests and endpoints that the reader may see, and each says from how many it is computed.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Count, Max, Q, QuerySet, TextField
from django.db.models.functions import Cast, Left
from django.utils import timezone

from approvals.lead_time import LOADER, Moment, percentile
from approvals.models import Request, RequestKind, RequestState
from approvals.objective import report
from approvals.objective.clock import SAMPLE_DAYS
from endpoints.models import Event, Phase
from portal.templatetags.gatehouse import duration_h
from projects.models import Project
from projects.permissions import visible
from projects.principal import Principal

MAX_SAMPLES = 10_000  # the newest; a platform that decides more in 90 days has percentiles enough
DECIDED = (RequestState.APPROVED, RequestState.REJECTED)
OPEN = (RequestState.SUBMITTED, RequestState.CHANGES_REQUESTED)
STAGES: Mapping[str, str] = {
    "decision": "Request to decision",
    "ready": "Decision to first answer",
    "total": "Request to first answer",
    "triage": "Request to first look",
    "first_token": "First answer to first call",
}
OF_ENDPOINTS = ("ready", "first_token")  # stages that no other kind has
WEEKS = 12
FAILURE_DAYS, MOST_REASONS = 30, 12
UTC = dt.UTC


@dataclass(frozen=True)
class Stage:
    """How long one stage of one kind took: `p50` and `p90` in seconds on the wall, `within` the share inside the
    objective. None where there is no sample. Only what is finished can be a sample.

    Where the stage is what the objective is about, `within` is by the business clock, and `counted` holds its p50 and
    p90.
    """

    kind: str
    stage: str
    samples: int
    p50: float | None
    p90: float | None
    within: float | None
    counted: tuple[float | None, float | None] = (None, None)


class Past(NamedTuple):
    """One request that was decided: its moments in seconds since 1970, `counted` seconds by the clock of the objective,
    and `due` while that clock goes on: it is approved, and not live yet. A plain tuple, since there are thousands.
    """

    kind: str
    counted: int
    sent: float
    seen: float | None
    decided: float
    ready: float | None
    called: float | None
    due: float | None


@dataclass(frozen=True)
class Week:
    """What happened in a week (Monday to Sunday, UTC). `open` is what was sent and undecided at its end."""

    start: dt.datetime
    sent: int
    decided: int
    open: int


@dataclass(frozen=True)
class Failure:
    """How often endpoints failed for one reason: `code` of the event."""

    code: str
    times: int
    endpoints: int
    last: dt.datetime


def since(days: int = SAMPLE_DAYS) -> dt.datetime:
    """Return the moment from which requests are counted."""
    return timezone.now() - dt.timedelta(days=days)


def objective() -> str:
    """Return the objective in words: 5 days."""
    days, rest = divmod(settings.LEAD_TIME_OBJECTIVE_SECONDS, 86_400)
    return duration_h(settings.LEAD_TIME_OBJECTIVE_SECONDS) if rest else f"{days} day{'s' if days != 1 else ''}"


def past(principal: Principal, *, project: Project | None = None, kind: str | None = None) -> list[Past]:
    """Return the requests first sent in the last 90 days and decided, the newest 10,000 (one query); without those that
    were decided as they were made.
    """
    rows = visible(principal, Request.objects.filter(submitted_at__gte=since(), state__in=DECIDED))
    rows = rows.filter(**{name: value for name, value in (("project", project), ("kind", kind)) if value is not None})
    names = ("submitted_at", "triaged_at", "decided_at", "endpoint__ready_at", "first_token_at", "due_at")
    columns: tuple[Any, ...] = ("kind", "clock_seconds", *(Moment(name) for name in names))
    known = rows.filter(decided_at__isnull=False).exclude(requester__username=LOADER).order_by("-id")
    return [Past._make(row) for row in known.values_list(*columns)[:MAX_SAMPLES]]


def lead_times(principal: Principal, *, project: Project | None = None, kind: str | None = None) -> list[Stage]:
    """Return `stages` of what is visible (one query)."""
    return stages(past(principal, project=project, kind=kind), kind)


def stages(rows: Sequence[Past], kind: str | None = None) -> list[Stage]:
    """Return the stages of every kind, or of one.

    A kind that opens no endpoint is finished with its decision, so it has no stage of endpoints, and `total` ends
    there. Percentiles are nearest-rank.
    """
    found = {(of_kind, stage): list[float]() for of_kind in RequestKind.values for stage in STAGES}
    counted: dict[str, list[float]] = {of_kind: [] for of_kind in RequestKind.values}
    for one in rows:
        of_kind, opens = one.kind, one.kind == RequestKind.ENDPOINT
        found[of_kind, "decision"].append(one.decided - one.sent)
        if one.seen is not None:
            found[of_kind, "triage"].append(one.seen - one.sent)
        end = one.ready if opens else one.decided
        if end is not None:
            found[of_kind, "total"].append(end - one.sent)
            counted[of_kind].append(one.counted)
        if opens and one.ready is not None:
            found[of_kind, "ready"].append(one.ready - one.decided)
            if one.called is not None:
                found[of_kind, "first_token"].append(one.called - one.ready)
    kinds = [kind] if kind is not None else RequestKind.values
    return [
        _stage(of_kind, stage, sorted(found[of_kind, stage]), sorted(counted[of_kind]))
        for of_kind in kinds
        for stage in STAGES
        if stage not in OF_ENDPOINTS or of_kind == RequestKind.ENDPOINT
    ]


def _stage(kind: str, stage: str, values: list[float], counted: list[float]) -> Stage:
    # Elsewhere the decision is the end as well, and the same clock tells of it.
    by_clock = stage == "total" or (stage == "decision" and kind != RequestKind.ENDPOINT)
    measured = counted if by_clock else values
    within = sum(value <= settings.LEAD_TIME_OBJECTIVE_SECONDS for value in measured)
    share = round(within / len(measured), 4) if measured else None
    told = (percentile(counted, 0.5), percentile(counted, 0.9)) if by_clock else (None, None)
    p50, p90 = (
        None if one is None else max(0.0, round(one, 3)) for one in (percentile(values, 0.5), percentile(values, 0.9))
    )
    return Stage(kind, stage, len(values), p50, p90, share, told)


def budget(rows: Sequence[Past], overdue: int) -> report.Budget:
    """Return the error budget of `rows`; `overdue`: how many more are undecided and too late already."""
    now, goal = timezone.now().timestamp(), settings.LEAD_TIME_OBJECTIVE_SECONDS
    running = sum(one.due is not None and one.due <= now for one in rows)
    done = sum(one.due is None for one in rows)
    late = sum(one.due is None and one.counted > goal for one in rows)
    return report.budget(done + running + overdue, late + running + overdue)


def ageing(principal: Principal, *, project: Project | None = None, kind: str | None = None) -> report.Ageing:
    """Return how old the open requests are that the reader may see (one query)."""
    rows = visible(principal, Request.objects.all())
    only = (("project", project), ("kind", kind))
    return report.ageing(rows.filter(**{name: value for name, value in only if value is not None}))


def throughput(principal: Principal, *, project: Project | None = None) -> list[Week]:
    """Return the last 12 weeks, oldest first, the current one included (three queries).

    What was withdrawn or expired counts as sent and leaves no mark on `open`: when it ended is not remembered.
    """
    now = timezone.now().astimezone(UTC)
    monday = (now - dt.timedelta(days=now.weekday())).replace(hour=0, minute=0, second=0, microsecond=0)
    starts = [monday - dt.timedelta(weeks=back) for back in range(WEEKS - 1, -1, -1)]
    rows = visible(principal, Request.objects.all())
    if project is not None:
        rows = rows.filter(project=project)
    sent = _per_week(rows, "submitted_at", starts[0])
    decided = _per_week(rows.filter(state__in=DECIDED), "decided_at", starts[0])
    waiting = rows.filter(state__in=OPEN, submitted_at__isnull=False).count()
    weeks: list[Week] = []
    for start in reversed(starts):  # from what is open now, back in time
        (came, stayed), (went, _) = sent.get(start, (0, 0)), decided.get(start, (0, 0))
        weeks.append(Week(start, came, went, waiting))
        waiting += went - stayed
    return weeks[::-1]


def _per_week(rows: QuerySet[Request], field: str, start: dt.datetime) -> dict[dt.datetime, tuple[int, int]]:
    """Return by week how many there are, and how many of them are open or decided."""
    # By day, as text: what SQLite truncates to weeks, it asks Python to truncate, row by row.
    days = rows.filter(**{f"{field}__gte": start}).order_by().annotate(day=Left(Cast(field, TextField()), 10))
    counts = days.values("day").annotate(all=Count("pk"), kept=Count("pk", filter=Q(state__in=(*OPEN, *DECIDED))))
    found: dict[dt.datetime, tuple[int, int]] = {}
    for row in counts:
        day = dt.datetime.combine(dt.date.fromisoformat(row["day"]), dt.time(), tzinfo=UTC)
        week = day - dt.timedelta(days=day.weekday())
        came, kept = found.get(week, (0, 0))
        found[week] = came + row["all"], kept + row["kept"]
    return found


def failures(principal: Principal, *, project: Project | None = None) -> list[Failure]:
    """Return why endpoints failed in the last 30 days, the most frequent reason first (one query)."""
    rows = visible(principal, Event.objects.filter(at__gte=since(FAILURE_DAYS), phase=Phase.FAILED))
    if project is not None:
        rows = rows.filter(endpoint__project=project)
    grouped = (
        rows.order_by()
        .values("code")
        .annotate(times=Count("pk", distinct=True), endpoints=Count("endpoint", distinct=True), last=Max("at"))
    )
    return [Failure(**row) for row in grouped.order_by("-times", "code")[:MOST_REASONS]]


def samples_of(found: Sequence[Stage], kind: str, stage: str) -> Stage:
    """Return one stage of `lead_times`; raises LookupError for one that is not there."""
    for one in found:
        if (one.kind, one.stage) == (kind, stage):
            return one
    raise LookupError(f"{kind} has no stage {stage}")
