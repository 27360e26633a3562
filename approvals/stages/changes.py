"""What a re-submission changed: in the body, in the plan, in the checks and stages, against the one before."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from approvals.models import Request, Submission
from approvals.stages.keeping import of_plan
from portal.templatetags.gatehouse import bytes_h, money

LABELS = {
    "asset": "Model", "hardware_profile": "Hardware profile", "concurrency": "Parallel calls", "ends_on": "Until",
    "context_tokens": "Context tokens", "data_classification": "Data", "compensating_control": "Compensating control",
}  # fmt: skip
MOST_TEXT = 500


@dataclass(frozen=True)
class Change:
    """One difference. `part`: asked, plan, check, stage; `before` and `after` in words, "" where there was nothing."""

    part: str
    field: str
    label: str
    before: str
    after: str

    def json(self) -> dict[str, str]:
        """Return it as the API shows it."""
        return asdict(self)


def changes(request: Request) -> list[Change]:
    """Return what the newest submission changed against the one before; nothing for a first one (one query)."""
    if request.submission < 2:
        return []
    numbers = (request.submission - 1, request.submission)
    rows = {one.number: one for one in Submission.objects.filter(request=request, number__in=numbers)}
    return between(rows[numbers[0]], rows[numbers[1]]) if len(rows) == 2 else []


def between(old: Submission, new: Submission) -> list[Change]:
    """Return what differs between two submissions of one request."""
    return [
        *_of("asked", old.body, new.body, LABELS),
        *_of("plan", _numbers(old.plan), _numbers(new.plan), {}),
        *_of("check", _verdicts(old.plan), _verdicts(new.plan), _titles(old.plan, new.plan)),
        *_of("stage", _stages(old.plan), _stages(new.plan), {}),
    ]


def _of(part: str, old: Mapping[str, Any], new: Mapping[str, Any], labels: Mapping[str, str]) -> Iterable[Change]:
    for field in dict.fromkeys([*old, *new]):
        before, after = _words(old.get(field)), _words(new.get(field))
        if before != after:
            label = labels.get(field) or field.replace("_", " ").capitalize()
            yield Change(part, field, label, before, after)


def _words(value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(_words(item) for item in value)[:MOST_TEXT]
    return str(value)[:MOST_TEXT]


def _numbers(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return what people compare of a plan, in words."""
    memory, cost, gpus = plan.get("memory") or {}, plan.get("cost") or {}, plan.get("gpus") or {}
    found: dict[str, Any] = {}
    if "needed_bytes" in memory:
        found["memory"] = bytes_h(memory["needed_bytes"])
    if "total" in gpus:
        found["gpus"] = gpus["total"]
    if "per_month" in cost:
        found["cost_per_month"] = money(cost["per_month"], cost.get("currency", ""))
    if plan.get("bundle"):
        found["policies"] = plan["bundle"].get("version", "")
    return found


def _verdicts(plan: Mapping[str, Any]) -> dict[str, str]:
    return {check["id"]: f"{check['verdict']}: {check['reason']}" for check in plan.get("checks") or ()}


def _titles(*plans: Mapping[str, Any]) -> dict[str, str]:
    return {check["id"]: check["title"] for plan in plans for check in plan.get("checks") or ()}


def _stages(plan: Mapping[str, Any]) -> dict[str, str]:
    return {stage["name"]: f"{stage['count']} of {', '.join(stage['roles'])}" for stage in of_plan(plan)}
