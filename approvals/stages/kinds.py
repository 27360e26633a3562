"""What some kinds of requests want of their reviewers, whatever the bundle says."""

from collections.abc import Sequence
from dataclasses import replace

from approvals.policies.bundle import DEFAULT_STAGE
from approvals.policies.rules import StageRule
from projects.models import GOVERNANCE_LEADS
from projects.permissions import OWNER

WAIVER = StageRule(
    id="waiver", name="Second person", when="true", roles=(GOVERNANCE_LEADS,), order=0, human=True,
    reason="An exception from a rule takes a governance lead who neither asked for it nor will answer for it.",
)  # fmt: skip


def for_kind(kind: str, found: Sequence[StageRule]) -> list[StageRule]:
    """Return the stages that a request of `kind` goes through, where the bundle asks for `found`.

    Access is first the owners' to give, unless the bundle has a stage of its own for it. A waiver always takes a
    governance lead, and never a rule.
    """
    stages = list(found)
    if kind == "access":
        return [_with_owner(one) if one.id == DEFAULT_STAGE.id else one for one in stages]
    if kind == "waiver":
        rest = [one for one in stages if one.id != DEFAULT_STAGE.id]
        return rest if any(_leads_only(one) for one in rest) else [WAIVER, *rest]
    return stages


def _with_owner(stage: StageRule) -> StageRule:
    return replace(
        stage,
        roles=(OWNER, *stage.roles),
        reason="Access is given by an owner of the endpoint's project, or the platform.",
    )


def _leads_only(stage: StageRule) -> bool:
    return set(stage.roles) == {GOVERNANCE_LEADS} and stage.human
