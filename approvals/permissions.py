"""Who may do what with requests."""

from approvals.models import Decision, Request
from projects.models import GOVERNANCE_LEADS, PLATFORM_ENGINEERS
from projects.permissions import BUILDERS, MEMBERS, PLATFORM, Rule, register

DECIDERS = frozenset({PLATFORM_ENGINEERS, GOVERNANCE_LEADS})


def register_rules() -> None:
    """Register the rules of this app."""
    register(
        Rule(
            Request,
            "project_id",
            {
                "view": MEMBERS | PLATFORM,
                "create": BUILDERS,
                "comment": MEMBERS | DECIDERS,
                "decide": DECIDERS,
            },
        )
    )
    register(Rule(Decision, "request__project_id", {"view": MEMBERS | PLATFORM}))
