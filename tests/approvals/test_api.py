"""REST API of requests: contract fields, personas, errors as problem documents."""

from collections.abc import Callable
from typing import Any

import pytest

from approvals.models import Decision, Request
from catalog import services as catalog
from endpoints.models import Endpoint
from quotas.models import Reservation
from tests.conftest import Org
from tests.factories import lead, make_cluster, make_pool, make_profile, make_request, make_version, request_body

pytestmark = pytest.mark.slow

WRITE = ("requests:read", "requests:write")
DECIDE = ("requests:read", "approvals:decide")
Api = Callable[..., Any]


def whole_body(**fields: Any) -> dict[str, Any]:
    make_cluster()
    version, profile = make_version(), make_profile()
    return request_body(asset=version.asset.slug, hardware_profile=profile.slug, **fields)


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["code"] == code, body
    return body


def test_it_works(org: Org, api_for: Api) -> None:
    """Plan, request, decision: with the fields of the contract."""
    api, body = api_for(org.dana, *WRITE), whole_body(name="scoring")
    plan = api.post("/requests/check", body).json()
    assert plan["memory"]["fits"] and plan["cost"]["currency"] == "EUR" and not Request.objects.exists()
    answer = api.post("/requests", body)
    assert answer.status_code == 201 and answer["ETag"]
    made = answer.json()
    assert (made["kind"], made["project"], made["name"], made["state"]) == (
        "endpoint", "fraud-detection", "scoring", "submitted",
    )  # fmt: skip
    assert made["number"] == f"R-{made['id']}" and made["requester"] == "dana" and made["submitted_at"].endswith("Z")
    assert made["plan"]["memory"] == plan["memory"] and made["checks"] == made["plan"]["checks"]
    assert [stage["state"] for stage in made["stages"]] == ["waiting", "not_started"]
    assert made["replicas"] == 1 and made["ends_on"] == body["ends_on"] and made["endpoint"] is None
    decided = api_for(org.pat, *DECIDE).post(
        f"/requests/{made['id']}/decisions", {"decision": "approve", "reason": "Fine."}
    )
    assert decided.status_code == 200
    done = decided.json()
    assert done["state"] == "approved" and done["endpoint"] == str(Endpoint.objects.get().pk)
    assert done["stages"][0] | {"at": ""} == {
        "name": "Review", "roles": ["platform-engineers", "governance-leads"], "count": 1, "state": "approved",
        "by": ["pat"], "at": "", "reason": "Every request is decided by somebody.", "rule": "review",
        "escalated_at": None,
    }  # fmt: skip
    assert done["stages"][1]["state"] == "running"
    assert done["decisions"][0]["plan_digest"] == made["plan_digest"] and done["decisions"][0]["via"] == "token"
    codes = [entry["code"] for entry in api.get(f"/requests/{made['id']}/timeline").json()["items"]]
    assert codes[:3] == ["drafted", "submitted", "approved"] and len(codes) >= 4


def test_draft_patch_submit_withdraw(org: Org, api_for: Api) -> None:
    """If-Match guards the change; null empties a field."""
    api, body = api_for(org.dana, *WRITE), whole_body()
    made = api.post("/requests", body | {"draft": True, "purpose": None}).json()
    assert made["state"] == "draft" and made["plan"] is None and made["stages"][0]["state"] == "not_started"
    path = f"/requests/{made['id']}"
    problem(api.post(f"{path}/submit"), 422, "invalid")
    tag = api.get(path)["ETag"]
    problem(api.patch(path, {"purpose": "Why."}), 428, "precondition_required")
    changed = api.patch(path, {"purpose": "Why.", "replicas": 2}, If_Match=tag)
    assert changed.status_code == 200 and changed.json()["purpose"] == "Why." and changed.json()["replicas"] == 2
    problem(api.patch(path, {"purpose": "Again."}, If_Match=tag), 412, "precondition_failed")
    problem(api.patch(path, {"replicas": 0}, If_Match=changed["ETag"]), 422, "invalid")
    assert api.post(f"{path}/submit").json()["state"] == "submitted"
    problem(api.patch(path, {"replicas": 1}, If_Match=api.get(path)["ETag"]), 409, "conflict")
    assert api.post(f"{path}/withdraw").json()["state"] == "withdrawn"
    problem(api.post(f"{path}/withdraw"), 409, "already_decided")


def test_personas(org: Org, api_for: Api) -> None:
    """Members and platform roles read; strangers get 404 for everything; scopes are asked for each operation."""
    made = make_request(org.dana)
    path = f"/requests/{made.pk}"
    for person in (org.dana, org.omar, org.vic, org.pat, org.yasmine, org.aud):
        assert api_for(person, "requests:read").get(path).status_code == 200
        assert api_for(person, "requests:read").get(f"{path}/timeline").status_code == 200
    stranger = api_for(org.cy, "requests:read", "requests:write", "approvals:decide")
    for answer in (
        stranger.get(path), stranger.get(f"{path}/timeline"),
        stranger.post(f"{path}/submit"), stranger.post(f"{path}/withdraw"),
        stranger.post(f"{path}/comments", {"text": "x"}), stranger.post(f"{path}/decisions", {"decision": "approve"}),
        stranger.patch(path, {}),
    ):  # fmt: skip
        problem(answer, 404, "not_found")
    assert stranger.get("/requests").json()["items"] == []
    reader = api_for(org.dana, "requests:read")
    for verb, sub in (
        ("post", "/submit"),
        ("post", "/withdraw"),
        ("post", "/comments"),
        ("post", "/decisions"),
        ("patch", ""),
    ):
        problem(getattr(reader, verb)(f"{path}{sub}", {"text": "x"}), 403, "insufficient_scope")
    problem(reader.post("/requests", {}), 403, "insufficient_scope")
    problem(api_for(org.dana, "catalog:read").post("/requests/check", {}), 403, "insufficient_scope")
    for person in (org.omar, org.vic, org.aud):
        problem(api_for(person, *DECIDE).post(f"{path}/decisions", {"decision": "approve"}), 403, "forbidden")
    problem(api_for(org.vic, *WRITE).post("/requests", whole_body()), 422, "invalid")
    made.refresh_from_db()
    assert made.state == "submitted"


def test_decisions_refused(org: Org, api_for: Api) -> None:
    """403 own, 409 already_decided, 409 plan_stale with the plan, 422 for words that are none."""
    org.fraud.memberships.create(user=org.pat, role="developer")
    own = make_request(org.pat)
    pat = api_for(org.pat, *DECIDE)
    problem(pat.post(f"/requests/{own.pk}/decisions", {"decision": "approve"}), 403, "own_request")
    made = make_request(org.dana)
    path = f"/requests/{made.pk}/decisions"
    assert problem(pat.post(path, {"decision": "bless"}), 422, "invalid")["errors"][0]["field"] == "decision"
    assert problem(pat.post(path, {"decision": "reject"}), 422, "invalid")["errors"][0]["field"] == "reason"
    assert problem(pat.post(path, {}), 422, "invalid")["errors"][0]["field"] == "decision"
    assert pat.post(path, {"decision": "reject", "reason": "No."}).json()["state"] == "rejected"
    problem(pat.post(path, {"decision": "approve"}), 409, "already_decided")
    version = make_version()
    stale = make_request(org.dana, version=version)
    catalog.block(lead(), version, reason="CVE")
    body = problem(pat.post(f"/requests/{stale.pk}/decisions", {"decision": "approve"}), 409, "plan_stale")
    assert any(check["verdict"] == "fail" for check in body["plan"]["checks"])


def test_bulk_decides_each_on_its_own(org: Org, api_for: Api) -> None:
    """One result per id, in order; the failures do not stop the others."""
    org.fraud.memberships.create(user=org.pat, role="developer")
    good, own, done = make_request(org.dana), make_request(org.pat), make_request(org.dana, state="rejected")
    api = api_for(org.pat, *DECIDE)
    answer = api.post(
        "/requests/decisions",
        {"ids": [good.pk, own.pk, done.pk, 999_999, good.pk], "decision": "approve", "reason": ""},
    )
    assert answer.status_code == 200
    items = answer.json()["items"]
    assert [(item["id"], item["status"], item.get("code"), item.get("state")) for item in items] == [
        (good.pk, 200, None, "approved"), (own.pk, 403, "own_request", None), (done.pk, 409, "already_decided", None),
        (999_999, 404, "not_found", None),
    ]  # fmt: skip
    assert Decision.objects.filter(decision="approve").count() == 1
    first, second = make_request(org.dana), make_request(org.dana)
    both = {"ids": [second.pk, first.pk], "decision": "reject", "reason": "No."}
    assert [item["id"] for item in api.post("/requests/decisions", both).json()["items"]] == both["ids"]
    order = Decision.objects.filter(decision="reject").order_by("pk").values_list("request", flat=True)
    assert list(order) == [done.pk, first.pk, second.pk], "locks are taken in one order, whoever asks"
    for ids in ([], list(range(101)), ["x"], [True], "1", None):
        problem(api.post("/requests/decisions", {"ids": ids, "decision": "approve"}), 422, "invalid")


def test_list_filters_and_pages(org: Org, api_for: Api) -> None:
    """Every row once, newest first; `assigned=me` leaves out own ones."""
    org.search.memberships.create(user=org.dana, role="developer")
    org.fraud.memberships.create(user=org.pat, role="developer")
    version, profile = make_version(), make_profile()
    made = [make_request(org.dana, version=version, profile=profile) for _ in range(5)]
    far = make_request(org.dana, version=version, profile=profile, project="search-ranking", state="draft")
    own = make_request(org.pat, version=version, profile=profile)
    api = api_for(org.pat, "requests:read")
    seen, cursor = [], None
    while True:
        page = api.get("/requests", {"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [own.pk, far.pk, *(item.pk for item in reversed(made))]
    assert [item["id"] for item in api.get("/requests", {"project": "search-ranking"}).json()["items"]] == [far.pk]
    assert [item["id"] for item in api.get("/requests", {"state": "draft"}).json()["items"]] == [far.pk]
    assigned = api.get("/requests", {"assigned": "me"}).json()["items"]
    assert [item["id"] for item in assigned] == [item.pk for item in reversed(made)]
    assert api_for(org.dana, "requests:read").get("/requests", {"assigned": "me"}).json()["items"] == []
    for bad in ({"state": "x"}, {"kind": "x"}, {"assigned": "you"}, {"limit": 0}, {"cursor": "%%%"}):
        problem(api.get("/requests", bad), 422, "invalid")
    for unknown in ("nothing", "a b", ""):
        problem(api.get("/requests", {"project": unknown}), 404, "not_found")


def test_a_bound_token_sees_its_project_only(org: Org, api_for: Api) -> None:
    """Also when its owner is a platform engineer."""
    made = make_request(org.dana)
    bound = api_for(org.pat, *DECIDE, project=org.search)
    assert bound.get("/requests").json()["items"] == []
    problem(bound.get(f"/requests/{made.pk}"), 404, "not_found")
    problem(bound.post(f"/requests/{made.pk}/decisions", {"decision": "approve"}), 404, "not_found")


def test_idempotency_key(org: Org, api_for: Api) -> None:
    """The same key and body make one request; another body is refused."""
    api, body = api_for(org.dana, *WRITE), whole_body()
    first = api.post("/requests", body, Idempotency_Key="k1")
    again = api.post("/requests", body, Idempotency_Key="k1")
    assert again.json() == first.json() and Request.objects.count() == 1
    problem(api.post("/requests", body | {"replicas": 2}, Idempotency_Key="k1"), 409, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[]", 422),
        (b'"text"', 422),
        (b"null", 422),
        (b'{"kind": "quota"}', 422),
        (b'{"replicas": NaN}', 422),
        (b'{"replicas": 1e999}', 422),
        (b'{"replicas": ' + b"9" * 5000 + b"}", 400),
        (b'{"draft": "yes"}', 422),
        (b'{"name": "\\ud800"}', 422),
        (b'{"' + b"k" * 3000 + b'": 1}', 422),
        (b"[" * 100_000, 400),
        (b'{"purpose": "' + b"x" * 1_000_000 + b'"}', 422),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, bytes) else "",
)
def test_raw_bodies_never_break_it(org: Org, api_for: Api, raw: bytes, status: int) -> None:
    """400 for what is no JSON, 422 with errors[] for the rest; nothing is kept."""
    client = api_for(org.dana, *WRITE).client
    for path in ("/api/v1/requests", "/api/v1/requests/check"):
        if b"draft" in raw and path.endswith("check"):
            continue
        answer = client.post(path, raw, content_type="application/json")
        assert answer.status_code == status, answer.content[:300]
        assert answer["Content-Type"] == "application/problem+json"
        assert status == 400 or answer.json()["errors"]
        assert len(answer.content) < 8000
    assert not Request.objects.exists()


def test_kinds_that_are_not_in_this_release(org: Org, api_for: Api) -> None:
    """A code that pipelines can tell apart."""
    api = api_for(org.dana, *WRITE)
    for kind in ("agent", "model"):
        problem(api.post("/requests", {"kind": kind}), 422, "kind_not_available")


def test_ids_that_are_none(org: Org, api_for: Api) -> None:
    """Huge and negative numbers are 404, words are 422; never a 500."""
    api = api_for(org.dana, *WRITE)
    for number in ("0", "-1", "9" * 30):
        assert api.get(f"/requests/{number}").status_code == 404
    assert api.get("/requests/abc").status_code == 422


def test_waiting_request_is_approved_and_queued(org: Org, api_for: Api) -> None:
    """202 is not needed: approval never fails for room."""
    profile = make_profile(gpus=8)
    make_pool(limit=8, profiles=[profile])
    version = make_version()
    pat = api_for(org.pat, *DECIDE)
    for _ in range(2):
        made = make_request(org.dana, version=version, profile=profile)
        assert pat.post(f"/requests/{made.pk}/decisions", {"decision": "approve"}).json()["state"] == "approved"
    assert sorted(Reservation.objects.values_list("state", flat=True)) == ["held", "waiting"]


def test_openapi_describes_the_body(org: Org, api_for: Api) -> None:
    """Derived from the model that checks it."""
    paths = api_for(org.dana).get("/openapi.json").json()["paths"]
    schema = paths["/api/v1/requests"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    kinds = {part["properties"]["kind"]["const"]: part for part in schema["oneOf"]}
    assert set(kinds) == {"endpoint", "revision", "renewal", "access", "quota", "admission", "mcp-access", "waiver"}
    assert {"project", "asset", "hardware_profile", "ends_on", "draft"} <= set(kinds["endpoint"]["properties"])
    assert all(part.get("required") == ["kind"] for kind, part in kinds.items() if kind != "endpoint")
    assert kinds["quota"]["additionalProperties"] is False
    check = paths["/api/v1/requests/check"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert not any("draft" in part["properties"] for part in check["oneOf"])


def test_list_queries_do_not_grow(org: Org, api_for: Api, django_assert_max_num_queries: Any) -> None:
    """As many queries for 30 as for one."""
    version, profile = make_version(), make_profile()
    for _ in range(30):
        make_request(org.dana, version=version, profile=profile, state="changes_requested")
    api = api_for(org.pat, "requests:read")
    with django_assert_max_num_queries(10):
        assert len(api.get("/requests", {"limit": 100}).json()["items"]) == 30
