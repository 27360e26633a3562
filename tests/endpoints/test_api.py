"""REST API of endpoints, clusters and keys."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit.models import Row
from endpoints.models import Cluster, Desired, Endpoint, Phase
from projects.models import ApiKey, Project
from tests import factories
from tests.conftest import ApiClient, Org
from tests.endpoints.endpoint_kit import open_demo

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
Api = Callable[..., ApiClient]
WRITE = ("endpoints:read", "endpoints:write", "inference:invoke")


@pytest.fixture
def endpoint(org: Org, state_dir: Path) -> Endpoint:
    return open_demo(org.fraud)


def test_object_has_the_contracts_fields(org: Org, api_for: Api, endpoint: Endpoint, settings: Any) -> None:
    settings.BASE_URL = "https://gate.example.com"
    answer = api_for(org.dana).get(f"/endpoints/{endpoint.pk}")
    body = answer.json()
    assert answer.status_code == 200 and answer["ETag"]
    assert {
        name: body[name] for name in ("id", "name", "project", "environment", "phase", "url", "revision", "model")
    } == {
        "id": str(endpoint.pk),
        "name": endpoint.name,
        "project": "fraud-detection",
        "environment": "dev",
        "phase": "pending",
        "url": "https://gate.example.com/v1",
        "revision": 1,
        "model": f"fraud-detection/{endpoint.name}",
    }
    assert body["reason"] == {
        "code": "accepted",
        "sentence": "The request is approved; a worker picks it up now.",
        "turn": "portal",
    }
    assert body["demo_engine"] is True and body["simulated"] is True


READS = ("", "/events", "/revisions", "/logs")


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize(
    ("person", "status"), [("vic", 200), ("pat", 200), ("aud", 200), ("yasmine", 200), ("cy", 404)]
)
def test_who_reads(org: Org, api_for: Api, endpoint: Endpoint, path: str, person: str, status: int) -> None:
    answer = api_for(getattr(org, person)).get(f"/endpoints/{endpoint.pk}{path}")
    assert answer.status_code == status
    if path and status == 200:
        assert set(answer.json()) == {"items", "next"}


@pytest.mark.parametrize("path", READS)
def test_reading_needs_the_scope_and_a_token(org: Org, api_for: Api, endpoint: Endpoint, path: str) -> None:
    lacks = api_for(org.dana, "usage:read").get(f"/endpoints/{endpoint.pk}{path}")
    assert lacks.status_code == 403 and lacks.json()["code"] == "insufficient_scope"
    assert ApiClient("gth_nobody").get(f"/endpoints/{endpoint.pk}{path}").status_code == 401


def test_list_shows_own_projects_in_pages(org: Org, api_for: Api, endpoint: Endpoint) -> None:
    mine = {str(endpoint.pk)} | {str(open_demo(org.fraud).pk) for _ in range(4)}
    open_demo(org.search)
    api, seen, cursor = api_for(org.dana), [], None
    while True:
        body = api.get("/endpoints", {"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        seen += [item["id"] for item in body["items"]]
        cursor = body["next"]
        if cursor is None:
            break
    assert len(seen) == 5 and set(seen) == mine
    assert len(api_for(org.pat).get("/endpoints").json()["items"]) == 6
    assert api.get("/endpoints", {"project": "search-ranking"}).status_code == 404
    assert len(api_for(org.pat).get("/endpoints", {"project": "search-ranking"}).json()["items"]) == 1
    Endpoint.objects.filter(pk=endpoint.pk).update(phase=Phase.DELETED)
    assert len(api.get("/endpoints").json()["items"]) == 4
    assert [item["id"] for item in api.get("/endpoints", {"phase": "deleted"}).json()["items"]] == [str(endpoint.pk)]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/endpoints", {"phase": "happy"}),
        ("/endpoints", {"limit": 0}),
        ("/endpoints", {"limit": 999}),
        ("/endpoints", {"cursor": "%%%"}),
        ("/endpoints/{id}/logs", {"lines": 0}),
        ("/endpoints/{id}/logs", {"lines": "x"}),
        ("/endpoints/not-an-id", {}),
    ],
)
def test_bad_parameters_are_named(org: Org, api_for: Api, endpoint: Endpoint, path: str, query: dict[str, Any]) -> None:
    answer = api_for(org.dana).get(path.format(id=endpoint.pk), query)
    assert answer.status_code == 422 and answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("verb", ["suspend", "resume", "retry", "delete"])
@pytest.mark.parametrize(("person", "status"), [("vic", 403), ("aud", 403), ("cy", 404)])
def test_who_may_not_operate(org: Org, api_for: Api, endpoint: Endpoint, verb: str, person: str, status: int) -> None:
    api, path = api_for(getattr(org, person), *WRITE), f"/endpoints/{endpoint.pk}"
    answer = api.delete(path) if verb == "delete" else api.post(f"{path}/{verb}")
    assert answer.status_code == status
    endpoint.refresh_from_db()
    assert endpoint.desired == Desired.RUNNING


def test_operating_needs_the_scope_of_writing(org: Org, api_for: Api, endpoint: Endpoint) -> None:
    assert api_for(org.dana, "endpoints:read").post(f"/endpoints/{endpoint.pk}/suspend").status_code == 403


def test_suspend_resume_delete(org: Org, api_for: Api, endpoint: Endpoint) -> None:
    api, path = api_for(org.dana, *WRITE), f"/endpoints/{endpoint.pk}"
    answer = api.post(f"{path}/suspend", {"reason": "weekend"})
    assert answer.status_code == 202 and answer.json()["desired"] == "suspended"
    again = api.post(f"{path}/suspend")
    assert again.status_code == 409 and again.json()["code"] == "wrong_state"
    assert api.post(f"{path}/resume").json()["desired"] == "running"
    assert api.post(f"{path}/retry").json()["code"] == "not_failed"
    deleted = api.delete(path)
    assert deleted.status_code == 202 and deleted.json()["reason"]["code"] == "deleting"
    assert Row.objects.filter(action__in=["endpoints.suspend", "endpoints.resume", "endpoints.delete"]).count() == 3
    assert api.post(f"{path}/suspend", {"reason": 7}).status_code == 422


def test_unknown_endpoint_is_404_like_a_foreign_one(org: Org, api_for: Api, endpoint: Endpoint) -> None:
    foreign = api_for(org.cy).get(f"/endpoints/{endpoint.pk}").json()
    unknown = api_for(org.cy).get(f"/endpoints/{uuid.uuid4()}").json()
    for body in (foreign, unknown):
        body.pop("request_id")
    assert foreign == unknown


def test_clusters(org: Org, api_for: Api) -> None:
    factories.make_cluster()
    [item] = api_for(org.cy).get("/clusters").json()["items"]
    assert item == {
        "slug": "local",
        "name": "This machine",
        "driver": "local",
        "environments": ["dev", "staging", "prod"],
        "simulated": True,
        "paused": False,
    }
    pat, tag = api_for(org.pat, "endpoints:read", "admin"), api_for(org.pat).get("/clusters/local")["ETag"]
    assert pat.patch("/clusters/local", {"paused": True}).status_code == 428
    assert pat.patch("/clusters/local", {"paused": True}, If_Match=tag).json()["paused"] is True
    assert pat.patch("/clusters/local", {"paused": False}, If_Match=tag).status_code == 412
    assert api_for(org.omar, "admin").patch("/clusters/local", {"paused": False}, If_Match="*").status_code == 403
    assert Cluster.objects.get().paused and pat.get("/clusters/nowhere").status_code == 404


# --- Keys
# ----------------------------------------------------------------------------------------------------------------


def test_secret_is_in_one_answer_only(org: Org, api_for: Api, endpoint: Endpoint) -> None:
    api, path = api_for(org.dana, *WRITE), "/projects/fraud-detection/keys"
    made = api.post(path, {"name": "service", "endpoints": [endpoint.name], "days": 30}, Idempotency_Key="one")
    body = made.json()
    assert made.status_code == 201 and made["Cache-Control"] == "no-store" and "ETag" not in made
    assert set(body) >= {"id", "name", "prefix", "endpoints", "scopes", "expires_at", "last_used_at", "state", "secret"}
    assert body["endpoints"] == [endpoint.name] and body["secret"].startswith(body["prefix"])
    replay = api.post(path, {"name": "service", "endpoints": [endpoint.name], "days": 30}, Idempotency_Key="one")
    assert replay.status_code == 409 and replay.json()["code"] == "secret_already_shown"
    [item] = api.get(path).json()["items"]
    assert "secret" not in item and item["endpoints"] == [endpoint.name] and ApiKey.objects.count() == 1
    random_part = body["secret"][13:]
    assert (
        not Row.objects.filter(canonical__contains=random_part).exists()
        and random_part not in api.get(path).content.decode()
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 500}, "name"),
        ({"name": "a\u0000b"}, "name"),
        ({"name": "k", "days": 0}, "days"),
        ({"name": "k", "days": 366}, "days"),
        ({"name": "k", "days": "soon"}, "days"),
        ({"name": "k", "endpoints": ["no"]}, "endpoints"),
        ({"name": "k", "endpoints": "no"}, "endpoints"),
        ({"name": "k", "scopes": ["root"]}, "scopes"),
        ({"name": "k", "scopes": ["admin"]}, "scopes"),
        ({"name": "k", "expires": 3}, "expires"),
    ],
)
def test_a_bad_key_is_refused_by_field(org: Org, api_for: Api, body: dict[str, Any], field: str) -> None:
    answer = api_for(org.dana, *WRITE).post("/projects/fraud-detection/keys", body)
    assert answer.status_code == 422 and [error["field"] for error in answer.json()["errors"]] == [field]
    assert not ApiKey.objects.exists()


def test_rotate_and_revoke(org: Org, api_for: Api) -> None:
    api, path = api_for(org.dana, *WRITE), "/projects/fraud-detection/keys"
    made = api.post(path, {"name": "service"}).json()
    turned = api.post(f"{path}/{made['id']}/rotate")
    assert turned.status_code == 201 and turned.json()["secret"] != made["secret"] and turned.json()["endpoints"] == []
    ended = api.delete(f"{path}/{turned.json()['id']}")
    assert ended.status_code == 200 and ended.json()["state"] == "revoked" and "secret" not in ended.json()
    assert api.delete(f"{path}/{turned.json()['id']}").status_code == 409
    assert api.delete(f"{path}/{uuid.uuid4()}").status_code == 404
    assert api_for(org.cy, *WRITE).delete(f"{path}/{made['id']}").status_code == 404
    assert api_for(org.vic, *WRITE).delete(f"{path}/{made['id']}").status_code == 403


def test_a_key_of_another_project_is_not_reachable_through_ones_own(org: Org, api_for: Api) -> None:
    theirs = api_for(org.cy, *WRITE).post("/projects/search-ranking/keys", {"name": "theirs"}).json()
    assert api_for(org.dana, *WRITE).delete(f"/projects/fraud-detection/keys/{theirs['id']}").status_code == 404


def test_a_token_bound_to_a_project_stays_in_it(org: Org, api_for: Api, endpoint: Endpoint) -> None:
    other = Project.objects.get(slug="search-ranking")
    bound = api_for(org.pat, "endpoints:read", project=other)
    assert bound.get(f"/endpoints/{endpoint.pk}").status_code == 404 and bound.get("/endpoints").json()["items"] == []


def test_number_of_queries_does_not_grow(org: Org, api_for: Api, endpoint: Endpoint) -> None:
    api = api_for(org.dana, *WRITE)
    paths = ("/endpoints", f"/endpoints/{endpoint.pk}/events", "/projects/fraud-detection/keys")
    api.post("/projects/fraud-detection/keys", {"name": "first", "endpoints": [endpoint.name]})
    few = {path: _queries(api, path) for path in paths}
    for number in range(5):
        more = open_demo(org.fraud)
        api.post("/projects/fraud-detection/keys", {"name": f"key-{number}", "endpoints": [more.name]})
    assert {path: _queries(api, path) for path in paths} == few and max(few.values()) <= 12


def _queries(api: ApiClient, path: str) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert api.get(path).status_code == 200
    return len(queries)
