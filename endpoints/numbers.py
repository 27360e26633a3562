"""Counts for pages: what the gateway's ledger says, and beside it what the engines counted themselves."""

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Max, Q, Sum
from django.utils import timezone

from endpoints.keys import PLAYGROUND, TARGET_KIND
from endpoints.models import Endpoint, EngineCount
from projects.models import ApiKey, KeyState
from quotas.models import UsageDay, UsageHour

LIVE_KEYS = (KeyState.ACTIVE, KeyState.ROTATING)


@dataclass(frozen=True)
class Calls:
    """What went through the gateway. `errors` of `requests` failed; tokens as the ledger has them."""

    requests: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True)
class Engines:
    """What the engines counted since they exist, and why the last reading failed, if it did."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    at: dt.datetime | None = None
    error: str = ""


def last_day(endpoint_ids: Collection[str]) -> dict[str, Calls]:
    """Return the calls of the last 24 hours (whole hours, UTC) by endpoint id (one query)."""
    since = timezone.now() - dt.timedelta(hours=24)
    rows = UsageHour.objects.filter(endpoint_id__in=endpoint_ids, start__gte=since).order_by()
    return {row["endpoint_id"]: _calls(row) for row in rows.values("endpoint_id").annotate(**_sums())}


def all_time(endpoint_id: str) -> Calls:
    """Return all calls of one endpoint (one query)."""
    return _calls(UsageDay.objects.filter(endpoint_id=endpoint_id).aggregate(**_sums()))


def engines(endpoint: Endpoint) -> Engines:
    """Return what the engines of one endpoint counted, summed over replicas and restarts (two queries)."""
    rows = EngineCount.objects.filter(endpoint=endpoint)
    found = rows.aggregate(
        requests=Sum("requests", default=0), input_tokens=Sum("prompt_tokens", default=0),
        output_tokens=Sum("generation_tokens", default=0), cached_tokens=Sum("cached_tokens", default=0), at=Max("at"),
    )  # fmt: skip
    instances = [route.get("instance", "") for route in endpoint.upstreams]
    error = rows.filter(instance__in=instances).exclude(error="").values_list("error", flat=True).first()
    return Engines(**found, error=error or "")


def affected_keys(endpoint: Endpoint) -> tuple[int, dt.datetime | None]:
    """Return how many living keys can call the endpoint, and when one of them was used last (one query)."""
    bound = Q(targets__kind=TARGET_KIND, targets__target_id=str(endpoint.pk))
    rows = ApiKey.objects.filter(bound | Q(targets__isnull=True), project=endpoint.project, state__in=LIVE_KEYS)
    found = rows.exclude(purpose=PLAYGROUND).aggregate(count=Count("pk", distinct=True), used=Max("last_used_at"))
    return found["count"], found["used"]


def _sums() -> dict[str, Sum]:
    # Not named like the columns: Django would then sum the sum.
    names = ("requests", "errors", "input_tokens", "output_tokens", "cached_tokens")
    return {f"sum_{name}": Sum(name, default=0) for name in names}


def _calls(row: Mapping[str, Any]) -> Calls:
    return Calls(**{name.removeprefix("sum_"): value for name, value in row.items() if name.startswith("sum_")})
