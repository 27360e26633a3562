"""The numbers behind the objective: how long each stage takes, how much is asked and decided, what fails and why.

All of them are of the requests and endpoints that the reader may see, and each says from how many it is computed.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db.models import Count, Max, Q, QuerySet, TextField
from django.db.models.functions import Cast, Left
from django.utils import timezone

from approvals.lead_time import SAMPLE_DAYS, Moment, percentile
from approvals.models import Request, RequestKind, RequestState
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
}
WEEKS = 12
FAILURE_DAYS, MOST_REASONS = 30, 12
UTC = dt.UTC


@dataclass(frozen=True)
class Stage:
    """How long one stage of one kind took: `p50` and `p90` in seconds, `within` the share inside the objective.

    None where there is no sample. Only what is finished can be a sample.
    """

    kind: str
    stage: str
    samples: int
    p50: float | None
    p90: float | None
    within: float | None


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


def lead_times(principal: Principal, *, project: Project | None = None, kind: str | None = None) -> list[Stage]:
    """Return the stages of every kind, of requests first sent in the last 90 days (one query).

    A kind that opens no endpoint is finished with its decision, so it has no stage `ready`, and `total` ends there.
    Percentiles are nearest-rank over the newest 10,000.
    """
    rows = visible(principal, Request.objects.filter(submitted_at__gte=since(), state__in=DECIDED))
    rows = rows.filter(**{name: value for name, value in (("project", project), ("kind", kind)) if value is not None})
    columns = ("kind", Moment("submitted_at"), Moment("decided_at"), Moment("endpoint__ready_at"))
    found: dict[tuple[str, str], list[float]] = {}
    for of_kind, sent, decided, ready in rows.order_by("-id").values_list(*columns)[:MAX_SAMPLES]:
        if sent is None or decided is None:
            continue
        opens = of_kind == RequestKind.ENDPOINT
        ends = ready if opens else decided
        for stage, begin, end in (("decision", sent, decided), ("ready", decided, ready), ("total", sent, ends)):
            if end is not None and (opens or stage != "ready"):
                found.setdefault((of_kind, stage), []).append(max(0.0, round(end - begin, 3)))
    kinds = [kind] if kind is not None else RequestKind.values
    return [
        _stage(of_kind, stage, sorted(found.get((of_kind, stage), ())))
        for of_kind in kinds
        for stage in STAGES
        if stage != "ready" or of_kind == RequestKind.ENDPOINT
    ]


def _stage(kind: str, stage: str, values: list[float]) -> Stage:
    within = sum(value <= settings.LEAD_TIME_OBJECTIVE_SECONDS for value in values)
    share = round(within / len(values), 4) if values else None
    return Stage(kind, stage, len(values), percentile(values, 0.5), percentile(values, 0.9), share)


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


def samples_of(stages: Sequence[Stage], kind: str, stage: str) -> Stage:
    """Return one stage of `lead_times`; raises LookupError for one that is not there."""
    for one in stages:
        if (one.kind, one.stage) == (kind, stage):
            return one
    raise LookupError(f"{kind} has no stage {stage}")
