"""Every page × every kind of person × GET and POST, against a table. A route without a row fails the suite.

The columns stand in `tests.world.PERSONAS`: nobody, a stranger to the project, its viewer, developer and owner, a
platform engineer, a governance lead, an auditor. `in` is the way to the sign-in, which is the same whether the object
exists or not. A service account's token and an API key are tried on every page too.
"""

import datetime as dt
import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from approvals import mail_link
from approvals.policies.active import baseline
from endpoints.limits import living, quota_document
from portal.http import etag
from projects.models import User
from quotas.pools import terms
from tests.factories import engineer, make_version
from tests.world import PERSONAS, World

pytestmark = pytest.mark.slow

Clients = Callable[[User | None], Client]
Data = Callable[[World], Mapping[str, str]]

EVERYONE_SIGNED_IN = "in  200 200 200 200 200 200 200"
PUBLIC = "200 200 200 200 200 200 200 200"
READ = "in  404 200 200 200 200 200 200"  # a member or a platform role reads, a stranger finds nothing
ONLY_GET = "in  405 405 405 405 405 405 405"
ONLY_POST = ONLY_GET
NOTHING = "in  404 404 404 404 404 404 404"
MOVED = "in  301 301 301 301 301 301 301"
NOT_HERE = "404 404 404 404 404 404 404 404"
NEVER_POST = "405 405 405 405 405 405 405 405"
BAD_FORM = "400 400 400 400 400 400 400 400"  # a test client sends a multipart form, which OAuth does not take
BUILDERS_AND_ENGINEERS = "in  404 403 302 302 302 403 403"
DECIDERS = "in  404 403 403 403 302 302 403"
STEWARDS_ONLY = "in  403 403 403 403 200 200 403"
PROPOSERS = "in  200 403 200 200 200 200 403"
LEADS = "in  403 403 403 403 403 200 403"
DECIDED = STEWARDS_ONLY.replace("200", "409")  # the version is approved
OWNER_ONLY = "in  404 403 403 302 403 403 403"
PLATFORM_READS = "in  403 403 403 403 200 200 200"
ENGINEERS_FORM = "in  403 403 403 403 200 403 403"
HOOK_SEEN = "in  404 404 404 200 200 404 404"
HOOK = {"name": "tickets", "url": "https://93.184.215.14/tickets", "enabled": "on"}


@dataclass(frozen=True)
class Row:
    """What a path answers. `data` is a form that succeeds where the role allows it."""

    get: str
    post: str = ONLY_GET
    data: Data = field(default=lambda world: {})


def _form(**fields: str) -> Data:
    return lambda world: fields


def _ticked(action: str, name: str, **fields: str) -> Data:
    return lambda world: {"action": action, "id": str(getattr(world, name).pk)} | fields


def _delegation(world: World) -> Mapping[str, str]:
    soon = dt.date.today() + dt.timedelta(days=3)
    return {"delegate": "vic", "ends_on": soon.isoformat(), "reason": "Away for three days."}


def _request_form(world: World) -> Mapping[str, str]:
    names = ("project", "asset", "version", "hardware_profile", "environment", "purpose", "data_classification")
    numbers = ("replicas", "concurrency", "context_tokens", "ends_on")
    return {name: str(world.draft.body[name]) for name in (*names, *numbers)} | {"name": "more", "action": "send"}


def _quota_form(world: World) -> Mapping[str, str]:
    return {"version": etag(quota_document(world.org.fraud, living(world.org.fraud)))}


def _shares_form(world: World) -> Mapping[str, str]:
    return {"version": etag(terms(engineer(), world.pool)), "give_back": "any", "grace_hours": "2"}


def _preset_form(world: World) -> Mapping[str, str]:
    return {"slug": "steward", "name": "Steward", "where": "project", "permissions": "endpoints.endpoint.view"}


def _application_form(world: World) -> Mapping[str, str]:
    return {
        "name": "Another", "grants": "client_credentials", "kind": "confidential", "scopes": "requests:read",
        "ends_on": (timezone.now().date() + dt.timedelta(days=30)).isoformat(),
    }  # fmt: skip


def _switched_on(world: World) -> Mapping[str, str]:
    digest = next(one.digest for one in baseline().envelopes if one.id == world.verdict.rule)
    return {"reason": "Both agree.", "sample_percent": "10", "digest": digest}


def _cluster_form(world: World) -> Mapping[str, str]:
    return {
        "slug": "berlin", "name": "Berlin", "driver": "kubernetes", "environments": "dev", "authentication": "token",
        "server": "https://10.0.0.7:6443", "token": "opaque",
    }  # fmt: skip


def _waive_form(world: World) -> Mapping[str, str]:
    return {"ends_on": (timezone.now().date() + dt.timedelta(days=30)).isoformat(), "reason": "It moves next month."}


def _profile_form(world: World) -> Mapping[str, str]:
    return {"slug": "nvidia-l40s", "name": "NVIDIA L40S", "memory_gib": "48", "price_per_hour": "2.50"}


PAGES: dict[str, Row] = {
    # --- projects and the frame
    "": Row(EVERYONE_SIGNED_IN),
    "search/": Row(EVERYONE_SIGNED_IN),
    "help/": Row(EVERYONE_SIGNED_IN),
    "help/<slug:name>/": Row(EVERYONE_SIGNED_IN),
    "news/": Row(EVERYONE_SIGNED_IN),
    "news/read/": Row(ONLY_POST, "in  302 302 302 302 302 302 302"),
    "home/<str:card>/": Row("in  404 404 404 404 200 404 404"),  # the card of the pools, for engineers
    "projects/": Row(EVERYONE_SIGNED_IN),
    "projects/switch/": Row(ONLY_POST, "in  404 302 302 302 302 302 302", _form(project="fraud-detection")),
    "projects/<slug:slug>/": Row(READ, "in  404 403 403 302 302 403 403", _form(user="ravi", role="viewer")),
    "projects/<slug:slug>/remove/": Row(ONLY_POST, "in  404 403 403 302 302 403 403", _form(user="vic")),
    # --- people, groups and presets: platform roles read people, everybody reads what a role means
    "people/": Row("in  403 403 403 403 200 200 200"),
    "people/<str:username>/": Row(
        "in  403 403 403 403 200 200 200", "in  403 403 403 403 302 403 403", _form(groups="auditors", reason="Joins.")
    ),
    "people/<str:username>/end-sessions/": Row(ONLY_POST, "in  403 403 403 403 302 403 403"),
    "people/<str:username>/leave/": Row(
        "in  403 403 403 403 200 403 403",
        "in  403 403 403 403 302 403 403",
        _form(confirm="dana", reason="Has left."),
    ),
    # reviews: owners answer for their project, governance and engineers for all
    "access/": Row(EVERYONE_SIGNED_IN),
    "access/why/": Row(EVERYONE_SIGNED_IN),
    "access/reviews/": Row(
        EVERYONE_SIGNED_IN,
        "in  403 403 403 403 302 302 403",
        lambda world: {"name": "Next", "due_on": world.review.due_on.isoformat()},
    ),
    "access/reviews/<int:review_id>/": Row("in  404 404 404 200 200 200 200"),
    "access/reviews/<int:review_id>/answer/": Row(
        ONLY_POST,
        "in  404 404 404 302 302 302 200",  # an auditor reads it, and the one row is refused
        lambda world: {"id": str(world.review.items.get(kind="membership", holder="vic").pk), "action": "keep"},
    ),
    "access/reviews/<int:review_id>/close/": Row(ONLY_POST, "in  404 404 404 403 302 302 403"),
    "groups/": Row("in  403 403 403 403 200 200 200", "in  403 403 403 403 302 403 403", _form(name="analysts")),
    "groups/<int:group_id>/delete/": Row(ONLY_POST, "in  403 403 403 403 302 403 403"),
    "presets/": Row(EVERYONE_SIGNED_IN),
    "presets/new/": Row("in  403 403 403 403 200 200 403", "in  403 403 403 403 302 302 403", _preset_form),
    "presets/<slug:preset>/": Row(EVERYONE_SIGNED_IN, "in  403 403 403 403 302 302 403", _preset_form),
    "presets/<slug:preset>/restore/": Row(ONLY_POST, "in  403 403 403 403 302 302 403"),
    "presets/<slug:preset>/delete/": Row(ONLY_POST, "in  403 403 403 403 302 302 403"),
    # a view is of the person who saved it
    "views/save/": Row(ONLY_POST, "in  302 302 302 302 302 302 302", _form(name="Mine", next="/requests/?mine=1")),
    "views/<int:view_id>/delete/": Row(ONLY_POST, "in  404 404 302 404 404 404 404"),
    "theme/": Row(ONLY_POST, "in  302 302 302 302 302 302 302", _form(theme="dark")),
    # --- notifications; webhooks are for owners and engineers, since an address may hold a secret
    "notifications/": Row(EVERYONE_SIGNED_IN),
    "notifications/read/": Row(ONLY_POST, "in  302 302 302 302 302 302 302"),
    "notifications/<int:notification_id>/open/": Row(ONLY_POST, "in  404 404 302 404 404 404 404"),
    "preferences/": Row(
        EVERYONE_SIGNED_IN,
        "in  302 302 302 302 302 302 302",
        _form(mail="daily", digest_hour="7", zone="Europe/Berlin"),
    ),
    "webhooks/": Row("in  403 403 403 403 200 403 403"),
    "webhooks/new/": Row("in  403 403 403 403 200 403 403", "in  403 403 403 403 200 403 403", _form(**HOOK)),
    "projects/<slug:slug>/webhooks/": Row("in  404 403 403 200 200 403 403"),
    "projects/<slug:slug>/webhooks/new/": Row(
        "in  404 403 403 200 200 403 403", "in  404 403 403 200 200 403 403", _form(**HOOK)
    ),
    "webhooks/<uuid:webhook_id>/": Row(HOOK_SEEN),
    "webhooks/<uuid:webhook_id>/change/": Row(HOOK_SEEN, HOOK_SEEN.replace("200", "302"), _form(**HOOK)),
    "webhooks/<uuid:webhook_id>/test/": Row(ONLY_POST, HOOK_SEEN.replace("200", "302")),
    "webhooks/<uuid:webhook_id>/replay/": Row(ONLY_POST, HOOK_SEEN.replace("200", "302")),
    "webhooks/<uuid:webhook_id>/rotate/": Row(HOOK_SEEN, HOOK_SEEN, _form(confirm="chat")),
    "webhooks/<uuid:webhook_id>/delete/": Row(HOOK_SEEN, HOOK_SEEN.replace("200", "302"), _form(confirm="chat")),
    "audit/": Row("in  403 403 403 403 200 200 200"),
    # --- catalog, quotas
    "catalog/": Row(EVERYONE_SIGNED_IN),
    "catalog/compare/": Row(EVERYONE_SIGNED_IN),
    "catalog/<str:slug>/": Row(EVERYONE_SIGNED_IN),
    # proposing: whoever may send requests somewhere; the life of a version is the stewards'
    "catalog/propose/": Row(PROPOSERS, PROPOSERS.replace("200", "422")),
    "catalog/<str:slug>/propose/": Row(PROPOSERS, PROPOSERS.replace("200", "422")),
    "catalog/<str:slug>/change/": Row(STEWARDS_ONLY, STEWARDS_ONLY.replace("200", "422")),  # a version is approved
    "catalog/<str:slug>/versions/<str:version>/attach/": Row(STEWARDS_ONLY, STEWARDS_ONLY.replace("200", "422")),
    "catalog/<str:slug>/versions/<str:version>/discard/": Row(DECIDED, DECIDED),
    "catalog/<str:slug>/versions/<str:version>/submit/": Row(DECIDED, DECIDED),
    "catalog/<str:slug>/versions/<str:version>/deprecate/": Row(STEWARDS_ONLY, STEWARDS_ONLY.replace("200", "302")),
    "catalog/<str:slug>/versions/<str:version>/retire/": Row(DECIDED, DECIDED),
    "catalog/<str:slug>/versions/<str:version>/block/": Row(
        STEWARDS_ONLY, STEWARDS_ONLY.replace("200", "302"), _form(reason="A finding.")
    ),
    # evidence: everybody who sees the version reads it, stewards have it collected again
    "catalog/<str:slug>/versions/<str:version>/collect/": Row(
        ONLY_POST, STEWARDS_ONLY.replace("200", "302"), _form(kind="licence")
    ),
    "catalog/<str:slug>/versions/<str:version>/evidence/": Row(EVERYONE_SIGNED_IN),
    "catalog/<str:slug>/versions/<str:version>/evidence/<str:report>/": Row(EVERYONE_SIGNED_IN),
    "catalog/<str:slug>/versions/<str:version>/files/": Row(NOTHING, ONLY_POST),  # a demo version has none
    "catalog/<str:slug>/versions/<str:version>/ml-bom/": Row(EVERYONE_SIGNED_IN),
    "catalog/<str:slug>/used/": Row(EVERYONE_SIGNED_IN),
    # MCP servers: stewards say which anybody may read of, owners and stewards end what a project was granted
    "catalog/<str:slug>/registry/": Row(
        ONLY_POST, STEWARDS_ONLY.replace("200", "302"), _form(public="1", reason="Anybody may.")
    ),
    "projects/<slug:slug>/mcp/": Row(READ),
    "projects/<slug:slug>/mcp/<int:server_grant_id>/end/": Row(ONLY_POST, "in  404 403 403 302 302 302 403"),
    # whom it is for: engineers and governance leads decide
    "catalog/<str:slug>/access/": Row(
        ONLY_POST, STEWARDS_ONLY.replace("200", "302"), _form(access="listed", reason="A few teams.")
    ),
    "catalog/<str:slug>/grants/": Row(
        ONLY_POST,
        STEWARDS_ONLY.replace("200", "302"),
        _form(kind="project", holder="search-ranking", reason="They ask for it."),
    ),
    "catalog/<str:slug>/grants/<str:kind>/<int:grant_id>/end/": Row(STEWARDS_ONLY, STEWARDS_ONLY.replace("200", "302")),
    "usage/": Row(EVERYONE_SIGNED_IN),
    "capacity/": Row(EVERYONE_SIGNED_IN),
    "capacity/<slug:pool>/shares/": Row(ENGINEERS_FORM, ENGINEERS_FORM.replace("200", "302"), _shares_form),
    # --- clusters: platform roles look, engineers register and operate
    "rogue/": Row(EVERYONE_SIGNED_IN),
    "rogue/scan/": Row(ONLY_POST, ENGINEERS_FORM.replace("200", "302")),
    "rogue/<int:rogue_id>/": Row(READ),
    "rogue/<int:rogue_id>/adopt/": Row(READ.replace("200", "302")),
    "rogue/<int:rogue_id>/notify/": Row(ONLY_POST, DECIDERS),
    "rogue/<int:rogue_id>/waive/": Row(ONLY_POST, DECIDERS, _waive_form),
    "rogue/<int:rogue_id>/revoke/": Row(ONLY_POST, DECIDERS),
    "import/": Row(PLATFORM_READS),
    "import/<int:proposal_id>/": Row(ENGINEERS_FORM, ENGINEERS_FORM.replace("200", "302"), _profile_form),
    "import/<int:proposal_id>/dismiss/": Row(ONLY_POST, ENGINEERS_FORM.replace("200", "302")),
    "clusters/": Row(PLATFORM_READS),
    "clusters/new/": Row(ENGINEERS_FORM, ENGINEERS_FORM.replace("200", "302"), _cluster_form),
    "clusters/access/<slug:driver>/": Row(PLATFORM_READS),
    "clusters/<slug:cluster>/": Row(PLATFORM_READS),
    "clusters/<slug:cluster>/checks/": Row(PLATFORM_READS.replace("200", "302")),  # htmx gets it as a part
    "clusters/<slug:cluster>/test/": Row(ONLY_POST, ENGINEERS_FORM.replace("200", "302")),
    "clusters/<slug:cluster>/change/": Row(
        ENGINEERS_FORM, ENGINEERS_FORM.replace("200", "302"), _form(name="Lab", environments="dev")
    ),
    "clusters/<slug:cluster>/rotate/": Row(ENGINEERS_FORM, ENGINEERS_FORM.replace("200", "302"), _cluster_form),
    "clusters/<slug:cluster>/pause/": Row(
        ENGINEERS_FORM, ENGINEERS_FORM.replace("200", "302"), _form(reason="Upgrade until noon.")
    ),
    "clusters/<slug:cluster>/resume/": Row(ONLY_POST, ENGINEERS_FORM.replace("200", "302")),
    "clusters/<slug:cluster>/admission/": Row(
        ENGINEERS_FORM, ENGINEERS_FORM.replace("200", "302"), _form(mode="audit", reason="Look first.")
    ),
    "clusters/<slug:cluster>/admission/manifest/": Row(PLATFORM_READS),
    "clusters/<slug:cluster>/remove/": Row(
        ENGINEERS_FORM, ENGINEERS_FORM.replace("200", "302"), _form(confirm="outpost", reason="Moved away.")
    ),
    # --- endpoints
    "endpoints/": Row(EVERYONE_SIGNED_IN),
    # Many at once: who may do it to none is refused, what is hidden is one line of the results.
    "endpoints/bulk/": Row(ONLY_POST, "in  200 403 200 200 200 403 403", _ticked("resume", "suspended")),
    "endpoints/<uuid:endpoint_id>/": Row(READ),
    "endpoints/<uuid:endpoint_id>/status/": Row("in  404 286 286 286 286 286 286"),  # at rest: htmx asks no more
    "environments/": Row(EVERYONE_SIGNED_IN),
    # running is on this machine, where nothing is compared and nothing can be accepted
    "endpoints/<uuid:endpoint_id>/drift/": Row(READ),
    "endpoints/<uuid:endpoint_id>/drift/reapply/": Row(ONLY_POST, "in  404 403 403 302 302 403 403"),
    "endpoints/<uuid:endpoint_id>/drift/accept/": Row(ONLY_POST, "in  404 403 409 409 403 403 403"),
    "endpoints/<uuid:endpoint_id>/drift/look/": Row(ONLY_POST, BUILDERS_AND_ENGINEERS.replace("302", "409")),
    "endpoints/<uuid:endpoint_id>/promote/": Row("in  404 403 302 302 403 403 403"),
    "endpoints/<uuid:endpoint_id>/events/": Row(READ),
    "endpoints/<uuid:endpoint_id>/events/cluster/": Row(READ),
    "endpoints/<uuid:endpoint_id>/logs/": Row(READ),
    "endpoints/<uuid:endpoint_id>/manifests/": Row(READ),
    "endpoints/<uuid:endpoint_id>/usage/": Row(READ),
    "endpoints/<uuid:endpoint_id>/revisions/": Row(READ),
    "endpoints/<uuid:endpoint_id>/rules/": Row(READ),
    "endpoints/<uuid:endpoint_id>/revisions/<int:number>/rollback/": Row(
        "in  404 403 200 200 200 403 403", BUILDERS_AND_ENGINEERS
    ),
    "endpoints/<uuid:endpoint_id>/canary/": Row(
        ONLY_POST,
        BUILDERS_AND_ENGINEERS.replace("302", "409"),
        _form(act="promote"),  # nothing is on its way
    ),
    "endpoints/<uuid:endpoint_id>/settings/": Row(READ),
    "endpoints/<uuid:endpoint_id>/scale/": Row(ONLY_POST, BUILDERS_AND_ENGINEERS, _form(replicas="1")),
    "endpoints/<uuid:endpoint_id>/transfer/": Row(ONLY_POST, BUILDERS_AND_ENGINEERS, _form(contact="omar")),
    "endpoints/<uuid:endpoint_id>/shareable/": Row(ONLY_POST, OWNER_ONLY),
    "endpoints/<uuid:endpoint_id>/shares/": Row(ONLY_POST, OWNER_ONLY, _form(project="search-ranking", ends_on="")),
    "endpoints/<uuid:endpoint_id>/shares/<int:share_id>/end/": Row("in  404 403 403 200 403 403 403", OWNER_ONLY),
    "endpoints/<uuid:endpoint_id>/suspend/": Row("in  404 403 200 200 200 403 403", BUILDERS_AND_ENGINEERS),
    "endpoints/<uuid:endpoint_id>/resume/": Row(ONLY_POST, BUILDERS_AND_ENGINEERS),
    "endpoints/<uuid:endpoint_id>/retry/": Row(ONLY_POST, BUILDERS_AND_ENGINEERS),
    "endpoints/<uuid:endpoint_id>/suggest/": Row(ONLY_POST, "in  404 403 403 403 302 403 403"),
    "endpoints/<uuid:endpoint_id>/delete/": Row(
        "in  404 403 200 200 200 403 403", BUILDERS_AND_ENGINEERS, _form(confirm="running")
    ),
    "endpoints/<uuid:endpoint_id>/playground-key/": Row(ONLY_POST, "in  404 403 200 200 403 403 403"),
    "projects/<slug:slug>/limits/": Row(READ, "in  404 403 403 302 302 403 403", _quota_form),
    # Whoever ends keys anywhere; which ones are found depends on the person.
    "keys/revoke/": Row(
        "in  200 403 200 200 200 403 403", "in  200 403 200 200 200 403 403", _form(person="dana", reason="Left.")
    ),
    "projects/<slug:slug>/keys/": Row(READ),
    "projects/<slug:slug>/keys/bulk/": Row(
        ONLY_POST, "in  404 403 200 200 200 403 403", _ticked("revoke", "key", confirm="revoke 1")
    ),
    "projects/<slug:slug>/keys/new/": Row(
        "in  404 403 200 200 403 403 403",
        "in  404 403 200 200 403 403 403",
        _form(name="another", endpoint="*", days="30"),
    ),
    # The key is dana's: developers end their own keys, owners any.
    "projects/<slug:slug>/keys/<uuid:key_id>/rotate/": Row(
        "in  404 403 200 200 403 403 403", "in  404 403 200 200 403 403 403", _form(confirm="scoring")
    ),
    "projects/<slug:slug>/keys/<uuid:key_id>/revoke/": Row(
        "in  404 403 200 200 200 403 403", "in  404 403 302 302 302 403 403", _form(confirm="scoring")
    ),
    # --- requests: cy may ask too, in a project of their own; here cy names one that is hidden from them
    "requests/": Row(EVERYONE_SIGNED_IN),
    "requests/new/": Row("in  200 403 200 200 403 403 403", "in  422 403 302 302 403 403 403", _request_form),
    "requests/bulk/": Row(ONLY_POST, EVERYONE_SIGNED_IN, _ticked("withdraw", "submitted")),
    "requests/import/": Row("in  200 403 200 200 403 403 403", "in  422 403 422 422 403 403 403"),
    "requests/<int:pk>/": Row(READ),
    "requests/<int:pk>/plan/": Row(READ),
    "requests/<int:pk>/replay/": Row(READ),
    "requests/<int:pk>/yaml/": Row(READ),
    "requests/<int:pk>/edit/": Row("in  404 403 200 403 403 403 403", "in  404 403 302 403 403 403 403", _request_form),
    "requests/<int:pk>/withdraw/": Row(ONLY_POST, "in  404 403 302 403 403 403 403"),
    "requests/<int:pk>/comment/": Row(ONLY_POST, "in  404 302 302 302 302 302 403", _form(text="Which data?")),
    "requests/<int:pk>/assign/": Row(
        "in  404 403 403 403 200 200 403", "in  404 403 403 403 302 302 403", _form(to="ravi", reason="Please.")
    ),
    # delegations: whoever decides by a role may lend it, also an owner; the two of one and governance end it
    "approvals/delegations/": Row(EVERYONE_SIGNED_IN, "in  302 403 403 302 302 302 403", _delegation),
    "approvals/delegations/<int:delegation_id>/end/": Row(ONLY_POST, "in  404 404 404 404 302 302 403"),
    # Rules are read by whoever is judged by them; governance leads write them, platform roles read previews.
    "policies/": Row(EVERYONE_SIGNED_IN),
    "policies/rules/<str:rule_id>/": Row(EVERYONE_SIGNED_IN),
    "policies/draft/": Row(LEADS, LEADS.replace("200", "302"), _form(action="begin")),
    "policies/draft/discard/": Row(LEADS, LEADS.replace("200", "302"), _form(confirm="discard")),
    "policies/draft/preview/": Row(ONLY_POST, LEADS.replace("200", "302")),
    "policies/draft/publish/": Row(LEADS, LEADS.replace("200", "409"), _form(reason="Better.", seen="nothing")),
    "policies/previews/<int:preview_id>/": Row("in  404 404 404 404 200 200 200"),
    "policies/publications/<int:publication>/roll-back/": Row(
        LEADS, LEADS.replace("200", "409"), _form(confirm="baseline", reason="It counts already.")
    ),
    "insights/": Row(EVERYONE_SIGNED_IN),
    "insights/calendar/": Row(
        EVERYONE_SIGNED_IN, "in  403 403 403 403 302 302 403", _form(zone="UTC", workdays="0", holidays="")
    ),
    # Owners have a queue of their own, for access to their endpoints; this request is for a new one.
    "approvals/": Row("in  200 403 403 200 200 200 403"),
    "approvals/bulk/": Row(ONLY_POST, "in  200 403 403 200 200 200 403", _ticked("approve", "submitted", reason="")),
    "approvals/<int:pk>/": Row("in  404 403 403 403 200 200 403"),
    "approvals/by-mail/<str:token>/": Row(  # a link that was sent to pat
        "in  404 404 404 404 200 404 404", "in  404 404 404 404 302 404 404", _form(decision="approve")
    ),
    "approvals/<int:pk>/approve/": Row(ONLY_POST, DECIDERS),
    "approvals/<int:pk>/reject/": Row(ONLY_POST, DECIDERS, _form(reason="Too large.")),
    "approvals/<int:pk>/request-changes/": Row(ONLY_POST, DECIDERS, _form(reason="Name the data.")),
    # Rules that approve by themselves: platform roles read them, engineers stop them, only governance switches on.
    "approvals/rules/": Row("in  403 403 403 403 200 200 200"),
    "approvals/rules/off/": Row(ONLY_POST, STEWARDS_ONLY.replace("200", "302")),
    "approvals/rules/sample/": Row(STEWARDS_ONLY),
    "approvals/rules/sample/<int:verdict_id>/": Row(ONLY_POST, "in  404 403 403 403 302 302 403"),
    "approvals/rules/<str:rule>/": Row("in  403 403 403 403 200 200 200"),
    "approvals/rules/<str:rule>/on/": Row(LEADS, LEADS.replace("200", "302"), _switched_on),
    "approvals/rules/<str:rule>/stop/": Row(ONLY_POST, STEWARDS_ONLY.replace("200", "302")),
    # Waivers: a project gives one back, governance takes one away.
    "waivers/": Row(EVERYONE_SIGNED_IN),
    "waivers/<int:waiver_id>/": Row(READ),
    "waivers/<int:waiver_id>/revoke/": Row(ONLY_POST, "in  404 403 403 302 403 302 403", _form(reason="It is mended.")),
    "findings/": Row(EVERYONE_SIGNED_IN),
    # --- applications: members read those of their project, owners and engineers manage; the platform's are engineers'
    "applications/": Row("in  403 403 403 403 200 200 200"),
    "applications/new/": Row("in  403 403 403 403 200 403 403", "in  403 403 403 403 200 403 403", _application_form),
    "projects/<slug:slug>/applications/": Row(READ),
    "projects/<slug:slug>/applications/new/": Row(
        "in  404 403 403 200 200 403 403", "in  404 403 403 200 200 403 403", _application_form
    ),
    "applications/<uuid:application_id>/": Row(READ),
    "applications/<uuid:application_id>/change/": Row(
        "in  404 403 403 200 200 403 403", "in  404 403 403 302 302 403 403", _application_form
    ),
    "applications/<uuid:application_id>/rotate/": Row(
        "in  404 403 403 200 200 403 403", "in  404 403 403 200 200 403 403", _form(confirm="Pipeline")
    ),
    "applications/<uuid:application_id>/end/": Row(
        "in  404 403 403 200 200 403 403", "in  404 403 403 302 302 403 403", _form(confirm="Pipeline")
    ),
    "account/applications/": Row(EVERYONE_SIGNED_IN),
    "account/applications/revoke/": Row(ONLY_POST, "in  404 404 404 404 404 404 404", _form(client="nothing")),
    # --- OAuth: what the protocol itself asks; without its parameters there is nothing to answer
    ".well-known/openid-configuration": Row(PUBLIC, NEVER_POST),
    ".well-known/jwks.json": Row(PUBLIC, NEVER_POST),
    "identity/o/authorize": Row("in  400 400 400 400 400 400 400", "302 302 302 302 302 302 302 302"),
    "identity/o/device": Row(EVERYONE_SIGNED_IN, EVERYONE_SIGNED_IN),
    "identity/o/logout": Row("302 200 200 200 200 200 200 200", "302 200 200 200 200 200 200 200"),
    "identity/o/api/token": Row(NEVER_POST, BAD_FORM),
    "identity/o/api/revoke": Row(NEVER_POST, BAD_FORM),
    "identity/o/api/introspect": Row(NEVER_POST, BAD_FORM),
    "identity/o/api/device/code": Row(NEVER_POST, BAD_FORM),
    "identity/o/api/userinfo": Row("401 401 401 401 401 401 401 401", BAD_FORM),  # a session is no token
    # --- for machines
    "health/live": Row(PUBLIC, NEVER_POST),
    "health/ready": Row(PUBLIC, NEVER_POST),
    "metrics": Row("401 401 401 401 401 401 401 401", NEVER_POST),  # a session is no token
    # --- signing in: nobody signs up; accounts have no e-mail address to reset a password through unless one is set
    "accounts/login/": Row("200 302 302 302 302 302 302 302", "200 302 302 302 302 302 302 302"),
    "accounts/logout/": Row("302 200 200 200 200 200 200 200", "302 302 302 302 302 302 302 302"),
    "accounts/inactive/": Row(PUBLIC, NEVER_POST),
    "accounts/signup/": Row("200 302 302 302 302 302 302 302", "200 302 302 302 302 302 302 302"),
    "accounts/reauthenticate/": Row(EVERYONE_SIGNED_IN, EVERYONE_SIGNED_IN),
    "accounts/email/": Row(EVERYONE_SIGNED_IN),  # who changes it, and not by themselves
    "accounts/confirm-email/": Row(PUBLIC, NEVER_POST),
    "accounts/confirm-email/<key>/": Row(PUBLIC, "404 404 404 404 404 404 404 404"),
    "accounts/password/change/": Row(EVERYONE_SIGNED_IN, EVERYONE_SIGNED_IN),
    "accounts/password/set/": Row("in  302 302 302 302 302 302 302"),  # who has one changes it; others make none
    "accounts/password/reset/": Row(PUBLIC, PUBLIC),
    "accounts/password/reset/done/": Row(PUBLIC, NEVER_POST),
    "accounts/password/reset/key/<key>/": Row(PUBLIC, PUBLIC),
    "accounts/password/reset/key/done/": Row(PUBLIC, NEVER_POST),
    "accounts/login/code/confirm/": Row("302 302 302 302 302 302 302 302", "302 302 302 302 302 302 302 302"),
    # --- single sign-on: there is no provider here, so nothing leads to one, and nothing comes back
    "accounts/oidc/<slug:provider_id>/login/": Row(NOT_HERE, NOT_HERE),
    "accounts/oidc/<slug:provider_id>/login/callback/": Row(NOT_HERE, NEVER_POST),
    "accounts/3rdparty/": Row(NOT_HERE, NOT_HERE),  # nobody links or unlinks an account
    "accounts/3rdparty/signup/": Row(NOT_HERE, NOT_HERE),
    "accounts/3rdparty/login/cancelled/": Row(PUBLIC, NEVER_POST),
    "accounts/3rdparty/login/error/": Row("in  401 401 401 401 401 401 401"),
    "accounts/social/login/cancelled/": Row(MOVED, MOVED),  # addresses of older versions of allauth
    "accounts/social/login/error/": Row(MOVED, MOVED),
    "accounts/social/signup/": Row(MOVED, MOVED),
    "accounts/social/connections/": Row(MOVED, MOVED),
    "sso/no-group/": Row(PUBLIC, NEVER_POST),
    "sso/<slug:provider_id>/prove/": Row(NOTHING),
    "sso/<slug:provider_id>/backchannel-logout/": Row(NEVER_POST, NOT_HERE),
    "access/mappings/": Row(
        "in  403 403 403 403 200 200 200", "in  403 403 403 403 302 403 403", _form(group="risk", into="auditors")
    ),
    "access/mappings/<int:mapping_id>/change/": Row(ONLY_POST, "in  404 404 404 404 302 403 403"),
    "access/mappings/<int:mapping_id>/delete/": Row(
        "in  404 404 404 404 200 403 403", "in  404 404 404 404 302 403 403", _form(confirm="fraud-team")
    ),
    # --- one's own account: second factors (here nobody has one yet) and sessions
    "account/": Row(EVERYONE_SIGNED_IN),
    "accounts/sessions/": Row(EVERYONE_SIGNED_IN, "in  302 302 302 302 302 302 302"),
    "accounts/sessions/<int:session_id>/end/": Row(ONLY_POST, NOTHING),
    "accounts/2fa/": Row(EVERYONE_SIGNED_IN),
    "accounts/2fa/authenticate/": Row("302 302 302 302 302 302 302 302", "302 302 302 302 302 302 302 302"),
    "accounts/2fa/reauthenticate/": Row("in  302 302 302 302 302 302 302", "in  302 302 302 302 302 302 302"),
    "accounts/2fa/totp/activate/": Row(EVERYONE_SIGNED_IN, EVERYONE_SIGNED_IN),
    "accounts/2fa/totp/deactivate/": Row(NOTHING, NOTHING),
    "accounts/2fa/recovery-codes/": Row(NOTHING),
    "accounts/2fa/recovery-codes/generate/": Row(EVERYONE_SIGNED_IN, EVERYONE_SIGNED_IN),
    "accounts/2fa/recovery-codes/download/": Row(NOTHING, NOTHING),
    "accounts/2fa/webauthn/": Row(EVERYONE_SIGNED_IN),
    "accounts/2fa/webauthn/add/": Row(EVERYONE_SIGNED_IN, EVERYONE_SIGNED_IN),
    "accounts/2fa/webauthn/reauthenticate/": Row("in  302 302 302 302 302 302 302", "in  302 302 302 302 302 302 302"),
    "accounts/2fa/webauthn/keys/<int:pk>/edit/": Row(NOTHING, NOTHING),
    "accounts/2fa/webauthn/keys/<int:pk>/remove/": Row(NOTHING, NOTHING),
}

# Which object stands in a path: the one on which the verb can succeed.
ENDPOINT_OF = {"resume": "suspended", "retry": "failed", "rollback": "suspended"}
REQUEST_OF = {"edit": "draft", "withdraw": "submitted"}
ALLAUTH = {
    # The portal's own stand before these.
    "accounts/oidc/^(?P<provider_id>[^/]+)/login/": "accounts/oidc/<slug:provider_id>/login/",
    "accounts/oidc/^(?P<provider_id>[^/]+)/login/callback/": "accounts/oidc/<slug:provider_id>/login/callback/",
    "accounts/^confirm-email/(?P<key>[-:\\w]+)/$": "accounts/confirm-email/<key>/",
    "accounts/^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$": "accounts/password/reset/key/<key>/",
}
API, ADMIN = "api/v1/", f"{settings.ADMIN_PATH}/"
REGISTRY = "mcp/registry/"  # with a token too, and in a shape of its own: tests/catalog/test_mcp_registry.py


def routes(resolver: Any = None, prefix: str = "") -> Iterator[str]:
    """Every route of the portal, as it is written in urls.py."""
    for pattern in (resolver or get_resolver()).url_patterns:
        where = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, where)
        elif isinstance(pattern, URLPattern):
            yield ALLAUTH.get(where, where)


def path_of(route: str, world: World) -> str:
    """A path of `route` that names an object of fraud-detection."""
    verb = route.rstrip("/").rsplit("/", 1)[-1]
    names = {
        "<slug:slug>": world.org.fraud.slug,
        "<slug:name>": "catalog",
        "<str:slug>": world.version.asset.slug,
        "<str:version>": world.version.version,
        "<str:report>": "licence",
        "<str:card>": "pools",
        "<str:kind>": "project",
        "<int:grant_id>": str(world.grant.pk),
        "<int:server_grant_id>": str(world.server_grant.pk),
        "<uuid:endpoint_id>": str(getattr(world, ENDPOINT_OF.get(verb, "running")).pk),
        "<int:share_id>": str(world.share.pk),
        "<int:number>": "1",
        "<uuid:key_id>": str(world.key.pk),
        "<uuid:webhook_id>": str(world.webhook.pk),
        "<slug:cluster>": world.place.slug,
        "<slug:pool>": world.pool.slug,
        "<slug:driver>": "kubernetes",
        "<str:token>": mail_link.sign(world.org.pat, world.submitted) if "<str:token>" in route else "",
        "<int:mapping_id>": str(world.mapping.pk),
        "<slug:provider_id>": "keycloak",
        "<int:notification_id>": str(world.notification.pk),
        "<int:view_id>": str(world.view.pk),
        "<int:session_id>": "1",
        "<uuid:application_id>": str(world.application.pk),
        "<int:group_id>": str(world.group.pk),
        "<int:review_id>": str(world.review.pk),
        "<int:waiver_id>": str(world.waiver.pk),
        "<int:rogue_id>": str(world.rogue.pk),
        "<int:proposal_id>": str(world.proposal.pk),
        "<int:delegation_id>": str(world.delegation.pk),
        "<int:verdict_id>": str(world.verdict.pk),
        "<str:rule>": world.verdict.rule,
        "<str:rule_id>": baseline().rules[0].id,
        "<int:preview_id>": str(world.preview.pk),
        "<int:publication>": "0",
        "<str:username>": "dana",
        "<slug:preset>": "qa-engineer",
        "<int:pk>": str(getattr(world, REQUEST_OF.get(verb, "submitted")).pk),
        "key/<key>": "key/1-not-a-key",
        "<key>": "not-a-key",
    }
    for name, value in names.items():
        route = route.replace(name, value)
    assert "<" not in route, f"path_of() does not know what to put into {route}"
    return f"/{route}"


def said(response: Any) -> str:
    """The word of the table for an answer."""
    if response.status_code == 302 and response["Location"].startswith("/accounts/login/?next="):
        return "in"
    return str(response.status_code)


def test_every_route_has_a_row() -> None:
    """A new page is refused by this test until somebody has said who may do what with it, and old rows go."""
    known = {route for route in routes() if not route.startswith((API, ADMIN, REGISTRY, "^api/"))}
    assert known == set(PAGES)
    for route, row in PAGES.items():
        assert len(row.get.split()) == len(row.post.split()) == len(PERSONAS), route


@pytest.mark.slow  # as a whole: the quick suite has a minute
@pytest.mark.parametrize("route", sorted(PAGES))
def test_matrix(route: str, world: World, client_for: Clients) -> None:
    """Each person gets what the table says; what one call changes is undone before the next."""
    row, wrong = PAGES[route], []
    path = path_of(route, world)
    for method, line in (("get", row.get), ("post", row.post)):
        data = row.data(world) if method == "post" else {}
        for name, expected in zip(PERSONAS, line.split(), strict=True):
            with transaction.atomic():
                client = client_for(getattr(world.org, name) if name else None)
                response = getattr(client, method)(path, data)
                transaction.set_rollback(True)
            if said(response) != expected:
                wrong.append(f"{method.upper()} {path} by {name or 'nobody'}: {said(response)}, not {expected}")
        # A page knows sessions only: a service account's token and a key open what nobody at all can open.
        nobody = line.split()[0]
        for who, secret in (("service account", world.robot_token), ("key", world.secret)):
            with transaction.atomic():
                response = getattr(Client(), method)(path, data, headers={"Authorization": f"Bearer {secret}"})
                transaction.set_rollback(True)
            if said(response) != nobody:
                wrong.append(f"{method.upper()} {path} by a {who}: {said(response)}, not {nobody}")
    assert not wrong, "\n".join(wrong)


def test_an_unknown_object_looks_like_a_hidden_one(world: World, client_for: Clients) -> None:
    """Nobody and the stranger get the same for what is not there and for what is not theirs, and no word of it."""
    nothing = {
        "<slug:slug>": "no-such-project",
        "<str:slug>": "no-such-asset",
        "<str:version>": "no-such-version",
        "<str:report>": "no-such-kind",
        "<str:card>": "no-such-card",
        "<str:kind>": "no-such-kind",
        "<int:grant_id>": "987654",
        "<int:server_grant_id>": "987654",
        "<uuid:endpoint_id>": str(uuid.uuid4()),
        "<uuid:key_id>": str(uuid.uuid4()),
        "<uuid:webhook_id>": str(uuid.uuid4()),
        "<slug:cluster>": "no-such-cluster",
        "<slug:pool>": "no-such-pool",
        "<slug:driver>": "no-such-driver",
        "<str:token>": "no-such-link",
        "<int:mapping_id>": "987654",
        "<slug:provider_id>": "no-such-provider",
        "<int:notification_id>": "987654",
        "<int:share_id>": "987654",
        "<int:number>": "987654",
        "<int:view_id>": "987654",
        "<int:session_id>": "987654",
        "<uuid:application_id>": str(uuid.uuid4()),
        "<int:group_id>": "987654",
        "<int:review_id>": "987654",
        "<int:waiver_id>": "987654",
        "<int:rogue_id>": "987654",
        "<int:proposal_id>": "987654",
        "<int:delegation_id>": "987654",
        "<int:verdict_id>": "987654",
        "<str:rule>": "no-such-rule",
        "<str:rule_id>": "no-such-rule",
        "<int:preview_id>": "987654",
        "<int:publication>": "987654",
        "<str:username>": "no-such-person",
        "<slug:preset>": "no-such-preset",
        "<int:pk>": "987654",
    }
    draft = make_version("draft").asset.slug
    known = ("accounts/", "help/", "presets/", "policies/rules/")  # what everybody signed in may know of
    for route in (route for route in PAGES if "<" in route and not route.startswith(known)):
        unknown = f"/{route}"
        for name, value in nothing.items():
            unknown = unknown.replace(name, value)
        hidden = path_of(route, world).replace(f"/catalog/{world.version.asset.slug}/", f"/catalog/{draft}/")
        for person, method in itertools.product((None, world.org.cy), ("get", "post")):
            answers = [getattr(client_for(person), method)(path) for path in (hidden, unknown)]
            assert said(answers[0]) == said(answers[1]), (route, method, person)
            assert b"Fraud detection" not in answers[0].content and b">dana<" not in answers[0].content


def test_the_back_office_is_closed_to_every_business_role(world: World, client_for: Clients) -> None:
    """Staff only: a persona, whatever its role, is sent to a sign-in, for reading and writing alike.

    Every persona tries the first page, and one after the other the rest: one guard stands before all of them.
    """
    clients = {name: client_for(getattr(world.org, name) if name else None) for name in PERSONAS}
    tries = [(f"/{ADMIN}", name) for name in PERSONAS]
    turns = itertools.cycle(PERSONAS)
    for route in sorted(set(routes())):
        if route.startswith(ADMIN) and not route.endswith(("/login/", "/logout/")):
            rest = route.removeprefix(ADMIN).replace("<path:object_id>", "1").replace("<path:content_type_id>", "1")
            rest = "projects/" if "app_label" in rest else "nothing" if "(?P" in rest else rest
            tries.append((f"/{ADMIN}{rest}", next(turns)))
    assert len(tries) > 100
    wrong = []
    for (path, name), method in itertools.product(tries, ("get", "post")):
        response = getattr(clients[name], method)(path)
        if said(response) != "in" and not response.headers.get("Location", "").startswith(f"/{ADMIN}login/"):
            wrong.append(f"{method} {path} by {name}: {response.status_code}")
    assert not wrong, "\n".join(wrong)


def test_the_back_office_only_shows(world: World, client_for: Clients) -> None:
    """Even a superuser changes nothing of the portal there: changes belong to services, which leave audit rows."""
    chief = User.objects.create_superuser("chief", password="correct horse battery")
    client, wrong, seen = client_for(chief), [], 0
    ours = tuple(f"{ADMIN}{app}/" for app in ("projects", "audit", "catalog", "quotas", "approvals", "endpoints"))
    for route in sorted(set(routes())):
        if not route.startswith(ours):
            continue
        path = f"/{route.replace('<path:object_id>', str(world.org.fraud.pk))}"
        if route.endswith("/add/"):
            wrong += [path] if client.get(path).status_code != 403 else []
        elif route.count("/") == 3:
            wrong += [path] if client.get(path).status_code != 200 else []
        seen += 1
    assert seen > 30 and not wrong, wrong
    assert client.post(f"/{ADMIN}projects/project/{world.org.fraud.pk}/change/", {"name": "x"}).status_code == 403
    assert client.post(f"/{ADMIN}projects/project/{world.org.fraud.pk}/delete/", {"post": "yes"}).status_code == 403


def test_metrics_want_a_token(world: World, client_for: Clients, api_for: Any, settings: Any) -> None:
    """A session, a wrong token and a token without the scope are 401; the scope or the configured token opens it."""
    assert client_for(world.org.pat).get("/metrics").status_code == 401
    for secret in ("", "x", "é", world.secret):
        assert Client(headers={"Authorization": f"Bearer {secret}"}).get("/metrics").status_code == 401
    assert api_for(world.org.aud, "usage:read").client.get("/metrics").status_code == 401
    assert api_for(world.org.aud, "audit:read").client.get("/metrics").status_code == 200
    settings.METRICS_TOKEN = "scrape-me"
    assert Client(headers={"Authorization": "Bearer scrape-me"}).get("/metrics").status_code == 200
    assert Client(headers={"Authorization": "Bearer scrape-you"}).get("/metrics").status_code == 401


def test_a_form_of_another_site_is_refused(world: World) -> None:
    """A POST without the CSRF token is 403 with a page, whoever is signed in."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(world.org.omar)
    # OpenID Connect lets other sites send people here by POST: both only show a page, whose own form is forged in
    # tests/projects/test_oauth_code.py.
    forms = [route for route, row in PAGES.items() if row.post not in (NEVER_POST, ONLY_GET)]
    shown = {"identity/o/authorize", "identity/o/logout"}
    machines = ("identity/o/api/", "sso/<slug:provider_id>/backchannel-logout/")  # no session counts there
    forms = [route for route in forms if route not in shown and not route.startswith(machines)]
    assert len(forms) > 20
    for route in forms:
        response = client.post(path_of(route, world), PAGES[route].data(world))
        assert response.status_code == 403 and b"<h1" in response.content, route
