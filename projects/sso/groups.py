"""From the groups of the identity provider to roles: reading the claim, whatever its shape, and settling what a person
holds.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import transaction

from audit.services import Actor, system
from projects.models import Membership, Project, Source, User
from projects.sso import mappings, roles

MOST_GROUPS = 1000  # that count; a person of the provider may be in more, and only mapped ones are looked at
MAX_LENGTH = 200  # characters of a group's name
PLACES = ("userinfo", "id_token")  # where the claim is looked for, the fresher place first, then at the root

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Claim:
    """What the provider said about groups: `names` cleaned, `reason` why it said less than it should ("" = nothing to
    note), `present` whether there was a claim at all.
    """

    names: frozenset[str] = frozenset()
    reason: str = ""
    present: bool = True


def read(data: object, *, subject: str = "") -> Claim:
    """Return the groups that `data`, as allauth keeps it, holds at settings.SSO.groups_claim; `subject` is for the log.

    Never raises: a claim that is missing or of another shape gives no group, and a reason code is logged.
    """
    found = _judged(_find(data))
    if found.reason:
        log.warning("sso.groups_refused reason=%s subject=%r", found.reason, subject[:80])
    return found


def _judged(claim: object) -> Claim:
    if claim is _NOTHING or claim is None:
        return Claim(reason="groups_missing", present=False)
    if not isinstance(claim, list):
        return Claim(reason="groups_not_a_list")
    names = {name for name in claim if isinstance(name, str) and 0 < len(name) <= MAX_LENGTH and name.isprintable()}
    reason = "groups_not_names" if any(not isinstance(name, str) for name in claim) else ""
    if len(claim) > MOST_GROUPS:
        reason = reason or "groups_huge"
        names &= {one.group for one in mappings.known()}
    return Claim(frozenset(sorted(names)[:MOST_GROUPS]), reason)


_NOTHING = object()


def _find(data: object) -> object:
    """Return the claim, or _NOTHING."""
    if not isinstance(data, dict):
        return _NOTHING
    path = settings.SSO.groups_claim if settings.SSO else "groups"
    for place in (*(data.get(name) for name in PLACES), data):
        found = _dig(place, path)
        if found is not _NOTHING:
            return found
    return _NOTHING


def _dig(place: object, path: str) -> object:
    """Follow a path: the longest name first, since names hold dots too ("https://example.com/groups")."""
    if not isinstance(place, dict):
        return _NOTHING
    if path in place:
        return place[path]
    parts = path.split(".")
    for length in range(len(parts) - 1, 0, -1):
        inner = place.get(".".join(parts[:length]))
        if isinstance(inner, dict):
            return _dig(inner, ".".join(parts[length:]))
    return _NOTHING


def leads_somewhere(names: Collection[str]) -> bool:
    """Whether one of these groups makes something of a person."""
    return any(one.group in names and not one.broken for one in mappings.known())


def holds_anything(person: User) -> bool:
    """Whether a person has any role at all (at most two queries)."""
    return person.is_superuser or person.memberships.exists() or person.groups.exists()


def sync(person: User, names: Collection[str], *, by: Actor | None = None) -> bool:
    """Settle what a person holds by their groups at the provider, and return whether that changed anything.

    Managed mappings are authoritative: what they lead to is held by whoever has the group, and by nobody else. The
    others only add. In projects the highest role wins, a role given by hand among them, and comes back when the
    provider's goes. The same groups again write nothing.
    """
    actor = by or system("sso")
    with transaction.atomic():
        person = User.objects.select_for_update().get(pk=person.pk)  # two sign-ins at once: one after the other
        rules = [one for one in mappings.known() if not one.broken]
        mine = [one for one in rules if one.group in names]
        changed = _groups(person, rules, mine, actor)
        return _memberships(person, mine, actor) or changed


def _groups(person: User, rules: Sequence[mappings.Mapping], mine: Sequence[mappings.Mapping], by: Actor) -> bool:
    wanted = {one.into.pk: one.into for one in mine if one.into is not None}
    managed = {one.into.pk for one in rules if one.into is not None and one.managed}
    held: dict[int, Group] = {group.pk: group for group in person.groups.all()}
    gained = [group for pk, group in wanted.items() if pk not in held]
    lost = [group for pk, group in held.items() if pk in managed and pk not in wanted]
    for group in gained:
        roles.join(person, group, by=by)
    for group in lost:
        roles.leave(person, group, by=by)
    return bool(gained or lost)


def _memberships(person: User, mine: Sequence[mappings.Mapping], by: Actor) -> bool:
    managed, added, projects = _best(mine, managed=True), _best(mine, managed=False), _projects(mine)
    held = {member.project_id: member for member in person.memberships.select_related("project")}
    changed = False
    for pk in sorted({*held, *managed, *added}):
        member = held.get(pk)
        project = member.project if member else projects[pk]
        role, source, by_hand = _settled(member, managed.get(pk, ""), added.get(pk, ""))
        changed |= roles.hold(person, project, member, role=role, source=source, by_hand=by_hand, by=by)
    return changed


def _settled(member: Membership | None, managed: str, added: str) -> tuple[str, str, str]:
    """Return role, source and the role given by hand. What only adds counts as given by hand: nothing takes it back."""
    kept = "" if member is None else member.by_hand if member.source == Source.SSO else member.role
    hand = max(kept, added, key=mappings.rank)
    if mappings.rank(managed) > mappings.rank(hand):
        return managed, Source.SSO, hand
    return hand, Source.HAND, ""


def _best(mine: Sequence[mappings.Mapping], *, managed: bool) -> dict[int, str]:
    """Return the highest role of each project."""
    best: dict[int, str] = {}
    for one in mine:
        if one.project is not None and one.managed == managed:
            best[one.project.pk] = max(best.get(one.project.pk, ""), one.role, key=mappings.rank)
    return best


def _projects(mine: Sequence[mappings.Mapping]) -> Mapping[int, Project]:
    return {one.project.pk: one.project for one in mine if one.project is not None}
