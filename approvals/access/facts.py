"""What the explorer reads: a fixed number of queries, however many people, grants and keys there are."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import UUID

from django.db.models import CharField, DateField, F, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Cast, Coalesce
from django.utils import timezone

from approvals.access.ways import APPLICATION, KEY, PERSON, SERVICE, Holder, Member
from approvals.stages import delegating
from catalog.mcp.granted import usable as usable_servers
from catalog.models import (
    Access,
    Asset,
    AssetGroupGrant,
    AssetProjectGrant,
    AssetUserGrant,
    Kind,
    VersionState,
    living,
)
from endpoints.gateways.builtin.records import EndpointRecord
from endpoints.gateways.builtin.source import key_record, with_member
from endpoints.models import Desired, Endpoint, Phase
from endpoints.sharing import living_shares
from projects.credentials import belongs
from projects.keys import usable
from projects.models import ApiKey, Application, GroupMapping, Membership, User
from projects.oauth.living import why_ended
from projects.permissions import SHORT_LIVED
from projects.principal import NOWHERE, Principal

LENT = "lent"  # in the place of a membership's source: somebody lets this one decide for them


@dataclass(frozen=True)
class AssetFacts:
    """An asset as far as access goes. `public`: a version was approved once; `askable`: one can be asked for now."""

    pk: int
    slug: str
    name: str
    listed: bool  # only for those whom a grant names
    public: bool
    askable: bool  # an endpoint that runs it, or the use of a server
    model: bool
    proposer: int | None  # who proposed it sees it also before it has a version
    proposers: frozenset[int]  # of its versions


@dataclass(frozen=True)
class Grant:
    """A grant on an asset that holds now. `holder`: the id of a person or project, or the name of a group."""

    asset: int
    kind: str  # person | group | project
    holder: str
    name: str
    ends_at: datetime | None

    @property
    def last_day(self) -> date | None:
        """The last day (UTC), as catalog.holders.last_day says it; none: no end."""
        return (self.ends_at.astimezone(UTC) - timedelta(microseconds=1)).date() if self.ends_at else None


@dataclass(frozen=True)
class Running:
    """A living endpoint and the asset that it runs."""

    pk: UUID
    name: str
    project_id: int
    project: str
    asset: int | None

    def record(self, guest_id: int = 0) -> EndpointRecord:
        """Return it as the gateway knows it, as far as permission goes."""
        return EndpointRecord(
            id=str(self.pk), name=self.name, project=self.project, served_name=self.name, phase="", running=True,
            reason="", created=0, context_tokens=None, project_id=self.project_id, guest_id=guest_id,
        )  # fmt: skip


@dataclass(frozen=True)
class Shared:
    """A share that holds now: the members of `project` may call the endpoint."""

    endpoint: Running
    project_id: int
    project: str
    ends_on: date | None


@dataclass(frozen=True)
class Served:
    """The grant of an MCP server that may be used: the members of `project` have some tools of one version of it."""

    asset: int
    slug: str
    version: str
    tools: Sequence[str]
    project_id: int
    project: str
    ends_on: date | None


@dataclass(frozen=True)
class Facts:
    """Everything that one question needs."""

    grants: Mapping[int, Sequence[Grant]] = field(default_factory=dict)
    running: Sequence[Running] = ()
    shares: Sequence[Shared] = ()
    projects: frozenset[int] | None = None  # only what concerns these; none: everything
    servers: Mapping[int, Sequence[Served]] = field(default_factory=dict)  # by asset

    @cached_property
    def in_project(self) -> Mapping[int, Sequence[Running]]:
        """The endpoints by their project."""
        found: dict[int, list[Running]] = defaultdict(list)
        for one in self.running:
            found[one.project_id].append(one)
        return found

    @cached_property
    def on_asset(self) -> Mapping[int | None, Sequence[Running]]:
        """The endpoints by the asset that they run."""
        found: dict[int | None, list[Running]] = defaultdict(list)
        for one in self.running:
            found[one.asset].append(one)
        return found

    @cached_property
    def shared(self) -> Mapping[UUID, Sequence[Shared]]:
        """The shares by endpoint."""
        found: dict[UUID, list[Shared]] = defaultdict(list)
        for one in self.shares:
            found[one.endpoint.pk].append(one)
        return found


def assets(rows: QuerySet[Asset]) -> list[AssetFacts]:
    """Return the facts of `rows` by slug (one query)."""
    columns = ("pk", "slug", "name", "access", "kind", "proposed_by_id")
    versions = ("versions__state", "versions__approved_at", "versions__proposed_by_id")
    grouped: dict[tuple[object, ...], list[tuple[object, ...]]] = defaultdict(list)
    for row in rows.order_by("slug").values_list(*columns, *versions):
        grouped[row[:6]].append(row[6:])
    return [_asset(head, found) for head, found in grouped.items()]


def _asset(head: tuple[object, ...], versions: Sequence[tuple[object, ...]]) -> AssetFacts:
    pk, slug, name, access, kind, proposer = head
    return AssetFacts(
        pk=int(str(pk)),
        slug=str(slug),
        name=str(name),
        listed=access == Access.LISTED,
        public=any(approved is not None for _, approved, _ in versions),
        askable=any(state == VersionState.APPROVED for state, _, _ in versions),
        model=kind == Kind.MODEL,
        proposer=int(str(proposer)) if proposer is not None else None,
        proposers=frozenset(int(str(by)) for _, _, by in versions if by is not None),
    )


def grants(*, asset: int | None = None, user: User | None = None, ended: bool = False) -> dict[int, list[Grant]]:
    """Return the grants on an asset, or those that name a person, that hold now, by asset (one query). `ended`: those
    that hold no longer too.
    """
    on = Q() if asset is None else Q(content_object=asset)
    mine = (
        (AssetUserGrant, "person", "user_id", "user__username", Q(user=user)),
        (AssetGroupGrant, "group", "group__name", "group__name", Q(group__user=user)),
        (AssetProjectGrant, "project", "project_id", "project__slug", Q(project__memberships__user=user)),
    )
    parts = []
    for model, kind, holder, name, theirs in mine:
        rows = model.objects.filter(on if user is None else on & theirs).order_by()
        rows = rows if ended else living(rows)
        text = Cast(F(holder), CharField())
        parts.append(rows.values_list("content_object_id", Value(kind), text, name, "ends_at"))
    found: dict[int, list[Grant]] = defaultdict(list)
    for pk, kind, holder, name, ends_at in parts[0].union(*parts[1:], all=True):
        found[pk].append(Grant(pk, kind, holder, name, ends_at))
    for one in found.values():
        one.sort(key=lambda grant: (grant.kind, grant.name))
    return found


def servers(which: Q) -> dict[int, list[Served]]:
    """Return the grants of MCP servers that may be used now, by asset (one query). `which`: a condition on them."""
    columns = ("asset_id", "asset__slug", "version__version", "tools", "project_id", "project__slug", "ends_on")
    found: dict[int, list[Served]] = defaultdict(list)
    for facts in usable_servers().filter(which).order_by("project__slug", "pk").values_list(*columns):
        found[facts[0]].append(Served(*facts))
    return found


def server(one: Served) -> AssetFacts:
    """Return what is known of an MCP server by its grant alone: enough to say who uses it."""
    return AssetFacts(one.asset, one.slug, one.slug, False, True, False, False, None, frozenset())


def running(endpoints: Q, shares: Q) -> tuple[list[Running], list[Shared]]:
    """Return the living endpoints, as the gateway sees them, and living shares of them (one query). `endpoints` and
    `shares`: conditions on their columns.
    """
    rows = Endpoint.objects.filter(endpoints).exclude(Q(phase=Phase.DELETED) | Q(desired=Desired.DELETED)).order_by()
    given = living_shares().filter(shares, endpoint__in=rows.values("pk")).order_by()
    of = ("pk", "name", "project_id", "project__slug", "revision__version__asset_id")
    nobody = (NOWHERE, Value(None, output_field=CharField()), Value(None, output_field=DateField()))
    theirs = given.values_list(*(f"endpoint__{name}" for name in of), "project_id", "project__slug", "ends_on")
    found: dict[UUID, Running] = {}
    shared = []
    for *facts, guest, slug, ends_on in rows.values_list(*of, *nobody).union(theirs, all=True):
        one = found.setdefault(facts[0], Running(*facts))
        if guest is not None:
            shared.append(Shared(one, guest, slug, ends_on))
    return sorted(found.values(), key=lambda one: (one.project, one.name)), sorted(
        shared, key=lambda share: (share.project, share.endpoint.project, share.endpoint.name)
    )


def people(users: QuerySet[User]) -> dict[int, Holder]:
    """Return people and service accounts by id, in the order of `users`, with those who lent to them (two queries, and
    one to read `users`).
    """
    asked = {user.pk: user for user in users}
    members: dict[int, dict[int, Member]] = defaultdict(dict)
    lent: list[tuple[int, int, datetime]] = []  # who decides, for whom, until when
    mapped = GroupMapping.objects.filter(project=OuterRef("project_id"), role=OuterRef("role")).values("group")[:1]
    rows = Membership.objects.filter(user__in=list(asked)).order_by()
    columns = ("user_id", "project_id", "project__slug", "role", "created_at", "source")
    nothing = Value("", output_field=CharField())
    given = delegating.holding().filter(delegate__is_service=False).order_by()
    theirs = given.values_list("delegate_id", "delegator_id", nothing, nothing, "ends_at", Value(LENT), nothing)
    known = rows.values_list(*columns, Coalesce(Subquery(mapped), Value("")))
    for pk, about, slug, role, at, source, group in known.union(theirs, all=True):
        if source == LENT and pk in asked:
            lent.append((pk, about, at))
        elif source != LENT:
            members[pk][about] = Member(slug, role, at, source, group)
    principals = _principals(users, asked, {delegator for _, delegator, _ in lent})
    found = {
        pk: Holder(one.username, SERVICE if one.is_service else PERSON, principals[pk], members[pk])
        for pk, one in asked.items()
    }
    for pk, delegator, ends_at in sorted(lent):
        if (lends := principals.get(delegator)) is not None:  # who holds nothing has nothing to lend
            one = Holder(lends.name, PERSON, lends, ends_at=ends_at)
            found[pk] = replace(found[pk], lent=(*found[pk].lent, one))
    return found


def _principals(users: QuerySet[User], asked: dict[int, User], lenders: set[int]) -> dict[int, Principal]:
    """Return the principals of `users`, which were read as `asked`, and of `lenders` who hold anything (one query)."""
    if not lenders:
        return Principal.many(users)
    some = Principal.holders(User.objects.filter(pk__in=[*asked, *lenders]))
    return {pk: Principal(user=one) for pk, one in asked.items()} | {one.person.pk: one for one in some}


def with_keys(holders: dict[int, Holder], keys: QuerySet[ApiKey]) -> tuple[dict[int, Holder], list[Holder]]:
    """Return `holders` with the keys that they hold, and the keys as holders of their own (one query).

    Keys of others than `holders` are left out.
    """
    targets: dict[UUID, list[tuple[str, str]]] = {}
    rows: dict[UUID, Any] = {}
    targeted = with_member(keys.order_by("prefix")).annotate(of=F("targets__kind"), aim=F("targets__target_id"))
    for key in targeted:
        rows[key.pk] = key
        aims = targets.setdefault(key.pk, [])
        if key.of is not None:
            aims.append((key.of, key.aim))
    found = []
    held = dict(holders)
    for key in rows.values():
        owner = holders.get(key.person_id)
        if owner is None:
            continue
        record = key_record(key, targets[key.pk])
        scopes = frozenset(key.scopes)
        principal = replace(owner.principal, via="key", scopes=scopes, project_id=key.project_id)
        ended = "" if usable(key) else record.why_not(timezone.now().timestamp())
        if not belongs(principal):
            ended = ended or f"{key.person.username} is no longer a member of {key.project.slug}."
        lent = tuple(replace(one, principal=replace(one.principal, project_id=key.project_id)) for one in owner.lent)
        found.append(Holder(key.prefix, KEY, principal, owner.members, ended, key.expires_at, (record,), lent))
        before = held[key.person_id]
        held[key.person_id] = replace(before, calls=(*before.calls, record))
    return held, found


def applications(holders: dict[int, Holder], rows: QuerySet[Application]) -> list[Holder]:
    """Return the applications that come as a service account among `holders` (one query; none where there is none).

    Without a person they get no scope that decides; those that act for whoever signed in are that person.
    """
    found: list[Holder] = []
    if all(one.kind != SERVICE for one in holders.values()):
        return found
    for one in rows.select_related("client", "owner", "account").order_by("client_id"):
        account = holders.get(one.account_id) if one.account_id is not None else None
        if account is None:
            continue
        scopes = frozenset(one.client.get_scopes()) - SHORT_LIVED
        principal = replace(account.principal, via="token", scopes=scopes, project_id=one.project_id)
        ended = why_ended(one)
        if not belongs(principal):
            ended = ended or "its account is not in its project"
        words = f"The application {one.client.name} is refused: {ended.replace('_', ' ')}." if ended else ""
        found.append(Holder(one.client_id, APPLICATION, principal, account.members, words, one.ends_at))
    return found
