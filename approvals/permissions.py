"""Who may do what with requests."""

from django.db.models import Q

from approvals.models import AccessReview, Bundle, Calendar, Decision, Delegation, Preview, Request, RequestKind
from projects.models import AUDITORS, GOVERNANCE_LEADS, PLATFORM_ENGINEERS
from projects.permissions import BUILDERS, EVERYONE, MEMBERS, OWNER, PLATFORM, Own, Rule, Second, register
from projects.principal import Principal

DECIDERS = frozenset({PLATFORM_ENGINEERS, GOVERNANCE_LEADS})
OWNERS = frozenset({OWNER})


def register_rules() -> None:
    """Register the rules of this app.

    A request to call an endpoint belongs to the project that asks; the owners of the endpoint's project read it and
    may decide it. Its developers and viewers learn of it when it is granted. An admission belongs to no project: the
    platform reads it, and whoever sent it.
    """
    catalog = {"kind": RequestKind.ADMISSION.value}
    theirs = {"kind": RequestKind.ACCESS.value}
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
            Second("endpoint__project_id", theirs, dict.fromkeys(("view", "comment", "decide"), OWNERS)),
            own=Own("requester_id", catalog, frozenset({"view", "comment"})),
        )
    )
    # Owners and reviewers answer their own entries: approvals/access/review.py. These answer all of them.
    whole = dict.fromkeys(("create", "decide", "close"), DECIDERS)
    register(Rule(AccessReview, None, {"view": PLATFORM, **whole}))
    # Rules are open to whoever is judged by them.
    register(Rule(Bundle, None, {"view": EVERYONE, "publish": frozenset({GOVERNANCE_LEADS})}))
    register(Rule(Preview, None, {"view": PLATFORM}))
    register(Rule(Calendar, None, {"view": EVERYONE, "change": DECIDERS}))
    register(Rule(Delegation, None, {"view": EVERYONE}, audience=_delegations))
    register(
        Rule(
            Decision,
            "request__project_id",
            {"view": MEMBERS | PLATFORM},
            Second(
                "request__endpoint__project_id",
                {f"request__{name}": value for name, value in theirs.items()},
                {"view": OWNERS},
            ),
            own=Own(
                "request__requester_id",
                {f"request__{key}": value for key, value in catalog.items()},
                frozenset({"view"}),
            ),
        )
    )


def _delegations(by: Principal) -> Q | None:
    """Return which delegations somebody sees: governance and audit all, everybody else those they gave or got."""
    if by.groups & {GOVERNANCE_LEADS, AUDITORS} and by.project_id is None:
        return None
    me = by.person.pk if by.is_authenticated else 0
    return Q(delegator=me) | Q(delegate=me)
