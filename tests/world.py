"""One furnished organisation for the whole-portal tests: an object of every kind, made through the services."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import Group
from django.utils import timezone

from approvals import services as requests
from approvals.access import review as reviews
from approvals.envelopes import services as envelopes
from approvals.models import AccessReview, Delegation, Preview, Verdict, Waiver
from approvals.policies import drafting, preview
from approvals.policies.active import baseline
from approvals.stages import delegating
from catalog import audience
from catalog.mcp import grants
from catalog.models import AssetProjectGrant, HardwareProfile, Kind, ServerGrant, Version
from endpoints import services as endpoint_services
from endpoints.models import Cluster, Endpoint, Phase, Share
from endpoints.rogue.models import Proposal, RogueWorkload
from endpoints.services import Authorization
from portal import crypto
from portal.states import move
from projects import people, services, tokens
from projects.models import ApiKey, Application, GroupMapping, Notification, Project, SavedView, User, Webhook
from projects.notify import webhooks
from projects.oauth import applications
from projects.principal import Principal
from projects.saved_views import save_view
from projects.sso import mappings
from quotas.models import Pool
from tests.conftest import Org
from tests.factories import (
    make_asset,
    make_cluster,
    make_endpoint,
    make_place,
    make_pool,
    make_profile,
    make_proposal,
    make_request,
    make_rogue,
    make_version,
)

# The columns of both matrices, in this order. None is nobody: no session, no token.
PERSONAS = (None, "cy", "vic", "dana", "omar", "pat", "yasmine", "aud")
KEY_SCOPES = ["catalog:read", "requests:read", "endpoints:read", "inference:invoke"]


@dataclass(frozen=True)
class World:
    """Objects of fraud-detection: dana asked for them, pat approved. cy of search-ranking is the stranger."""

    org: Org
    version: Version
    grant: AssetProjectGrant  # of its asset, which is for everyone, to fraud-detection
    profile: HardwareProfile
    pool: Pool
    cluster: Cluster
    place: Cluster  # another one, with an API and a credential
    third: Project  # nobody's, with whom `running` is shared
    share: Share
    running: Endpoint
    suspended: Endpoint  # with a second revision
    failed: Endpoint
    key: ApiKey  # for calls only
    secret: str  # of another key of dana's, with KEY_SCOPES
    delegation: Delegation  # of ravi to pat
    submitted: Any
    draft: Any
    webhook: Webhook  # of fraud-detection, made by omar
    notification: Notification  # dana's
    view: SavedView  # dana's
    application: Application  # of fraud-detection, made by omar
    robot: User  # a service account, developer in fraud-detection
    robot_token: str  # of the robot, bound to nothing, to read the catalog
    group: Group  # a named one, empty
    review: AccessReview  # of fraud-detection, begun by yasmine
    server_grant: ServerGrant  # of a tool of an MCP server, to fraud-detection
    mapping: GroupMapping  # of fraud-team into fraud-detection, made by pat
    waiver: Waiver  # for a draft of dana's, approved by yasmine
    verdict: Verdict  # of small-dev, which approved a request of dana's while it was live; to be read later
    rogue: RogueWorkload  # on `place`, in a namespace of fraud-detection
    proposal: Proposal  # of a hardware profile of `place`
    preview: Preview  # of the policies that count, asked for by yasmine, who has a draft, too


def _as_observed(endpoint: Endpoint, phase: str, **also: Any) -> None:
    """Leave the row as the reconciler does when it has seen the engine."""
    assert move(Endpoint.objects.filter(pk=endpoint.pk), Phase.PENDING, phase, field="phase", **also)
    endpoint.refresh_from_db()


def _waived(org: Org, version: Version, profile: HardwareProfile) -> Waiver:
    """The waiver of the rule against restricted data in dev, for a draft."""
    fields = {"data_classification": "restricted", "name": "exempt"}
    draft = make_request(org.dana, state="draft", version=version, profile=profile, **fields)
    ends_on = (timezone.now().date() + dt.timedelta(days=30)).isoformat()
    asked = requests.send(
        Principal.of(org.dana),
        {
            "kind": "waiver", "request": draft.pk, "check": "data-101", "owner": "omar", "ends_on": ends_on,
            "purpose": "There is no staging yet.", "compensating_control": "Made-up card numbers.",
        },
    )  # fmt: skip
    requests.approve(Principal.of(org.yasmine), asked)
    return Waiver.objects.get(asked=asked)


def _by_rule(org: Org, version: Version, profile: HardwareProfile) -> Verdict:
    """What small-dev approved while it was live; afterwards it is in shadow again."""
    lead, soon = Principal.of(org.yasmine), timezone.now().date() + dt.timedelta(days=28)
    envelopes.set_mode(lead, "small-dev", "live", reason="For tests.", sample_percent=100)
    made = make_request(org.dana, version=version, profile=profile, name="automatic", ends_on=soon.isoformat())
    envelopes.set_mode(lead, "small-dev", "shadow", reason="For tests.")
    return Verdict.objects.get(request=made, rule="small-dev", approves=True, mode="live")


def furnish(org: Org) -> World:
    """Make an object of every kind in fraud-detection."""
    version, profile, gpu = make_version(), make_profile(slug="cpu-demo"), make_profile(gpus=1, slug="gpu-small")
    pool = make_pool(slug="shared", profiles=[gpu])
    running, suspended, failed = (
        make_endpoint(org.dana, version=version, profile=profile, name=name)
        for name in ("running", "suspended", "failed")
    )
    routes = [{"url": "http://127.0.0.1:9", "key": crypto.encrypt("engine"), "instance": "0-1-2"}]
    _as_observed(running, Phase.READY, upstreams=routes, reason_code="ready")
    _as_observed(failed, Phase.FAILED)
    suspended = endpoint_services.suspend(Principal.of(org.dana), suspended)
    second = Authorization("R-0", "sha256:second")
    endpoint_services.open_revision(
        Principal.of(org.pat), suspended, version=version, profile=profile, replicas=1, concurrency=4,
        context_tokens=2048, authorization=second,
    )  # fmt: skip
    third = Project.objects.create(slug="third", name="Third")
    drafting.begin(Principal.of(org.yasmine))
    running = endpoint_services.set_shareable(Principal.of(org.omar), running, True)
    share = endpoint_services.share(Principal.of(org.omar), running, third, ends_on=None)
    dana = Principal.of(org.dana)
    waiver = _waived(org, version, profile)
    robot = people.create_person(Principal.of(org.pat), username="svc-nightly", service=True)
    services.set_member(Principal.of(org.omar), org.fraud, username="svc-nightly", role="developer")
    place = make_place(org.pat)
    key, _ = endpoint_services.issue_key(dana, org.fraud, "scoring", [], None, 30)
    _, secret = endpoint_services.issue_key(dana, org.fraud, "reader", [], KEY_SCOPES, 30)
    return World(
        org=org,
        version=version,
        grant=audience.grant_project(Principal.of(org.pat), version.asset, "fraud-detection", reason="In good time."),
        profile=profile,
        pool=pool,
        cluster=make_cluster(),
        place=place,
        rogue=make_rogue(place, org.fraud),
        proposal=make_proposal(place),
        third=third,
        share=share,
        running=running,
        suspended=suspended,
        failed=failed,
        key=key,
        secret=secret,
        robot=robot,
        robot_token=tokens.create(robot, scopes=["catalog:read"], project=None, ttl=dt.timedelta(hours=1)),
        delegation=delegating.delegate(
            Principal.of(org.ravi), to="pat", ends_on=timezone.now().date(), reason="Away for a day."
        ),
        submitted=make_request(org.dana, version=version, profile=profile, name="submitted"),
        draft=make_request(org.dana, state="draft", version=version, profile=profile, name="draft"),
        webhook=webhooks.create(
            Principal.of(org.omar), project=org.fraud, name="chat", url="https://93.184.215.14/hook"
        )[0],
        notification=Notification.objects.create(person=org.dana, kind="endpoint.ready", title="Ready.", once="one"),
        review=reviews.start(
            Principal.of(org.yasmine), name="Quarter", due_on=timezone.now().date(), project=org.fraud
        ),
        waiver=waiver,
        verdict=_by_rule(org, version, profile),
        preview=preview.ask(Principal.of(org.yasmine), baseline().files),
        mapping=mappings.create(Principal.of(org.pat), group="fraud-team", project="fraud-detection", role="viewer"),
        server_grant=grants.grant(
            Principal.of(org.pat),
            make_version(asset=make_asset("ledger", kind=Kind.MCP_SERVER)),
            org.fraud,
            tools=["list_accounts"],
            ends_on=None,
        ),
        group=people.create_group(Principal.of(org.pat), "risk-analysts"),
        application=applications.create(
            Principal.of(org.omar),
            project=org.fraud,
            name="Pipeline",
            grants=["client_credentials"],
            scopes=["requests:read"],
        )[0],
        view=save_view(dana, name="Waiting", address="/requests/?state=submitted"),
    )
