"""Lead time: from the first submission to the first answer of the endpoint."""

import datetime as dt
from typing import Any

from django.conf import settings
from django.utils import timezone

from approvals.models import Request, RequestKind

SAMPLE_DAYS, SAMPLE_LIMIT = 90, 1000


def samples(kind: str = RequestKind.ENDPOINT) -> list[float]:
    """Return the lead times in seconds of the last 90 days (at most the newest 1,000), sorted."""
    since = timezone.now() - dt.timedelta(days=SAMPLE_DAYS)
    rows = (
        Request.objects.filter(kind=kind, submitted_at__gte=since, endpoint__ready_at__isnull=False)
        .order_by("-id")
        .values_list("submitted_at", "endpoint__ready_at")[:SAMPLE_LIMIT]
    )
    return sorted((ready - sent).total_seconds() for sent, ready in rows if ready and sent)


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
