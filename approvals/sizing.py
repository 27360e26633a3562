"""What the plans of all kinds calculate: memory, room in the pool, list price. Each number names its inputs."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.conf import settings
from django.db.models import Count, Q, QuerySet, Sum
from django.utils import timezone

from catalog import fit
from catalog.models import HardwareProfile, Kind, Version
from endpoints.fleet.access import has_api
from endpoints.models import Cluster
from projects.models import Project
from quotas import fairness, forecast, lines
from quotas.gpus import GpuLimit
from quotas.models import Pool, ReservationState

CENT = Decimal("0.01")


@dataclass(frozen=True)
class Line:
    """A pool at one moment: room in accelerators, how many reservations wait (`ahead`) for how much (`waiting`), and
    the queue itself where somebody waits and it was read.
    """

    limit: int
    held: int
    available: int
    waiting: int
    ahead: int
    queue: fairness.Line | None = None


def place(
    profile: HardwareProfile, pools: Iterable[Pool], clusters: Iterable[Cluster], environment: str
) -> tuple[Pool | None, Cluster | None]:
    """Return where it would run: the first pool of the profile whose cluster serves the environment, and that cluster.

    A profile without accelerators needs no pool, and runs on this machine where that serves the environment: clusters
    with an API want images. When no pool's cluster serves the environment the first pool is returned alone.
    """
    serving = {cluster.slug: cluster for cluster in clusters if environment in cluster.environments}
    if not profile.accelerator_count:
        return None, min(serving.values(), key=has_api, default=None)
    offered = sorted(pools, key=lambda pool: pool.slug)
    pool = next((pool for pool in offered if pool.cluster in serving), None)
    return (pool, serving[pool.cluster]) if pool else (next(iter(offered), None), None)


def asset_facts(version: Version, cluster: Cluster | None) -> dict[str, Any]:
    """Return what a plan says about the version and about where it runs."""
    return {
        "asset": version.asset.slug,
        "asset_name": version.asset.name,
        "version": version.version,
        "version_digest": version.digest,
        "source": version.source,
        "licence": version.licence,
        "engine": version.runtime.get("engine", ""),
        "demo": bool(version.runtime.get("demo")),
        "cluster": cluster.slug if cluster else None,
        "simulated": bool(cluster and cluster.simulated),
    }


def memory(version: Version, profile: HardwareProfile, context: int, concurrency: int) -> dict[str, Any]:
    """Return the memory of one replica against its profile: `context` in tokens per call, `concurrency` in calls at
    the same time (formulas: catalog/fit.py).
    """
    if version.asset.kind != Kind.MODEL:
        return {
            "fits": True,
            "needed_bytes": 0,
            "limit_bytes": 0,
            "rows": [],
            "sentence": "Nothing is loaded.",
            "fix": "",
            "notes": [],
        }
    plan = fit.memory(version.needs, profile, context, concurrency, settings.GPU_MEMORY_UTILISATION)
    where = f"{profile.slug} gives {gib(plan.limit)}"
    if plan.fits:
        sentence = f"Needs {gib(plan.needed)}; {where}, {gib(plan.spare)} to spare."
    else:
        sentence = f"Needs {gib(plan.needed)}, but {where}: {gib(-plan.spare)} too much."
    return {
        "fits": plan.fits,
        "needed_bytes": plan.needed,
        "limit_bytes": plan.limit,
        "spare_bytes": plan.spare,
        "sentence": sentence,
        "fix": "" if plan.fits else _memory_fix(version, plan, context, concurrency),
        "notes": list(plan.notes),
        "limit_formula": plan.limit_formula,
        "rows": [
            {"what": "Weights", "kind": "weights", "inputs": plan.weights_formula, "bytes": plan.weights},
            {"what": "KV cache", "kind": "kv", "inputs": plan.kv_formula, "bytes": plan.kv_cache},
            {"what": "Overhead", "kind": "overhead", "inputs": plan.overhead_formula, "bytes": plan.overhead},
        ],
    }


def _memory_fix(version: Version, memory: fit.MemoryPlan, context: int, concurrency: int) -> str:
    per_token = memory.kv_per_token * concurrency
    free = memory.limit * 10 // 11 - memory.weights
    if per_token and free >= per_token:
        return (
            f"Set context_tokens to {min(free // per_token, context):,} or less, or choose a larger hardware profile."
        )
    profiles = HardwareProfile.objects.filter(enabled=True)
    fitting = fit.profiles_that_fit(version.needs, profiles, context, concurrency, settings.GPU_MEMORY_UTILISATION)
    return (
        f"Choose a larger hardware profile, for example {fitting[0][0].slug}."
        if fitting
        else "No profile is large enough; lower context_tokens or concurrency."
    )


def gib(size: int) -> str:
    """Return bytes in GiB."""
    return f"{size / 2**30:.1f} GiB"


def queued(pools: QuerySet[Pool]) -> QuerySet[Pool]:
    """Return `pools` with what waits for each, for `line_of`."""
    waiting = Q(reservations__state=ReservationState.WAITING)
    return pools.annotate(
        asked=Sum("reservations__amount", filter=waiting, default=0), ahead=Count("reservations", filter=waiting)
    )


def line_of(pool: Any) -> Line:
    """Return how a pool stood when it was read with `queued`."""
    free = max(0, min(pool.limit, pool.observed) - pool.held)
    return Line(pool.limit, pool.held, free, pool.asked, pool.ahead)


def lines_of(pools: Iterable[Any]) -> dict[int, Line]:
    """Return how pools stood when they were read with `queued`, by their ids, with the queues of those for which
    somebody waits (one query, none where nobody does).
    """
    found = {pool.pk: line_of(pool) for pool in pools}
    waited = [pk for pk, one in found.items() if one.ahead]
    queues = lines.read(waited) if waited else {}
    return {pk: replace(one, queue=queues.get(pk)) for pk, one in found.items()}


def room(pool: Pool | None, gpus: int, project: Project, known: Line | None = None) -> dict[str, Any]:
    """Return whether `pool` has room for `gpus` accelerators of a project now, else at which place it would wait (one
    query where others do). `known`: how the pool stands, where that was read; else it is read (one query).
    """
    if pool is None or not gpus:
        return {"pool": None, "needed": 0, "sentence": "No accelerator is needed, so nothing has to wait."}
    now = known or line_of(queued(Pool.objects.filter(pk=pool.pk)).get())
    ahead = now.ahead
    position = _place_of(pool, now, gpus, project) if ahead else int(gpus > now.available)
    sentence = f"Takes {gpus} of {now.available} free GPUs; starts at once after approval."
    if position:
        first = ", since its project is further below its share" if position <= ahead else ""
        sentence = f"{now.available} of {now.limit} GPUs are free and {ahead} wait; this one would be number {position}"
        sentence += f"{first}."
    return {
        "pool": pool.slug,
        "pool_name": pool.name,
        "simulated": pool.simulated,
        "needed": gpus,
        "limit": now.limit,
        "held": now.held,
        "waiting": ahead,
        "available": now.available,
        "position": position,
        "sentence": sentence,
    }


def _place_of(pool: Pool, now: Line, gpus: int, project: Project) -> int:
    """Return the place in the queue of one more reservation, 0 where it would start at once: by fair share a newcomer
    may come before others, and what is free may be kept for who waited long.
    """
    line = now.queue or lines.read([pool.pk]).get(pool.pk)
    if line is None:  # it has just emptied
        return 0
    return forecast.request(line, project.pk, gpus, (), timezone.now(), lines.patience()).position


def cost(profile: HardwareProfile, replicas: int, ends_on: dt.date | None) -> dict[str, Any]:
    """Return the list price per hour, per month (730 h) and until `ends_on`, as decimal strings with the arithmetic
    in words.
    """
    hourly = profile.price_per_hour * replicas
    hours = max((ends_on - timezone.now().date()).days, 0) * 24 if ends_on else 0
    return {
        "currency": profile.currency,
        "per_hour": money(hourly),
        "per_hour_inputs": f"{replicas} × {money(profile.price_per_hour)}",
        "per_month": money(hourly * settings.HOURS_PER_MONTH),
        "per_month_inputs": f"{money(hourly)} × {settings.HOURS_PER_MONTH} h",
        "until_end": money(hourly * hours),
        "until_end_inputs": f"{money(hourly)} × {hours:,} h",
    }


def held_gpus(quota: GpuLimit | None) -> dict[str, Any] | None:
    """Return what a project may hold, holds and waits for, as plans keep it; None where it was not asked."""
    return None if quota is None else {"limit": quota.limit, "held": quota.held, "waiting": quota.waiting}


def money(value: Decimal) -> str:
    """Return an amount as plans keep it: a decimal string in cents."""
    return str(value.quantize(CENT, rounding=ROUND_HALF_UP))


def difference(after: str, before: str) -> str:
    """Return how much more `after` is than `before`, both as `money` writes them, with its sign."""
    return f"{Decimal(after) - Decimal(before):+}"
