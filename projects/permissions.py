"""One owner for permission: a registry with two questions, `can` (this object?) and `visible` (which objects?).
Unregistered means denied.

Each app registers one rule per model in AppConfig.ready. Superuser is not a business role and is not looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Model, QuerySet

from audit.models import Row
from portal.errors import Forbidden, InsufficientScope, NotFound
from projects.models import (
    AUDITORS,
    GOVERNANCE_LEADS,
    PLATFORM_ENGINEERS,
    PLATFORM_GROUPS,
    ApiKey,
    Membership,
    Project,
    Role,
    User,
)
from projects.principal import Principal

EVERYONE = frozenset({"*"})
OWNER, DEVELOPER, VIEWER = Role.OWNER.value, Role.DEVELOPER.value, Role.VIEWER.value
MEMBERS = frozenset({OWNER, DEVELOPER, VIEWER})
BUILDERS = frozenset({OWNER, DEVELOPER})
PLATFORM = frozenset(PLATFORM_GROUPS)

SCOPES: Mapping[str, str] = {
    "catalog:read": "Read the catalog",
    "catalog:write": "Propose and change assets",
    "requests:read": "Read requests",
    "requests:write": "Send and change requests",
    "approvals:decide": "Approve and reject requests",
    "endpoints:read": "Read endpoints",
    "endpoints:write": "Operate endpoints and keys",
    "inference:invoke": "Call endpoints",
    "usage:read": "Read usage",
    "policies:read": "Read policies",
    "policies:write": "Publish policies",
    "audit:read": "Read the audit log",
    "admin": "Administer the platform",
}
SHORT_LIVED = frozenset({"approvals:decide", "policies:write", "admin"})


@dataclass(frozen=True)
class Rule:
    """Who may do what with one model. `project` is the lookup from the model to its project's id; None means
    platform-wide.
    """

    model: type[Model]
    project: str | None
    actions: Mapping[str, frozenset[str]]  # action → project roles, platform groups, or "*" for anyone signed in


_rules: dict[type[Model], Rule] = {}


def register(rule: Rule) -> None:
    """Add `rule`; raises ValueError when the model has one already or "view" is missing."""
    if rule.model in _rules and _rules[rule.model] != rule:
        raise ValueError(f"{rule.model.__name__} has a rule already")
    if "view" not in rule.actions:
        raise ValueError(f"the rule of {rule.model.__name__} does not say who may view")
    _rules[rule.model] = rule


def rules() -> Mapping[type[Model], Rule]:
    """All rules, for the explorer and the matrix of tests."""
    return dict(_rules)


def register_own_rules() -> None:
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
                "revoke": BUILDERS | frozenset({PLATFORM_ENGINEERS}),
            },
        )
    )
    register(Rule(User, None, {"view": EVERYONE}))
    register(Rule(Row, None, {"view": PLATFORM}))  # audit imports no app, so its rule stands here


def _project_id(rule: Rule, obj: Model) -> int | None:
    value: Any = obj
    for step in (rule.project or "").split("__"):
        value = getattr(value, step)
    return int(value) if value is not None else None


def _roles(principal: Principal, project_id: int | None) -> frozenset[str]:
    if not principal.is_authenticated:
        return frozenset()
    if principal.project_id is not None and project_id is None:
        return EVERYONE  # a credential of a project opens no platform-wide door, whatever its owner may do
    if principal.project_id is not None and principal.project_id != project_id:
        return frozenset()  # and stays a stranger in another one
    held = set(principal.groups) | {"*"}
    role = principal.role_in(project_id)
    return frozenset(held | {role} if role else held)


def can(principal: Principal, action: str, obj: Model, *, model: type[Model] | None = None) -> bool:
    """Whether `principal` may do `action` to `obj`.

    With `model`, `obj` is the Project in which an object of that model would be (as for "create").
    An unknown model or action is a no.
    """
    rule = _rules.get(model or type(obj))
    if rule is None or action not in rule.actions:
        return False
    if model is not None and isinstance(obj, Project):
        project_id: int | None = obj.pk
    else:
        project_id = None if rule.project is None else _project_id(rule, obj)
    return bool(rule.actions[action] & _roles(principal, project_id))


def can_anywhere(principal: Principal, action: str, model: type[Model]) -> bool:
    """Whether a platform-wide role, or a role in any project of `principal`, allows `action`: for menus and empty
    states.
    """
    rule = _rules.get(model)
    if rule is None or action not in rule.actions or not principal.is_authenticated:
        return False
    if rule.project is None:
        return bool(rule.actions[action] & _roles(principal, None))
    held = set(principal.groups) | {"*"}
    held |= {role for project, role in principal.roles.items() if principal.project_id in (None, project)}
    return bool(rule.actions[action] & held)


def require(principal: Principal, action: str, obj: Model, *, model: type[Model] | None = None) -> None:
    """Raise NotFound for a stranger (who must not learn that `obj` exists) and Forbidden for a reader who may not do
    `action`.
    """
    if can(principal, action, obj, model=model):
        return
    if not can(principal, "view", obj):
        raise NotFound(f"There is no such {obj._meta.verbose_name}, or you may not see it.")
    raise Forbidden(forbidden_sentence(action, model or type(obj)))


def require_anywhere(principal: Principal, action: str, model: type[Model]) -> None:
    """Raise Forbidden unless some role of `principal` allows `action` on objects of `model`."""
    if not can_anywhere(principal, action, model):
        raise Forbidden(forbidden_sentence(action, model))


def forbidden_sentence(action: str, model: type[Model]) -> str:
    """Return the sentence that says which roles would allow `action`."""
    rule = _rules.get(model)
    allowed = sorted(rule.actions.get(action, frozenset())) if rule else []
    what = f"{action.replace('_', ' ')} this {model._meta.verbose_name}"
    if not allowed:
        return f"Nobody may {what}."
    names = " or ".join(role.removesuffix("s").replace("-", " ") if role in PLATFORM else role for role in allowed)
    giver = "A project owner or platform engineer" if MEMBERS & set(allowed) else "Whoever runs the portal"
    return f"To {what} you need the role {names}. {giver} can give it to you."


def visible(principal: Principal, queryset: QuerySet[Any], action: str = "view") -> QuerySet[Any]:
    """Return the rows of `queryset` on which `principal` may do `action`: platform role first, then membership by
    one subquery.
    """
    rule = _rules.get(queryset.model)
    if rule is None or action not in rule.actions or not principal.is_authenticated:
        return queryset.none()
    allowed = rule.actions[action]
    if rule.project is None:
        return queryset if allowed & _roles(principal, None) else queryset.none()
    bound = {rule.project: principal.project_id} if principal.project_id is not None else {}
    if allowed & (principal.groups | EVERYONE):
        return queryset.filter(**bound)
    member_of = Membership.objects.filter(user=principal.person, role__in=allowed).values("project_id")
    return queryset.filter(**{f"{rule.project}__in": member_of}, **bound)


def require_scope(principal: Principal, scope: str) -> None:
    """Raise InsufficientScope when the token or key of `principal` does not carry `scope`."""
    if principal.scopes is not None and scope not in principal.scopes:
        raise InsufficientScope(f"The token lacks the scope {scope}. Ask for a token with it.")
