"""One owner for permission: a registry with two questions, `can` (this object?) and `visible` (which objects?).
Unregistered means denied.

Each app registers one rule per model in AppConfig.ready. Superuser is not a business role and is not looked at.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Model, Q, QuerySet

from portal.errors import Forbidden, InsufficientScope, NotFound
from projects.models import (
    PLATFORM_GROUPS,
    Membership,
    Project,
    Role,
    Where,
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
class Second:
    """A second project that has a say in some objects of a model: in those whose fields have the values of `when`."""

    project: str  # lookup from the model to that project's id
    when: Mapping[str, str]  # lookups from the model to plain columns
    actions: Mapping[str, frozenset[str]]  # action → roles in that project


@dataclass(frozen=True)
class Grant:
    """Rows that let members of further projects do some actions, until they end: grants on single objects."""

    rows: Callable[[], QuerySet[Any]]  # the grants that hold now
    target: str  # column of a grant: the object's id
    project: str  # column of a grant: the project that it is given to
    actions: Mapping[str, frozenset[str]]  # action → roles in that project


@dataclass(frozen=True)
class Own:
    """Rows that stand in no project, of which the person who made them may do some actions."""

    person: str  # lookup from the model to that person's id
    when: Mapping[str, str]  # lookups from the model to plain columns
    actions: frozenset[str]


@dataclass(frozen=True)
class Rule:
    """Who may do what with one model. `project` is the lookup from the model to its project's id; None means
    platform-wide.
    """

    model: type[Model]
    project: str | None
    actions: Mapping[str, frozenset[str]]  # action → project roles, platform groups, or "*" for anyone signed in
    second: Second | None = None
    grant: Grant | None = None
    own: Own | None = None
    # Which rows of a platform-wide rule are left to a principal; None, or a None from it: all.
    audience: Callable[[Principal], Q | None] | None = None


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


def permission(model: type[Model], action: str) -> str:
    """Return the name under which presets keep a permission: "endpoints.endpoint.suspend"."""
    return f"{model._meta.label_lower}.{action}"


def _value(path: str, obj: Model) -> Any:
    value: Any = obj
    for step in path.split("__"):
        value = getattr(value, step) if value is not None else None
    return value


def _project_id(path: str, obj: Model) -> int | None:
    value = _value(path, obj)
    return int(value) if value is not None else None


def _presets(principal: Principal, where: Where, name: str) -> frozenset[str]:
    """Return the presets that `principal` holds there and that allow permission `name`."""
    return frozenset(slug for slug, granted in principal.presets.get(where, {}).items() if name in granted)


def _everywhere(principal: Principal, allowed: frozenset[str], name: str) -> bool:
    """Whether a platform group or a preset held platform-wide allows it. A group that is named like a role of
    projects says nothing here.
    """
    if allowed & (PLATFORM | EVERYONE) & (principal.groups | EVERYONE):
        return True
    return bool(_presets(principal, Where.PLATFORM, name))


def _role_says(principal: Principal, role: str | None, allowed: frozenset[str], name: str) -> bool:
    """Whether a role in a project, or a preset that stands for one, allows it."""
    if role is None:
        return False
    return role in allowed & MEMBERS or role in _presets(principal, Where.PROJECT, name)


def allows(principal: Principal, action: str, model: type[Model], project_id: int | None) -> bool:
    """Whether roles, groups and presets of `principal` allow `action` on objects of `model` in that project (None:
    platform-wide), grants on single objects aside. Costs no query.
    """
    rule = _rules.get(model)
    if rule is None or action not in rule.actions or not principal.is_authenticated:
        return False
    allowed, name = rule.actions[action], permission(model, action)
    if principal.project_id is not None and project_id is None:
        return allowed >= EVERYONE  # a credential of a project opens no platform-wide door, whatever its owner may do
    if principal.project_id is not None and principal.project_id != project_id:
        return False  # and stays a stranger in another one
    return _everywhere(principal, allowed, name) or _role_says(principal, principal.role_in(project_id), allowed, name)


def _second_says(principal: Principal, action: str, rule: Rule, obj: Model) -> bool:
    """Whether a role in the object's second project allows `action`."""
    second = rule.second
    if second is None or action not in second.actions:
        return False
    if not principal.is_authenticated or any(_value(path, obj) != value for path, value in second.when.items()):
        return False
    role = principal.role_in(_project_id(second.project, obj))
    return _role_says(principal, role, second.actions[action], permission(rule.model, action))


def _granted(principal: Principal, action: str, rule: Rule) -> QuerySet[Any] | None:
    """Return the grants to the principal's projects that allow `action`; None where there can be none."""
    grant = rule.grant
    if grant is None or action not in grant.actions or not principal.is_authenticated:
        return None
    allowed, name = grant.actions[action], permission(rule.model, action)
    mine = [pk for pk in principal.roles if _role_says(principal, principal.role_in(pk), allowed, name)]
    return grant.rows().filter(**{f"{grant.project}__in": mine}) if mine else None


def _grant_says(principal: Principal, action: str, rule: Rule, obj: Model) -> bool:
    """Whether a grant on this very object allows `action` (at most one query)."""
    given = _granted(principal, action, rule)
    return given is not None and rule.grant is not None and given.filter(**{rule.grant.target: obj.pk}).exists()


def _own_says(principal: Principal, action: str, rule: Rule, obj: Model) -> bool:
    """Whether `principal` made the row, and may do `action` to it for that."""
    own = rule.own
    if own is None or action not in own.actions or not principal.is_authenticated or principal.project_id is not None:
        return False
    made = _value(own.person, obj) == principal.person.pk
    return made and all(_value(path, obj) == value for path, value in own.when.items())


def _in_audience(principal: Principal, rule: Rule, obj: Model) -> bool:
    """Whether `obj` is among the rows that the rule leaves to `principal` (at most one query)."""
    mine = rule.audience(principal) if rule.audience is not None else None
    return mine is None or rule.model._default_manager.filter(mine, pk=obj.pk).exists()


def can(principal: Principal, action: str, obj: Model, *, model: type[Model] | None = None) -> bool:
    """Whether `principal` may do `action` to `obj`.

    With `model`, `obj` is the Project in which an object of that model would be (as for "create").
    An unknown model or action is a no.
    """
    rule = _rules.get(model or type(obj))
    if rule is None or action not in rule.actions:
        return False
    if model is not None and isinstance(obj, Project):
        return allows(principal, action, rule.model, obj.pk)
    project_id = None if rule.project is None else _project_id(rule.project, obj)
    if allows(principal, action, rule.model, project_id):
        return model is not None or _in_audience(principal, rule, obj)
    if model is not None:
        return False
    if _second_says(principal, action, rule, obj) or _own_says(principal, action, rule, obj):
        return True
    return _grant_says(principal, action, rule, obj)


def can_anywhere(principal: Principal, action: str, model: type[Model]) -> bool:
    """Whether a platform-wide role, or a role in any project of `principal`, allows `action`: for menus and empty
    states.
    """
    rule = _rules.get(model)
    if rule is None or action not in rule.actions or not principal.is_authenticated:
        return False
    if rule.project is None:
        return allows(principal, action, model, None)
    name, allowed = permission(model, action), rule.actions[action]
    if _everywhere(principal, allowed, name):
        return True
    allowed |= rule.second.actions.get(action, frozenset()) if rule.second else frozenset()
    return any(_role_says(principal, principal.role_in(pk), allowed, name) for pk in principal.roles)


def require(principal: Principal, action: str, obj: Model, *, model: type[Model] | None = None) -> None:
    """Raise NotFound for a stranger (who must not learn that `obj` exists) and Forbidden for a reader who may not do
    `action`.
    """
    if can(principal, action, obj, model=model):
        return
    if not can(principal, "view", obj):
        raise NotFound(f"There is no such {obj._meta.verbose_name}, or you may not see it.")
    raise _refusal(action, model or type(obj), obj)


def require_anywhere(principal: Principal, action: str, model: type[Model]) -> None:
    """Raise Forbidden unless some role of `principal` allows `action` on objects of `model`."""
    if not can_anywhere(principal, action, model):
        raise _refusal(action, model)


def _refusal(action: str, model: type[Model], obj: Model | None = None) -> Forbidden:
    """Return the error with the roles that would do, and the project in which they must be held."""
    rule = _rules.get(model)
    project_id = obj.pk if isinstance(obj, Project) else None
    if obj is not None and project_id is None and rule is not None and rule.project is not None:
        project_id = _project_id(rule.project, obj)
    roles = rule.actions.get(action, frozenset()) if rule else frozenset()
    return Forbidden.for_want_of(roles, forbidden_sentence(action, model), project_id=project_id)


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
    allowed, name = rule.actions[action], permission(rule.model, action)
    if rule.project is None:
        mine = rule.audience(principal) if rule.audience is not None else None
        rows = queryset if allows(principal, action, rule.model, None) else queryset.none()
        return rows if mine is None else rows.filter(mine)
    bound = {rule.project: principal.project_id} if principal.project_id is not None else {}
    roles = (allowed & MEMBERS) | _presets(principal, Where.PROJECT, name)
    if _everywhere(principal, allowed, name):
        own = Q(**bound)
    elif roles:
        own = Q(**{f"{rule.project}__in": _projects_of(principal, roles)}, **bound)
    else:  # no role of a project would do
        own = Q(pk__in=[])
    if not own:  # everything is visible already
        return queryset
    second, grant = rule.second, rule.grant
    given = _granted(principal, action, rule)
    theirs = Q(pk__in=given.values(grant.target)) if grant is not None and given is not None else Q()
    if second is not None and action in second.actions:
        sure = (second.actions[action] & MEMBERS) | _presets(principal, Where.PROJECT, name)
        said = Q(**{f"{second.project}__in": _projects_of(principal, sure)}, **second.when)
        if principal.project_id is not None:
            said &= Q(**{second.project: principal.project_id})
        theirs |= said
    if rule.own is not None and action in rule.own.actions and principal.project_id is None:
        theirs |= Q(**{rule.own.person: principal.person.pk}, **rule.own.when)
    return queryset.filter(own | theirs if theirs else own)


def _projects_of(principal: Principal, roles: frozenset[str]) -> QuerySet[Any]:
    return Membership.objects.filter(user=principal.person, role__in=roles).values("project_id")


def require_scope(principal: Principal, scope: str) -> None:
    """Raise InsufficientScope when the token or key of `principal` does not carry `scope`."""
    if principal.scopes is not None and scope not in principal.scopes:
        raise InsufficientScope(f"The token lacks the scope {scope}. Ask for a token with it.", extra={"scope": scope})
