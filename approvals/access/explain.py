"""The access explorer: who may see, request, invoke, manage and decide, and through which role, grant or scope.

It reads and writes nothing. Rows come in one order, so that a page goes on where the one before it ended.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db.models import Q, QuerySet

from approvals.access import facts as read
from approvals.access.facts import Facts, Shared
from approvals.access.judge import Judge, Target
from approvals.access.sight import Question, Sight
from approvals.access.ways import HOLDERS, Holder, Way, until
from approvals.access.ways import PROJECT as GUEST
from approvals.access.words import ASSET, INVOKE, KINDS, PROJECT, SEE, WORDS
from approvals.stages import delegating
from catalog.models import Asset
from endpoints.sharing import living_shares
from projects.models import ApiKey, Application, KeyState, Project, User
from projects.permissions import visible

Place = tuple[int, str, int, int, str]  # where a row stands in the order: kind and name of the object, word, kind, who


@dataclass(frozen=True)
class Row:
    """Who may do `word` to what, and every way through which. Without a way it is not allowed."""

    who: str
    kind: str
    word: str
    on: Target
    through: tuple[Way, ...]

    @property
    def allowed(self) -> bool:
        """Whether it is allowed at all."""
        return bool(self.through)

    @property
    def place(self) -> Place:
        """Where the row stands in the order of all rows."""
        return _place(self.on, self.word, self.kind, self.who)


def _place(on: Target, word: str, kind: str, who: str) -> Place:
    return KINDS.index(on.kind), on.name, WORDS.index(word), HOLDERS.index(kind), who


class Explorer:
    """The answer to one question, as far as one reader may know it."""

    def __init__(self, who: Sight, asked: Question) -> None:
        """Read what the question needs: a fixed number of queries."""
        self.who, self.asked = who, asked
        self.targets = list(_targets(who, asked))
        facts = _facts(asked)
        self.shares = facts.shares
        if asked.asset is None and not _everything(asked):
            self.targets += _served(facts)
        self.judge = Judge(facts)
        self.holders = _holders(asked, facts)

    def rows(self, *, after: Place | None = None, word: str = "") -> Iterator[Row]:
        """Yield the rows behind `after` in their order: what is allowed, and where one holder and one object are asked
        about, also what is not.
        """
        asked = self.asked
        one_of_each = asked.key is not None or (
            asked.user is not None and (asked.asset is not None or asked.project is not None)
        )
        for target in self.targets:
            for one in (word,) if word else WORDS:
                if target.only not in ("", one):
                    continue
                for row in self._of(target, one, after):
                    if row.through or one_of_each:
                        yield row

    def _of(self, target: Target, word: str, after: Place | None) -> Iterator[Row]:
        for holder in self.holders:
            if after is None or _place(target, word, holder.kind, holder.name) > after:
                found = self.judge.ways(holder, word, target)
                yield Row(holder.name, holder.kind, word, target, tuple(way for way in found if self._told(way)))
        for share in self._guests(target) if word in {SEE, INVOKE} else ():
            if after is None or _place(target, word, GUEST, share.project) > after:
                yield Row(share.project, GUEST, word, target, (_guest(share, word),))

    def _guests(self, target: Target) -> list[Shared]:
        """Return the shares of a project's endpoints, which stand for the people of other projects."""
        if target.kind != PROJECT or self.asked.user is not None or self.asked.key is not None:
            return []
        found = [share for share in self.shares if share.endpoint.project_id == target.pk]
        return sorted(found, key=lambda share: share.project)

    def _told(self, way: Way) -> bool:
        return self.who.shows(way.project_id, of_self=self.asked.of_self)


def _guest(share: Shared, word: str) -> Way:
    name = f"{share.endpoint.project}/{share.endpoint.name}"
    what = "its members see" if word == SEE else "its owners, developers and keys call"
    words = f"{what} {name}, which is shared with it{until(share.ends_on)}"
    return Way("share", name, words, share.ends_on)


def _targets(who: Sight, asked: Question) -> list[Target]:
    """Return what is asked about, in order: what is named, or everything that the reader sees (two queries)."""
    if asked.asset is not None:
        found = [Target(ASSET, asked.asset.pk, asked.asset.slug, asked.asset)]
    elif asked.project is not None:
        found = [Target(PROJECT, asked.project.pk, asked.project.slug)]
    elif asked.key is not None:
        found = [Target(PROJECT, asked.key.project_id, asked.key.project.slug)]
    else:
        rows = visible(who.principal, Project.objects.order_by())
        if not (who.whole or asked.of_self):
            rows = rows.filter(pk__in=who.owned)
        found = [Target(PROJECT, pk, slug) for pk, slug in rows.values_list("pk", "slug")]
        seen = read.assets(Asset.objects.visible_to(who.principal))
        found += [Target(ASSET, one.pk, one.slug, one) for one in seen]
    return sorted(found, key=lambda one: (KINDS.index(one.kind), one.name))


def _everything(asked: Question) -> bool:
    """Whether the answer is about everything that the reader sees."""
    return asked.asset is None and asked.project is None and asked.key is None


def _served(facts: Facts) -> list[Target]:
    """Return the MCP servers that a project was granted, beside it: who may use them is a matter of the project."""
    first = {pk: grants[0] for pk, grants in facts.servers.items()}
    found = [Target(ASSET, pk, one.slug, read.server(one), only=INVOKE) for pk, one in first.items()]
    return sorted(found, key=lambda one: one.name)


def _facts(asked: Question) -> Facts:
    """Read grants, endpoints, shares and servers as far as the question needs them (three queries)."""
    within = asked.within
    own, hosts = (Q(), Q()) if within is None else (Q(project__in=within), Q(endpoint__project__in=within))
    reached = Q() if within is None else own | Q(pk__in=living_shares().filter(own).values("endpoint"))
    if asked.asset is not None:
        of = Q(revision__version__asset=asked.asset.pk)
        servers = {} if asked.asset.model else read.servers(Q(asset=asked.asset.pk) & own)
        return Facts(read.grants(asset=asked.asset.pk), *read.running(of & reached, own), within, servers)
    if asked.project is not None:
        return Facts({}, *read.running(own, hosts), within, read.servers(own))
    grants = read.grants(user=asked.user) if asked.user is not None else {}
    mine = Q(project__memberships__user=asked.user) if asked.user is not None else Q()
    return Facts(grants, *read.running(reached, own), within, read.servers(own & mine))


def _holders(asked: Question, facts: Facts) -> list[Holder]:
    """Return everybody and everything that might be allowed something, by kind and name (five queries)."""
    if asked.key is not None:
        people = read.people(User.objects.filter(pk=asked.key.person_id))
        return read.with_keys(people, ApiKey.objects.filter(pk=asked.key.pk))[1]
    scope = _scope(asked, facts)
    keys = ApiKey.objects.filter(state__in=[KeyState.ACTIVE, KeyState.ROTATING])
    keys = keys if scope is None else keys.filter(project__in=scope)
    if asked.user is not None and asked.users is not None:
        people = read.people(asked.users)
        return list(read.with_keys(people, keys.filter(person=asked.user))[0].values())
    applications = Application.objects.filter(ended_at__isnull=True, account__isnull=False)
    applications = applications if scope is None else applications.filter(project__in=scope)
    people = read.people(_people(asked, scope, keys, applications))
    held, found = read.with_keys(people, keys)
    return _by_kind([*held.values(), *found, *read.applications(people, applications)])


def _scope(asked: Question, facts: Facts) -> frozenset[int] | None:
    """Return the projects whose people, keys and applications come into question; None: all."""
    if asked.within is None or asked.asset is not None or asked.project is None:
        return asked.within
    return asked.within | {one.project_id for one in facts.shares}


def _by_kind(holders: Iterable[Holder]) -> list[Holder]:
    return sorted(holders, key=lambda one: (HOLDERS.index(one.kind), one.name))


def _people(
    asked: Question, scope: frozenset[int] | None, keys: QuerySet[ApiKey], applications: QuerySet[Application]
) -> QuerySet[User]:
    active = User.objects.filter(is_active=True)
    if scope is None:
        return active
    members = Q(memberships__project__in=scope)
    others = Q(pk__in=keys.order_by().values("person")) | Q(pk__in=applications.order_by().values("account"))
    platform = Q() if asked.asset is not None else Q(groups__isnull=False)
    lent = Q(pk__in=delegating.holding().order_by().values("delegate"))
    return User.objects.filter(pk__in=active.filter(members | platform | others | lent).order_by().values("pk"))
