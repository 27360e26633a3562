"""The input document that rules read. docs/policies.md lists every field; `SAMPLE` is a whole one, and the base of
every test of a bundle.

Every field is always there, so that a rule reads it without `has()`: what does not apply is "", 0, false, [] or {}.
Only facts stand in it, never a secret: it is kept with the plan under its digest.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from approvals.bodies import RequestBody
from approvals.kinds.base import Subject
from catalog.models import Evidence, HardwareProfile, Version
from endpoints.models import Endpoint
from projects.models import Project
from projects.principal import Principal

SAMPLE: dict[str, Any] = {
    "request": {
        "kind": "endpoint", "name": "scoring", "environment": "dev", "replicas": 1, "concurrency": 8,
        "context_tokens": 4096, "purpose": "Score card payments.", "data_classification": "internal",
        "exposure": "project", "ends_on": "2027-02-01", "days": 64, "egress": "none",
    },
    "requester": {"username": "dana", "role": "developer", "service_account": False},
    "project": {"slug": "fraud-detection", "cost_centre": "4711", "owner_team": "payments", "gpus_held": 1},
    "asset": {"slug": "granite-3.3-2b-instruct", "kind": "model", "publisher": "ibm", "access": "everyone"},
    "version": {
        "version": "1.0", "state": "approved", "licence": "Apache-2.0", "engine": "vllm", "demo": False, "pinned": True,
        "drifted": False, "image": "", "image_pinned": True, "trust_remote_code": False, "deprecated": False,
    },
    "evidence": {
        "signature": {"verdict": "pass", "age_days": 3, "expired": False, "summary": "Signed by the publisher."},
    },
    "profile": {
        "slug": "l40s", "accelerator": "NVIDIA L40S", "accelerator_count": 1, "memory_bytes": 48318382080,
        "price_per_hour": 1.42,
    },
    "plan": {
        "fits": True, "headroom_percent": 12.5, "gpus": 1, "starts_at_once": True, "per_hour": 1.42,
        "per_month": 1036.6, "until_end": 3339.84, "currency": "EUR",
    },
    "endpoint": {"name": "", "environment": "", "age_days": 0, "shareable": False, "revision": 0},
    "tools": [],
    "now": {"date": "2026-11-29"},
}  # fmt: skip


def of_request(by: Principal, body: RequestBody, subject: Subject, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of a request that `by` makes with `body`, whose plan so far is `plan`."""
    return {
        "request": _request(body, subject, plan),
        "requester": {
            "username": by.person.username,
            "role": (by.role_in(subject.project.pk) or "") if subject.project else "",
            "service_account": by.person.is_service,
        },
        "project": _project(subject.project),
        **of_version(subject.version),
        "profile": _profile(subject.profile),
        "plan": _numbers(plan),
        "endpoint": _endpoint(subject.endpoint),
        "tools": [],
        "now": {"date": timezone.now().date().isoformat()},
    }


def of_version(version: Version | None) -> dict[str, Any]:
    """Return the part about the catalog: asset, version and the newest finding of each kind (one query)."""
    if version is None:
        empty = {"asset": SAMPLE["asset"], "version": SAMPLE["version"]}
        return {name: {key: type(value)() for key, value in part.items()} for name, part in empty.items()} | {
            "evidence": {}
        }
    asset, runtime = version.asset, version.runtime
    return {
        "asset": {"slug": asset.slug, "kind": asset.kind, "publisher": asset.publisher, "access": asset.access},
        "version": {
            "version": version.version,
            "state": version.state,
            "licence": version.licence,
            "engine": runtime.get("engine", ""),
            "demo": bool(runtime.get("demo")),
            "pinned": bool(version.digest),
            "drifted": False,
            "image": runtime.get("image", ""),
            "image_pinned": "@sha256:" in runtime.get("image", "@sha256:"),
            "trust_remote_code": "--trust-remote-code" in (runtime.get("command") or []),
            "deprecated": version.state == "deprecated",
        },
        "evidence": _evidence(version),
    }


def _evidence(version: Version) -> dict[str, Any]:
    now, found = timezone.now(), dict[str, Any]()
    for one in Evidence.objects.filter(version=version).order_by("kind", "-collected_at"):
        found.setdefault(
            one.kind,
            {
                "verdict": one.verdict,
                "age_days": (now - one.collected_at).days,
                "expired": bool(one.expires_at and one.expires_at <= now),
                "summary": one.summary,
            },
        )
    return found


def _request(body: RequestBody, subject: Subject, plan: Mapping[str, Any]) -> dict[str, Any]:
    ends_on: dt.date | None = getattr(body, "ends_on", None)
    endpoint = subject.endpoint
    return {
        "kind": body.kind,
        "name": subject.name,
        "environment": subject.environment,
        "replicas": getattr(body, "replicas", None) or 0,
        "concurrency": getattr(body, "concurrency", None) or 0,
        "context_tokens": getattr(body, "context_tokens", None) or 0,
        "purpose": body.purpose or "",
        "data_classification": getattr(body, "data_classification", None)
        or (endpoint.data_classification if endpoint else ""),
        "exposure": "shared" if body.kind == "access" or (endpoint and endpoint.shareable) else "project",
        "ends_on": ends_on.isoformat() if ends_on else "",
        "days": (ends_on - timezone.now().date()).days if ends_on else 0,
        "egress": "none",
    }


def _project(project: Project | None) -> dict[str, Any]:
    if project is None:
        return {"slug": "", "cost_centre": "", "owner_team": "", "gpus_held": 0}
    return {
        "slug": project.slug,
        "cost_centre": project.cost_centre,
        "owner_team": project.owner_team,
        "gpus_held": 0,
    }


def _profile(profile: HardwareProfile | None) -> dict[str, Any]:
    if profile is None:
        return {"slug": "", "accelerator": "", "accelerator_count": 0, "memory_bytes": 0, "price_per_hour": 0.0}
    return {
        "slug": profile.slug,
        "accelerator": profile.accelerator,
        "accelerator_count": profile.accelerator_count,
        "memory_bytes": profile.memory_bytes,
        "price_per_hour": float(profile.price_per_hour),
    }


def _numbers(plan: Mapping[str, Any]) -> dict[str, Any]:
    memory, cost = plan.get("memory") or {}, plan.get("cost") or {}
    limit = memory.get("limit_bytes") or 0
    return {
        "fits": bool(memory.get("fits", True)),
        "headroom_percent": round(100 * memory.get("spare_bytes", 0) / limit, 1) if limit else 100.0,
        "gpus": (plan.get("gpus") or {}).get("total", 0),
        "starts_at_once": not (plan.get("room") or {}).get("position"),
        "per_hour": float(cost.get("per_hour", 0)),
        "per_month": float(cost.get("per_month", 0)),
        "until_end": float(cost.get("until_end", 0)),
        "currency": cost.get("currency", ""),
    }


def _endpoint(endpoint: Endpoint | None) -> dict[str, Any]:
    if endpoint is None:
        return {"name": "", "environment": "", "age_days": 0, "shareable": False, "revision": 0}
    return {
        "name": endpoint.name,
        "environment": endpoint.environment,
        "age_days": (timezone.now() - endpoint.created_at).days,
        "shareable": endpoint.shareable,
        "revision": endpoint.revision.number if endpoint.revision else 0,
    }
