"""Lead time: from the first submission until what was asked for could be used.

For a new endpoint that is its first answer; every other kind can be used from its approval on.
"""

import datetime as dt
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import FloatField, Func
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone

from approvals.models import Request, RequestKind, RequestState

SAMPLE_DAYS, SAMPLE_LIMIT = 90, 1000
LOADER = "catalog-loader"  # the service account whose requests are decided as they are made: nobody waits for those
CACHE_SECONDS = 60


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


def cached(kind: str = RequestKind.ENDPOINT) -> dict[str, Any]:
    """Return `estimate`, at most a minute old: what plans say."""
    return cache.get_or_set(f"lead-time:{kind}", lambda: estimate(kind), CACHE_SECONDS) or estimate(kind)


def samples(kind: str = RequestKind.ENDPOINT) -> list[float]:
    """Return the lead times in seconds of the last 90 days (at most the newest 1,000), sorted."""
    since = timezone.now() - dt.timedelta(days=SAMPLE_DAYS)
    found = Request.objects.filter(kind=kind, submitted_at__gte=since).exclude(requester__username=LOADER)
    found = found.order_by("-id")
    if kind == RequestKind.ENDPOINT:
        done, end = found.filter(endpoint__ready_at__isnull=False), "endpoint__ready_at"
    else:
        done, end = found.filter(state=RequestState.APPROVED), "decided_at"
    rows = done.values_list(Moment("submitted_at"), Moment(end))[:SAMPLE_LIMIT]
    return sorted(round(ready - sent, 3) for sent, ready in rows)


def percentile(values: list[float], share: float) -> float | None:
    """Return the nearest-rank percentile of sorted `values` (`share` within 0 to 1); None without samples."""
    if not values:
        return None
    return values[min(len(values) - 1, max(0, -(-int(share * 1000) * len(values) // 1000) - 1))]


def estimate(kind: str = RequestKind.ENDPOINT) -> dict[str, Any]:
    """Return p50, p90 (seconds), the share within the objective and the sample size; says so when there is no data
    yet.
    """
    values = samples(kind)
    count = f"{len(values)} request{'s' if len(values) != 1 else ''}"
    within = sum(value <= settings.LEAD_TIME_OBJECTIVE_SECONDS for value in values)
    return {
        "samples": len(values),
        "p50_seconds": percentile(values, 0.5),
        "p90_seconds": percentile(values, 0.9),
        "share_within_objective": round(within / len(values), 4) if values else None,
        "objective_seconds": settings.LEAD_TIME_OBJECTIVE_SECONDS,
        "sentence": f"From {count} in the last {SAMPLE_DAYS} days." if values else "No data yet.",
    }
