"""Trying a draft on something: the sample document, a recent request, or a live endpoint."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from approvals.kinds.base import living
from approvals.models import Request
from approvals.policies import comparing, judging
from approvals.policies import document as documents
from approvals.policies.bundle import Bundle
from approvals.verdicts import FAIL, ordered
from approvals.views import policies_cells as cells
from projects.permissions import visible
from projects.principal import Principal

CHOICES = 10  # requests, and endpoints, to choose from
MOST_INPUT = 40_000  # characters of a document that are shown


def sources(by: Principal) -> list[tuple[str, str]]:
    """Return what the draft can be tried on: the sample, and what the reader may see (two queries)."""
    requests = visible(by, Request.objects.filter(submission__gt=0)).order_by("-id")
    endpoints = visible(by, living()).order_by("-created_at")
    return [
        ("sample", "The sample document"),
        *((f"request:{pk}", f"R-{pk} {name}") for pk, name in requests.values_list("pk", "name")[:CHOICES]),
        *(
            (f"endpoint:{pk}", f"{project}/{name}, live")
            for pk, name, project in endpoints.values_list("pk", "name", "project__slug")[:CHOICES]
        ),
    ]


def _document(by: Principal, on: str) -> Mapping[str, Any] | None:
    kind, _, key = on.partition(":")
    if kind == "sample":
        return documents.SAMPLE
    if kind == "request" and key.isdecimal() and len(key) < 10:
        rows = visible(by, Request.objects.filter(pk=key, submission__gt=0))
        found = rows.values_list("plan__document", flat=True).first()
        return found if isinstance(found, dict) else None
    if kind == "endpoint":
        try:
            rows = visible(by, living().filter(pk=UUID(key)))
        except ValueError:
            return None
        return next((document for _, document in documents.of_endpoints(rows)), None)
    return None


def tried(by: Principal, bundle: Bundle | None, path: str, on: str) -> dict[str, Any] | None:
    """Return what the draft says of the chosen document, the opened file first; None when nothing is chosen."""
    if bundle is None or not on:
        return None
    document = _document(by, on)
    if document is None:
        return {"missing": True}
    opened = {rule.id for rule in bundle.rules if rule.path == path}
    checks = ordered(comparing.verdicts(bundle, document, frozenset()).values())
    envelopes = [one.id for one, holds in judging.matching_envelopes(bundle, document) if holds]
    return {
        "own": [check.json() for check in checks if check.id in opened],
        "silent": bool(opened) and not any(check.id in opened for check in checks),
        "others": [check.json() for check in checks if check.id not in opened],
        "failed": sum(check.verdict == FAIL for check in checks),
        "stages": ", then ".join(
            f"{one.name} ({one.count} of {cells.roles(one.roles)})" for one in comparing.stages(bundle, document)
        ),
        "envelopes": ", ".join(envelopes),
        "input": json.dumps(document, indent=2, ensure_ascii=False, default=str)[:MOST_INPUT],
    }
