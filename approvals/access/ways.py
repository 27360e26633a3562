"""Through what somebody is allowed something: the rules are asked again with one role or group at a time, so that a way
is exactly what the enforcement would accept alone.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from approvals.access.words import MEANINGS
from endpoints.gateways.builtin.records import KeyRecord
from portal.templatetags.gatehouse import day
from projects.models import PLATFORM_GROUPS, Role, Source, User, Where
from projects.permissions import allows
from projects.principal import Principal

PERSON, SERVICE, KEY, APPLICATION, PROJECT = "person", "service account", "key", "application", "project"
HOLDERS = (PERSON, SERVICE, KEY, APPLICATION, PROJECT)  # in this order within a word


@dataclass(frozen=True)
class Way:
    """One way by which something is allowed. `kind`: role, group, preset, grant, share, scope, membership, key or
    delegation; `project_id`: the project whose readers may know of it, none: everybody.
    """

    kind: str
    name: str
    sentence: str
    ends_at: datetime | date | None = None
    project_id: int | None = None

    def json(self) -> dict[str, object]:
        """Return the way as the API shows it."""
        return {self.kind: self.name, "sentence": self.sentence, "ends_at": self.ends_at}


@dataclass(frozen=True)
class Member:
    """A membership. `mapped`: the group of the identity provider that leads to this role."""

    project: str
    role: str
    since: datetime
    source: str
    mapped: str = ""


@dataclass(frozen=True)
class Holder:
    """Somebody or something that may be allowed something, with the principal that the enforcement would make of it.

    `members` are of the person behind it, by project id. `ended` says why a key or application is refused everywhere;
    `calls` are the keys that a person holds, or the key itself, as the gateway knows them. `lent`: those who let it
    decide for them, until their `ends_at`.
    """

    name: str
    kind: str
    principal: Principal
    members: Mapping[int, Member] = field(default_factory=dict)
    ended: str = ""
    ends_at: datetime | None = None
    calls: tuple[KeyRecord, ...] = ()
    lent: tuple["Holder", ...] = ()

    @property
    def person(self) -> User:
        """Whose it is."""
        return self.principal.person

    @property
    def bound(self) -> bool:
        """Whether it is a credential, which carries scopes, and not somebody."""
        return self.principal.scopes is not None


Ask = Callable[[Principal], bool]


def ways(holder: Holder, asks: Ask, project_id: int | None = None, *, what: str = "") -> list[Way]:
    """Return every role, group or preset of `holder` that alone makes the rule `asks` say yes; none when it says no.

    `project_id`: the project whose role counts, none: platform-wide. `what` narrows the sentence ("its requests").
    """
    if not asks(holder.principal):
        return []
    found = [way for way, alone in _pieces(holder, project_id) if asks(alone)]
    if found and found[0].name == "everyone":  # roles add nothing to what everybody has
        found = found[:1]
    return [replace(way, sentence=f"{way.sentence}: {what}") if what else way for way in found]


def may(kind: str, word: str, project_id: int | None) -> Ask:
    """Return the question whether one of the permissions behind a word is held in a project, or platform-wide."""
    pairs = MEANINGS[kind, word].asks
    return lambda one: any(allows(one, action, model, project_id) for model, action in pairs)


def _pieces(holder: Holder, project_id: int | None) -> Iterator[tuple[Way, Principal]]:
    """Yield the principal with nothing, then with one group at a time, then with the role in the project alone."""
    whole = holder.principal
    bare = replace(whole, groups=frozenset(), roles={}, presets={})
    yield Way("group", "everyone", "everyone who is signed in"), bare
    presets = whole.presets.get(Where.PLATFORM, {})
    for name in sorted(whole.groups):
        mine = {Where.PLATFORM: {name: presets[name]}} if name in presets else {}
        kind = "preset" if name in presets and name not in PLATFORM_GROUPS else "group"
        yield Way(kind, name, _group(name)), replace(bare, groups=frozenset({name}), presets=mine)
    role = whole.role_in(project_id)
    if project_id is not None and role is not None:
        presets = whole.presets.get(Where.PROJECT, {})
        mine = {Where.PROJECT: {role: presets[role]}} if role in presets else {}
        way = role_way(holder, project_id, role)
        yield way, replace(bare, roles={project_id: role}, presets=mine)


def _group(name: str) -> str:
    if name in PLATFORM_GROUPS:
        return f"{name.removesuffix('s').replace('-', ' ')} on the whole platform"
    return f"{name} on the whole platform"


def role_way(holder: Holder, project_id: int, role: str) -> Way:
    """Return the way of a membership, with since when and from whom."""
    kind = "role" if role in Role.values else "preset"
    member = holder.members.get(project_id)
    if member is None:
        return Way(kind, role, role, project_id=project_id)
    return Way(kind, role, member_words(member), project_id=project_id)


def member_words(member: Member) -> str:
    """Return a membership as people say it."""
    by = ""
    if member.source == Source.SSO:
        by = f", by the identity provider's group {member.mapped}" if member.mapped else ", by single sign-on"
    return f"{member.role} of {member.project} since {day(member.since)}{by}"


def until(moment: datetime | date | None) -> str:
    """Return " until 1 Feb 2027", or nothing for what has no end."""
    return f" until {day(moment)}" if moment else ""
