"""Counts for pages: what the gateway's ledger says, and beside it what the engines counted themselves."""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from django.db.models import Count, Exists, Max, OuterRef, Q, QuerySet, Sum
from django.utils import timezone

from endpoints.keys import PLAYGROUND, TARGET_KIND
from endpoints.models import Endpoint, EngineCount
from projects.models import ApiKey, KeyState, KeyTarget
from quotas.models import UsageDay, UsageHour
from quotas.rollups import floor

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


@dataclass(frozen=True)
class Load:
    """Calls that the engines work on and that wait in them, as they said at `at` (None: never read)."""

    running: int = 0
    waiting: int = 0
    at: dt.datetime | None = None


def load(endpoint: Endpoint) -> Load:
    """Return what the engines that calls go to have to do, as of their last reading (one query)."""
    instances = [route.get("instance", "") for route in endpoint.upstreams]
    found = EngineCount.objects.filter(endpoint=endpoint, instance__in=instances, error="").aggregate(
        all_running=Sum("running", default=0.0), all_waiting=Sum("waiting", default=0.0), at=Max("at")
    )
    return Load(round(found["all_running"]), round(found["all_waiting"]), found["at"])


def by_hour(endpoint: Endpoint) -> list[tuple[dt.datetime, Calls]]:
    """Return the calls of each of the last 24 hours (UTC, the one that runs last), also where there were none (one
    query).
    """
    first = floor(timezone.now(), "hour") - dt.timedelta(hours=23)
    rows = UsageHour.objects.filter(endpoint_id=str(endpoint.pk), start__gte=first).order_by()
    found = {row["start"]: _calls(row) for row in rows.values("start").annotate(**_sums())}
    hours = [first + dt.timedelta(hours=number) for number in range(24)]
    return [(hour, found.get(hour, Calls())) for hour in hours]


def total(hours: Iterable[tuple[dt.datetime, Calls]]) -> Calls:
    """Return the sum of what `by_hour` returns; that is what `last_day` reads."""
    rows = [one for _, one in hours]
    return Calls(**{one.name: sum(getattr(row, one.name) for row in rows) for one in fields(Calls)})


def last_days(endpoint: Endpoint, days: int) -> tuple[Calls, dt.date | None]:
    """Return the calls of the last `days` whole days (UTC, today included), and the last day with one (one query)."""
    since = floor(timezone.now(), "day") - dt.timedelta(days=days - 1)
    rows = UsageDay.objects.filter(endpoint_id=str(endpoint.pk), start__gte=since).order_by()
    found = rows.aggregate(**_sums(), latest=Max("start", filter=Q(requests__gt=0)))
    latest = found.pop("latest")
    return _calls(found), latest.date() if latest else None


def of_others(endpoint: Endpoint, start: dt.datetime, end: dt.datetime, *, hours: bool) -> Calls:
    """Return the calls of other projects, with whom the endpoint is shared, in [start, end), whole hours or days UTC
    (one query).
    """
    model: type[UsageHour] | type[UsageDay] = UsageHour if hours else UsageDay
    rows = model._default_manager.filter(endpoint_id=str(endpoint.pk), start__gte=start, start__lt=end)
    return _calls(rows.exclude(project_id=endpoint.project_id).aggregate(**_sums()))


@dataclass(frozen=True)
class Keys:
    """Living keys that can call an endpoint: of its project, of others with whom it is shared, those that can call
    nothing else; and when one of its project was used last.
    """

    own: int = 0
    others: int = 0
    only: int = 0
    used: dt.datetime | None = None


def affected_keys(endpoint: Endpoint) -> Keys:
    """Return the keys that can call the endpoint (one query)."""
    another = KeyTarget.objects.filter(key=OuterRef("pk")).exclude(kind=TARGET_KIND, target_id=str(endpoint.pk))
    bound, mine = Q(Exists(_targets(endpoint))), Q(project=endpoint.project)
    found = reaching(endpoint).annotate(one=bound & ~Exists(another)).aggregate(
        own=Count("pk", filter=mine), others=Count("pk", filter=~mine), only=Count("pk", filter=Q(one=True)),
        used=Max("last_used_at", filter=mine),
    )  # fmt: skip
    return Keys(**found)


def reaching(endpoint: Endpoint) -> QuerySet[ApiKey]:
    """Return the living keys that can call the endpoint: bound to it, or of its project and bound to none."""
    free = Q(project=endpoint.project) & ~Exists(KeyTarget.objects.filter(key=OuterRef("pk")))
    rows = ApiKey.objects.filter(Q(Exists(_targets(endpoint))) | free, state__in=LIVE_KEYS)
    return rows.exclude(purpose=PLAYGROUND)


def _targets(endpoint: Endpoint) -> QuerySet[KeyTarget]:
    return KeyTarget.objects.filter(kind=TARGET_KIND, target_id=str(endpoint.pk), key=OuterRef("pk"))


def _sums() -> dict[str, Sum]:
    # Not named like the columns: Django would then sum the sum.
    names = ("requests", "errors", "input_tokens", "output_tokens", "cached_tokens")
    return {f"sum_{name}": Sum(name, default=0) for name in names}


def _calls(row: Mapping[str, Any]) -> Calls:
    return Calls(**{name.removeprefix("sum_"): value for name, value in row.items() if name.startswith("sum_")})
