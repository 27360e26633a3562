"""The REST API's own manners (authentication, problems, ETags, idempotency, limits) and the operations on projects."""

import datetime as dt
import json
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from audit.models import Row
from projects import api as module
from projects import keys, services, tokens
from projects.models import IdempotentAnswer, Membership, Project
from projects.principal import Principal
from tests.conftest import ApiClient, Org

pytestmark = pytest.mark.slow


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """The body of a problem document, after checking its shape."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert {"type", "title", "status", "detail", "code", "errors"} <= set(body)
    assert (body["status"], body["code"]) == (status, code)
    assert "Traceback" not in response.content.decode()
    return body


@pytest.mark.django_db
@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic abc", "Bearer nonsense", "Bearer gth_", "Bearer gtt_x", "Bearer " + "x" * 6000],
)
def test_a_missing_or_wrong_token_is_401(org: Org, header: str) -> None:
    response = Client(headers={"Authorization": header} if header else {}).get("/api/v1/me")
    problem(response, 401, "unauthenticated")
    assert response["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.django_db
def test_an_expired_token_and_an_inactive_person_are_401(org: Org) -> None:
    secret = tokens.create(org.dana, scopes=["catalog:read"], project=None, ttl=dt.timedelta(minutes=1))
    client = ApiClient(secret)
    assert client.get("/me").status_code == 200
    with time_machine.travel(timezone.now() + dt.timedelta(minutes=2)):
        problem(client.get("/me"), 401, "unauthenticated")
    org.dana.is_active = False
    org.dana.save()
    problem(client.get("/me"), 401, "unauthenticated")


@pytest.mark.django_db
def test_a_session_does_not_open_the_api(org: Org, client_for: Any) -> None:
    problem(client_for(org.pat).get("/api/v1/projects"), 401, "unauthenticated")


@pytest.mark.django_db
def test_a_missing_scope_is_403_insufficient_scope(org: Org, api_for: Any) -> None:
    body = problem(
        api_for(org.pat, "catalog:read").post("/projects", {"slug": "p", "name": "P"}), 403, "insufficient_scope"
    )
    assert "admin" in body["detail"]


@pytest.mark.django_db
def test_a_missing_role_is_403_forbidden(org: Org, api_for: Any) -> None:
    problem(api_for(org.dana, "admin").post("/projects", {"slug": "p", "name": "P"}), 403, "forbidden")


@pytest.mark.django_db
def test_me(org: Org, api_for: Any) -> None:
    body = api_for(org.dana, "catalog:read").get("/me").json()
    assert body["principal"]["user"] == "dana" and body["scopes"] == ["catalog:read"]
    assert body["projects"] == [{"slug": "fraud-detection", "name": "Fraud detection", "role": "developer"}]


@pytest.mark.django_db
def test_an_api_key_works_as_bearer_with_its_scopes_in_its_project(org: Org) -> None:
    key, secret = keys.issue(Principal.of(org.dana), project=org.fraud, name="ci", scopes=["usage:read"])
    body = ApiClient(secret).get("/me").json()
    assert body["principal"]["via"] == "key" and body["scopes"] == ["usage:read"]
    keys.revoke(Principal.of(org.dana), key)
    problem(ApiClient(secret).get("/me"), 401, "unauthenticated")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ("{", 400, None),
        ("[]", 422, None),
        ("null", 422, None),
        ('{"slug": "p"}', 422, "name"),
        ('{"slug": 5, "name": "P"}', 422, "slug"),
        ('{"slug": "p", "name": "P", "colour": "red"}', 422, "colour"),
        ('{"slug": "p", "name": "x\\u0000"}', 422, "name"),
        (json.dumps({"slug": "p", "name": "x" * 81}), 422, "name"),
        (json.dumps({"slug": "p", "name": "x" * 500}), 422, "name"),
        (json.dumps({"slug": "p" * 41, "name": "P"}), 422, "slug"),
    ],
)
def test_bad_bodies_name_the_field_and_change_nothing(
    org: Org, api_for: Any, body: str, status: int, field: str | None
) -> None:
    client = api_for(org.pat, "admin").client
    response = client.post("/api/v1/projects", body, content_type="application/json")
    found = problem(response, status, "malformed" if status == 400 else "invalid")
    if field:
        assert field in {item["field"] for item in found["errors"]}
    assert Project.objects.count() == 2


@pytest.mark.django_db
def test_projects_are_listed_by_permission_and_in_pages(org: Org, api_for: Any) -> None:
    assert [item["slug"] for item in api_for(org.cy).get("/projects").json()["items"]] == ["search-ranking"]
    first = api_for(org.aud).get("/projects", {"limit": 1}).json()
    second = api_for(org.aud).get("/projects", {"limit": 1, "cursor": first["next"]}).json()
    assert [item["slug"] for item in first["items"] + second["items"]] == ["fraud-detection", "search-ranking"]
    assert second["next"] is None


@pytest.mark.django_db
def test_a_foreign_project_looks_like_none(org: Org, api_for: Any) -> None:
    foreign = problem(api_for(org.cy).get("/projects/fraud-detection"), 404, "not_found")["detail"]
    unknown = problem(api_for(org.cy).get("/projects/no-such"), 404, "not_found")["detail"]
    assert foreign.replace("fraud-detection", "X") == unknown.replace("no-such", "X")


@pytest.mark.django_db
def test_patch_needs_if_match_and_loses_no_change(org: Org, api_for: Any) -> None:
    client = api_for(org.omar, "admin")
    problem(client.patch("/projects/fraud-detection", {"name": "New"}), 428, "precondition_required")
    tag = client.get("/projects/fraud-detection")["ETag"]
    assert client.patch("/projects/fraud-detection", {"name": "New"}, If_Match=tag).json()["name"] == "New"
    problem(client.patch("/projects/fraud-detection", {"name": "Old"}, If_Match=tag), 412, "precondition_failed")
    assert Project.objects.get(pk=org.fraud.pk).name == "New"


@pytest.mark.django_db
def test_members_put_and_delete(org: Org, api_for: Any) -> None:
    client = api_for(org.omar, "admin")
    made = client.put("/projects/fraud-detection/members/cy", {"role": "viewer"})
    assert made.status_code == 201
    problem(client.put("/projects/fraud-detection/members/cy", {"role": "owner"}), 428, "precondition_required")
    changed = client.put("/projects/fraud-detection/members/cy", {"role": "developer"}, If_Match=made["ETag"])
    assert changed.json()["role"] == "developer"
    assert client.delete("/projects/fraud-detection/members/cy").status_code == 204
    assert not Membership.objects.filter(project=org.fraud, user=org.cy).exists()
    problem(client.delete("/projects/fraud-detection/members/cy"), 404, "not_found")
    problem(client.delete("/projects/fraud-detection/members/omar"), 409, "last_owner")


@pytest.mark.django_db
def test_idempotency_key_repeats_the_answer_and_not_the_work(org: Org, api_for: Any) -> None:
    client = api_for(org.pat, "admin")
    first = client.post("/projects", {"slug": "p", "name": "P"}, Idempotency_Key="k1")
    again = client.post("/projects", {"slug": "p", "name": "P"}, Idempotency_Key="k1")
    assert (first.status_code, again.status_code) == (201, 201) and first.content == again.content
    assert again["Idempotency-Replayed"] == "true"
    assert Row.objects.filter(action="projects.create").count() == 1
    problem(client.post("/projects", {"slug": "q", "name": "P"}, Idempotency_Key="k1"), 409, "idempotency_key_reused")


@pytest.mark.django_db
def test_a_refused_call_frees_its_idempotency_key(org: Org, api_for: Any) -> None:
    client = api_for(org.pat, "admin")
    problem(client.post("/projects", {"slug": "P!", "name": "P"}, Idempotency_Key="k"), 422, "invalid")
    assert not IdempotentAnswer.objects.exists()
    assert client.post("/projects", {"slug": "p", "name": "P"}, Idempotency_Key="k").status_code == 201


class Killed(BaseException):
    """Stands for the death of the process."""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("step", ["create_project", "answer"])
def test_dying_in_the_middle_of_a_call_leaves_its_idempotency_key_free(
    org: Org, api_for: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Work and key stand or fall together: the retry does it once, and is not told that the first one still runs."""
    client, body = api_for(org.pat, "admin"), {"slug": "p", "name": "P"}
    owner: Any = services if step == "create_project" else module
    done = getattr(owner, step)

    def dies(*args: Any, **kwargs: Any) -> Any:
        done(*args, **kwargs)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(owner, step, dies)
        with pytest.raises(Killed):
            client.post("/projects", body, Idempotency_Key="k")
    assert not IdempotentAnswer.objects.exists() and not Project.objects.filter(slug="p").exists()
    assert client.post("/projects", body, Idempotency_Key="k").status_code == 201
    assert Row.objects.filter(action="projects.create").count() == 1


@pytest.mark.django_db
def test_rate_limit_says_when_to_come_back(org: Org, api_for: Any, settings: Any) -> None:
    settings.API_RATE_PER_MINUTE = 3
    client = api_for(org.dana)
    with time_machine.travel(dt.datetime(2026, 11, 20, 12, 0, 30, tzinfo=dt.UTC), tick=False):
        client = api_for(org.dana)
        for _ in range(3):
            assert client.get("/me").status_code == 200
        response = client.get("/me")
        problem(response, 429, "rate_limited")
        assert response["Retry-After"] == "30"


@pytest.mark.django_db
def test_unknown_paths_and_methods_are_problems_too(org: Org, api_for: Any) -> None:
    problem(api_for(org.dana).get("/no/such"), 404, "not_found")
    assert api_for(org.dana).delete("/me").status_code == 405


@pytest.mark.django_db
def test_every_answer_carries_a_request_id_that_stands_in_the_audit_row(org: Org, api_for: Any) -> None:
    response = api_for(org.pat, "admin").post("/projects", {"slug": "p", "name": "P"}, X_Request_Id="abc-123")
    assert response["X-Request-Id"] == "abc-123"
    assert set(Row.objects.filter(action__startswith="projects.").values_list("request_id", flat=True)) == {"abc-123"}
    assert api_for(org.pat).get("/me", None, X_Request_Id="bad id\t")["X-Request-Id"] != "bad id\t"


@pytest.mark.django_db
def test_openapi_is_public_and_3_1(client: Client) -> None:
    document = client.get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    scheme = next(iter(document["components"]["securitySchemes"].values()))
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert client.get("/api/v1/docs").status_code == 200


@pytest.mark.django_db
def test_audit_api(org: Org, api_for: Any) -> None:
    keys.issue(Principal.of(org.dana), project=org.fraud, name="ci", scopes=["usage:read"])
    problem(api_for(org.dana, "audit:read").get("/audit"), 403, "forbidden")
    items = api_for(org.aud, "audit:read").get("/audit", {"action": "keys.issue"}).json()["items"]
    assert [item["actor_name"] for item in items] == ["dana"]
    export = b"".join(api_for(org.aud, "audit:read").get("/audit/export").streaming_content).decode()
    assert "keys.issue" in export
