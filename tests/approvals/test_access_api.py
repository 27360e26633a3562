"""GET /access: filters, pages, scopes, hostile input."""

from collections.abc import Iterator
from typing import Any

import pytest
from ninja.operation import Operation

from approvals.access.words import MEANINGS
from endpoints.keys import issue_key
from portal.api import api
from projects import keys
from projects.api import Bearer
from projects.models import Membership, User
from projects.principal import Principal
from tests.conftest import ApiClient, Org
from tests.factories import make_asset, make_version

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


def items(response: Any) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.content
    found: list[dict[str, Any]] = response.json()["items"]
    return found


def allowed(rows: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(row["who"], row["word"]) for row in rows if row["allowed"]}


def test_access_works(org: Org, api_for: Any) -> None:
    rows = items(api_for(org.aud, "audit:read").get("/access?project=fraud-detection"))
    assert allowed(rows) >= {("dana", "request"), ("omar", "manage"), ("pat", "decide"), ("aud", "see")}
    assert not allowed(rows) & {("vic", "request"), ("cy", "see"), ("dana", "manage"), ("aud", "decide")}
    dana = next(row for row in rows if row["who"] == "dana" and row["word"] == "request")
    assert dana["on"] == {"kind": "project", "name": "fraud-detection"} and dana["kind"] == "person"
    assert dana["through"][0]["role"] == "developer" and dana["through"][0]["ends_at"] is None


def test_pages_join_to_the_whole(org: Org, api_for: Any) -> None:
    reader = api_for(org.pat, "admin")
    whole = items(reader.get("/access?project=fraud-detection&limit=200"))
    joined, cursor = [], ""
    while True:
        answer = reader.get(f"/access?project=fraud-detection&limit=3&cursor={cursor}").json()
        joined += answer["items"]
        cursor = answer["next"]
        if not cursor:
            break
    assert joined == whole and len(whole) > 10


def test_one_person_and_one_object_answer_all_five_words(org: Org, api_for: Any) -> None:
    rows = items(api_for(org.pat, "audit:read").get("/access?user=cy&project=fraud-detection"))
    assert [row["word"] for row in rows] == ["see", "request", "invoke", "manage", "decide"]
    assert not any(row["allowed"] for row in rows)


def test_any_token_explains_the_own_person_and_nobody_else(org: Org, api_for: Any) -> None:
    for user in (org.vic, org.omar, org.pat):
        reader = api_for(user, "catalog:read")
        assert reader.get(f"/access?user={user.username}").status_code == 200
        for query in ("user=dana", "project=fraud-detection", "user=nobody-there"):
            refused = reader.get(f"/access?{query}")
            assert refused.status_code == 403 and refused.json()["code"] == "insufficient_scope", query
    assert api_for(org.vic, "audit:read").get("/access?user=dana").status_code == 403


def test_an_owner_reads_the_own_project_only(org: Org, api_for: Any) -> None:
    owner = api_for(org.omar, "audit:read")
    assert ("dana", "request") in allowed(items(owner.get("/access?project=fraud-detection")))
    assert ("dana", "request") in allowed(items(owner.get("/access?user=dana")))
    hidden, unknown = (owner.get(f"/access?project={name}") for name in ("search-ranking", "search-rankinx"))
    assert hidden.status_code == unknown.status_code == 422
    sentences = [answer.json()["detail"].replace("rankinx", "ranking") for answer in (hidden, unknown)]
    assert sentences[0] == sentences[1] and hidden.json()["errors"][0]["field"] == "project"
    make_version(asset=make_asset("model"))
    assert {who for who, _ in allowed(items(owner.get("/access?asset=model")))} <= {"dana", "omar", "vic"}


def test_a_bound_token_stays_in_its_project(org: Org, api_for: Any) -> None:
    Membership.objects.create(project=org.search, user=org.omar, role="owner")
    bound = api_for(org.omar, "audit:read", project=org.fraud)
    assert bound.get("/access?project=search-ranking").status_code == 422
    assert b"search-ranking" not in bound.get("/access?user=omar").content
    assert b"search-ranking" in api_for(org.omar, "audit:read").get("/access?user=omar").content
    assert api_for(org.pat, "audit:read", project=org.fraud).get("/access?user=cy").status_code in {403, 422}


def test_a_key_has_what_its_scopes_and_its_person_have(org: Org, api_for: Any) -> None:
    dana = Principal.of(org.dana)
    key, _ = issue_key(dana, org.fraud, "calls", [], ["inference:invoke", "requests:write"], 30)
    reader = api_for(org.aud, "audit:read")
    for name in (key.prefix, str(key.pk)):
        rows = items(reader.get(f"/access?key={name}"))
        assert allowed(rows) == {(key.prefix, word) for word in ("see", "request", "invoke")}
    scope = next(way for way in rows[1]["through"] if "scope" in way)
    assert scope["scope"] == "requests:write" and scope["ends_at"]
    Membership.objects.filter(user=org.dana).update(role="viewer")
    assert allowed(items(reader.get(f"/access?key={key.prefix}"))) == {(key.prefix, "see"), (key.prefix, "invoke")}
    keys.revoke(Principal.of(org.omar), key)
    assert allowed(items(reader.get(f"/access?key={key.prefix}"))) == set()
    why = reader.get(f"/access?key={key.prefix}&why=invoke").json()
    assert not why["allowed"] and "was revoked" in why["sentence"]


def test_the_key_of_somebody_who_is_no_member_opens_nothing(org: Org, api_for: Any) -> None:
    make_version(asset=make_asset("model"))
    key, secret = issue_key(Principal.of(org.dana), org.fraud, "reads", [], ["catalog:read"], 30)
    reader = api_for(org.aud, "audit:read")
    assert allowed(items(reader.get(f"/access?key={key.prefix}&asset=model"))) == {(key.prefix, "see")}
    Membership.objects.filter(user=org.dana).delete()
    assert allowed(items(reader.get(f"/access?key={key.prefix}&asset=model"))) == set()
    assert ApiClient(secret).get("/catalog/assets/model").status_code == 401
    why = reader.get(f"/access?key={key.prefix}&asset=model&why=see").json()
    assert "no longer" in why["sentence"]


def test_why_not(org: Org, api_for: Any) -> None:
    reader = api_for(org.aud, "audit:read")
    why = reader.get("/access?user=vic&project=fraud-detection&why=request").json()
    assert why["allowed"] is False and why["givers"] == ["omar"] and "developer" in why["roles"]
    assert why["sentence"].startswith("vic is viewer of fraud-detection;")
    why = reader.get("/access?user=cy&project=fraud-detection&why=endpoints.endpoint.suspend").json()
    assert "cy is not a member of fraud-detection" in why["sentence"]
    assert reader.get("/access?user=dana&project=fraud-detection&why=request").json()["allowed"] is True
    assert reader.get("/access?user=yasmine&why=catalog.asset.change").json()["allowed"] is True


def test_csv(org: Org, api_for: Any) -> None:
    User.objects.filter(pk=org.dana.pk).update(username="=cmd()")
    reader = api_for(org.pat, "admin")
    for answer in (
        reader.get("/access?project=fraud-detection&format=csv"),
        reader.get("/access?project=fraud-detection", Accept="text/csv"),
    ):
        assert answer["Content-Type"].startswith("text/csv")
        assert "'=cmd()" in answer.content.decode() and "\n=cmd" not in answer.content.decode()


@pytest.mark.parametrize(
    "query",
    [
        "",
        "word=see",
        "project=no-such",
        "project=%00",
        "project=" + "x" * 500,
        "asset=%ED%A0%80",
        "user=%00",
        "user=nobody-there",
        "key=gth_%00",
        "key=not-a-key",
        "key=00000000-0000-0000-0000-000000000000",
        "project=fraud-detection&cursor=bm9uc2Vuc2U",
        "project=fraud-detection&cursor=WzEsInQiLDk5LDAsIngiXQ",
        "project=fraud-detection&limit=0",
        "project=fraud-detection&format=xml",
        "project=fraud-detection&word=own",
        "project=fraud-detection&why=see",
        "user=dana&why=see",
        "user=dana&key=gth_abcdefgh",
        "user=dana&project=fraud-detection&why=__class__",
        "user=dana&why=endpoints.endpoint.suspend",
    ],
)
def test_bad_input_is_422_with_a_field(org: Org, api_for: Any, query: str) -> None:
    answer = api_for(org.pat, "admin").get(f"/access?{query}")
    assert answer.status_code == 422, answer.content
    assert all(error["field"] and error["message"] for error in answer.json()["errors"]) and answer.json()["errors"]


def _operations() -> Iterator[tuple[str, Operation]]:
    for prefix, router in api._routers:
        for path, view in router.path_operations.items():
            for operation in view.operations:
                for method in operation.methods:
                    yield f"{method} {prefix}{path}", operation


def test_the_scopes_are_those_of_the_operations() -> None:
    """The table says which scope a word needs; the operations that do the same ask for that very scope."""
    first = {name: operation.auth_callbacks[0] for name, operation in _operations() if operation.auth_callbacks}
    asked = {name: one.scope for name, one in first.items() if isinstance(one, Bearer)}
    wanted = {
        ("project", "see"): "GET /projects/{slug}",
        ("project", "request"): "POST /requests",
        ("project", "manage"): "PUT /projects/{slug}/members/{user}",
        ("project", "decide"): "POST /requests/decisions",
        ("asset", "see"): "GET /catalog/assets/{slug}",
        ("asset", "request"): "POST /requests",
        ("asset", "manage"): "POST /catalog/assets/{slug}/versions/{version}/block",
        ("asset", "decide"): "POST /requests/decisions",
    }
    for pair, operation in wanted.items():
        assert (asked[operation] or "") == MEANINGS[pair].scope, pair


def test_a_key_reads_nothing_of_others(org: Org) -> None:
    _, secret = issue_key(Principal.of(org.dana), org.fraud, "reader", [], ["catalog:read"], 30)
    key = ApiClient(secret)
    assert key.get("/access?user=dana").status_code == 200
    assert key.get("/access?project=fraud-detection").status_code == 403
