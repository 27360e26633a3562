"""Who may do what with endpoints and clusters. Keys are a model of `projects`; their rule stands there."""

from endpoints.models import Cluster, Endpoint, EngineCount, Event, Revision
from projects.models import PLATFORM_ENGINEERS
from projects.permissions import BUILDERS, EVERYONE, MEMBERS, PLATFORM, Rule, register

OPERATORS = BUILDERS | {PLATFORM_ENGINEERS}
READERS = MEMBERS | PLATFORM


def register_rules() -> None:
    """Register the rules of this app."""
    verbs = ("suspend", "resume", "retry", "delete")
    register(Rule(Endpoint, "project_id", {"view": READERS, **dict.fromkeys(verbs, OPERATORS)}))
    for model in (Revision, Event, EngineCount):
        register(Rule(model, "endpoint__project_id", {"view": READERS}))
    engineers = frozenset({PLATFORM_ENGINEERS})
    register(Rule(Cluster, None, {"view": EVERYONE, "create": engineers, "change": engineers}))
