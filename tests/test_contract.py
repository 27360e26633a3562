"""The public surface to the letter: names of fields, shapes of lists and errors, preconditions, retries."""

import datetime as dt
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

from approvals.models import Comment, Decision, Request
from audit.models import Row as AuditRow
from catalog.models import Version
from endpoints import services
from endpoints.models import Endpoint, Event
from portal.api import api
from projects.models import IdempotentAnswer
from projects.permissions import SCOPES
from projects.principal import Principal
from tests.conftest import ApiClient
from tests.factories import make_version
from tests.test_api_matrix import OPERATIONS, path_of
from tests.world import World

pytestmark = pytest.mark.slow  # as a whole: the quick suite has a minute
Api = Callable[..., ApiClient]

ASSET = {"slug", "kind", "name", "state", "versions"}
VERSION = {"version", "state", "licence", "needs", "evidence"}
PROFILE = {"slug", "name", "accelerator", "accelerator_count", "memory_bytes", "price_per_hour", "currency"}
POOL = {"slug", "limit", "observed", "held", "waiting", "available"}
REQUEST = {"id", "kind", "project", "name", "state", "plan", "checks", "stages", "submitted_at"}
ENDPOINT = {"id", "name", "project", "environment", "phase", "reason", "url", "revision"}
KEY = {"id", "name", "prefix", "endpoints", "scopes", "expires_at", "last_used_at", "state"}
USAGE = {"requests", "errors", "input_tokens", "output_tokens", "cached_tokens"}
USAGE |= {f"{what}_{share}" for what in ("ttft", "latency") for share in ("p50", "p95", "p99")}
USAGE |= {"cost", "currency", "cost_centre", "owner_team"}
KINDS = {"endpoint", "revision", "renewal", "access", "quota", "mcp-access", "admission", "waiver"}
OTHER_KINDS = ("agent",)
LIMIT = {"kind", "target_kind", "target", "window", "soft", "hard", "used", "left", "resets_at", "binds", "sentence"}
WEBHOOK = {"id", "project", "name", "url", "kinds", "enabled", "format"}
DELIVERY = {"id", "kind", "state", "attempts", "due_at", "last_status", "last_error", "payload"}
NOTE = {"id", "kind", "title", "text", "url", "project", "about", "created_at", "read_at"}
SHARE = {"id", "project", "ends_on", "reason", "granted_by", "authorization", "created_at", "ended_at"}


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """The body of a refusal, after checking that it is a problem document of this kind."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert {"type", "title", "status", "detail", "code", "errors"} <= set(body)
    assert (body["status"], body["code"]) == (status, code), body
    return body


def walk(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a document with the name that it stands under."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from walk(part, key)
    elif isinstance(value, list):
        for part in value:
            yield from walk(part, name)
    else:
        yield name, value


# --- Shapes -----------------------------------------------------------------------------------------------------------


def test_the_fields_that_others_read(world: World, api_for: Api) -> None:
    """Names of the contract, on lists and on single objects."""
    me = api_for(world.org.dana, "catalog:read", "requests:read", "endpoints:read", "usage:read")
    asset = me.get(f"/catalog/assets/{world.version.asset.slug}").json()
    assert set(asset) >= ASSET and set(asset["versions"][0]) >= VERSION
    assert set(me.get("/catalog/assets").json()["items"][0]) >= ASSET
    assert set(me.get(f"/catalog/assets/{asset['slug']}/versions/1.0").json()) >= VERSION
    profiles = {item["slug"]: item for item in me.get("/hardware-profiles").json()["items"]}
    assert all(set(item) >= PROFILE for item in profiles.values()) and profiles["cpu-demo"]["accelerator"] is None
    pool = me.get("/pools/shared").json()
    assert set(pool) >= POOL and pool in me.get("/pools").json()["items"]
    request = me.get(f"/requests/{world.submitted.pk}").json()
    assert set(request) >= REQUEST and set(me.get("/requests").json()["items"][0]) >= REQUEST
    endpoint = me.get(f"/endpoints/{world.running.pk}").json()
    assert set(endpoint) >= ENDPOINT and set(endpoint["reason"]) == {"code", "sentence", "turn"}
    key = next(item for item in me.get("/projects/fraud-detection/keys").json()["items"] if item["name"] == "scoring")
    assert set(key) >= KEY and "secret" not in key


def test_a_key_names_endpoints_and_shows_its_secret_once(world: World, api_for: Api) -> None:
    """`endpoints` takes names; the secret stands in the answer to POST, and in no later one."""
    me = api_for(world.org.dana, "endpoints:read", "endpoints:write")
    made = me.post("/projects/fraud-detection/keys", {"name": "one", "endpoints": ["running"]})
    body = made.json()
    assert made.status_code == 201 and set(body) >= KEY | {"secret"} and body["endpoints"] == ["running"]
    assert re.fullmatch(r"gth_[0-9A-Za-z]{8}_[0-9A-Za-z]{40,}", body["secret"]) and body["secret"].startswith(
        body["prefix"]
    )
    life = dt.datetime.fromisoformat(body["expires_at"]) - dt.datetime.fromisoformat(body["created_at"])
    assert abs(life - dt.timedelta(days=90)) < dt.timedelta(minutes=1)
    assert body["secret"] not in me.get("/projects/fraud-detection/keys").content.decode()
    assert not AuditRow.objects.filter(after__contains=body["secret"][13:]).exists()


def test_usage_rows(world: World, api_for: Api) -> None:
    """`start`, the keys of group_by, sums and percentiles: the columns of the CSV say it without a single call."""
    response = api_for(world.org.dana, "usage:read").get("/usage?group_by=endpoint&group_by=key&format=csv")
    assert response["Content-Type"].startswith("text/csv")
    columns = response.content.decode().splitlines()[0].split(",")
    assert columns[:3] == ["start", "endpoint", "key"] and set(columns[3:]) == USAGE


BOM = "/catalog/assets/{slug}/versions/{version}/ml-bom"
# Documents; and usage has its own test.
REPLAY = "/requests/{request_id}/replay"
NO_LISTS = {"/policies", REPLAY, "/usage", "/projects/{slug}/quotas", "/projects/{slug}/limits", BOM}
CANARY = "/endpoints/{endpoint_id}/canary"
NO_LISTS |= {CANARY, "/clusters/{slug}/health", "/clusters/{slug}/admission", "/clusters/{slug}/rbac"}
LISTS = sorted(
    path
    for (method, path) in OPERATIONS
    if method == "get" and not path.endswith(("}", "/me", "/export")) and path not in NO_LISTS
)
BESIDE = {
    "/endpoints/{endpoint_id}/manifests": {"repository"},
    "/endpoints/{endpoint_id}/drift": {"accept", "earlier", "looked_at", "not_compared", "problem", "rewriting"},
    "/insights/drift": {"clusters"},
    "/insights/idle": {"idle_days"},
    "/insights/lead-time": {"days", "objective_seconds", "budget", "open", "calendar"},
}


@pytest.mark.parametrize("path", [*LISTS, "/usage"])
def test_lists(path: str, world: World, api_for: Api) -> None:
    """{"items", "next"}; `limit` cuts where the list has pages, and its bounds are said."""
    me, where = api_for(world.org.pat, *SCOPES), path_of("get", path, world)
    more = "&" if "?" in where else "?"
    body = me.get(f"{where}{more}limit=200" if path == "/audit" else where).json()  # more rows than a page has
    assert set(body) == {"items", "next"} | BESIDE.get(path, set())
    assert isinstance(body["items"], list) and body["next"] is None
    if path.endswith(("/logs", "/manifests", "/timeline", "/lead-time", "/jobs")):
        return  # whole by nature
    for limit in (0, -1, 201, 10**30):
        assert problem(me.get(f"{where}{more}limit={limit}"), 422, "invalid")["errors"][0]["field"] == "limit"
    problem(me.get(f"{where}{more}cursor=garbage"), 422, "invalid")
    seen, cursor = [], ""
    for _ in range(len(body["items"]) + 1):
        page = me.get(f"{where}{more}limit=1&cursor={cursor}").json()
        seen += page["items"]
        if page["next"] is None:
            break
        assert len(page["items"]) == 1
        cursor = page["next"]
    # Listing writes nothing except to the audit log of an export, so that the walk sees what the whole list saw.
    assert seen == body["items"]


OBJECTS = sorted(path for (method, path) in OPERATIONS if method == "get" and path.endswith(("}", "/me")))


@pytest.mark.parametrize("path", OBJECTS)
def test_objects_carry_an_etag_that_follows_their_content(path: str, world: World, api_for: Api) -> None:
    """The same object has the same tag, another one another."""
    me, where = api_for(world.org.pat, *SCOPES), path_of("get", path, world)
    first, second = me.get(where), me.get(where)
    assert re.fullmatch(r'"[^"]+"', first["ETag"]) and first["ETag"] == second["ETag"]
    assert first["Content-Type"] == "application/json" and first["Cache-Control"] == "no-store"
    if path == "/requests/{request_id}":
        assert me.get(f"/requests/{world.draft.pk}")["ETag"] != first["ETag"]


def test_units(world: World, api_for: Api) -> None:
    """Money is a decimal string beside a currency, times are RFC 3339 in UTC, sizes are whole bytes, ids are stable."""
    me = api_for(world.org.pat, *SCOPES)
    paths = [
        path_of("get", path, world)
        for method, path in OPERATIONS
        if method == "get" and not path.endswith(("/export", "/rbac"))
    ]
    money = times = sizes = 0
    for path in paths:
        for name, value in walk(me.get(path).json()):
            if value is None:
                continue
            if name.endswith("_at") or name in {"at", "start", "since", "phase_since"}:
                times += 1
                assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", value), (path, name, value)
            elif name.startswith(("price_", "per_hour", "per_month", "until_end")) and not name.endswith("_inputs"):
                money += 1
                assert re.fullmatch(r"\d+(\.\d+)?", value) and isinstance(value, str), (path, name, value)
            elif name.endswith("_bytes") or name == "bytes":
                sizes += 1
                assert type(value) is int, (path, name, value)
            elif name == "currency":
                assert re.fullmatch(r"[A-Z]{3}", value)
    assert min(money, times, sizes) > 3


# --- Preconditions and retries ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(path for method, path in OPERATIONS if method == "patch"))
def test_patch_needs_the_tag_of_what_was_read(path: str, world: World, api_for: Api) -> None:
    """428 without If-Match, 412 with an old one and no change; the fresh one works once."""
    person = world.org.dana if "request" in path else world.org.pat
    person = world.org.omar if path == "/endpoints/{endpoint_id}" else person
    me, where = api_for(person, *SCOPES), path_of("patch", path, world)
    body = OPERATIONS["patch", path].body(world)
    before = me.get(where)
    problem(me.patch(where, body), 428, "precondition_required")
    problem(me.patch(where, body, If_Match='"another"'), 412, "precondition_failed")
    problem(me.patch(where, body, If_Match=before["ETag"].strip('"')), 412, "precondition_failed")
    assert me.get(where)["ETag"] == before["ETag"]
    changed = me.patch(where, body, If_Match=f'"x", {before["ETag"]}')
    assert changed.status_code == 200 and changed["ETag"] == me.get(where)["ETag"] != before["ETag"]
    problem(me.patch(where, body, If_Match=before["ETag"]), 412, "precondition_failed")


def test_put_needs_the_tag_of_what_is_there(world: World, api_for: Api) -> None:
    """A member that exists is changed under If-Match only; a new one has no tag yet."""
    me, path = api_for(world.org.omar, "admin"), "/projects/fraud-detection/members/{}"
    made = me.put(path.format("ravi"), {"role": "viewer"})
    assert made.status_code == 201 and made["ETag"]
    problem(me.put(path.format("ravi"), {"role": "owner"}), 428, "precondition_required")
    problem(me.put(path.format("ravi"), {"role": "owner"}, If_Match='"old"'), 412, "precondition_failed")
    assert world.org.fraud.memberships.get(user=world.org.ravi).role == "viewer"
    assert me.put(path.format("ravi"), {"role": "owner"}, If_Match=made["ETag"]).json()["role"] == "owner"


POSTS = sorted(path for method, path in OPERATIONS if method == "post")


@pytest.mark.parametrize("path", POSTS)
def test_every_post_takes_an_idempotency_key(path: str, world: World, api_for: Api) -> None:
    """A retry gets the first answer again and does nothing; another call gets a refusal; no secret twice."""
    asks = (path.startswith("/requests") and not path.endswith(("/decisions", "/assign"))) or path == "/waivers"
    person = world.org.dana if asks or path.endswith("/renew") or "/keys" in path else world.org.pat
    person = world.org.omar if path.endswith(("/shares", "{waiver_id}/revoke")) else person
    person = world.org.yasmine if path.startswith("/policies") else person
    make_version("draft", asset=world.version.asset, version="2.0")
    make_version("deprecated", asset=world.version.asset, version="3.0")
    me, where, body = api_for(person, *SCOPES), path_of("post", path, world), OPERATIONS["post", path].body(world)
    if path == "/policies/roll-back":  # to what counted before
        assert me.post("/policies/publish", OPERATIONS["post", "/policies/publish"].body(world)).status_code == 201
    if path.startswith(CANARY):  # which needs something that is on its way
        services.open_revision(
            Principal.of(person), world.running, version=world.version, profile=world.profile, replicas=1,
            concurrency=4, context_tokens=2048, authorization=services.Authorization("R-0", "x"), canary_percent=5,
        )  # fmt: skip
    if path.endswith("/drift/look"):  # of a cluster with an API
        Endpoint.objects.filter(pk=world.running.pk).update(cluster=world.place)
    first = me.post(where, body, Idempotency_Key="try-1")
    assert first.status_code in {200, 201, 202}, first.content
    counts = _counts()
    again = me.post(where, body, Idempotency_Key="try-1")
    if "secret" in first.json():
        problem(again, 409, "secret_already_shown")
        assert not IdempotentAnswer.objects.filter(body__contains=first.json()["secret"]).exists()
    else:
        assert (again.status_code, again.json()) == (first.status_code, first.json())
        assert again.headers.get("ETag") == first.headers.get("ETag")
    assert _counts() == counts
    if path != "/requests/check":  # it creates nothing, so that a key has nothing to guard
        comments = f"/requests/{world.suspended.requests.get().pk}/comments"
        problem(me.post(comments, {"text": "Else."}, Idempotency_Key="try-1"), 409, "idempotency_key_reused")


def _counts() -> tuple[int, ...]:
    models: tuple[Any, ...] = (AuditRow, Request, Endpoint, Event, Decision, Comment, Version)
    return tuple(model.objects.count() for model in models)


def test_an_idempotency_key_is_its_owners(world: World, api_for: Api) -> None:
    """Two people may use the same key for the same call."""
    path, body = f"/requests/{world.submitted.pk}/comments", {"text": "Hello."}
    ids = {
        api_for(person, "requests:write").post(path, body, Idempotency_Key="1").json()["id"]
        for person in (world.org.dana, world.org.omar)
    }
    assert len(ids) == 2


def test_the_fields_of_living_with_it(world: World, api_for: Api) -> None:
    """Limits, quotas, webhooks with their deliveries, notifications, shares and revisions."""
    omar, dana = api_for(world.org.omar, *SCOPES), api_for(world.org.dana, *SCOPES)
    quotas = {"gpus": {"limit": 4}, "tokens": [{"target": "project", "window": "day", "soft": 5, "hard": 9}]}
    pat, path = api_for(world.org.pat, *SCOPES), "/projects/fraud-detection/quotas"
    assert pat.put(path, quotas, If_Match=pat.get(path)["ETag"]).json()["warnings"] == []
    read = dana.get(path).json()
    assert read == {"gpus": {"limit": 4}, "tokens": [{**quotas["tokens"][0], "name": ""}]}  # type: ignore[index]
    limits = dana.get("/projects/fraud-detection/limits").json()
    assert set(limits) == {"project", "items", "binds"} and limits["binds"] in limits["items"]
    assert all(set(item) >= LIMIT for item in limits["items"])
    assert {item["kind"] for item in limits["items"]} == {"tokens", "gpus", "pool", "api-calls"}
    hooks = f"/webhooks/{world.webhook.pk}"
    hook = omar.get(hooks).json()
    assert set(hook) >= WEBHOOK and not {"secret", "signing"} & set(hook)
    sent = omar.post(f"{hooks}/test")
    assert sent.status_code == 202 and set(sent.json()) >= DELIVERY and sent.json()["kind"] == "webhook.test"
    assert omar.get(f"{hooks}/deliveries").json()["items"][0] == sent.json()
    assert set(sent.json()["payload"]) == {"type", "timestamp", "data"}
    note = dana.get("/notifications?unread=true").json()["items"][0]
    assert set(note) >= NOTE and set(note["about"]) == {"kind", "id"} and note["read_at"] is None
    share = omar.get(f"/endpoints/{world.running.pk}/shares").json()["items"][0]
    assert set(share) >= SHARE and share["project"] == "third"
    revision = dana.get(f"/endpoints/{world.suspended.pk}/revisions").json()["items"][0]
    assert set(revision["authorization"]) == {"reference", "digest", "valid_until"} and revision["number"] == 2
    endpoint = dana.get(f"/endpoints/{world.running.pk}").json()
    assert endpoint["contact"] == "dana" and endpoint["shareable"] is True and endpoint["shared"] is False


# --- Requests ---------------------------------------------------------------------------------------------------------


def test_check_creates_nothing(world: World, api_for: Api) -> None:
    """The plan of what would be asked, and not one row more: no request, no audit row, no idempotent answer."""
    me, before = api_for(world.org.dana, "requests:read"), _counts()
    body = dict(world.draft.body) | {"name": "asked-first"}
    plan = me.post("/requests/check", body).json()
    assert {"memory", "gpus", "room", "cost", "checks", "stages"} <= set(plan)
    assert all({"id", "title", "verdict", "reason", "fix"} <= set(check) for check in plan["checks"])
    assert _counts() == before and not IdempotentAnswer.objects.exists()


def test_every_kind_that_this_release_takes_is_named(world: World, api_for: Api) -> None:
    """An unknown kind is answered with the known ones; each of them is checked field by field."""
    me = api_for(world.org.dana, "requests:read", "requests:write")
    said = problem(me.post("/requests/check", {"kind": "agent"}), 422, "kind_not_available")["detail"]
    assert set(said.partition("takes ")[2].rstrip(".").split(", ")) == KINDS
    for kind in KINDS:
        assert problem(me.post("/requests/check", {"kind": kind}), 422, "invalid")["errors"], kind


@pytest.mark.parametrize("kind", OTHER_KINDS)
@pytest.mark.parametrize("path", ["/requests", "/requests/check"])
def test_kinds_that_this_release_does_not_take(kind: str, path: str, world: World, api_for: Api) -> None:
    """They are refused by name, so that a pipeline can tell."""
    me, before = api_for(world.org.dana, "requests:read", "requests:write"), Request.objects.count()
    said = problem(me.post(path, {"kind": kind, "project": "fraud-detection"}), 422, "kind_not_available")
    assert said["errors"][0]["field"] == "kind" and kind in said["detail"]
    assert Request.objects.count() == before


def test_decisions_of_the_contract(world: World, api_for: Api) -> None:
    """403 for an own request, 409 already_decided, and one result per id in bulk."""
    world.org.fraud.memberships.create(user=world.org.pat, role="developer")
    own = api_for(world.org.pat, *SCOPES).post("/requests", dict(world.draft.body) | {"name": "of-pat"}).json()
    pat = api_for(world.org.pat, *SCOPES)
    approve = {"decision": "approve", "reason": "Fine."}
    problem(pat.post(f"/requests/{own['id']}/decisions", approve), 403, "own_request")
    assert pat.post(f"/requests/{world.submitted.pk}/decisions", approve).json()["state"] == "approved"
    problem(pat.post(f"/requests/{world.submitted.pk}/decisions", approve), 409, "already_decided")
    ids = [own["id"], world.submitted.pk, 987654]
    results = pat.post("/requests/decisions", {"ids": ids, **approve}).json()["items"]
    assert [(item["id"], item["status"], item["code"]) for item in results] == [
        (own["id"], 403, "own_request"), (world.submitted.pk, 409, "already_decided"), (987654, 404, "not_found"),
    ]  # fmt: skip


# --- Documents ------------------------------------------------------------------------------------------------------


def test_openapi_is_public_and_names_every_path(client: Client, db: None) -> None:
    """Version 3.1, without a token; the human page too."""
    document = client.get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1") and set(document["paths"]) == set(api.get_openapi_schema()["paths"])
    assert client.get("/api/v1/docs").status_code == 200
    problem(client.get("/api/v1/no-such-thing"), 404, "not_found")
