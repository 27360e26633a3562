"""Who may do what with waivers and findings. Asking for one is a request: approvals/permissions.py."""

from approvals.models import Finding, Waiver
from projects.models import GOVERNANCE_LEADS
from projects.permissions import MEMBERS, OWNER, PLATFORM, Rule, register


def register_rules() -> None:
    """Register the rules. A project may give a waiver back; only governance can take one."""
    readers = MEMBERS | PLATFORM
    register(Rule(Waiver, "project_id", {"view": readers, "revoke": frozenset({OWNER, GOVERNANCE_LEADS})}))
    register(Rule(Finding, "endpoint__project_id", {"view": readers}))
