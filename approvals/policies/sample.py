"""A whole input document: what every field is called, of which type it is, and the base of every test of a bundle.

docs/policies.md lists every field; a test compares.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

MISSING: dict[str, Any] = {"verdict": "missing", "age_days": 0, "expired": False, "summary": "", "digest": ""}
FOUND = {**MISSING, "verdict": "pass", "age_days": 3}
EVIDENCE = (
    "card", "files", "fit", "licence", "ml-bom", "performance", "pin", "signature", "tools", "upstream",
)  # fmt: skip
TOOL = {
    "name": "search", "pinned": True, "read_only": True, "destructive": False, "idempotent": False, "open_world": False,
    "hinted": True,
}  # fmt: skip
OPEN = ("evidence", "object", "tools")  # whose fields are not all known beforehand

SAMPLE: dict[str, Any] = {
    "request": {
        "kind": "endpoint", "name": "scoring", "environment": "dev", "replicas": 1, "concurrency": 8,
        "context_tokens": 4096, "purpose": "Score card payments.", "data_classification": "internal", "data_level": 1,
        "exposure": "project", "ends_on": "2027-01-28", "days": 60, "running": False, "changes": [],
    },
    "requester": {"username": "dana", "role": "developer", "groups": [], "service_account": False},
    "project": {
        "slug": "fraud-detection", "cost_centre": "4711", "owner_team": "payments", "gpu_quota": 4, "gpus_held": 1,
        "gpus_waiting": 0,
    },
    "asset": {
        "slug": "granite-3.3-2b-instruct", "kind": "model", "name": "Granite 3.3 2B Instruct", "publisher": "IBM",
        "access": "everyone", "tasks": ["text-generation"],
    },
    "version": {
        "version": "1.0", "state": "approved", "licence": "Apache-2.0", "licence_terms": [], "source": "hf://org/model",
        "engine": "vllm", "demo": False, "pin": "resolved", "pinned": True, "pin_digest": "sha256:0a1b",
        "verified_days": 1, "drifted": False, "image": "vllm/vllm-openai@sha256:9f8e", "image_pinned": True,
        "trust_remote_code": False, "deprecated": False, "retires_on": "", "approved_days": 30,
        "parameters": 2533000000, "max_context_tokens": 131072,
    },
    "evidence": dict.fromkeys(EVIDENCE, FOUND),
    "profile": {
        "slug": "l40s", "accelerator": "nvidia-l40s", "accelerator_count": 1, "memory_bytes": 48318382080,
        "cost_hour": 1.42, "offered": True,
    },
    "plan": {
        "fits": True, "headroom_percent": 32.5, "gpus": 1, "more_gpus": 1, "pool": "l40s", "pool_gpus": 4,
        "pool_free": 3, "pool_share_percent": 25.0, "quota_share_percent": 50.0, "starts_at_once": True, "position": 0,
        "cost_hour": 1.42, "cost_month": 1036.6, "cost_month_more": 1036.6, "cost_total": 2044.8, "currency": "EUR",
        "cluster": "ocp-eu-1", "simulated": False, "egress_closed": True,
    },
    "endpoint": {
        "name": "", "project": "", "environment": "", "phase": "", "age_days": 0, "days_left": 0, "has_end": False,
        "data_classification": "", "shareable": False, "revision": 0, "replicas": 0, "gpus": 0, "cost_month": 0.0,
        "calls": -1, "tokens": -1, "shares": 0, "waivers": 0,
    },
    "quota": {
        "kind": "", "target": "", "name": "", "window": "", "used": 0, "before": 0, "after": 0, "growth_percent": 0.0,
    },
    "tools": [],
    "object": {},
    "now": {"date": "2026-11-29", "weekday": 6},
}  # fmt: skip


def given(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sample document with `changes` laid over it: mappings are merged, everything else is replaced."""
    return _merged(SAMPLE, changes)


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    found = copy.deepcopy(dict(base))
    for name, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(found.get(name), Mapping)
        found[name] = _merged(found[name], value) if both else copy.deepcopy(value)
    return found


def fields(document: Mapping[str, Any] = SAMPLE, before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every field of a document as (dotted name, value); of evidence those of one finding, as evidence.KIND.…"""
    for name, value in document.items():
        if not before and name == "evidence":
            yield from ((f"evidence.KIND.{key}", item) for key, item in FOUND.items())
        elif not before and name == "tools":
            yield from ((f"tools[].{key}", item) for key, item in TOOL.items())
        elif isinstance(value, Mapping) and value:
            yield from fields(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def unknown(path: str) -> str:
    """Return why no document has a field at the dotted `path`, in a sentence, or ""."""
    root, *rest = path.split(".")
    if root not in SAMPLE:
        return f"the document has no {root[:40]}; it has {', '.join(SAMPLE)}"
    if root == "evidence" and len(rest) > 1:
        return "" if rest[1] in FOUND else f"a finding has no {rest[1][:40]}; it has {', '.join(FOUND)}"
    if root in OPEN:
        return ""
    at: Any = SAMPLE[root]
    for step in rest:
        if not isinstance(at, Mapping) or step not in at:
            has = f"has {', '.join(at)}" if isinstance(at, Mapping) else "is a single value"
            return f"{root} has no {step[:40]}; it {has}"
        at = at[step]
    return ""


def odd(changes: Mapping[str, Any]) -> str:
    """Return what of the `given` of a test fits no document, in a sentence, or ""."""
    for root, part in changes.items():
        if root not in SAMPLE:
            return unknown(str(root))
        kind = type(SAMPLE[root])
        if not isinstance(part, kind):
            return f"{root} must be {'a list' if kind is list else 'fields with values'}"
        if root == "evidence":
            for name, finding in part.items():
                if not isinstance(finding, Mapping) or set(finding) - set(FOUND):
                    return f"evidence.{str(name)[:40]} may hold {', '.join(FOUND)}"
        if root in OPEN:
            continue
        for name, value in part.items():
            if wrong := unknown(f"{root}.{name}") or _type(root, name, value):
                return wrong
    return ""


def _type(root: str, name: str, value: Any) -> str:
    known = SAMPLE[root][name]
    number = isinstance(known, int | float) and not isinstance(known, bool)
    if number:
        same = isinstance(value, int | float) and not isinstance(value, bool)
        return "" if same else f"{root}.{name} must be a number"
    if isinstance(value, type(known)):
        return ""
    return f"{root}.{name} must be {({bool: 'true or false', str: 'text in quotes', list: 'a list'})[type(known)]}"
