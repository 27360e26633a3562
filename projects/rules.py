"""Who may do what with the models of this app, and with audit rows: audit imports no app."""

from audit.models import Row
from projects.models import (
    AUDITORS,
    GOVERNANCE_LEADS,
    PLATFORM_ENGINEERS,
    ApiKey,
    Application,
    GroupMapping,
    Membership,
    Preset,
    Project,
    User,
    Webhook,
)
from projects.permissions import BUILDERS, EVERYONE, MEMBERS, OWNER, PLATFORM, Rule, register


def register_rules() -> None:
    """Register the rules of this app."""
    register(
        Rule(
            Project,
            "pk",
            {
                "view": MEMBERS | PLATFORM,
                "create": frozenset({PLATFORM_ENGINEERS}),
                "change": frozenset({OWNER, PLATFORM_ENGINEERS}),
                "manage_members": frozenset({OWNER, PLATFORM_ENGINEERS}),
                "request": BUILDERS,
            },
        )
    )
    register(Rule(Membership, "project_id", {"view": MEMBERS | PLATFORM}))
    register(
        Rule(
            ApiKey,
            "project_id",
            {
                "view": MEMBERS | frozenset({PLATFORM_ENGINEERS, GOVERNANCE_LEADS, AUDITORS}),
                "create": BUILDERS,
                "rotate": BUILDERS,
                "rotate_any": frozenset({OWNER}),  # also the keys of others
                "revoke": BUILDERS | frozenset({PLATFORM_ENGINEERS}),
                "revoke_any": frozenset({OWNER, PLATFORM_ENGINEERS}),
            },
        )
    )
    hooks = frozenset({OWNER, PLATFORM_ENGINEERS})  # an address may hold a secret in its path
    verbs = ("view", "create", "change", "delete", "rotate", "test", "replay")
    register(Rule(Webhook, "project_id", dict.fromkeys(verbs, hooks)))
    people = dict.fromkeys(("create", "change", "end_sessions", "leave"), frozenset({PLATFORM_ENGINEERS}))
    register(Rule(User, None, {"view": EVERYONE, **people}))
    register(
        Rule(
            Application,
            "project_id",
            {
                "view": MEMBERS | PLATFORM,
                **dict.fromkeys(("create", "rotate", "change"), frozenset({OWNER, PLATFORM_ENGINEERS})),
                "end": frozenset({OWNER, PLATFORM_ENGINEERS}),
            },
        )
    )
    stewards = frozenset({PLATFORM_ENGINEERS, GOVERNANCE_LEADS})
    register(Rule(Preset, None, {"view": EVERYONE, **dict.fromkeys(("create", "change", "delete"), stewards)}))
    engineers = frozenset({PLATFORM_ENGINEERS})
    register(Rule(GroupMapping, None, {"view": PLATFORM, **dict.fromkeys(("create", "change", "delete"), engineers)}))
    register(Rule(Row, None, {"view": PLATFORM}))  # audit imports no app, so its rule stands here
