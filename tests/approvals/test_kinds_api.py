"""REST API of the kinds about what is there: personas, contract fields, renewing by its short form."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from approvals.models import Request
from endpoints import services as endpoint_services
from endpoints.models import Endpoint, Share
from quotas.limits import set_quotas
from tests.conftest import Org
from tests.factories import engineer, living_body, make_endpoint, make_pool, make_request

pytestmark = pytest.mark.slow

WRITE = ("requests:read", "requests:write", "endpoints:read")
DECIDE = ("requests:read", "approvals:decide")
Api = Callable[..., Any]
KINDS = ("revision", "renewal", "access", "quota")


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.content
    body: dict[str, Any] = response.json()
    assert body["code"] == code and body["detail"], body
    return body


def body_of(org: Org, kind: str) -> dict[str, Any]:
    """A body of `kind` that dana may send."""
    if kind == "access":
        endpoint = make_endpoint(org.cy, project="search-ranking", name="ranking")
        endpoint_services.set_shareable(org.principal(org.cy), endpoint, True)
        return living_body(kind, endpoint=endpoint)
    if kind == "quota":
        make_pool(limit=8)
        set_quotas(engineer(), org.fraud, {"gpus": {"limit": 2}})
        return living_body(kind)
    return living_body(kind, endpoint=make_endpoint(org.dana, name="scoring"), **_more(kind))


def _more(kind: str) -> dict[str, Any]:
    return {"replicas": 2} if kind == "revision" else {}


@pytest.mark.parametrize("kind", KINDS)
def test_it_works(org: Org, api_for: Api, kind: str) -> None:
    """Plan, request, filters, decision, stages: with the fields of the body, and of the contract."""
    api, body = api_for(org.dana, *WRITE), body_of(org, kind)
    plan = api.post("/requests/check", body)
    assert plan.status_code == 200 and plan.json()["kind"] == kind
    assert not Request.objects.filter(kind=kind).exists()
    answer = api.post("/requests", body)
    assert answer.status_code == 201 and answer["ETag"]
    made = answer.json()
    assert (made["kind"], made["project"], made["state"]) == (kind, "fraud-detection", "submitted")
    for name, value in body.items():
        assert made[name] == value, name
    assert made["checks"] and made["plan_digest"].startswith("sha256:") and made["plan"]["lead_time"]["samples"] == 0
    review = "Owner" if kind == "access" else "Review"
    assert [stage["name"] for stage in made["stages"]] == [review, "apply"]
    assert ("owner" in made["stages"][0]["roles"]) is (kind == "access")
    found = api.get(f"/requests?kind={kind}&state=submitted&project=fraud-detection").json()["items"]
    assert [item["id"] for item in found] == [made["id"]]
    waiting = api_for(org.pat, *DECIDE).get("/requests?assigned=me").json()["items"]
    assert [item["id"] for item in waiting] == [made["id"]]
    done = api_for(org.pat, *DECIDE).post(f"/requests/{made['id']}/decisions", {"decision": "approve"}).json()
    assert done["state"] == "approved" and done["stages"][1]["state"] == "done"
    assert done["ready_at"] == done["decided_at"] and done["lead_time_seconds"] >= 0
    problem(api.post("/requests", body), 422, "checks_failed" if kind in {"revision", "quota"} else "invalid")


@pytest.mark.parametrize("kind", KINDS)
def test_personas(org: Org, api_for: Api, kind: str) -> None:
    """Who may not ask gets 422 at the field; who may not see 404; who may not decide 403."""
    body = body_of(org, kind)
    for person in (org.vic, org.pat, org.yasmine, org.aud, org.cy):
        errors = problem(api_for(person, *WRITE).post("/requests", body), 422, "invalid")["errors"]
        assert errors[0]["field"] in {"endpoint", "project"}
    problem(api_for(org.dana, "requests:read").post("/requests", body), 403, "insufficient_scope")
    made = api_for(org.omar, *WRITE).post("/requests", body).json()
    path = f"/requests/{made['id']}"
    for person in (org.dana, org.vic, org.pat, org.yasmine, org.aud):
        assert api_for(person, "requests:read").get(path).status_code == 200
    stranger = api_for(org.cy, *DECIDE)
    assert stranger.get(path).status_code == (200 if kind == "access" else 404)
    mine = [item["id"] for item in stranger.get("/requests?assigned=me").json()["items"]]
    assert mine == ([made["id"]] if kind == "access" else [])
    for person, status in ((org.dana, 403), (org.omar, 403), (org.vic, 403), (org.aud, 403)):
        answer = api_for(person, *DECIDE).post(f"{path}/decisions", {"decision": "reject", "reason": "no"})
        assert answer.status_code == status, person
    decider = org.cy if kind == "access" else org.yasmine
    answer = api_for(decider, *DECIDE).post(f"{path}/decisions", {"decision": "reject", "reason": "Full."})
    assert answer.json()["state"] == "rejected"


@pytest.mark.parametrize("kind", KINDS)
def test_draft_patch_submit(org: Org, api_for: Api, kind: str) -> None:
    """A draft is changed under If-Match and sent; its kind stays."""
    api, body = api_for(org.dana, *WRITE), body_of(org, kind)
    made = api.post("/requests", body | {"draft": True, "purpose": None}).json()
    path = f"/requests/{made['id']}"
    assert made["state"] == "draft" and made["plan"] is None
    problem(api.post(f"{path}/submit"), 422, "invalid")
    changed = api.patch(path, {"purpose": "Why."}, If_Match=api.get(path)["ETag"])
    assert changed.status_code == 200 and changed.json()["purpose"] == "Why."
    problem(api.patch(path, {"kind": "endpoint"}, If_Match=changed["ETag"]), 422, "invalid")
    assert api.post(f"{path}/submit").json()["state"] == "submitted"
    problem(api.post("/requests", body), 409, "already_asked")


def test_an_owner_decides_in_bulk(org: Org, api_for: Api) -> None:
    """One result per id: their access request, and one that is not theirs to decide."""
    access, other = make_request(org.dana, kind="access", endpoint=_offered(org)), make_request(org.dana)
    answer = api_for(org.cy, *DECIDE).post(
        "/requests/decisions", {"ids": [access.pk, other.pk], "decision": "approve", "reason": ""}
    )
    results = {item["id"]: item["status"] for item in answer.json()["items"]}
    assert results == {access.pk: 200, other.pk: 404} and Share.objects.count() == 1


def _offered(org: Org) -> Endpoint:
    endpoint = make_endpoint(org.cy, project="search-ranking", name="ranking")
    return endpoint_services.set_shareable(org.principal(org.cy), endpoint, True)


# --- POST /endpoints/{id}/renew -------------------------------------------------------------------


def later(endpoint: Endpoint) -> str:
    assert endpoint.ends_on is not None
    return (endpoint.ends_on + dt.timedelta(days=30)).isoformat()


def test_renew(org: Org, api_for: Api) -> None:
    """Sends a renewal request and answers with it; the same key gets the same answer."""
    endpoint, api = make_endpoint(org.dana, name="scoring"), api_for(org.dana, *WRITE)
    body = {"ends_on": later(endpoint), "purpose": "The desk goes on."}
    path = f"/endpoints/{endpoint.pk}/renew"
    first = api.post(path, body, Idempotency_Key="once")
    assert first.status_code == 201
    made = first.json()
    assert (made["kind"], made["state"], made["endpoint"]) == ("renewal", "submitted", str(endpoint.pk))
    assert made["ends_on"] == body["ends_on"] and made["plan"]["usage"]["days"] == 30
    assert api.post(path, body, Idempotency_Key="once").json()["id"] == made["id"]
    problem(api.post(path, body), 409, "already_asked")
    endpoint.refresh_from_db()
    assert str(endpoint.ends_on) != body["ends_on"]  # asking extends nothing
    api_for(org.pat, *DECIDE).post(f"/requests/{made['id']}/decisions", {"decision": "approve"})
    endpoint.refresh_from_db()
    assert str(endpoint.ends_on) == body["ends_on"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"ends_on": "2020-01-01"}, "ends_on"),
        ({"ends_on": "2999-01-01"}, "ends_on"),
        ({"ends_on": "soon"}, "ends_on"),
        ({"ends_on": None}, "ends_on"),
        ({"purpose": ""}, "purpose"),
        ({"purpose": "x" * 2001}, "purpose"),
        ({"purpose": "bell \x07"}, "purpose"),
        ({"days": 5}, "days"),
    ],
)
def test_renew_bad_input(org: Org, api_for: Api, fields: dict[str, Any], field: str) -> None:
    """One sentence at the field; nothing is kept."""
    endpoint = make_endpoint(org.dana)
    body = {"ends_on": later(endpoint), "purpose": "Goes on."} | fields
    answer = problem(api_for(org.dana, *WRITE).post(f"/endpoints/{endpoint.pk}/renew", body), 422, "invalid")
    assert answer["errors"][0]["field"] == field
    assert not Request.objects.filter(kind="renewal").exists()


def test_renew_personas(org: Org, api_for: Api) -> None:
    """Builders of its project; a reader 403, a stranger and a deleted one as unknown."""
    endpoint = make_endpoint(org.dana)
    body, path = {"ends_on": later(endpoint), "purpose": "Goes on."}, f"/endpoints/{endpoint.pk}/renew"
    for person in (org.vic, org.pat, org.yasmine, org.aud):
        problem(api_for(person, *WRITE).post(path, body), 403, "forbidden")
    problem(api_for(org.cy, *WRITE).post(path, body), 404, "not_found")
    problem(api_for(org.dana, "endpoints:write").post(path, body), 403, "insufficient_scope")
    assert api_for(org.omar, *WRITE).post(path, body).status_code == 201
    endpoint_services.delete(org.principal(org.dana), endpoint)
    problem(api_for(org.dana, *WRITE).post(path, body), 422, "invalid")
