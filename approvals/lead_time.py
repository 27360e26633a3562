"""Lead time: from the first submission until what was asked for could be used.

For a new endpoint that is its first answer; every other kind can be used from its approval on. What people are told is
the time that passes on the wall; whether the objective was kept is told by the business clock (approvals/objective/).
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import FloatField, Func
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone

from approvals.models import Request, RequestKind, RequestState
from approvals.objective.clock import SAMPLE_DAYS

SAMPLE_LIMIT = 1000
ENOUGH = 10  # requests for one environment, before they speak for themselves
LOADER = "catalog-loader"  # the service account whose requests are decided as they are made: nobody waits for those
CACHE_SECONDS = 60


@dataclass(frozen=True)
class Sample:
    """One request that was finished: `seconds` from sending it until it could be used, `counted` of them by the clock
    of the objective.
    """

    environment: str
    seconds: float
    counted: int


class Moment(Func):
    """A time as seconds since 1970, to the millisecond: numbers by the thousand, where making a `datetime` of each
    takes longer than everything else.
    """

    arity = 1
    output_field = FloatField()

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> tuple[str, Any]:
        """SQLite counts days."""
        days = "(JULIANDAY(%(expressions)s) - 2440587.5) * 86400.0"
        return self.as_sql(compiler, connection, template=days, **context)

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> tuple[str, Any]:
        """PostgreSQL counts seconds."""
        seconds = "EXTRACT(EPOCH FROM %(expressions)s)::float8"
        return self.as_sql(compiler, connection, template=seconds, **context)


def cached(kind: str = RequestKind.ENDPOINT, environment: str = "") -> dict[str, Any]:
    """Return the estimate that plans show, at most a minute old: of requests for `environment` where there are at least
    ENOUGH of them, else of all of `kind`.
    """
    found: dict[str, Any] = cache.get_or_set(f"lead-time:{kind}", lambda: estimates(kind), CACHE_SECONDS) or {}
    return found.get(environment) or found.get("") or estimate(kind)


def estimates(kind: str) -> dict[str, dict[str, Any]]:
    """Return the estimate of `kind` under "", and of each environment that has at least ENOUGH samples (one query)."""
    found: dict[str, list[Sample]] = {}
    for one in samples_of(kind):
        found.setdefault(one.environment, []).append(one)
    every = [one for rows in found.values() for one in rows]
    some = {name: rows for name, rows in found.items() if name and len(rows) >= ENOUGH}
    return {"": _estimate(every)} | {name: _estimate(rows, name) for name, rows in some.items()}


def samples_of(kind: str) -> list[Sample]:
    """Return what was finished of the requests first sent in the last 90 days (at most the newest 1,000)."""
    since = timezone.now() - dt.timedelta(days=SAMPLE_DAYS)
    found = Request.objects.filter(kind=kind, submitted_at__gte=since).exclude(requester__username=LOADER)
    found = found.order_by("-id")
    if kind == RequestKind.ENDPOINT:
        done, end = found.filter(endpoint__ready_at__isnull=False), "endpoint__ready_at"
    else:
        done, end = found.filter(state=RequestState.APPROVED), "decided_at"
    columns = ("environment", Moment("submitted_at"), Moment(end), "clock_seconds")
    return [
        Sample(environment, round(ready - sent, 3), clock)
        for environment, sent, ready, clock in done.values_list(*columns)[:SAMPLE_LIMIT]
    ]


def samples(kind: str = RequestKind.ENDPOINT) -> list[float]:
    """Return the lead times in seconds of the last 90 days (at most the newest 1,000), sorted."""
    return sorted(one.seconds for one in samples_of(kind))


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the nearest-rank percentile of sorted `values` (`share` within 0 to 1); None without samples."""
    if not values:
        return None
    return values[min(len(values) - 1, max(0, -(-int(share * 1000) * len(values) // 1000) - 1))]


def estimate(kind: str = RequestKind.ENDPOINT) -> dict[str, Any]:
    """Return p50, p90 (seconds), the share within the objective and the sample size; says so when there is no data
    yet.
    """
    return _estimate(samples_of(kind))


def _estimate(rows: Sequence[Sample], environment: str = "") -> dict[str, Any]:
    values = sorted(one.seconds for one in rows)
    where = f" for {environment}" if environment else ""
    count = f"{len(values)} request{'s' if len(values) != 1 else ''}{where}"
    within = sum(one.counted <= settings.LEAD_TIME_OBJECTIVE_SECONDS for one in rows)
    return {
        "samples": len(values),
        "environment": environment or None,
        "p50_seconds": percentile(values, 0.5),
        "p90_seconds": percentile(values, 0.9),
        "share_within_objective": round(within / len(values), 4) if values else None,
        "objective_seconds": settings.LEAD_TIME_OBJECTIVE_SECONDS,
        "sentence": f"From {count} in the last {SAMPLE_DAYS} days." if values else "No data yet.",
    }
