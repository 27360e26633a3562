"""Stages in words: who decides, in one sentence, before and after a request is sent."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from approvals.stages.keeping import of_plan
from projects.permissions import OWNER

NUMBERS = {1: "One", 2: "Two", 3: "Three", 4: "Four", 5: "Five"}
SINGULAR = {"platform-engineers": "platform engineer", "governance-leads": "governance lead", "auditors": "auditor"}


def role_name(role: str) -> str:
    """Return one who has a role, as people say it: platform engineer."""
    return SINGULAR.get(role, role.replace("-", " "))


def named(roles: Iterable[str]) -> str:
    """Return roles as alternatives: platform engineer or governance lead."""
    return " or ".join(role_name(role) for role in roles)


def sentence(plan: Mapping[str, Any]) -> str:
    """Return who decides what has this plan."""
    stages = of_plan(plan)
    owned = _owned(plan)
    if len(stages) == 1:
        return f"{_who(stages[0], owned)}."
    steps = [f"{number}. {stage['name']}: {_who(stage, owned)}." for number, stage in enumerate(stages, start=1)]
    return f"{len(stages)} reviews, one after the other. {' '.join(steps)}"


def rows(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each stage of a plan: its name, who decides it, why, and whether a rule may pass it."""
    owned = _owned(plan)
    return [
        {"name": stage["name"], "who": f"{_who(stage, owned)}.", "reason": stage["reason"], "human": stage["human"]}
        for stage in of_plan(plan)
    ]


def people_needed(plan: Mapping[str, Any]) -> int:
    """Return how many different people must say yes."""
    return sum(int(stage["count"]) for stage in of_plan(plan))


def _owned(plan: Mapping[str, Any]) -> str:
    endpoint = plan.get("endpoint") if plan.get("kind") == "access" else None
    return str((endpoint or {}).get("project") or plan.get("project") or "the project")


def _who(stage: Mapping[str, Any], owned: str) -> str:
    roles: Sequence[str] = stage["roles"]
    others = [role for role in roles if role != OWNER]
    count = int(stage["count"])
    if OWNER in roles and count == 1:
        too = f"; a {named(others)} may, too" if others else ""
        return f"An owner of {owned} decides{too}"
    words = " or ".join(
        [*(f"owner of {owned}" for role in roles if role == OWNER), *([named(others)] if others else [])]
    )
    if count == 1:
        return f"One {words} decides"
    return f"{NUMBERS.get(count, str(count))} different people decide, each a {words}"
