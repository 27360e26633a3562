"""The plan: what a request would mean, computed before anybody decides, frozen under a digest when it is sent.

What stands in it is the kind's own business (approvals/kinds/); the numbers come from approvals/sizing.py.
"""

from typing import Any

from approvals.bodies import RequestBody
from approvals.kinds import KINDS
from approvals.kinds.base import Found
from portal.http import digest
from projects.principal import Principal


def resolve(by: Principal, body: RequestBody) -> Any:
    """Look up what a whole `body` names; raises Invalid naming each field whose value the caller may not use."""
    return KINDS[body.kind].resolve(by, body)


def build(by: Principal, body: RequestBody, *, resolved: Found | None = None) -> dict[str, Any]:
    """Return the plan of a whole `body` as plain JSON.

    Raises Invalid when it names something that the caller may not use. Failing checks do not raise: they stand in
    `checks`.
    """
    kind = KINDS[body.kind]
    return kind.build(by, body, resolved or kind.resolve(by, body))


def freeze(body: RequestBody, plan: dict[str, Any]) -> str:
    """Return the digest over what was asked and what was computed: what is provisioned is what was approved."""
    return digest({"body": body.stored(), "plan": plan})
