"""Who may do what with the rules that approve by themselves."""

from approvals.models import EnvelopeMode, Verdict
from projects.models import GOVERNANCE_LEADS, PLATFORM_ENGINEERS
from projects.permissions import MEMBERS, PLATFORM, Rule, register


def register_rules() -> None:
    """Register the rules. Whoever runs the platform may stop a rule at once; only governance lets one decide."""
    leads = frozenset({GOVERNANCE_LEADS})
    stops = leads | {PLATFORM_ENGINEERS}
    register(Rule(EnvelopeMode, None, {"view": PLATFORM, "switch_on": leads, "switch_off": stops}))
    register(Rule(Verdict, "request__project_id", {"view": MEMBERS | PLATFORM, "read": stops}))
