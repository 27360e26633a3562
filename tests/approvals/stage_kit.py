"""Bundles with stages, people who decide for others, and what tests of a review read."""

import datetime as dt
import itertools
import json
from collections.abc import Iterable
from typing import Any

from django.utils import timezone

from approvals.models import Bundle, Delegation, Publication, Request, Stage
from approvals.policies.active import baseline
from portal.http import digest
from projects.models import User
from projects.principal import Principal

_numbers = itertools.count(1)
ENGINEERS = {"id": "platform", "name": "Platform review", "roles": ["platform-engineers"], "order": 10}
LEADS = {"id": "governance", "name": "Governance review", "roles": ["governance-leads"], "order": 20}


def publish(*stages: dict[str, Any], rules: Iterable[dict[str, Any]] = (), bare: bool = False) -> None:
    """Let a bundle count that has the rules of the baseline (none: `bare`), these `rules`, and exactly these stages."""
    left_out = ("stages/", "rules/", "envelopes/") if bare else ("stages/",)
    files = {path: text for path, text in baseline().files.items() if not path.startswith(left_out)}
    for stage in stages:
        tests = [{"name": "always", "given": {}, "expect": "yes"}]
        whole = {"when": "true", "reason": "For tests.", "tests": tests} | stage
        files[f"stages/{whole['id']}.yaml"] = json.dumps(whole)  # JSON is YAML
    for one in rules:
        files[f"rules/{one['id']}.yaml"] = json.dumps(one)
    kept, _ = Bundle.objects.get_or_create(digest=digest(files), defaults={"name": "test", "files": files})
    number = (Publication.objects.values_list("number", flat=True).first() or 0) + 1
    Publication.objects.create(number=number, version=f"2026.1.{number}", bundle=kept, reason="For tests.")


def lend(delegator: User, delegate: User, **fields: Any) -> Delegation:
    """Let `delegate` decide for `delegator` now."""
    now = timezone.now()
    dates = {"starts_at": now - dt.timedelta(hours=1), "ends_at": now + dt.timedelta(days=7)}
    return Delegation.objects.create(delegator=delegator, delegate=delegate, reason="Holiday.", **(dates | fields))


def states(request: Request) -> list[str]:
    """The states of the stages of the newest submission."""
    rows = Stage.objects.filter(request=request, submission=request.submission).order_by("position")
    return [stage.state for stage in rows]


def by(person: User) -> Principal:
    """The principal of a session."""
    return Principal.of(person)
