"""Who may do what with endpoints and clusters. Keys are a model of `projects`; their rule stands there."""

from endpoints.differences.models import LiveDifference
from endpoints.models import Alert, Cluster, Endpoint, EngineCount, Event, Revision, Served, Share
from endpoints.rogue.models import Proposal, RogueWorkload
from endpoints.sharing import living_shares
from projects.models import GOVERNANCE_LEADS, PLATFORM_ENGINEERS
from projects.permissions import BUILDERS, EVERYONE, MEMBERS, OWNER, PLATFORM, Grant, Rule, register

OPERATORS = BUILDERS | {PLATFORM_ENGINEERS}
READERS = MEMBERS | PLATFORM


def register_rules() -> None:
    """Register the rules of this app."""
    engineers = frozenset({PLATFORM_ENGINEERS})
    verbs = ("suspend", "resume", "retry", "delete", "scale", "rollback", "transfer", "alert", "compare")
    actions = {
        "view": READERS,
        "inspect": READERS,  # events, logs, revisions, purpose, people: what a share does not open
        **dict.fromkeys(verbs, OPERATORS),
        "share": frozenset({OWNER}),
        "reapply": frozenset({OWNER, PLATFORM_ENGINEERS}),
        "suggest": engineers,
    }
    shared = Grant(living_shares, "endpoint_id", "project_id", {"view": MEMBERS})
    register(Rule(Endpoint, "project_id", actions, grant=shared))
    register(Rule(Share, "endpoint__project_id", {"view": READERS}))
    for model in (Alert, LiveDifference, Revision, Event, EngineCount, Served):
        register(Rule(model, "endpoint__project_id", {"view": READERS}))
    # "inspect": where it is, how it is entered, what its tests found. That a cluster exists, everybody may know.
    operating = dict.fromkeys(("create", "change", "rotate", "pause", "test", "remove"), engineers)
    register(Rule(Cluster, None, {"view": EVERYONE, "inspect": PLATFORM, **operating}))
    # What runs without approval: members see what stands in a namespace of their project.
    answering = frozenset({PLATFORM_ENGINEERS, GOVERNANCE_LEADS})
    register(Rule(RogueWorkload, "project_id", {"view": READERS, "notify": answering, "waive": answering}))
    register(Rule(Proposal, None, {"view": PLATFORM, "take": engineers, "dismiss": engineers}))
