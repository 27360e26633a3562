"""Who may do what with the catalog. Reading is for everyone signed in; which versions a person sees stands in
catalog/models.py.
"""

from catalog.models import Asset, Evidence, HardwareProfile, Version
from projects.models import GOVERNANCE_LEADS, PLATFORM_ENGINEERS
from projects.permissions import EVERYONE, Rule, register

STEWARDS = frozenset({GOVERNANCE_LEADS, PLATFORM_ENGINEERS})


def register_rules() -> None:
    """Register the rules of this app."""
    register(Rule(Asset, None, {"view": EVERYONE, "create": STEWARDS, "change": STEWARDS}))
    verbs = ("create", "submit", "approve", "reject", "deprecate", "retire", "block", "collect_evidence")
    register(Rule(Version, None, {"view": EVERYONE, **dict.fromkeys(verbs, STEWARDS)}))
    register(Rule(Evidence, None, {"view": EVERYONE}))
    engineers = frozenset({PLATFORM_ENGINEERS})
    register(Rule(HardwareProfile, None, {"view": EVERYONE, "create": engineers, "change": engineers}))
