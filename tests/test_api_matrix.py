"""Every operation of the REST API × every kind of caller, against a table. An operation without a row fails the suite.

The columns: no token, the project's service account without the scope, a stranger to the project, its viewer,
developer and owner, a platform engineer, a governance lead, an auditor, and a project's API key with the scopes that a
key may have.
"""

import datetime as dt
import itertools
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from portal.api import api
from projects.permissions import SCOPES
from projects.principal import Principal
from tests.approvals.policies.kit import bundle
from tests.conftest import ApiClient
from tests.factories import DEMO_COMMAND, NEEDS, make_request, make_version, request_body
from tests.world import World

pytestmark = pytest.mark.slow

CALLERS = ("nobody", "robot", "cy", "vic", "dana", "omar", "pat", "yasmine", "aud", "key")

# The key is dana's, with tests.world.KEY_SCOPES: it reads, and its scopes hold nothing that writes.
ANYBODY = "401 403 200 200 200 200 200 200 200 200"
MEMBERS_READ_USAGE = "401 403 404 200 200 200 200 200 200 403"
MEMBERS = "401 403 404 200 200 200 200 200 200 200"
ME = "401 200 200 200 200 200 200 200 200 200"
READ_PROJECT = "401 200 404 200 200 200 200 200 200 200"
NO_KEY = "401 403 404 200 200 200 200 200 200 403"
STEWARDS = "401 403 403 403 403 403 200 200 403 403"
STEWARDS_CREATE = "401 403 403 403 403 403 201 201 403 403"
ENGINEERS = "401 403 403 403 403 403 200 403 403 403"
ENGINEERS_CREATE = "401 403 403 403 403 403 201 403 403 403"
OPERATORS = "401 403 404 403 202 202 202 403 403 403"
LEADS = "401 403 403 403 403 403 403 200 403 403"
READ_AUDIT = "401 403 403 403 403 403 200 200 200 403"
DECIDERS = "401 403 404 403 403 403 200 200 403 403"
MANAGERS = "401 403 404 403 403 200 200 403 403 403"
REQUESTER = "401 403 404 403 200 403 403 403 403 403"

Body = Callable[[World], Any]


@dataclass(frozen=True)
class Row:
    """What an operation answers, the scope that it wants, and a body that succeeds where the role allows it."""

    line: str
    scope: str = ""
    body: Body = lambda world: {}


def _delegation(world: World) -> Mapping[str, Any]:
    soon = dt.date.today() + dt.timedelta(days=3)
    return {"delegate": "vic", "ends_on": soon.isoformat(), "reason": "Away for three days."}


def _decision(world: World) -> Mapping[str, Any]:
    return {"decision": "approve", "reason": "Fine."}


def _asset(world: World) -> Mapping[str, Any]:
    return {"slug": "new-model", "kind": "model", "name": "New model", "publisher": "Example", "summary": "For tests."}


def _pool(world: World) -> Mapping[str, Any]:
    return {"slug": "second", "name": "Second", "cluster": "local", "limit": 4, "profiles": ["gpu-small"]}


def _cluster(world: World) -> Mapping[str, Any]:
    access = {"authentication": "token", "server": "https://10.0.0.8:6443", "token": "opaque"}
    return {"slug": "berlin", "name": "Berlin", "driver": "kubernetes", "environments": ["dev"], "access": access}


def _request(world: World) -> Mapping[str, Any]:
    return {name: world.draft.body[name] for name in world.draft.body} | {"name": "more"}


def _webhook(world: World) -> Mapping[str, Any]:
    return {"project": "fraud-detection", "name": "tickets", "url": "https://93.184.215.14/tickets"}


def _renewal(world: World) -> Mapping[str, Any]:
    return {"ends_on": (timezone.now().date() + dt.timedelta(days=300)).isoformat(), "purpose": "It goes on."}


def _application(world: World) -> Mapping[str, Any]:
    return {"name": "Console", "kind": "public", "grants": ["device"], "scopes": ["requests:read"]}


def _waiver(world: World) -> Mapping[str, Any]:
    """For another draft of dana's that fails the same rule."""
    fields = {"name": "another", "data_classification": "restricted"}
    draft = make_request(world.org.dana, state="draft", version=world.version, profile=world.profile, **fields)
    asked: dict[str, Any] = world.waiver.asked.body
    return asked | {"request": draft.pk}


def _policies(world: World) -> Mapping[str, Any]:
    return {"files": bundle()}


def _attachment(world: World) -> Mapping[str, Any]:
    document = {
        "hardware_profile": "gpu-small", "engine": "vllm 0.11", "measured_on": "2026-11-01", "concurrency": 8,
        "tokens_per_second": 410.5, "ttft_p50_ms": 120, "cold_start_seconds": 90,
    }  # fmt: skip
    return {"kind": "performance", "name": "bench.json", "content": document}


# Whoever may send requests in some project; a token that is bound to a project opens no platform-wide door.
PROPOSERS = "401 403 201 403 201 201 201 201 403 403"
APPLICATIONS = "/projects/{slug}/applications"
ASSET = "/catalog/assets/{slug}"
HOOK = "/webhooks/{webhook_id}"
HOOK_SEEN = "401 403 404 404 404 200 200 404 404 403"
VERSION = f"{ASSET}/versions/{{version}}"
ENDPOINT = "/endpoints/{endpoint_id}"
REQUEST = "/requests/{request_id}"
OPERATIONS: dict[tuple[str, str], Row] = {
    ("get", "/me"): Row(ME),
    # --- projects
    ("get", "/projects"): Row(ME),
    ("post", "/projects"): Row(ENGINEERS_CREATE, "admin", lambda world: {"slug": "new-project", "name": "New"}),
    ("get", "/projects/{slug}"): Row(READ_PROJECT),
    ("patch", "/projects/{slug}"): Row(MANAGERS, "admin", lambda world: {"name": "Fraud"}),
    ("get", "/projects/{slug}/members"): Row(READ_PROJECT),
    ("put", "/projects/{slug}/members/{user}"): Row(MANAGERS, "admin", lambda world: {"role": "developer"}),
    ("delete", "/projects/{slug}/members/{user}"): Row(MANAGERS.replace("200", "204"), "admin"),
    # --- applications of a project: members read, owners and engineers manage
    ("get", APPLICATIONS): Row(MEMBERS, "endpoints:read"),
    ("post", APPLICATIONS): Row(MANAGERS.replace("200", "201"), "admin", _application),
    ("get", f"{APPLICATIONS}/{{application_id}}"): Row(MEMBERS, "endpoints:read"),
    ("delete", f"{APPLICATIONS}/{{application_id}}"): Row(MANAGERS, "admin"),
    ("post", f"{APPLICATIONS}/{{application_id}}/rotate"): Row(MANAGERS, "admin"),
    # --- notifications are everybody's own; webhooks are for owners and engineers
    ("get", "/notifications"): Row(ME),
    ("post", "/notifications/read"): Row(ME, "", lambda world: {"all": True}),
    ("get", "/webhooks"): Row("401 403 200 200 200 200 200 200 200 403", "admin"),
    ("post", "/webhooks"): Row("401 403 404 403 403 201 201 403 403 403", "admin", _webhook),
    ("get", HOOK): Row(HOOK_SEEN, "admin"),
    ("patch", HOOK): Row(HOOK_SEEN, "admin", lambda world: {"enabled": False}),
    ("delete", HOOK): Row(HOOK_SEEN.replace("200", "204"), "admin"),
    ("post", f"{HOOK}/test"): Row(HOOK_SEEN.replace("200", "202"), "admin"),
    ("post", f"{HOOK}/rotate"): Row(HOOK_SEEN, "admin"),
    ("get", f"{HOOK}/deliveries"): Row(HOOK_SEEN, "admin"),
    ("post", f"{HOOK}/replay"): Row(HOOK_SEEN.replace("200", "202"), "admin"),
    # --- what groups of the identity provider make of people
    ("get", "/sso/mappings"): Row("401 403 403 403 403 403 200 200 200 403", "admin"),
    ("post", "/sso/mappings"): Row(ENGINEERS_CREATE, "admin", lambda world: {"group": "risk", "into": "auditors"}),
    ("delete", "/sso/mappings/{mapping_id}"): Row("401 403 404 404 404 404 204 403 403 403", "admin"),
    # --- audit
    ("get", "/audit"): Row(READ_AUDIT, "audit:read"),
    ("get", "/audit/export"): Row(READ_AUDIT, "audit:read"),
    # --- people and access reviews
    ("post", "/people/{user}/leave"): Row(ENGINEERS, "admin", lambda world: {"reason": "Has left.", "dry_run": True}),
    ("get", "/access"): Row("401 403 422 403 403 200 200 200 200 403", "audit:read"),  # about the whole project
    ("get", "/access/reviews"): Row("401 403 200 200 200 200 200 200 200 403", "audit:read"),
    ("post", "/access/reviews"): Row(
        STEWARDS_CREATE, "admin", lambda world: {"name": "Next", "due_on": world.review.due_on.isoformat()}
    ),
    ("get", "/access/reviews/{review_id}/entries"): Row("401 403 404 404 404 200 200 200 200 403", "audit:read"),
    ("post", "/access/reviews/{review_id}/entries/{entry_id}"): Row(
        "401 403 404 404 404 200 200 200 403 403", "admin", lambda world: {"outcome": "keep"}
    ),
    ("post", "/access/reviews/{review_id}/close"): Row("401 403 404 404 404 403 200 200 403 403", "admin"),
    # --- catalog
    ("get", "/catalog/assets"): Row(ANYBODY, "catalog:read"),
    ("post", "/catalog/assets"): Row(PROPOSERS, "catalog:write", _asset),
    ("get", ASSET): Row(ANYBODY, "catalog:read"),
    ("patch", ASSET): Row(STEWARDS, "catalog:write", lambda world: {"access": "listed", "reason": "A few teams."}),
    ("get", f"{ASSET}/grants"): Row(ANYBODY, "catalog:read"),  # those through which the caller sees it
    ("post", f"{ASSET}/grants"): Row(
        STEWARDS_CREATE, "catalog:write", lambda world: {"project": "search-ranking", "reason": "They ask for it."}
    ),
    ("delete", f"{ASSET}/grants/{{kind}}/{{grant_id}}"): Row(STEWARDS.replace("200", "204"), "catalog:write"),
    ("get", VERSION): Row(ANYBODY, "catalog:read"),
    ("get", f"{VERSION}/ml-bom"): Row(ANYBODY, "catalog:read"),
    ("get", "/catalog/export"): Row(ANYBODY, "catalog:read"),
    ("post", f"{ASSET}/versions"): Row(
        PROPOSERS,
        "catalog:write",
        lambda world: {
            "version": "4.0",
            "source": "hf://example/model@main",
            "licence": "Apache-2.0",
            "needs": NEEDS,
            "runtime": {"engine": "demo", "demo": True, "command": DEMO_COMMAND},
        },
    ),
    ("post", f"{VERSION}/submit"): Row("401 403 404 404 404 404 200 200 403 403", "catalog:write"),  # drafts hide
    ("get", f"{VERSION}/jobs"): Row(ANYBODY, "catalog:read"),
    ("get", f"{VERSION}/attachments"): Row(ANYBODY, "catalog:read"),
    ("post", f"{VERSION}/attachments"): Row(STEWARDS_CREATE, "catalog:write", _attachment),
    ("post", f"{VERSION}/reverify"): Row(STEWARDS.replace("200", "202"), "catalog:write"),
    ("post", f"{VERSION}/deprecate"): Row(STEWARDS, "catalog:write"),
    ("post", f"{VERSION}/retire"): Row(STEWARDS, "catalog:write"),
    ("post", f"{VERSION}/block"): Row(STEWARDS, "catalog:write", lambda world: {"reason": "A finding."}),
    ("get", "/hardware-profiles"): Row(ANYBODY, "catalog:read"),
    # --- pools and usage
    ("get", "/pools"): Row(ANYBODY, "usage:read"),
    ("get", "/pools/{slug}"): Row(ANYBODY, "usage:read"),
    ("post", "/pools"): Row(ENGINEERS_CREATE, "admin", _pool),
    ("patch", "/pools/{slug}"): Row(ENGINEERS, "admin", lambda world: {"limit": 9}),
    ("get", "/usage"): Row("401 403 200 200 200 200 200 200 200 403", "usage:read"),
    # --- policies
    ("get", "/policies"): Row("401 403 200 200 200 200 200 200 200 403", "policies:read"),
    ("post", "/policies/preview"): Row(LEADS.replace("200", "202"), "policies:write", _policies),
    ("get", "/policies/previews/{preview_id}"): Row("401 403 404 404 404 404 200 200 200 403", "policies:read"),
    ("post", "/policies/publish"): Row(
        LEADS.replace("200", "201"), "policies:write", lambda world: {**_policies(world), "reason": "Better."}
    ),
    ("post", "/policies/roll-back"): Row(  # the baseline counts already
        LEADS.replace("200", "409"), "policies:write", lambda world: {"number": 0, "reason": "Back."}
    ),
    ("post", "/policies/envelopes/off"): Row(STEWARDS, "policies:write"),
    ("post", "/policies/envelopes/{rule}/mode"): Row(
        LEADS, "policies:write", lambda world: {"mode": "live", "reason": "Both agree.", "sample_percent": 10}
    ),
    # --- waivers: dana asks for the own draft; omar gives one back, a lead takes one away
    ("get", "/waivers"): Row(ANYBODY, "requests:read"),
    ("post", "/waivers"): Row("401 403 422 422 201 422 422 422 422 403", "requests:write", _waiver),
    ("get", "/waivers/{waiver_id}"): Row(MEMBERS, "requests:read"),
    ("post", "/waivers/{waiver_id}/revoke"): Row(
        "401 403 404 403 403 200 403 200 403 403", "requests:write", lambda world: {"reason": "It is mended."}
    ),
    ("get", "/insights/rogue"): Row(ANYBODY, "endpoints:read"),
    ("get", "/insights/rogue/{rogue_id}"): Row(MEMBERS, "endpoints:read"),
    ("post", "/insights/rogue/{rogue_id}/notify"): Row(DECIDERS, "endpoints:write"),
    ("post", "/insights/rogue/{rogue_id}/waive"): Row(
        DECIDERS,
        "endpoints:write",
        lambda world: {"ends_on": str(timezone.now().date() + dt.timedelta(days=9)), "reason": "It moves next week."},
    ),
    ("get", "/insights/idle"): Row("401 403 200 200 200 200 200 200 200 403", "usage:read"),
    ("get", "/insights/lead-time"): Row(ANYBODY, "requests:read"),
    # an owner changes quotas too, apart from what the platform grants to the whole project
    ("get", "/projects/{slug}/quotas"): Row(MEMBERS_READ_USAGE, "usage:read"),
    ("put", "/projects/{slug}/quotas"): Row(MANAGERS, "admin", lambda world: {"tokens": []}),
    ("get", "/projects/{slug}/limits"): Row(MEMBERS_READ_USAGE, "usage:read"),
    # --- endpoints and clusters
    ("get", "/endpoints"): Row(ANYBODY, "endpoints:read"),
    ("get", ENDPOINT): Row(MEMBERS, "endpoints:read"),
    ("get", f"{ENDPOINT}/events"): Row(MEMBERS, "endpoints:read"),
    ("get", "/insights/drift"): Row(ANYBODY, "endpoints:read"),
    ("get", f"{ENDPOINT}/drift"): Row(MEMBERS, "endpoints:read"),
    ("post", f"{ENDPOINT}/drift/reapply"): Row("401 403 404 403 403 202 202 403 403 403", "endpoints:write"),
    ("post", f"{ENDPOINT}/drift/look"): Row(OPERATORS.replace("202", "409"), "endpoints:write"),  # on this machine
    ("get", f"{ENDPOINT}/revisions"): Row(MEMBERS, "endpoints:read"),
    ("get", f"{ENDPOINT}/logs"): Row(MEMBERS, "endpoints:read"),
    ("get", f"{ENDPOINT}/manifests"): Row(MEMBERS, "endpoints:read"),
    ("get", f"{ENDPOINT}/alerts"): Row(MEMBERS, "endpoints:read"),
    # whatever is hidden from the caller is counted like what is not there
    ("post", "/alerts/alertmanager"): Row(
        "401 403 200 200 200 200 200 200 200 403", "endpoints:write", lambda world: {"version": "4", "alerts": []}
    ),
    ("patch", ENDPOINT): Row(
        "401 403 404 403 403 200 403 403 403 403", "endpoints:write", lambda world: {"shareable": False}
    ),
    ("post", f"{ENDPOINT}/scale"): Row(OPERATORS, "endpoints:write", lambda world: {"replicas": 1}),
    ("post", f"{ENDPOINT}/rollback"): Row(OPERATORS, "endpoints:write", lambda world: {"revision": 1}),
    ("get", f"{ENDPOINT}/canary"): Row(MEMBERS, "endpoints:read"),
    ("post", f"{ENDPOINT}/canary"): Row(
        OPERATORS.replace("202", "409"),
        "endpoints:write",
        lambda world: {"percent": 10},  # nothing is on its way
    ),
    ("post", f"{ENDPOINT}/canary/promote"): Row(OPERATORS.replace("202", "409"), "endpoints:write"),
    ("post", f"{ENDPOINT}/canary/abort"): Row(OPERATORS.replace("202", "409"), "endpoints:write"),
    ("get", f"{ENDPOINT}/shares"): Row(MEMBERS, "endpoints:read"),
    ("post", f"{ENDPOINT}/shares"): Row(
        "401 403 404 403 403 201 403 403 403 403", "endpoints:write", lambda world: {"project": world.third.slug}
    ),
    ("delete", f"{ENDPOINT}/shares/{{share_id}}"): Row("401 403 404 403 403 200 403 403 403 403", "endpoints:write"),
    ("post", f"{ENDPOINT}/suspend"): Row(OPERATORS, "endpoints:write"),
    ("post", f"{ENDPOINT}/resume"): Row(OPERATORS, "endpoints:write"),
    ("post", f"{ENDPOINT}/retry"): Row(OPERATORS, "endpoints:write"),
    ("delete", ENDPOINT): Row(OPERATORS, "endpoints:write"),
    ("get", "/clusters"): Row(ANYBODY, "endpoints:read"),
    ("get", "/clusters/{slug}"): Row(ANYBODY, "endpoints:read"),
    ("patch", "/clusters/{slug}"): Row(ENGINEERS, "admin", lambda world: {"paused": True}),
    ("post", "/clusters"): Row(ENGINEERS_CREATE, "admin", _cluster),
    ("delete", "/clusters/{slug}"): Row(ENGINEERS, "admin"),
    ("post", "/clusters/{slug}/rotate"): Row(ENGINEERS, "admin", lambda world: _cluster(world)["access"]),
    ("post", "/clusters/{slug}/test"): Row(ENGINEERS.replace("200", "202"), "admin"),
    ("get", "/clusters/{slug}/rbac"): Row("401 403 403 403 403 403 200 200 200 403", "admin"),
    ("get", "/clusters/{slug}/admission"): Row("401 403 403 403 403 403 200 200 200 403", "admin"),
    ("post", "/clusters/{slug}/admission"): Row(
        ENGINEERS, "admin", lambda world: {"mode": "audit", "reason": "Look first."}
    ),
    ("get", "/clusters/{slug}/health"): Row("401 403 403 403 403 403 200 200 200 403", "admin"),
    # --- keys: dana's own; owners end any, engineers only revoke
    ("get", "/projects/{slug}/keys"): Row(MEMBERS, "endpoints:read"),
    ("post", "/projects/{slug}/keys"): Row(
        "401 403 404 403 201 201 403 403 403 403", "endpoints:write", lambda world: {"name": "another"}
    ),
    ("post", "/projects/{slug}/keys/{key_id}/rotate"): Row(
        "401 403 404 403 201 201 403 403 403 403", "endpoints:write"
    ),
    ("delete", "/projects/{slug}/keys/{key_id}"): Row("401 403 404 403 200 200 200 403 403 403", "endpoints:write"),
    # which keys are found depends on the caller; who ends none anywhere is refused
    ("post", "/keys/revoke"): Row(
        "401 403 200 403 200 200 200 403 403 403",
        "endpoints:write",
        lambda world: {"by": {"person": "dana"}, "dry_run": True},
    ),
    # --- requests: who may not ask in a project learns nothing of it, so the field is wrong (422)
    ("post", "/requests/check"): Row("401 403 422 422 200 200 422 422 422 200", "requests:read", _request),
    ("post", "/requests"): Row("401 403 422 422 201 201 422 422 422 403", "requests:write", _request),
    ("get", "/requests"): Row(ANYBODY, "requests:read"),
    ("get", REQUEST): Row(MEMBERS, "requests:read"),
    ("patch", REQUEST): Row(REQUESTER, "requests:write", lambda world: {"replicas": 2}),
    ("post", f"{REQUEST}/submit"): Row(REQUESTER, "requests:write"),
    ("post", f"{REQUEST}/withdraw"): Row(REQUESTER, "requests:write"),
    ("get", f"{REQUEST}/timeline"): Row(MEMBERS, "requests:read"),
    ("get", f"{REQUEST}/replay"): Row(MEMBERS, "requests:read"),
    ("post", f"{REQUEST}/comments"): Row(
        "401 403 404 201 201 201 201 201 403 403", "requests:write", lambda world: {"text": "Which data?"}
    ),
    ("post", f"{REQUEST}/assign"): Row(DECIDERS, "requests:write", lambda world: {"to": "ravi"}),
    ("get", "/delegations"): Row(ANYBODY, "requests:read"),
    ("post", "/delegations"): Row("401 403 201 403 403 201 201 201 403 403", "approvals:decide", _delegation),
    ("delete", "/delegations/{delegation_id}"): Row("401 403 404 404 404 404 200 200 403 403", "approvals:decide"),
    ("post", f"{REQUEST}/decisions"): Row(DECIDERS, "approvals:decide", _decision),
    # Asks for a later end date: whoever may send requests in the endpoint's project.
    ("post", f"{ENDPOINT}/renew"): Row("401 403 404 403 201 201 403 403 403 403", "requests:write", _renewal),
    # One result per id: what a caller may not do is said in the result.
    ("post", "/requests/decisions"): Row(
        "401 403 200 200 200 200 200 200 200 403",
        "approvals:decide",
        lambda world: {"ids": [world.submitted.pk], **_decision(world)},
    ),
}
# Which object stands in a path: the one on which the verb can succeed.
ENDPOINT_OF = {"resume": "suspended", "retry": "failed", "rollback": "suspended"}
REQUEST_OF = {"submit": "draft", "patch": "draft"}


def path_of(method: str, path: str, world: World) -> str:
    """The path with the objects of fraud-detection in it."""
    verb = path.rsplit("/", 1)[-1] if method != "patch" else "patch"
    slug = {"/projects": world.org.fraud.slug, "/pools": world.pool.slug, "/clusters": world.place.slug}
    version = {"submit": "2.0", "retire": "3.0"}.get(verb, world.version.version)
    values = {
        "{slug}": slug.get(f"/{path.split('/')[1]}", world.version.asset.slug),
        "{version}": version,
        "{user}": "vic",
        "{kind}": "project",
        "{grant_id}": str(world.grant.pk),
        "{endpoint_id}": str(getattr(world, ENDPOINT_OF.get(verb, "running")).pk),
        "{key_id}": str(world.key.pk),
        "{webhook_id}": str(world.webhook.pk),
        "{mapping_id}": str(world.mapping.pk),
        "{application_id}": str(world.application.pk),
        "{share_id}": str(world.share.pk),
        "{preview_id}": str(world.preview.pk),
        "{review_id}": str(world.review.pk),
        "{waiver_id}": str(world.waiver.pk),
        "{rogue_id}": str(world.rogue.pk),
        "{delegation_id}": str(world.delegation.pk),
        "{rule}": world.verdict.rule,
        "{entry_id}": str(world.review.items.get(kind="membership", holder="vic").pk),
        "{request_id}": str(getattr(world, REQUEST_OF.get(verb, "submitted")).pk),
    }
    for name, value in values.items():
        path = path.replace(name, value)
    assert "{" not in path, f"path_of() does not know what to put into {path}"
    return f"{path}?project={world.org.fraud.slug}" if path == "/access" else path


def client_of(caller: str, row: Row, world: World, api_for: Any) -> Client:
    """The caller's HTTP client."""
    if caller == "nobody":
        return Client()
    if caller == "key":
        return ApiClient(world.secret).client
    if caller == "robot":
        limited: Client = api_for(world.robot, *[name for name in SCOPES if name not in _grants(row)]).client
        return limited
    granted: Client = api_for(getattr(world.org, caller), row.scope or "catalog:read").client
    return granted


def _grants(row: Row) -> set[str]:
    """The scopes with which a row's operation is open."""
    pools = row.scope == "usage:read"  # pools are open to the catalog's readers and to administrators too
    both = {"admin"} if row.scope == "audit:read" else set()  # either one opens the access explorer
    return {row.scope} | ({"catalog:read", "admin"} if pools else both)


def test_every_operation_has_a_row() -> None:
    """A new operation is refused by this test until somebody has said who may call it, and old rows go."""
    document = api.get_openapi_schema()
    known = {
        (method, path.removeprefix("/api/v1")) for path, methods in document["paths"].items() for method in methods
    }
    assert known == set(OPERATIONS)
    for (method, path), row in OPERATIONS.items():
        assert len(row.line.split()) == len(CALLERS), path
        operation = document["paths"][f"/api/v1{path}"][method]
        assert operation["security"], f"{method} {path} is open"


@pytest.mark.parametrize(("method", "path"), sorted(OPERATIONS), ids=lambda part: part)
def test_matrix(method: str, path: str, world: World, api_for: Any) -> None:
    """Each caller gets what the table says; refusals are problem documents; each call is undone before the next."""
    row, wrong = OPERATIONS[method, path], []
    if path.endswith(("/submit", "/retire")):
        _versions(world)
    where = f"/api/v1{path_of(method, path, world)}"
    for caller, expected in zip(CALLERS, row.line.split(), strict=True):
        with transaction.atomic():
            client = client_of(caller, row, world, api_for)
            if method == "get":
                response = client.get(where)
            else:
                response = getattr(client, method)(
                    where, json.dumps(row.body(world)), content_type="application/json", headers={"If-Match": "*"}
                )
            transaction.set_rollback(True)
        if str(response.status_code) != expected:
            text = b"" if response.streaming else response.content[:200]
            wrong.append(f"{method.upper()} {where} by {caller}: {response.status_code}, not {expected} {text!r}")
        elif response.status_code >= 400:
            problem = response.json()
            assert response["Content-Type"] == "application/problem+json"
            assert problem["status"] == response.status_code and problem["detail"] and problem["code"]
            if caller in {"robot", "key"} and response.status_code == 403:
                assert problem["code"] == "insufficient_scope"
            if response.status_code == 401:
                assert response["WWW-Authenticate"].startswith("Bearer")
    assert not wrong, "\n".join(wrong)


def _versions(world: World) -> None:
    """A draft and a deprecated version of the asset, for submit and retire."""
    make_version("draft", asset=world.version.asset, version="2.0")
    make_version("deprecated", asset=world.version.asset, version="3.0")


def test_an_unknown_object_answers_like_a_hidden_one(world: World, api_for: Any) -> None:
    """Status, code and sentence are the same, so that a stranger learns nothing by trying."""
    tokens = {scope: api_for(world.org.cy, scope).client for scope in SCOPES}
    unknown = {
        "{slug}": "no-such-thing", "{version}": "9.9", "{user}": "nobody", "{endpoint_id}": str(uuid.uuid4()),
        "{key_id}": str(uuid.uuid4()), "{request_id}": "987654",
        "{mapping_id}": "987654", "{webhook_id}": str(uuid.uuid4()),
        "{application_id}": str(uuid.uuid4()), "{share_id}": "987654",
        "{preview_id}": "987654", "{review_id}": "987654", "{entry_id}": "1",
        "{rogue_id}": "987654", "{waiver_id}": "987654", "{delegation_id}": "987654", "{rule}": "no-such-rule",
    }  # fmt: skip
    for (method, path), row in OPERATIONS.items():
        if "{" not in path or path.startswith(("/catalog", "/pools", "/clusters", "/people", "/policies/envelopes")):
            continue  # what everybody may know of; who may leave whom is refused before anybody is looked for
        hidden = path_of(method, path, world)
        nothing = path
        for name, value in unknown.items():
            nothing = nothing.replace(name, value)
        client = tokens[row.scope or "catalog:read"]
        answers = []
        for where in (hidden, nothing):
            body = {} if method == "get" else {"data": json.dumps(row.body(world)), "content_type": "application/json"}
            answers.append(getattr(client, method)(f"/api/v1{where}", **body))
        assert [answer.status_code for answer in answers] == [404, 404], (method, path)
        said = [answer.json() for answer in answers]
        named = next(pair for pair in zip(hidden.split("/"), nothing.split("/"), strict=True) if len(set(pair)) > 1)
        details = [item["detail"].replace(name, "…") for item, name in zip(said, named, strict=True)]
        assert said[0]["code"] == said[1]["code"] == "not_found" and details[0] == details[1], (method, path)


def test_a_token_of_another_project_is_a_stranger(world: World, api_for: Any) -> None:
    """omar owns both projects; his token for search-ranking opens nothing of fraud-detection, and no platform door."""
    world.org.search.memberships.create(user=world.org.omar, role="owner")
    wrong = []
    _versions(world)
    for (method, path), row in OPERATIONS.items():
        api = api_for(world.org.omar, row.scope or "catalog:read", project=world.org.search)
        with transaction.atomic():
            response = getattr(api, method)(path_of(method, path, world), row.body(world) if method != "get" else None)
            transaction.set_rollback(True)
        known = ("/catalog", "/pools", "/clusters", "/people", "/policies")  # what everybody may know of
        if "{" in path and not path.startswith(known) and response.status_code != 404:
            wrong.append((method, path, response.status_code))
        assert b"fraud" not in (b"" if response.streaming or response.status_code >= 400 else response.content), path
    assert not wrong


def test_a_token_of_a_project_opens_no_platform_door(world: World, api_for: Any) -> None:
    """What an engineer and an auditor may do everywhere is not in a token that they bound to one project."""
    _versions(world)
    everywhere = {
        "/projects",
        "/pools",
        "/pools/{slug}",
        "/clusters/{slug}",
        "/audit",
        "/audit/export",
        "/catalog/assets",
    }
    for (method, path), row in OPERATIONS.items():
        if path not in everywhere and not path.startswith("/catalog/assets/"):
            continue
        if method == "get" and not path.startswith("/audit"):
            continue
        api = api_for(world.org.pat, row.scope, project=world.org.fraud)
        body = row.body(world) if method != "get" else None
        response = getattr(api, method)(path_of(method, path, world), body, If_Match="*")
        hidden = path.endswith("/submit")  # a draft, which only reviewers see, and a project's token reviews nothing
        assert response.status_code == (404 if hidden else 403), (method, path)
        assert response.json()["code"] == ("not_found" if hidden else "forbidden")
    inside = api_for(world.org.pat, "approvals:decide", project=world.org.fraud)
    assert inside.post(f"/requests/{world.submitted.pk}/decisions", _decision(world)).status_code == 200


def test_lists_show_only_what_the_caller_may_see(world: World, api_for: Any) -> None:
    """Both sides: the stranger sees the own project's and nothing of the other, an auditor sees both."""
    own = make_request(
        world.org.cy, project="search-ranking", version=world.version, profile=world.profile, name="ranker"
    )
    cases = itertools.product(("requests", "projects"), ("cy", "aud"))
    for name, person in cases:
        items = api_for(getattr(world.org, person)).get(f"/{name}").json()["items"]
        seen = {item.get("project", item.get("slug")) for item in items} - {world.third.slug}
        assert seen == ({"search-ranking"} if person == "cy" else {"search-ranking", "fraud-detection"})
    assert Principal.of(world.org.cy).role_in(own.project_id) == "owner"
    assert request_body()["project"] == "fraud-detection"
