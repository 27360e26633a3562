"""A bundle that holds exactly what a test needs, published like any other one."""

import json
from typing import Any

from approvals.models import Bundle, EnvelopeMode, Publication
from approvals.policies.active import active
from portal.http import digest
from tests.factories import lead

DEV = {"id": "auto-dev", "title": "Small things in dev", "when": "request.environment == 'dev'", "kinds": ["endpoint"]}
SMALL = {
    "id": "tst-001", "title": "At most four parallel calls", "severity": "deny", "applies_to": "request",
    "expression": "request.concurrency <= 4", "message": "{request.concurrency} parallel calls.",
    "fix": "Ask for four.", "field": "concurrency", "kinds": ["endpoint"],
}  # fmt: skip


def publish(*envelopes: dict[str, Any], rules: list[dict[str, Any]] | None = None, stages: Any = ()) -> None:
    """Let a bundle count that has exactly these files; JSON is YAML."""
    files = {"bundle.yaml": json.dumps({"name": "Test"})}
    for folder, parts in (("envelopes", envelopes), ("rules", rules or []), ("stages", stages)):
        files |= {f"{folder}/{one['id']}.yaml": json.dumps(_tested(folder, one)) for one in parts}
    kept, _ = Bundle.objects.get_or_create(digest=digest(files), defaults={"name": "Test", "files": files})
    number = (Publication.objects.values_list("number", flat=True).first() or 0) + 1
    Publication.objects.create(number=number, version=f"2026.1.{number}", bundle=kept, reason="For tests.")


def _tested(folder: str, part: dict[str, Any]) -> dict[str, Any]:
    """Add the examples that every file needs; publishing would run them."""
    answers = ("pass", "fail") if folder == "rules" else ("yes",) if part["when"] == "true" else ("yes", "no")
    return part | {"tests": [{"name": f"says {answer}", "given": {}, "expect": answer} for answer in answers]}


def switch(mode: str, rule: str = "auto-dev", percent: int = 0) -> EnvelopeMode:
    """Set the mode of a rule as a governance lead."""
    from approvals.envelopes import services

    return services.set_mode(lead(), rule, mode, reason="For a test.", sample_percent=percent)


def digest_of(rule: str = "auto-dev") -> str:
    """The digest of the present text."""
    return next(one.digest for one in active().bundle.envelopes if one.id == rule)
