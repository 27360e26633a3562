"""What a decision was taken from: the bundle, the input that its rules read, what they said, and the evidence. The
digest over it stands in the audit row of the decision, which nobody can change.
"""

from collections.abc import Mapping
from typing import Any

from approvals.models import Decision
from audit.models import Row
from portal.http import digest

KEPT = ("bundle_digest", "inputs", "verdicts", "evidence", "plan_digest", "plan_digest_now")


def of(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a decision on `plan`, as the columns of Decision: `bundle_digest`, `inputs` (the document),
    `verdicts` (every check) and `evidence` (kind → digest of the newest finding about the version).

    A plan of an earlier release, which names none of them, has an empty record.
    """
    document = plan.get("document") or {}
    findings = document.get("evidence") or {}
    return {
        "bundle_digest": (plan.get("bundle") or {}).get("digest", ""),
        "inputs": document,
        "verdicts": list(plan.get("checks") or ()),
        "evidence": {kind: item["digest"] for kind, item in findings.items() if item.get("digest")},
    }


def mark(decision: Decision) -> str:
    """Return the digest over the record of a decision and the digests of its plans."""
    return digest({name: getattr(decision, name) for name in KEPT})


def is_as_audited(decision: Decision) -> bool | None:
    """Whether the record is what the audit row of the decision names; None for one of an earlier release, whose row
    names none (one query).
    """
    rows = Row.objects.filter(object_kind="request", object_id=str(decision.request_id), after__contains='"record":')
    texts = list(rows.values_list("after", flat=True))
    return any(f'"{mark(decision)}"' in text for text in texts) if texts else None


def without_inputs(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plan as others read it: the input document tells of the project that asks more than whoever is only
    asked for access may know.
    """
    return {name: value for name, value in plan.items() if name != "document"}
