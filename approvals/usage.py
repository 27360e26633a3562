"""What a reviewer wants to know of an endpoint that runs: how it was used, and how busy it is now."""

import datetime as dt
from typing import Any

from django.db.models import Count, Q, Sum
from django.utils import timezone

from endpoints import numbers
from endpoints.models import Endpoint, EngineCount
from quotas import costs
from quotas.models import UsageDay, UsageEvent
from quotas.rollups import floor

DAYS = 30


def used(endpoint: Endpoint) -> dict[str, Any]:
    """Return calls and tokens of the last 30 days, today included (UTC), on how many of them nobody called, what its
    accelerators cost in them at list price (None: it held none), and when the last call came (three queries).

    The ledger forgets single calls after settings.USAGE_EVENT_DAYS, which is longer.
    """
    now = timezone.now()
    since = floor(now, "day") - dt.timedelta(days=DAYS - 1)
    names = ("requests", "errors", "input_tokens", "output_tokens")
    rows = UsageDay.objects.filter(endpoint_id=str(endpoint.pk), start__gte=since).order_by()
    # Not named like the columns: Django would then sum the sum.
    busy = Count("start", distinct=True, filter=Q(requests__gt=0))
    sums = rows.aggregate(**{f"sum_{name}": Sum(name, default=0) for name in names}, busy=busy)
    lived = min(DAYS, (now.date() - endpoint.created_at.date()).days + 1)
    cost = costs.of_holder(str(endpoint.pk), since, now)
    last = UsageEvent.objects.filter(endpoint_id=str(endpoint.pk)).order_by("-at").values_list("at", flat=True).first()
    found = {name: sums[f"sum_{name}"] for name in names}
    tokens = found["input_tokens"] + found["output_tokens"]
    calls = f"{found['requests']:,} call{'s' if found['requests'] != 1 else ''}"
    return {
        "days": DAYS,
        **found,
        "tokens": tokens,
        "idle_days": max(0, lived - sums["busy"]),
        "cost": cost.text,
        "currency": cost.currency,
        "last_call": last.astimezone(dt.UTC).isoformat(timespec="seconds") if last else None,
        "sentence": f"{calls} with {tokens:,} tokens in the last {DAYS} days."
        if found["requests"]
        else f"Nobody called it in the last {DAYS} days.",
    }


def load(endpoint: Endpoint) -> dict[str, Any]:
    """Return the calls of the last 24 hours, and what its engines work on now (two queries)."""
    day = numbers.last_day([str(endpoint.pk)]).get(str(endpoint.pk), numbers.Calls())
    instances = [route.get("instance", "") for route in endpoint.upstreams]
    now = EngineCount.objects.filter(endpoint=endpoint, instance__in=instances).aggregate(
        running=Sum("running", default=0.0), waiting=Sum("waiting", default=0.0)
    )
    revision = endpoint.revision
    seats = len(instances) * revision.concurrency if revision else 0
    running, waiting = round(now["running"]), round(now["waiting"])
    return {
        "requests_24h": day.requests,
        "tokens_24h": day.input_tokens + day.output_tokens,
        "running": running,
        "waiting": waiting,
        "seats": seats,
        "sentence": f"{running} of {seats} parallel calls are busy now and {waiting} wait; "
        f"{day.requests:,} calls in the last 24 hours.",
    }
