"""What a check says: a verdict with the sentence that people read. Checks of the portal and rules of a policy bundle
say it the same way.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

PASS, INFO, WARN, FAIL, WAIVED = "pass", "info", "warn", "fail", "waived"
ORDER = {FAIL: 0, WAIVED: 1, WARN: 2, INFO: 3, PASS: 4}


@dataclass(frozen=True)
class Check:
    """A verdict: which check or rule, on which field of the request, why, and what would help.

    `source`: "portal", or "policy" for a rule of the bundle. `waivable`: whether a failure can be waived. `waiver`:
    number of the waiver that lets a failure pass, and `waived_until` its last day. `controls`: what the rule supports.
    """

    id: str
    title: str
    verdict: str
    reason: str
    fix: str = ""
    field: str = ""
    source: str = "portal"
    severity: str = "deny"
    waivable: bool = False
    waiver: int | None = None
    waived_until: str = ""
    controls: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        """Return the check as the plan keeps it."""
        return vars(self) | {"controls": list(self.controls)}


def ordered(checks: Iterable[Check]) -> list[Check]:
    """Return `checks`, worst first."""
    return sorted(checks, key=lambda check: (ORDER[check.verdict], check.id))


def failed(checks: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the checks of a plan that forbid it."""
    return [check for check in checks if check["verdict"] == FAIL]


def worse(frozen: Iterable[Mapping[str, Any]], now: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the checks of `now` that fail and did not fail in `frozen`."""
    before = {check["id"] for check in failed(frozen)}
    return [check for check in failed(now) if check["id"] not in before]
