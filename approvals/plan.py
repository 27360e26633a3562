"""The plan: what a request would cost, whether it fits, whether there is room, which checks pass. Each number names
its inputs.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.conf import settings
from django.utils import timezone

from approvals import policies
from approvals.bodies import EndpointBody
from approvals.lead_time import estimate
from catalog import fit
from catalog.models import Asset, HardwareProfile, Kind, Version
from endpoints.models import Cluster
from endpoints.services import name_is_taken
from portal.errors import Invalid
from portal.http import digest
from projects.models import Project
from projects.permissions import can, visible
from projects.principal import Principal
from quotas.models import Pool, Reservation, ReservationState
from quotas.services import room

CENT = Decimal("0.01")


@dataclass(frozen=True)
class Line:
    """A pool at one moment: room in accelerators, and how many reservations wait (`ahead`) for how much (`waiting`)."""

    limit: int
    held: int
    available: int
    waiting: int
    ahead: int


@dataclass(frozen=True)
class Resolved:
    """The objects that a body names. `line` is what is known about the pool already; None = read it when needed."""

    project: Project
    version: Version
    profile: HardwareProfile
    pool: Pool | None
    cluster: Cluster | None
    line: Line | None = None


def resolve(by: Principal, body: EndpointBody) -> Resolved:
    """Look up what a complete `body` names; raises Invalid naming each field whose value the caller may not use."""
    problems: dict[str, str] = {}
    project: Project | None = None
    try:
        project = project_for(by, body.project or "")
    except Invalid as error:
        problems.update(error.fields)
    version = (
        Version.objects.visible_to(by)
        .select_related("asset")
        .filter(asset__slug=body.asset, version=body.version)
        .first()
    )
    if version is None:
        known = Asset.objects.filter(slug=body.asset, versions__in=Version.objects.visible_to(by)).exists()
        field = "version" if known else "asset"
        problems[field] = (
            f"{field} {getattr(body, field)!r} is not in the catalog. Choose an approved version from the catalog."
        )
    profile = HardwareProfile.objects.filter(slug=body.hardware_profile).first()
    if profile is None:
        problems["hardware_profile"] = (
            f"hardware_profile {body.hardware_profile!r} does not exist. Choose one from the list of profiles."
        )
    if project is None or version is None or profile is None or problems:
        raise Invalid(next(iter(problems.values())), fields=problems)
    pools = list(profile.pools.all()) if profile.accelerator_count else []
    pool, cluster = place(profile, pools, Cluster.objects.all(), body.environment or "")
    return Resolved(project, version, profile, pool, cluster)


def project_for(by: Principal, slug: str) -> Project:
    """Return the project in which the caller may send requests; raises Invalid with one sentence for unknown and
    foreign alike.
    """
    project: Project | None = visible(by, Project.objects.all()).filter(slug=slug).first()
    if project is None or not can(by, "request", project):
        raise Invalid.field(
            "project",
            f"project {slug!r} is not one in which you may send requests. Choose one where you are owner or developer.",
        )
    return project


def place(
    profile: HardwareProfile, pools: Iterable[Pool], clusters: Iterable[Cluster], environment: str
) -> tuple[Pool | None, Cluster | None]:
    """Return where it would run: the first pool of the profile whose cluster serves the environment, and that cluster.

    A profile without accelerators needs no pool. When no pool's cluster serves the environment the first pool is
    returned alone.
    """
    serving = {cluster.slug: cluster for cluster in clusters if environment in cluster.environments}
    if not profile.accelerator_count:
        return None, next(iter(serving.values()), None)
    offered = sorted(pools, key=lambda pool: pool.slug)
    pool = next((pool for pool in offered if pool.cluster in serving), None)
    return (pool, serving[pool.cluster]) if pool else (next(iter(offered), None), None)


def build(
    by: Principal, body: EndpointBody, *, resolved: Resolved | None = None, endpoint_id: str = ""
) -> dict[str, Any]:
    """Return the plan of a complete `body` as plain JSON.

    Raises Invalid when it names something that the caller may not use. Failing checks do not raise: they stand in
    `checks`.
    """
    found = resolved or resolve(by, body)
    replicas, concurrency = body.replicas or 1, body.concurrency or 1
    context = body.context_tokens or 1
    memory = _memory(found, context, concurrency)
    gpus = found.profile.accelerator_count * replicas
    checks = policies.run(
        policies.Case(
            version=found.version,
            profile=found.profile,
            pool=found.pool,
            replicas=replicas,
            concurrency=concurrency,
            context_tokens=context,
            environment=body.environment or "",
            data_classification=body.data_classification or "",
            memory=memory,
            name_taken=name_is_taken(found.project, body.name or ""),
            cluster=found.cluster.slug if found.cluster else None,
        )
    )
    return {
        "schema": 1,
        "asset": found.version.asset.slug,
        "asset_name": found.version.asset.name,
        "version": found.version.version,
        "version_digest": found.version.digest,
        "source": found.version.source,
        "licence": found.version.licence,
        "engine": found.version.runtime.get("engine", ""),
        "demo": bool(found.version.runtime.get("demo")),
        "cluster": found.cluster.slug if found.cluster else None,
        "simulated": bool(found.cluster and found.cluster.simulated),
        "memory": memory,
        "gpus": {"per_replica": found.profile.accelerator_count, "replicas": replicas, "total": gpus},
        "room": _room(found, gpus),
        "cost": cost(found.profile, replicas, body.ends_on),
        "checks": [check.json() for check in checks],
        "reviews": {
            "count": 1,
            "roles": ["platform-engineers", "governance-leads"],
            "sentence": "One platform engineer or governance lead decides.",
        },
        "lead_time": estimate(),
    }


def freeze(body: EndpointBody, plan: dict[str, Any]) -> str:
    """Return the digest over what was asked and what was computed: what is provisioned is what was approved."""
    return digest({"body": body.stored(), "plan": plan})


def _memory(found: Resolved, context: int, concurrency: int) -> dict[str, Any]:
    if found.version.asset.kind != Kind.MODEL:
        return {
            "fits": True,
            "needed_bytes": 0,
            "limit_bytes": 0,
            "rows": [],
            "sentence": "Nothing is loaded.",
            "fix": "",
            "notes": [],
        }
    memory = fit.memory(found.version.needs, found.profile, context, concurrency, settings.GPU_MEMORY_UTILISATION)
    where = f"{found.profile.slug} gives {_gib(memory.limit)}"
    if memory.fits:
        sentence = f"Needs {_gib(memory.needed)}; {where}, {_gib(memory.spare)} to spare."
    else:
        sentence = f"Needs {_gib(memory.needed)}, but {where}: {_gib(-memory.spare)} too much."
    return {
        "fits": memory.fits,
        "needed_bytes": memory.needed,
        "limit_bytes": memory.limit,
        "spare_bytes": memory.spare,
        "sentence": sentence,
        "fix": "" if memory.fits else _memory_fix(found, memory, context, concurrency),
        "notes": list(memory.notes),
        "limit_formula": memory.limit_formula,
        "rows": [
            {"what": "Weights", "kind": "weights", "inputs": memory.weights_formula, "bytes": memory.weights},
            {"what": "KV cache", "kind": "kv", "inputs": memory.kv_formula, "bytes": memory.kv_cache},
            {"what": "Overhead", "kind": "overhead", "inputs": memory.overhead_formula, "bytes": memory.overhead},
        ],
    }


def _memory_fix(found: Resolved, memory: fit.MemoryPlan, context: int, concurrency: int) -> str:
    per_token = memory.kv_per_token * concurrency
    free = memory.limit * 10 // 11 - memory.weights
    if per_token and free >= per_token:
        return (
            f"Set context_tokens to {min(free // per_token, context):,} or less, or choose a larger hardware profile."
        )
    profiles = HardwareProfile.objects.filter(enabled=True)
    fitting = fit.profiles_that_fit(
        found.version.needs, profiles, context, concurrency, settings.GPU_MEMORY_UTILISATION
    )
    return (
        f"Choose a larger hardware profile, for example {fitting[0][0].slug}."
        if fitting
        else "No profile is large enough; lower context_tokens or concurrency."
    )


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def line_of(pool: Pool) -> Line:
    """Return how `pool` stands now (two queries)."""
    now = room(pool)
    ahead = Reservation.objects.filter(pool=pool, state=ReservationState.WAITING).count()
    return Line(now.limit, now.held, now.available, now.waiting, ahead)


def _room(found: Resolved, gpus: int) -> dict[str, Any]:
    if found.pool is None or not gpus:
        return {"pool": None, "needed": 0, "sentence": "No accelerator is needed, so nothing has to wait."}
    now = found.line or line_of(found.pool)
    ahead = now.ahead
    # Whoever waits does so because it does not fit, so a newcomer that fits starts at once (quotas/services.py).
    position = 0 if gpus <= now.available else ahead + 1
    sentence = (
        f"Takes {gpus} of {now.available} free GPUs; starts at once after approval."
        if not position
        else f"{now.available} of {now.limit} GPUs are free and {ahead} wait; this one would be number {position}."
    )
    return {
        "pool": found.pool.slug,
        "pool_name": found.pool.name,
        "simulated": found.pool.simulated,
        "needed": gpus,
        "limit": now.limit,
        "held": now.held,
        "waiting": ahead,
        "available": now.available,
        "position": position,
        "sentence": sentence,
    }


def cost(profile: HardwareProfile, replicas: int, ends_on: dt.date | None) -> dict[str, Any]:
    """Return the list price per hour, per month (730 h) and until `ends_on`, as decimal strings with the arithmetic
    in words.
    """
    hourly = profile.price_per_hour * replicas
    hours = max((ends_on - timezone.now().date()).days, 0) * 24 if ends_on else 0
    return {
        "currency": profile.currency,
        "per_hour": _money(hourly),
        "per_hour_inputs": f"{replicas} × {_money(profile.price_per_hour)}",
        "per_month": _money(hourly * settings.HOURS_PER_MONTH),
        "per_month_inputs": f"{_money(hourly)} × {settings.HOURS_PER_MONTH} h",
        "until_end": _money(hourly * hours),
        "until_end_inputs": f"{_money(hourly)} × {hours:,} h",
    }


def _money(value: Decimal) -> str:
    return str(value.quantize(CENT, rounding=ROUND_HALF_UP))
