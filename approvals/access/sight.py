"""Who may ask the explorer about whom: platform roles about everything, owners as far as their projects are concerned,
everybody about themselves.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NoReturn, TypeVar
from uuid import UUID

from django.db.models import QuerySet

from approvals.access.facts import AssetFacts, assets
from audit.models import Row
from catalog.models import Asset, is_asset_slug
from portal.errors import Forbidden, InsufficientScope, Invalid
from projects.models import ApiKey, Membership, Project, User, is_slug
from projects.permissions import PLATFORM, allows, visible
from projects.principal import Principal

SCOPES = frozenset({"admin", "audit:read"})  # either one opens more than the own access to a token
MAX_NAME = 150

T = TypeVar("T")


@dataclass(frozen=True)
class Sight:
    """How far a reader sees. `whole`: everything; else `owned` projects, and always the own access."""

    principal: Principal
    whole: bool
    owned: frozenset[int]
    blind: bool = False  # a token without the scope: only the own access, whatever the roles

    def shows(self, project_id: int | None, *, of_self: bool) -> bool:
        """Whether a way through a project may be told: none stands for what everybody may know."""
        if project_id is None or self.whole:
            return True
        bound = self.principal.project_id
        return bound in (None, project_id) if of_self else project_id in self.owned


@dataclass(frozen=True)
class Question:
    """What is asked: at least one of the four; several narrow."""

    asset: AssetFacts | None = None
    project: Project | None = None
    user: User | None = None
    users: QuerySet[User] | None = None  # the one row of `user`, read already
    key: ApiKey | None = None
    of_self: bool = False
    within: frozenset[int] | None = None  # only what concerns these projects; none: everything


def sight(principal: Principal) -> Sight:
    """Return how far `principal` sees (no query)."""
    blind = principal.scopes is not None and not principal.scopes & SCOPES
    whole = allows(principal, "view", Row, None)
    owned = frozenset(pk for pk in principal.roles if allows(principal, "manage_members", Project, pk))
    return Sight(principal, whole and not blind, frozenset() if blind else owned, blind)


def question(who: Sight, *, asset: str = "", project: str = "", user: str = "", key: str = "") -> Question:
    """Return what the names ask (a query for each). Raises Invalid, with one sentence for unknown and hidden alike, and
    Forbidden for what the reader sees but may not ask about.
    """
    if not (asset or project or user or key):
        raise Invalid(
            "Say what to explain: asset, project, user or key.",
            fields=dict.fromkeys(("asset", "project", "user", "key"), "Give one of asset, project, user or key."),
        )
    one = who.principal
    of_self = bool(user) and user == one.name
    if not (of_self or key or who.whole or who.owned):
        _refuse(who)
    if user and key:
        raise Invalid.field("key", "key and user are both given. A key has one person: leave user out.")
    users = User.objects.filter(username=user).order_by("username") if user and _storable(user) else None
    found = Question(
        asset=_asset(one, asset) if asset else None,
        project=_project(one, project) if project else None,
        user=_known(next(iter(users), None) if users is not None else None, "user", user) if user else None,
        users=users,
        key=_key(one, key) if key else None,
        of_self=of_self,
    )
    within = _within(who, found)
    mine = of_self or (found.key is not None and found.key.person_id == one.person.pk)
    return replace(found, of_self=mine, within=within)


def _within(who: Sight, asked: Question) -> frozenset[int] | None:
    """Return the projects to which the answer is limited. Raises Forbidden and Invalid."""
    named = frozenset({asked.project.pk}) if asked.project is not None else None
    if asked.key is not None:
        if not who.whole and asked.key.person_id != who.principal.person.pk and asked.key.project_id not in who.owned:
            _refuse(who, asked.key.project_id)
        return named if named is not None and asked.asset is None else frozenset({asked.key.project_id})
    if who.whole:
        return named
    bound = who.principal.project_id
    if asked.of_self:
        return named if bound is None else frozenset({bound}) & (named or {bound})
    if asked.project is not None and asked.project.pk not in who.owned:
        _refuse(who, asked.project.pk)
    if named is None and asked.user is not None:
        members = Membership.objects.filter(user=asked.user, project__in=who.owned)
        if not members.exists():
            raise _unknown("user", asked.user.username)
    return named or who.owned


def _refuse(who: Sight, project_id: int | None = None) -> NoReturn:
    if who.blind:
        raise InsufficientScope(
            "The token lacks the scope audit:read, so it may ask about its own person only: user="
            f"{who.principal.name}. Ask for a token with audit:read."
        )
    raise Forbidden.for_want_of(
        frozenset({"owner", *PLATFORM}) if project_id is not None else PLATFORM,
        f"You may ask about yourself: user={who.principal.name}. Owners ask about their own projects, platform "
        "engineers, governance leads and auditors about everything.",
        project_id=project_id,
    )


def _unknown(field: str, value: str) -> Invalid:
    shown = "".join(char if char.isprintable() else "?" for char in value[:60])
    return Invalid.field(
        field, f"{field} is {shown!r}, which does not exist or is hidden from you. Check how it is written."
    )


def _known(found: T | None, field: str, value: str) -> T:
    if found is None:
        raise _unknown(field, value)
    return found


def _storable(text: str) -> bool:
    """Whether a database takes the text: no NUL, no half of a surrogate pair."""
    try:
        return b"\0" not in text.encode() and len(text) <= MAX_NAME
    except UnicodeEncodeError:
        return False


def _asset(one: Principal, slug: str) -> AssetFacts:
    rows = assets(Asset.objects.visible_to(one).filter(slug=slug)) if is_asset_slug(slug) else []
    return _known(rows[0] if rows else None, "asset", slug)


def _project(one: Principal, slug: str) -> Project:
    found: Project | None = visible(one, Project.objects.filter(slug=slug)).first() if is_slug(slug) else None
    return _known(found, "project", slug)


def _key(one: Principal, text: str) -> ApiKey:
    """Find a key by its prefix or id."""
    rows = visible(one, ApiKey.objects.select_related("project", "person"))
    found: ApiKey | None = None
    if text.startswith("gth_") and _storable(text):
        found = rows.filter(prefix=text).first()
    else:
        with suppress(ValueError):
            found = rows.filter(pk=UUID(text)).first()
    return _known(found, "key", text)
