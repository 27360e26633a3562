"""Random graphs of people, roles, presets, grants, shares, keys and applications, and what the enforcement says of each
of them: asked where the portal itself asks, one by one.
"""

import datetime as dt
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from allauth.idp.oidc.adapter import get_adapter
from allauth.idp.oidc.models import Client, Token
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from approvals.access.words import MEANINGS
from approvals.bodies import EndpointBody, McpAccessBody
from approvals.builtin import Case, only_approved, only_models
from approvals.deciding import may_decide
from approvals.kinds import endpoint as endpoint_kind
from approvals.kinds import mcp_access
from approvals.kinds.base import project_for
from approvals.models import Delegation, Request
from catalog.mcp.granted import usable
from catalog.models import USE, Asset, AssetGroupGrant, AssetProjectGrant, AssetUserGrant, Kind, ServerGrant, Version
from endpoints.gateways.builtin.records import SCOPE, KeyRecord
from endpoints.gateways.builtin.source import DatabaseSource
from endpoints.models import Endpoint, Phase, Share
from portal import crypto
from portal.errors import GatehouseError, Invalid
from portal.states import move
from projects import credentials, keys
from projects.models import (
    AUDITORS,
    GOVERNANCE_LEADS,
    PLATFORM_ENGINEERS,
    ApiKey,
    Application,
    KeyState,
    KeyTarget,
    Membership,
    Preset,
    Project,
    Role,
    User,
    Where,
)
from projects.permissions import SCOPES, can, can_anywhere, permission, rules, visible
from projects.presets import known
from projects.principal import Principal
from tests.factories import make_asset, make_endpoint, make_profile, make_version, request_body

DAY = dt.timedelta(days=1)
VERBS = ("submit", "approve", "reject", "deprecate", "retire", "block")


@dataclass
class Graph:
    """What stands still, and what one example has made of it."""

    projects: list[Project]
    assets: list[Asset]
    endpoints: list[Endpoint]
    outside: Project  # nobody is in it
    profile: str
    people: list[User] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)  # prefix or client id → secret
    apps: set[str] = field(default_factory=set)


def still() -> Graph:
    """Make projects, assets and endpoints through the services: three of each."""
    founder = User.objects.create_user("founder")
    projects = [Project.objects.create(slug=f"project-{name}", name=name) for name in ("a", "b", "c")]
    for one in projects:
        Membership.objects.create(project=one, user=founder, role=Role.OWNER)
    good, other = make_version(asset=make_asset("good")), make_version(asset=make_asset("other"))
    server = make_version(asset=make_asset("server", kind=Kind.MCP_SERVER))
    raw = make_version("draft", asset=make_asset("raw"))
    profile = make_profile(slug="cpu-still")
    endpoints = [
        make_endpoint(founder, version=version, profile=profile, project=one.slug, name=f"runs-{number}")
        for number, (one, version) in enumerate([(projects[0], good), (projects[1], good), (projects[1], other)])
    ]
    Membership.objects.filter(user=founder).delete()
    outside = Project.objects.create(slug="outside", name="Outside")
    assets = [row.asset for row in (good, other, server, raw)]
    return Graph(projects, assets, endpoints, outside, profile.slug)


def grow(graph: Graph, dice: random.Random) -> Graph:
    """Throw people, presets, memberships, grants, shares, keys and applications at it."""
    slugs = _presets(dice)
    _people(graph, dice, slugs)
    _delegations(graph, dice)
    _grants(graph, dice)
    _shares(graph, dice)
    for number in range(dice.randint(2, 5)):
        _key(graph, dice, number)
    for number in range(dice.randint(0, 2)):
        _application(graph, dice, number)
    return graph


def _presets(dice: random.Random) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {Where.PROJECT: [], Where.PLATFORM: []}
    wanted = [permission(rule.model, action) for rule in rules().values() for action in rule.actions]
    near = [name for name in wanted if name.startswith(("projects.project.", "projects.apikey.", "approvals.request."))]
    near += [name for name in wanted if name.startswith(("catalog.asset.", "catalog.version."))]
    for number in range(3):
        where = dice.choice(Where.values)
        allowed = set(dice.sample(sorted(known()), 8)) | set(dice.sample(near, 6))
        slug = f"preset-{number}"
        Preset.objects.create(slug=slug, name=slug, where=where, permissions="\n".join(sorted(allowed)))
        found[where].append(slug)
        Group.objects.get_or_create(name=slug)  # also one of a preset that counts in projects only: it opens nothing
    return found


def _people(graph: Graph, dice: random.Random, presets: dict[str, list[str]]) -> None:
    groups = [PLATFORM_ENGINEERS, GOVERNANCE_LEADS, AUDITORS, "risk", "owner", *presets[Where.PLATFORM]]
    groups += presets[Where.PROJECT]
    roles = [*Role.values, *presets[Where.PROJECT], *presets[Where.PLATFORM], "gone"]
    for number in range(6):
        person = User.objects.create(
            username=f"person-{number}", is_active=dice.random() > 0.15, is_service=dice.random() < 0.2
        )
        graph.people.append(person)
        for name in dice.sample(groups, dice.choice([0, 0, 1, 1, 2])):
            person.groups.add(Group.objects.get_or_create(name=name)[0])
        for project in dice.sample(graph.projects, dice.choice([0, 1, 1, 2])):
            Membership.objects.create(project=project, user=person, role=dice.choice(roles))
    raw = graph.assets[-1]
    if dice.random() < 0.5:
        Asset.objects.filter(pk=raw.pk).update(proposed_by=dice.choice(graph.people))
    if dice.random() < 0.5:
        Version.objects.filter(asset=raw).update(proposed_by=dice.choice(graph.people))


def _delegations(graph: Graph, dice: random.Random) -> None:
    """Some let others decide for them, now or at another time; some of those hand it on, which counts for nothing."""
    for _ in range(dice.choice([0, 1, 3])):
        delegator, delegate = dice.sample(graph.people, 2)
        begins, over = timezone.now() + dice.choice([-DAY, -DAY, DAY]), dice.random() < 0.2
        Delegation.objects.create(
            delegator=delegator, delegate=delegate, starts_at=begins, ends_at=begins + 2 * DAY, reason="Away.",
            revoked_at=timezone.now() if over else None,
        )  # fmt: skip


def _end(dice: random.Random) -> dt.datetime | None:
    return dice.choice([None, timezone.now() - DAY, timezone.now() + DAY])


def _grants(graph: Graph, dice: random.Random) -> None:
    use = Permission.objects.get(codename=USE, content_type__app_label="catalog")
    for asset in graph.assets:
        Asset.objects.filter(pk=asset.pk).update(access=dice.choice(["everyone", "listed"]))
        for project in dice.sample(graph.projects, dice.choice([0, 1, 2])):
            AssetProjectGrant.objects.create(content_object=asset, project=project, ends_at=_end(dice))
        for person in dice.sample(graph.people, dice.choice([0, 1, 2])):
            AssetUserGrant.objects.create(content_object=asset, user=person, permission=use, ends_at=_end(dice))
        for name in dice.sample(["risk", AUDITORS, "owner"], dice.choice([0, 1])):
            group = Group.objects.get_or_create(name=name)[0]
            AssetGroupGrant.objects.create(content_object=asset, group=group, permission=use, ends_at=_end(dice))
        if asset.kind == Kind.MCP_SERVER:
            for project in dice.sample(graph.projects, dice.choice([0, 1, 2])):
                ends = _end(dice)
                ServerGrant.objects.create(
                    asset=asset, project=project, version=asset.versions.get(), tools=["look"],
                    ends_on=ends.date() if ends else None,
                )  # fmt: skip


def _shares(graph: Graph, dice: random.Random) -> None:
    today = timezone.now().date()
    for endpoint in graph.endpoints:
        if dice.random() < 0.15:
            assert move(Endpoint.objects.filter(pk=endpoint.pk), endpoint.phase, Phase.DELETED, field="phase")
        for project in dice.sample(graph.projects, dice.choice([0, 1, 2])):
            if project.pk != endpoint.project_id:
                Share.objects.create(
                    endpoint=endpoint, project=project, authorization_reference="kept",
                    ends_on=dice.choice([None, today - DAY, today, today + DAY]),
                    ended_at=timezone.now() if dice.random() < 0.2 else None,
                )  # fmt: skip


def _scopes(dice: random.Random) -> list[str]:
    wanted = ["catalog:read", "catalog:write", "requests:write", "inference:invoke", "admin", "approvals:decide"]
    return dice.choice([list(SCOPES), dice.sample(wanted, dice.randint(1, len(wanted)))])


def _key(graph: Graph, dice: random.Random, number: int) -> None:
    prefix, secret = keys.new_secret()
    project = dice.choice(graph.projects)
    members = list(User.objects.filter(memberships__project=project)) or graph.people
    key = ApiKey.objects.create(
        prefix=prefix, hash=crypto.digest(secret), name=f"key-{number}", project=project, scopes=_scopes(dice),
        person=dice.choice(members if dice.random() < 0.6 else graph.people),
        state=dice.choice([KeyState.ACTIVE] * 4 + [KeyState.ROTATING, KeyState.REVOKED, KeyState.EXPIRED]),
        expires_at=timezone.now() + dice.choice([DAY, DAY, DAY, -DAY]),
    )  # fmt: skip
    graph.secrets[prefix] = secret
    for endpoint in dice.sample(graph.endpoints, dice.choice([0, 0, 1, 2])):
        KeyTarget.objects.create(key=key, kind="endpoint", target_id=str(endpoint.pk))


def _application(graph: Graph, dice: random.Random, number: int) -> None:
    """An application with a service account, and a token that it got."""
    client = Client(id=f"app-{number}", name=f"app-{number}", secret="!")
    scopes = _scopes(dice)
    client.set_scopes(scopes)
    client.save()
    account = User.objects.create(username=f"robot-{number}", is_service=True, is_active=dice.random() > 0.2)
    project = dice.choice(graph.projects)
    if dice.random() < 0.7:
        Membership.objects.create(project=project, user=account, role=dice.choice(Role.values))
    graph.people.append(account)
    Application.objects.create(
        client=client, project=project, owner=dice.choice(graph.people), account=account,
        ends_at=timezone.now() + dice.choice([DAY, DAY, -DAY]),
        ended_at=timezone.now() if dice.random() < 0.2 else None,
    )  # fmt: skip
    secret = f"gtt_{crypto.random_text(43)}"
    token = Token(
        type=Token.Type.ACCESS_TOKEN, hash=get_adapter().hash_token(secret), client=client, user=account,
        expires_at=timezone.now() + DAY, data={},
    )  # fmt: skip
    token.set_scopes([one for one in scopes if one not in {"admin", "approvals:decide", "policies:write"}])
    token.save()
    graph.secrets[client.pk] = secret
    graph.apps.add(client.pk)


# --- What the enforcement says ----------------------------------------------------------------------------------------


def _works(act: Callable[[], object]) -> bool:
    """Whether a service does what it is asked; nothing of it stays."""
    try:
        with transaction.atomic():
            act()
            transaction.set_rollback(True)
    except GatehouseError:
        return False
    return True


def principals(graph: Graph) -> dict[str, Principal]:
    """Everybody, and every key and token that the API lets in, as the portal sees them."""
    found = {one.username: Principal.of(User.objects.get(pk=one.pk)) for one in graph.people}
    request = HttpRequest()
    for name, secret in graph.secrets.items():
        try:
            found[name] = credentials.read(secret, request).principal
        except credentials.InvalidToken:
            continue
    return found


def allowed(graph: Graph, name: str, principal: Principal | None, word: str, target: Project | Asset) -> bool:
    """Whether the portal lets somebody, a key or an application do `word` to `target`."""
    kind = "project" if isinstance(target, Project) else "asset"
    server = isinstance(target, Asset) and target.kind == Kind.MCP_SERVER
    if name in graph.secrets and word == "invoke" and not server:
        return name not in graph.apps and _gateway(graph.secrets[name], target)
    if principal is None:
        return False
    scope = "catalog:read" if server and word == "invoke" else MEANINGS[kind, word].scope
    if principal.scopes is not None and scope and scope not in principal.scopes:
        return False
    return bool(_ORACLES[kind, word](graph, principal, target))


def _see_project(graph: Graph, one: Principal, project: Project) -> bool:
    listed = visible(one, Project.objects.filter(pk=project.pk)).exists()
    assert listed == can(one, "view", project)
    return bool(listed)


def _request_project(graph: Graph, one: Principal, project: Project) -> bool:
    return _works(lambda: project_for(one, project.slug))


def _may_issue(one: Principal, project: Project) -> bool:
    return _works(lambda: keys.issue(one, project=project, name="new", scopes=[SCOPE]))


def _living(target: Project | Asset) -> list[Endpoint]:
    rows = Endpoint.objects.exclude(phase=Phase.DELETED)
    if isinstance(target, Project):
        return list(rows.filter(project=target))
    return list(rows.filter(revision__version__asset=target))


def _record(secret: str) -> KeyRecord | None:
    """The key as the gateway's source reads it, when the gateway takes it."""
    _, record = DatabaseSource().key(crypto.digest(secret))
    if record is None or record.why_not(time.time()) or SCOPE not in record.scopes:
        return None
    return record


def _gateway(secret: str, target: Project | Asset) -> bool:
    record = _record(secret)
    if record is None:
        return False
    _, directory = DatabaseSource().endpoints(record.project_id)
    callable_ids = {one.id for one in directory.values() if record.may_call(one)}
    if callable_ids & {str(one.pk) for one in _living(target)}:
        return True
    return isinstance(target, Project) and target.pk == record.project_id and record.targets is None


def _invoke(graph: Graph, one: Principal, target: Project | Asset) -> bool:
    """By a key of one's own that can be made, or that is there; a server as a member of a project that has it."""
    if isinstance(target, Asset) and target.kind == Kind.MCP_SERVER:
        given = [row.project for row in usable().filter(asset=target)]
        return any(one.role_in(project.pk) is not None and can(one, "view", project) for project in given)
    if isinstance(target, Project) and _may_issue(one, target):
        return True
    rooms = {endpoint.project_id for endpoint in _living(target)}
    for share in Share.objects.filter(endpoint__in=_living(target)):
        _, directory = DatabaseSource().endpoints(share.project_id)
        if str(share.endpoint_id) in {row.id for row in directory.values()}:
            rooms.add(share.project_id)
    if any(_may_issue(one, project) for project in Project.objects.filter(pk__in=rooms)):
        return True
    mine = ApiKey.objects.filter(person=one.person).values_list("prefix", flat=True)
    return any(_gateway_reaches(graph.secrets[prefix], target) for prefix in mine)


def _gateway_reaches(secret: str, target: Project | Asset) -> bool:
    return bool(_living(target)) and _gateway(secret, target) and _reaches_one(secret, target)


def _reaches_one(secret: str, target: Project | Asset) -> bool:
    record = _record(secret)
    assert record is not None
    _, directory = DatabaseSource().endpoints(record.project_id)
    return bool(
        {one.id for one in directory.values() if record.may_call(one)} & {str(one.pk) for one in _living(target)}
    )


def _manage_project(graph: Graph, one: Principal, project: Project) -> bool:
    return can(one, "change", project) or can(one, "manage_members", project)


def _decides(one: Principal, requests: Iterable[Request]) -> bool:
    return any(may_decide(one, request) for request in requests)


def _of_project(graph: Graph, project: Project) -> Request:
    return Request(kind="endpoint", project=project, requester_id=0)


def _decide_project(graph: Graph, one: Principal, project: Project) -> bool:
    host = Endpoint(project=project, name="any")
    about = Request(kind="access", project=graph.outside, endpoint=host, requester_id=0)
    return _decides(one, [_of_project(graph, project), about])


def _see_asset(graph: Graph, one: Principal, asset: Asset) -> bool:
    seen = can(one, "view", asset)
    if one.is_authenticated:  # nobody else ever comes to a list
        assert Asset.objects.visible_to(one).filter(pk=asset.pk).exists() == seen
    return seen


def _request_asset(graph: Graph, one: Principal, asset: Asset) -> bool:
    return any(_asks(graph, one, asset, project) for project in [*graph.projects, graph.outside])


def _asks(graph: Graph, one: Principal, asset: Asset, project: Project) -> bool:
    """As approvals.services.submit: resolve, and the checks that are about the version."""
    if asset.kind == Kind.MCP_SERVER:
        asked = McpAccessBody(project=project.slug, asset=asset.slug, version="1.0", tools=None)
        return _works(lambda: mcp_access.resolve(one, asked))
    body = EndpointBody(**request_body(project=project.slug, asset=asset.slug, hardware_profile=graph.profile))
    try:
        found = endpoint_kind.resolve(one, body)
    except Invalid:
        return False
    case = Case(found.version, found.profile, None, 1, 1, 1, "dev", "internal", {}, False, "local")
    return all(check(case).verdict != "fail" for check in (only_approved, only_models))


def _manage_asset(graph: Graph, one: Principal, asset: Asset) -> bool:
    fresh = Asset.objects.get(pk=asset.pk)
    if any(can(one, verb, fresh) for verb in ("change", "open", "grant")):
        return True
    if can(one, "view", fresh) and can_anywhere(one, "create", Version):
        return True
    return any(can(one, verb, version) for version in fresh.versions.all() for verb in VERBS)


def _decide_asset(graph: Graph, one: Principal, asset: Asset) -> bool:
    requests: list[Any] = [_of_project(graph, project) for project in [*graph.projects, graph.outside]]
    requests += [
        Request(kind="access", project=graph.outside, endpoint=endpoint, requester_id=0) for endpoint in _living(asset)
    ]
    return _decides(one, requests)


_ORACLES: dict[tuple[str, str], Callable[[Graph, Principal, Any], bool]] = {
    ("project", "see"): _see_project,
    ("project", "request"): _request_project,
    ("project", "invoke"): _invoke,
    ("project", "manage"): _manage_project,
    ("project", "decide"): _decide_project,
    ("asset", "see"): _see_asset,
    ("asset", "request"): _request_asset,
    ("asset", "invoke"): _invoke,
    ("asset", "manage"): _manage_asset,
    ("asset", "decide"): _decide_asset,
}
