"""The parts of the input document, each from what is known already: nothing here asks the database, unless a finding or
a pin was not read yet.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db.models import Case, F, Prefetch, When, prefetch_related_objects
from django.utils import timezone

from approvals.models import DataClassification
from approvals.policies.sample import EVIDENCE, MISSING, SAMPLE
from catalog.evidence import performance
from catalog.evidence.licence import terms
from catalog.models import Evidence, HardwareProfile, PinState, Version
from endpoints.models import Endpoint
from projects.models import Project

LEVELS = {name: level for level, name in enumerate(DataClassification.values)}  # least sensitive first


def empty(part: str) -> dict[str, Any]:
    """Return a part of the document about which there is nothing to say."""
    return {name: type(value)() for name, value in SAMPLE[part].items()}


def with_evidence(versions: Iterable[Version]) -> None:
    """Read the findings about `versions`, without their reports, where they are not known yet (one query at most). Only
    what was measured comes along, as `measured`: plans calculate with it.
    """
    fresh = [one for one in versions if "evidence" not in getattr(one, "_prefetched_objects_cache", ())]
    if not fresh:
        return
    rows = Evidence.objects.defer("report").annotate(measured=Case(When(kind=performance.KIND, then=F("report"))))
    prefetch_related_objects(fresh, Prefetch("evidence", rows))


def of_version(version: Version | None) -> dict[str, Any]:
    """Return the part about the catalog: asset, version and the newest finding of each kind (one query at most)."""
    if version is None:
        return {"asset": empty("asset"), "version": empty("version"), "evidence": dict.fromkeys(EVIDENCE, MISSING)}
    asset = version.asset
    return {
        "asset": {
            "slug": asset.slug,
            "kind": asset.kind,
            "name": asset.name,
            "publisher": asset.publisher,
            "access": asset.access,
            "tasks": list(asset.tasks),
        },
        "version": _version(version),
        "evidence": _evidence(version),
    }


def _version(version: Version) -> dict[str, Any]:
    runtime, needs, pin, now = version.runtime, version.needs, getattr(version, "pin", None), timezone.now()
    image, command = runtime.get("image", ""), runtime.get("command") or []
    checked = (pin.verified_at or pin.resolved_at) if pin else None
    return {
        "version": version.version,
        "state": version.state,
        "licence": version.licence,
        "licence_terms": [one.key for one in terms(version.licence)],
        "source": version.source,
        "engine": runtime.get("engine", ""),
        "demo": bool(runtime.get("demo")),
        "pin": pin.state if pin else "",
        "pinned": bool(pin and pin.digest),
        "pin_digest": pin.digest if pin else "",
        "verified_days": (now - checked).days if checked else -1,
        "drifted": bool(pin and pin.state == PinState.DRIFTED),
        "image": image,
        "image_pinned": not image or "@sha256:" in image,
        "trust_remote_code": any(str(word).replace("_", "-").startswith("--trust-remote-code") for word in command),
        "deprecated": version.state == "deprecated",
        "retires_on": version.retires_on.isoformat() if version.retires_on else "",
        "approved_days": (now - version.approved_at).days if version.approved_at else -1,
        "parameters": int(needs.get("parameters") or 0),
        "max_context_tokens": int(needs.get("max_context_tokens") or 0),
    }


def _evidence(version: Version) -> dict[str, Any]:
    with_evidence([version])
    now, found = timezone.now(), dict[str, Any].fromkeys(EVIDENCE, MISSING)
    for one in version.latest_evidence():
        found[one.kind] = {
            "verdict": one.verdict,
            "age_days": (now - one.collected_at).days,
            "expired": bool(one.expires_at and one.expires_at <= now),
            "summary": one.summary,
            "digest": one.digest,
        }
    return found


def of_project(project: Project | None, held: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the part about the project; `held`: its GPUs as a plan says them (quota -1: none limits it)."""
    if project is None:
        return empty("project") | {"gpu_quota": -1}
    known = held or {}
    limit = known.get("limit")
    return {
        "slug": project.slug,
        "cost_centre": project.cost_centre,
        "owner_team": project.owner_team,
        "gpu_quota": -1 if limit is None else limit,
        "gpus_held": known.get("held", 0),
        "gpus_waiting": known.get("waiting", 0),
    }


def of_profile(profile: HardwareProfile | None) -> dict[str, Any]:
    """Return the part about the hardware profile."""
    if profile is None:
        return empty("profile")
    return {
        "slug": profile.slug,
        "accelerator": profile.accelerator,
        "accelerator_count": profile.accelerator_count,
        "memory_bytes": profile.memory_bytes,
        "cost_hour": float(profile.price_per_hour),
        "offered": profile.enabled,
    }


def of_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a plan has calculated, in plain numbers."""
    memory, room, held = plan.get("memory") or {}, plan.get("room") or {}, plan.get("project_gpus") or {}
    cost, delta = plan.get("cost") or {}, plan.get("delta") or {}
    gpus, limit = (plan.get("gpus") or {}).get("total", 0), memory.get("limit_bytes") or 0
    new = plan.get("kind") == "endpoint"
    more = gpus if new else delta.get("gpus", 0)
    taken = held.get("held", 0) + held.get("waiting", 0) + more
    return {
        "fits": bool(memory.get("fits", True)),
        "headroom_percent": round(100 * memory.get("spare_bytes", 0) / limit, 1) if limit else 100.0,
        "gpus": gpus,
        "more_gpus": more,
        "pool": room.get("pool") or "",
        "pool_gpus": room.get("limit", 0),
        "pool_free": room.get("available", 0),
        "pool_share_percent": _percent(gpus, room.get("limit")),
        "quota_share_percent": _percent(taken, held.get("limit")),
        "starts_at_once": not room.get("position"),
        "position": room.get("position", 0),
        "cost_hour": _money(cost.get("per_hour")),
        "cost_month": _money(cost.get("per_month")),
        "cost_month_more": _money(cost.get("per_month") if new else delta.get("per_month")),
        "cost_total": _money(cost.get("until_end")),
        "currency": cost.get("currency") or settings.CURRENCY,
        "cluster": plan.get("cluster") or "",
        "simulated": bool(plan.get("simulated")),
        "egress_closed": bool(((plan.get("security") or {}).get("egress") or {}).get("enforced")),
    }


def _money(text: str | None) -> float:
    return float(text or 0)


def _percent(part: int, whole: int | None) -> float:
    return round(100 * part / whole, 1) if whole else 0.0


def of_endpoint(
    endpoint: Endpoint | None, per_month: float = 0.0, used: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the part about an endpoint that is there; `used`: its calls and tokens of 30 days, where known."""
    if endpoint is None:
        return empty("endpoint") | {"calls": -1, "tokens": -1}
    revision, today = endpoint.revision, timezone.now().date()
    replicas = revision.replicas if revision else 0
    return {
        "name": endpoint.name,
        "project": endpoint.project.slug,
        "environment": endpoint.environment,
        "phase": endpoint.phase,
        "age_days": (timezone.now() - endpoint.created_at).days,
        "has_end": endpoint.ends_on is not None,
        "days_left": (endpoint.ends_on - today).days if endpoint.ends_on else 0,
        "data_classification": endpoint.data_classification,
        "shareable": endpoint.shareable,
        "revision": revision.number if revision else 0,
        "replicas": replicas,
        "gpus": revision.profile.accelerator_count * replicas if revision else 0,
        "cost_month": per_month,
        "calls": used["requests"] if used else -1,
        "tokens": used["tokens"] if used else -1,
        "shares": getattr(endpoint, "shares_now", 0),
        "waivers": getattr(endpoint, "waivers_now", 0),
    }


def of_quota(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part about the quota of which more is asked: its hard limit, or the soft one where it has none."""
    if plan.get("kind") != "quota":
        return empty("quota")
    before, after = ((plan[when]["hard"] or plan[when]["soft"] or 0) for when in ("before", "after"))
    return {
        "kind": plan["quota"],
        "target": plan["target"]["kind"],
        "name": plan["target"]["name"],
        "window": plan["window"],
        "used": plan["used"],
        "before": before,
        "after": after,
        "growth_percent": _percent(after - before, before),
    }


def of_tools(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tools that a plan names, each with what its publisher says of it."""
    found: Sequence[Mapping[str, Any]] = plan.get("tools") or ()
    return [
        {
            "name": tool["name"],
            "pinned": bool(tool["digest"]),
            "read_only": "read only" in tool["hints"],
            "destructive": "destructive" in tool["hints"],
            "idempotent": "idempotent" in tool["hints"],
            "open_world": "reaches outside" in tool["hints"],
            "hinted": "no hint given" not in tool["hints"],
        }
        for tool in found
    ]


def today() -> dict[str, Any]:
    """Return the part about the day, UTC; Monday is 0."""
    now = timezone.now().astimezone(dt.UTC).date()
    return {"date": now.isoformat(), "weekday": now.weekday()}
