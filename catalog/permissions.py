"""Who may do what with the catalog. Everyone signed in reads what is for them: which assets and versions those are
stands in catalog/models/assets.py and grants.py.
"""

from catalog.models import (
    Acknowledgement,
    Asset,
    Attachment,
    Evidence,
    HardwareProfile,
    Job,
    Pin,
    ServerGrant,
    Tool,
    Version,
    asset_audience,
    evidence_audience,
    version_audience,
)
from projects.models import AUDITORS, GOVERNANCE_LEADS, PLATFORM_ENGINEERS
from projects.permissions import BUILDERS, EVERYONE, MEMBERS, OWNER, PLATFORM, Rule, register

STEWARDS = frozenset({GOVERNANCE_LEADS, PLATFORM_ENGINEERS})
REVIEWERS = STEWARDS | {AUDITORS}


def register_rules() -> None:
    """Register the rules of this app.

    "open": whether an asset is for everyone or for those who are listed; "grant": give and take away single grants;
    "review": read the whole catalog, whomever it is for and whether it is approved or not.
    """
    stewards = dict.fromkeys(("create", "change", "open", "grant"), STEWARDS)
    register(Rule(Asset, None, {"view": EVERYONE, **stewards}, audience=asset_audience))
    verbs = ("create", "submit", "approve", "reject", "deprecate", "retire", "block", "collect_evidence")
    actions = {"view": EVERYONE, "review": REVIEWERS, **dict.fromkeys(verbs, STEWARDS)}
    register(Rule(Version, None, actions, audience=version_audience))
    for about_a_version in (Evidence, Pin, Job, Attachment, Tool):
        register(Rule(about_a_version, None, {"view": EVERYONE}, audience=evidence_audience))
    register(
        Rule(ServerGrant, "project_id", {"view": MEMBERS | PLATFORM, "grant": STEWARDS, "end": STEWARDS | {OWNER}})
    )
    register(Rule(Acknowledgement, "project_id", {"view": MEMBERS | PLATFORM, "create": BUILDERS}))
    engineers = frozenset({PLATFORM_ENGINEERS})
    register(Rule(HardwareProfile, None, {"view": EVERYONE, "create": engineers, "change": engineers}))
