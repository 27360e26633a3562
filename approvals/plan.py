"""The plan: what a request would mean, computed before anybody decides, frozen under a digest when it is sent.

A kind of request calculates what is its own (approvals/kinds/); here the policies judge it: their verdicts stand beside
the portal's own checks, waivers are counted, and the rules say who must decide.
"""

from collections.abc import Mapping
from typing import Any

from approvals import waiving
from approvals.bodies import RequestBody
from approvals.kinds import KINDS
from approvals.kinds.base import Found
from approvals.models import Request
from approvals.planning import security
from approvals.policies import document as documents
from approvals.policies.active import Active, active
from approvals.policies.judging import judge, needed_stages
from approvals.policies.rules import StageRule
from approvals.stages.kinds import for_kind
from approvals.verdicts import Check, ordered
from portal.http import digest
from projects.principal import Principal

SUBJECT = {"admission": "asset"}  # which rules judge a kind of request; all others are judged as what is asked for


def resolve(by: Principal, body: RequestBody) -> Any:
    """Look up what a whole `body` names; raises Invalid naming each field whose value the caller may not use."""
    return KINDS[body.kind].resolve(by, body)


def build(
    by: Principal,
    body: RequestBody,
    *,
    resolved: Found | None = None,
    request: Request | None = None,
    rules: Active | None = None,
) -> dict[str, Any]:
    """Return the plan of a whole `body` as plain JSON. `request`: the one whose plan it is, since waivers belong to it;
    `rules`: the policies that count, where several plans are built.

    Raises Invalid when it names something that the caller may not use. Failing checks do not raise: they stand in
    `checks`.
    """
    kind = KINDS[body.kind]
    found = resolved or kind.resolve(by, body)
    plan = kind.build(by, body, found)
    document = documents.of_request(by, body, found.subject, plan)
    return governed(plan, document, rules or active(), found.subject.endpoint, request, body.stored())


def governed(
    plan: dict[str, Any], document: dict[str, Any], rules: Active, endpoint: Any = None,
    request: Request | None = None, body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return `plan` with what the policies say of it: verdicts, waivers, the stages of the review, and the input."""
    own = [Check(**check | {"controls": tuple(check["controls"])}) for check in plan["checks"]]
    checks = ordered(
        waiving.applied(
            [*own, *judge(rules.bundle, document, SUBJECT.get(plan["kind"], "request"))],
            request=request,
            body=body or {},
            endpoint=endpoint,
        )
    )
    return {
        **security.with_waivers(plan, checks),
        "checks": [check.json() for check in checks],
        "bundle": rules.json(),
        "stages": [_stage(stage) for stage in for_kind(plan["kind"], needed_stages(rules.bundle, document))],
        "document": document,
    }


def _stage(stage: StageRule) -> dict[str, Any]:
    """Return a stage as the plan keeps it: approvals/stages/ makes rows of it when the request is sent."""
    return {
        "rule": stage.id,
        "name": stage.name,
        "reason": stage.reason,
        "roles": list(stage.roles),
        "count": stage.count,
        "human": stage.human,
        "escalate_after_hours": stage.escalate_after_hours,
        "escalate_to": list(stage.escalate_to),
    }


def freeze(body: RequestBody, plan: dict[str, Any]) -> str:
    """Return the digest over what was asked and what was computed: what is provisioned is what was approved."""
    return digest({"body": body.stored(), "plan": plan})
