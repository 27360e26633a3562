"""Waivers: one failed check may be passed, for one request as it was judged or for one endpoint, until a day."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from approvals.models import Request, Waiver, WaiverState
from approvals.policies.linting import named
from approvals.policies.rules import Rule
from approvals.verdicts import FAIL, WAIVED, Check
from endpoints.models import Endpoint

# What a waiver is bound to whatever its rule looks at, and fields of a request by the part of the document that they
# bring about (docs/policies.md).
ALWAYS = ("project", "endpoint", "asset", "version", "environment", "data_classification")
SIZES = ("hardware_profile", "replicas", "concurrency", "context_tokens", "ends_on")
BROUGHT_ABOUT = {
    "profile": ("hardware_profile",),
    "plan": SIZES,
    "request.days": ("ends_on",),
    "request.changes": SIZES,
}


def asks(body: Mapping[str, Any], rule: Rule) -> dict[str, Any]:
    """Return what a stored body asks for as far as `rule` looks at it: a waiver of the request counts for that."""
    names = {*ALWAYS, *(name for text in (rule.when, rule.expression) for path in named(text) for name in _from(path))}
    return {name: body.get(name) for name in sorted(names & {*body, *ALWAYS, *SIZES})}


def _from(path: str) -> tuple[str, ...]:
    """Return the fields of a request that bring about what stands at a path of the document."""
    root, _, rest = path.partition(".")
    if root == "request" and f"{root}.{rest}" not in BROUGHT_ABOUT:
        return (rest,) if rest else SIZES
    return BROUGHT_ABOUT.get(path, BROUGHT_ABOUT.get(root, ()))


def counts(waiver: Waiver, body: Mapping[str, Any]) -> bool:
    """Whether a waiver counts for this body of its request; one that an endpoint has counts for that."""
    return waiver.endpoint_id is not None or all(body.get(name) == value for name, value in waiver.asks.items())


def applied(
    checks: Iterable[Check], *, request: Request | None, body: Mapping[str, Any], endpoint: Endpoint | None,
    today: dt.date | None = None,
) -> list[Check]:  # fmt: skip
    """Return `checks` with each waivable failure turned to waived for which `endpoint`, or `request` with this `body`,
    has a waiver that still counts (one query, and none where nothing waivable fails).
    """
    found = list(checks)
    if not any(check.verdict == FAIL and check.waivable for check in found) or not (request or endpoint):
        return found
    about = Q(request=request) if request is not None and request.pk else Q(pk__in=[])
    if endpoint is not None:
        about |= Q(endpoint=endpoint)
    day = today or timezone.now().date()
    rows = Waiver.objects.filter(about, state=WaiverState.ACTIVE, ends_on__gte=day).order_by("ends_on")
    until = {row.check_id: row for row in rows if counts(row, body)}
    return [_turned(check, until) for check in found]


def on_endpoints(said: Mapping[str, Iterable[Check]], today: dt.date | None = None) -> dict[str, list[Check]]:
    """Return what `applied` returns for the checks of many endpoints, by the endpoint's id (one query)."""
    found = {key: list(checks) for key, checks in said.items()}
    failing = [UUID(key) for key, checks in found.items() if any(check.verdict == FAIL for check in checks)]
    day = today or timezone.now().date()
    rows = Waiver.objects.filter(endpoint__in=failing, state=WaiverState.ACTIVE, ends_on__gte=day) if failing else ()
    until: dict[str, dict[str, Waiver]] = {}
    for row in rows:
        until.setdefault(str(row.endpoint_id), {})[row.check_id] = row
    return {key: [_turned(check, until.get(key, {})) for check in checks] for key, checks in found.items()}


def _turned(check: Check, until: Mapping[str, Waiver]) -> Check:
    """Return `check`, waived where it fails, may be waived, and `until` has a waiver of it."""
    if check.verdict != FAIL or not check.waivable or check.id not in until:
        return check
    waiver = until[check.id]
    return replace(check, verdict=WAIVED, waiver=waiver.pk, waived_until=waiver.ends_on.isoformat())
