"""Who may do what to one asset or project: the five words, answered with the rules that decide.

What is written here is only how the rules are put together, the way the services and the gateway ask them; each rule
itself is asked where it stands: projects/permissions.py, catalog/models, endpoints/gateways/builtin.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from django.utils import timezone

from approvals.access.facts import AssetFacts, Facts, Grant, Running, Served, Shared
from approvals.access.ways import Ask, Holder, Way, may, role_way, until, ways
from approvals.access.words import (
    ASSET,
    DECIDE,
    INVOKE,
    MANAGE,
    MEANINGS,
    NOT_OWN,
    PROJECT,
    READ_REGISTRY,
    REQUEST,
    SEE,
)
from approvals.models import Request, RequestKind
from catalog.models import Asset, Version, reviews
from endpoints.gateways.builtin.records import SCOPE, KeyRecord
from endpoints.models import Endpoint
from projects.models import Project
from projects.permissions import allows, can

MOST_TOOLS = 5  # names in a sentence
EVERYONE = Way("group", "everyone", "everyone who is signed in")


@dataclass(frozen=True)
class Target:
    """What is asked about: a project, or an asset with its facts."""

    kind: str
    pk: int
    name: str  # slug
    asset: AssetFacts | None = None
    only: str = ""  # the one word that it is here for; none: all five

    def scope(self, word: str) -> str:
        """Return the scope that a token or key needs for a word; an MCP server is not called through the gateway."""
        if word == INVOKE and self.server:
            return READ_REGISTRY
        return MEANINGS[self.kind, word].scope

    @property
    def server(self) -> bool:
        """Whether it is an MCP server."""
        return self.asset is not None and not self.asset.model


@dataclass(frozen=True)
class Reach:
    """A way to see an asset, and the one project in which it also lets ask for it; none: in each of the own."""

    way: Way
    only: int | None = None


@lru_cache(maxsize=1024)
def decides(project_id: int) -> Ask:
    """Return the question whether somebody decides requests of a project."""
    request = Request(project_id=project_id)
    return lambda one: can(one, "decide", request)


@lru_cache(maxsize=1024)
def decides_access(project_id: int) -> Ask:
    """Return the question whether somebody decides what other projects ask of the endpoints of a project."""
    request = Request(kind=RequestKind.ACCESS, endpoint=Endpoint(project_id=project_id))
    return lambda one: can(one, "decide", request)


class Judge:
    """Answers one question after the other from the same facts, without a query."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.now = timezone.now().timestamp()
        self._grants: dict[int, dict[tuple[str, str], Reach]] = {}

    def ways(self, holder: Holder, word: str, target: Target) -> list[Way]:
        """Return every way by which `holder` may do `word` to `target`; none when it may not."""
        scope = target.scope(word)
        if not holder.bound:
            return _distinct(self._answer(holder, word, target))
        if word == INVOKE and not target.server:
            return _distinct(self._calls(holder, target))
        if holder.ended or (scope and scope not in (holder.principal.scopes or ())):
            return []
        found = _distinct(self._answer(holder, word, target))
        return [*found, *self._credential(holder, scope)] if found else []

    def _answer(self, holder: Holder, word: str, target: Target) -> Iterable[Way]:
        if target.kind == PROJECT:
            return {
                SEE: self._project_plain,
                REQUEST: self._project_request,
                INVOKE: self._project_invoke,
                MANAGE: self._project_plain,
                DECIDE: self._project_decide,
            }[word](holder, word, target)
        assert target.asset is not None  # noqa: S101 - the two kinds of targets
        return {
            SEE: self._asset_see,
            REQUEST: self._asset_request,
            INVOKE: self._asset_invoke,
            MANAGE: self._asset_manage,
            DECIDE: self._asset_decide,
        }[word](holder, target.asset)

    # --- Projects -----------------------------------------------------------------------------------------------------

    def _project_plain(self, holder: Holder, word: str, target: Target) -> list[Way]:
        return ways(holder, may(PROJECT, word, target.pk), target.pk)

    def _project_request(self, holder: Holder, word: str, target: Target) -> list[Way]:
        if not allows(holder.principal, "view", Project, target.pk):  # what one may not see cannot be named
            return []
        return self._project_plain(holder, word, target)

    def _project_invoke(self, holder: Holder, word: str, target: Target) -> Iterator[Way]:
        yield from self._project_plain(holder, word, target)
        yield from self._shared(holder, self.endpoints(target))
        yield from self._held(holder, target)

    def _project_decide(self, holder: Holder, word: str, target: Target) -> Iterator[Way]:
        yield from ways(holder, decides(target.pk), target.pk, what=NOT_OWN)
        what = f"what other projects ask of its endpoints, {NOT_OWN}"
        yield from _roles(ways(holder, decides_access(target.pk), target.pk, what=what))
        for one in holder.lent:
            yield from _for(one, self._project_decide(one, word, target))

    # --- Assets -------------------------------------------------------------------------------------------------------

    def reach(self, holder: Holder, asset: AssetFacts, *, version: bool = False) -> list[Reach]:
        """Return how `holder` sees the asset, or with `version` a version of it."""
        found = [Reach(way) for way in ways(holder, reviews)]
        me = holder.person.pk
        if not (asset.public or me in asset.proposers or (me == asset.proposer and not version)):
            return found
        if not holder.principal.is_authenticated:
            return []
        return found + self._granted(holder, asset) if asset.listed else [Reach(EVERYONE)]

    def _granted(self, holder: Holder, asset: AssetFacts) -> list[Reach]:
        """Return the grants that name the holder: as catalog.models.granted_to, which a test compares it with."""
        given, one = self._given(asset), holder.principal
        found = [given["project", str(pk)] for pk in one.roles if one.role_in(pk) and ("project", str(pk)) in given]
        if one.project_id is None:  # what a person or group was given does not travel in the key of a project
            names = [("person", str(one.person.pk)), *(("group", name) for name in sorted(one.groups))]
            found += [given[name] for name in names if name in given]
        return found

    def _given(self, asset: AssetFacts) -> Mapping[tuple[str, str], Reach]:
        """Return the grants on an asset by their holder."""
        known = self._grants.get(asset.pk)
        if known is None:
            rows = self.facts.grants.get(asset.pk, ())
            known = self._grants[asset.pk] = {(grant.kind, grant.holder): _reach(grant) for grant in rows}
        return known

    def _asset_see(self, holder: Holder, asset: AssetFacts) -> list[Way]:
        if not allows(holder.principal, "view", Asset, None):
            return []
        return [one.way for one in self.reach(holder, asset)]

    def _asset_request(self, holder: Holder, asset: AssetFacts) -> Iterator[Way]:
        """As Asset.open_in: to see it through another project, or as a reviewer, is not enough."""
        opened = self._granted(holder, asset) if asset.listed else [Reach(EVERYONE)]
        for room in self._rooms(holder) if asset.askable and opened else ():
            through = [one.way for one in opened if one.only in (None, room)]
            if through and allows(holder.principal, "view", Project, room):
                found = ways(holder, may(PROJECT, REQUEST, room), room)
                yield from found
                yield from [way for way in through if found and way is not EVERYONE]

    def _asset_invoke(self, holder: Holder, asset: AssetFacts) -> Iterator[Way]:
        target = Target(ASSET, asset.pk, asset.slug, asset)
        yield from self._uses(holder, asset)
        endpoints = self.endpoints(target)
        for project_id in self._hosts(asset):
            names = ", ".join(one.name for one in endpoints if one.project_id == project_id)
            yield from ways(holder, may(PROJECT, INVOKE, project_id), project_id, what=names)
        yield from self._shared(holder, endpoints)
        yield from self._held(holder, target)

    def _uses(self, holder: Holder, asset: AssetFacts) -> Iterator[Way]:
        """Yield the projects through which somebody uses an MCP server: members find it in their project's registry."""
        for given in self.facts.servers.get(asset.pk, ()):
            role = holder.principal.role_in(given.project_id)
            if role is not None and allows(holder.principal, "view", Project, given.project_id):
                member = role_way(holder, given.project_id, role).sentence
                yield Way("grant", f"project {given.project}", f"{member}: {_tools(given)}", given.ends_on,
                          given.project_id)  # fmt: skip

    def _asset_manage(self, holder: Holder, asset: AssetFacts) -> Iterator[Way]:
        for version in (False, True):
            if self.reach(holder, asset, version=version):
                pairs = [pair for pair in MEANINGS[ASSET, MANAGE].asks if _on_version(*pair) == version]
                yield from ways(holder, _any(pairs))

    def _asset_decide(self, holder: Holder, asset: AssetFacts) -> Iterator[Way]:
        for room in self._rooms(holder):
            if room is None:
                yield from ways(holder, _any([(Request, "decide")]), what=NOT_OWN)
            else:
                slug = holder.members[room].project if room in holder.members else ""
                what = f"requests of {slug}, {NOT_OWN}" if slug else NOT_OWN
                yield from ways(holder, decides(room), room, what=what)
        for project_id in self._hosts(asset):
            what = f"what other projects ask of its endpoints, {NOT_OWN}"
            yield from _roles(ways(holder, decides_access(project_id), project_id, what=what))
        for one in holder.lent:
            yield from _for(one, self._asset_decide(one, asset))

    # --- Calls --------------------------------------------------------------------------------------------------------

    def endpoints(self, target: Target) -> Sequence[Running]:
        """Return the endpoints that a word is about: of the project, or running the asset."""
        found = self.facts.in_project if target.kind == PROJECT else self.facts.on_asset
        return found.get(target.pk, ())

    def admits(self, record: KeyRecord) -> bool:
        """Whether the gateway takes the key at all."""
        return not record.why_not(self.now) and SCOPE in record.scopes

    def called(self, record: KeyRecord, endpoints: Sequence[Running]) -> Iterator[Way]:
        """Yield through what an admitted key reaches endpoints: its own project, or a share."""
        own = [one for one in endpoints if one.project_id == record.project_id and record.may_call(one.record())]
        if own:
            names = ", ".join(one.name for one in own)
            words = f"{record.person} is a member of {record.project}: {names}"
            yield Way("membership", record.project, words, project_id=record.project_id)
        for one in endpoints:
            for share in self.facts.shared.get(one.pk, ()):
                if share.project_id == record.project_id and record.may_call(one.record(share.project_id)):
                    yield _share_way(share)

    def _calls(self, holder: Holder, target: Target) -> list[Way]:
        record = holder.calls[0] if holder.calls else None
        if record is None or not self.admits(record):
            return []
        found = list(self.called(record, self.endpoints(target)))
        if not found and target.kind == PROJECT and record.project_id == target.pk and record.targets is None:
            role = holder.principal.role_in(target.pk)  # nothing runs there yet
            found = [role_way(holder, target.pk, role)] if role is not None else []
        return [*found, *self._credential(holder, SCOPE)] if found else []

    def _shared(self, holder: Holder, endpoints: Iterable[Running]) -> Iterator[Way]:
        """Yield the shares with projects in which somebody may make keys."""
        for share in (share for one in endpoints for share in self.facts.shared.get(one.pk, ())):
            for way in _roles(ways(holder, may(PROJECT, INVOKE, share.project_id), share.project_id)):
                shared = _share_way(share)
                yield replace(shared, sentence=f"{way.sentence}: {shared.sentence}")

    def _held(self, holder: Holder, target: Target) -> Iterator[Way]:
        """Yield the keys of a person which the gateway takes."""
        for record in holder.calls:
            if self.admits(record) and any(self.called(record, self.endpoints(target))):
                yield Way("key", record.prefix, f"the own key {record.prefix} of {record.project}",
                          project_id=record.project_id)  # fmt: skip

    # --- Inside -------------------------------------------------------------------------------------------------------

    def _rooms(self, holder: Holder) -> Iterator[int | None]:
        """Yield where somebody may ask or decide: everywhere (None) by a platform role, and in the own projects."""
        one = holder.principal
        if self.facts.projects is not None:
            yield from self.facts.projects if one.project_id is None else self.facts.projects & {one.project_id}
        elif one.project_id is not None:
            yield one.project_id
        else:
            yield None
            yield from sorted(one.roles)

    def _hosts(self, asset: AssetFacts) -> list[int]:
        """Return the projects whose endpoints run the asset."""
        found = dict.fromkeys(one.project_id for one in self.facts.on_asset.get(asset.pk, ()))
        return [pk for pk in found if self.facts.projects is None or pk in self.facts.projects]

    def _credential(self, holder: Holder, scope: str) -> list[Way]:
        words = f"with the scope {scope}" if scope else "with any scope"
        ends = until(holder.ends_at)
        return [Way("scope", scope or "any", f"the {holder.kind}{ends}, {words}", holder.ends_at)]


def _reach(grant: Grant) -> Reach:
    whom = "them" if grant.kind == "person" else f"the {grant.kind} {grant.name}"
    project = int(grant.holder) if grant.kind == "project" else None
    words = f"a grant to {whom}{until(grant.last_day)}"
    return Reach(Way("grant", f"{grant.kind} {grant.name}", words, grant.ends_at, project), project)


def _on_version(model: type, action: str) -> bool:
    return model is Version and action != "create"


def _any(pairs: Iterable[tuple[type, str]]) -> Ask:
    asked = list(pairs)
    return lambda one: any(allows(one, action, model, None) for model, action in asked)


def _roles(found: Iterable[Way]) -> list[Way]:
    """Return the ways of a role in a project: what a platform role allows was said before."""
    return [way for way in found if way.project_id is not None]


def _for(delegator: Holder, found: Iterable[Way]) -> Iterator[Way]:
    """Yield what somebody may decide for a delegator; what was lent to the delegator is not among it."""
    for way in found:
        words = f"for {delegator.name}{until(delegator.ends_at)}, {way.sentence}"
        yield Way("delegation", delegator.name, words, delegator.ends_at, way.project_id)


def _share_way(share: Shared) -> Way:
    name = f"{share.endpoint.project}/{share.endpoint.name}"
    words = f"{name} is shared with {share.project}{until(share.ends_on)}"
    return Way("share", name, words, share.ends_on, share.project_id)


def _tools(given: Served) -> str:
    count = len(given.tools)
    named = f" ({', '.join(given.tools[:MOST_TOOLS])}{', …' if count > MOST_TOOLS else ''})" if count else ""
    words = f"{count} tool{'' if count == 1 else 's'} of {given.slug} {given.version}"
    return f"{words}{named}, granted to {given.project}{until(given.ends_on)}"


def _distinct(found: Iterable[Way]) -> list[Way]:
    """Return each way once, in order."""
    return list(dict.fromkeys(found))
