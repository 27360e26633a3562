"""REST API of the catalog: who sees what, filters, cursors, life cycle, bad input."""

import pytest

from catalog.models import Version, VersionState
from tests.catalog.test_services import ASSET, VERSION
from tests.factories import DEMO_COMMAND, make_asset, make_profile, make_version

pytestmark = pytest.mark.slow

READ, WRITE = "catalog:read", "catalog:write"


def slugs(response):
    assert response.status_code == 200, response.content
    return [item["slug"] for item in response.json()["items"]]


@pytest.fixture
def states(org):
    """One asset in each state, named like it; all but the draft and the one in review were approved once."""
    for state in VersionState.values:
        make_version(state, asset=make_asset(state.replace("_", "-")))


def test_it_works(org, api_for):
    make_version(asset=make_asset("tiny", tasks=["chat"]))
    body = api_for(org.dana, READ).get("/catalog/assets/tiny").json()
    assert {"slug", "kind", "name", "state", "versions"} <= body.keys()
    (version,) = body["versions"]
    assert version["state"] == body["state"] == "approved"
    assert {"version", "state", "licence", "needs", "evidence"} <= version.keys()


def test_what_nobody_approved_is_seen_by_reviewers_only(org, api_for, states):
    decided = {"approved", "deprecated", "retired", "blocked"}
    for person in (org.dana, org.omar, org.cy):
        assert set(slugs(api_for(person, READ).get("/catalog/assets"))) == decided
    for person in (org.pat, org.yasmine, org.aud):
        assert set(slugs(api_for(person, READ).get("/catalog/assets"))) == decided | {"draft", "in-review"}


def test_a_hidden_asset_is_404_for_every_verb(org, api_for, states):
    api = api_for(org.dana, READ, WRITE)
    for path in ("/catalog/assets/draft", "/catalog/assets/draft/versions/1.0", "/catalog/assets/nothing"):
        assert api.get(path).status_code == 404
    for verb in ("submit", "deprecate", "retire", "block"):
        assert api.post(f"/catalog/assets/draft/versions/1.0/{verb}", {"reason": "because"}).status_code in {404, 422}
    assert api.post("/catalog/assets/draft/versions", VERSION).status_code == 404


@pytest.mark.parametrize("name", ["a%00b", "x" * 500, "%F0%9F%98%80", ".."])
def test_strange_names_are_404(org, api_for, name):
    api = api_for(org.pat, READ)
    assert api.get(f"/catalog/assets/{name}").status_code == 404
    assert api.get(f"/catalog/assets/{name}/versions/{name}").status_code == 404


def test_a_proposer_sees_the_own_draft(org, api_for):
    version = make_version(VersionState.DRAFT, asset=make_asset("mine"))
    Version.objects.filter(pk=version.pk).update(proposed_by=org.dana)
    assert slugs(api_for(org.dana, READ).get("/catalog/assets")) == ["mine"]
    assert slugs(api_for(org.omar, READ).get("/catalog/assets")) == []


def test_a_hidden_version_of_a_visible_asset_stays_hidden(org, api_for):
    asset = make_asset("tiny")
    make_version(asset=asset)
    make_version(VersionState.DRAFT, asset=asset, version="2.0")
    assert [item["version"] for item in api_for(org.dana, READ).get("/catalog/assets/tiny").json()["versions"]] == [
        "1.0"
    ]
    assert api_for(org.dana, READ).get("/catalog/assets/tiny/versions/2.0").status_code == 404
    assert len(api_for(org.pat, READ).get("/catalog/assets/tiny").json()["versions"]) == 2


def test_the_state_of_an_asset_is_its_best_one(org, api_for):
    asset = make_asset("tiny")
    make_version(VersionState.BLOCKED, asset=asset, version="0.9")
    assert api_for(org.dana, READ).get("/catalog/assets/tiny").json()["state"] == "blocked"
    make_version(VersionState.DEPRECATED, asset=asset, version="1.0")
    make_version(VersionState.DRAFT, asset=asset, version="1.1")
    assert api_for(org.pat, READ).get("/catalog/assets/tiny").json()["state"] == "deprecated"


@pytest.mark.parametrize("state", VersionState.values)
def test_filter_by_state(org, api_for, states, state):
    assert slugs(api_for(org.pat, READ).get(f"/catalog/assets?state={state}")) == [state.replace("_", "-")]


def test_filters(org, api_for):
    chatty = make_version(asset=make_asset("chatty", tasks=["chat", "code-repair"]))
    make_version(asset=make_asset("coder", tasks=["code"], publisher="Acme"))
    server = make_version(asset=make_asset("server", kind="mcp-server", tasks=["tools"]))
    Version.objects.filter(pk__in=[chatty.pk, server.pk]).update(licence="MIT")
    api = api_for(org.dana, READ)
    assert slugs(api.get("/catalog/assets?kind=model")) == ["chatty", "coder"]
    assert slugs(api.get("/catalog/assets?kind=mcp-server")) == ["server"]
    assert slugs(api.get("/catalog/assets?task=code")) == ["coder"], "a task is a whole word"
    assert slugs(api.get("/catalog/assets?licence=MIT&kind=model")) == ["chatty"]
    assert slugs(api.get("/catalog/assets?q=ACME")) == ["coder"]
    assert slugs(api.get("/catalog/assets?q=acme coder")) == ["coder"], "every word counts"
    assert slugs(api.get("/catalog/assets?task=%25")) == [], "no wildcard comes in"


def test_the_cursor_walks_over_everything_once(org, api_for):
    for number in range(5):
        make_version(asset=make_asset(f"a-{number}", name="The same name"))
    api, seen, cursor = api_for(org.dana, READ), [], ""
    while cursor is not None:
        body = api.get(f"/catalog/assets?limit=2&cursor={cursor}").json()
        seen += [item["slug"] for item in body["items"]]
        cursor = body["next"]
    assert sorted(seen) == [f"a-{number}" for number in range(5)]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("kind=agent", "kind"), ("state=great", "state"), ("limit=0", "limit"), ("limit=201", "limit"),
        ("limit=x", "limit"), ("cursor=zzz", "cursor"), (f"q={'x' * 201}", "q"), ("kind=" + "x" * 99, "kind"),
        ("q=%00", "q"), ("task=%00", "task"), ("licence=%00", "licence"),
    ],
)  # fmt: skip
def test_bad_filters_are_422_and_name_the_field(org, api_for, query, field):
    response = api_for(org.dana, READ).get(f"/catalog/assets?{query}")
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == field


def test_scopes_and_tokens(org, api_for, client):
    assert client.get("/api/v1/catalog/assets").status_code == 401
    assert api_for(org.pat, "usage:read").get("/catalog/assets").json()["code"] == "insufficient_scope"
    refused = api_for(org.pat, READ).post("/catalog/assets", ASSET)
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")


def test_the_list_costs_the_same_whatever_its_length(org, api_for, django_assert_max_num_queries):
    api = api_for(org.dana, READ)
    for number in range(30):
        make_version(asset=make_asset(f"a-{number:02}"))
    with django_assert_max_num_queries(12):
        assert len(slugs(api.get("/catalog/assets?limit=30"))) == 30


def test_a_version_shows_its_raw_evidence(org, api_for):
    api = api_for(org.pat, READ, WRITE)
    assert api.post("/catalog/assets", ASSET).status_code == 201
    body = api.get("/catalog/assets/tiny/versions/1.0").json()
    assert {item["kind"] for item in body["evidence"]} == {"licence", "card", "pin"}
    assert body["evidence"][0]["report"] and body["runtime"]["command"] == DEMO_COMMAND


def test_hardware_profiles(org, api_for):
    make_profile(slug="cpu-demo", price="0.02")
    make_profile(gpus=2, slug="two", memory_gib=80)
    make_profile(slug="off", enabled=False)
    body = api_for(org.dana, READ).get("/hardware-profiles").json()
    assert [item["slug"] for item in body["items"]] == ["cpu-demo", "two"]
    assert body["items"][0] == {
        "slug": "cpu-demo", "name": "cpu-demo", "accelerator": None, "accelerator_count": 0, "memory_bytes": 16 * 2**30,
        "price_per_hour": "0.0200", "currency": "EUR",
    }  # fmt: skip
    assert body["items"][1]["accelerator_count"] == 2


def test_the_way_of_a_version(org, api_for):
    api = api_for(org.yasmine, READ, WRITE)
    assert api.post("/catalog/assets", {**ASSET, "versions": []}).json()["state"] == "draft"
    created = api.post("/catalog/assets/tiny/versions", VERSION)
    assert (created.status_code, created.json()["state"]) == (201, "draft")
    path = "/catalog/assets/tiny/versions/1.0"
    assert api.post(f"{path}/submit").json()["state"] == "in_review"
    again = api.post(f"{path}/submit").json()
    assert again["state"] == "in_review" and again["request"]["state"] == "submitted", "it waits already"
    assert api_for(org.pat, READ, WRITE).post(f"{path}/submit").json()["code"] == "already_asked"
    blocked = api.post(f"{path}/block", {"reason": "Its loader runs code."})
    assert (blocked.json()["state"], blocked.json()["state_reason"]) == ("blocked", "Its loader runs code.")
    assert api.post(f"{path}/block", {"reason": "Its loader runs code."}).status_code == 409


def test_deprecate_with_successor_and_retire(org, api_for):
    asset = make_asset("tiny")
    make_version(asset=asset, version="1.0")
    make_version(asset=asset, version="2.0")
    api = api_for(org.pat, READ, WRITE)
    path = "/catalog/assets/tiny/versions/1.0"
    assert api.post(f"{path}/deprecate", {"successor": "3.0"}).json()["errors"][0]["field"] == "successor"
    assert api.post(f"{path}/retire").status_code == 409
    assert api.post(f"{path}/deprecate", {"successor": "2.0"}).json()["successor"] == "tiny@2.0"
    assert api.post(f"{path}/retire").json()["state"] == "retired"


@pytest.mark.parametrize(("person", "status"), [("dana", 201), ("omar", 201), ("cy", 201), ("vic", 403), ("aud", 403)])
def test_readers_propose_where_they_may_and_steer_nothing(org, api_for, person, status):
    make_version(asset=make_asset("tiny"))
    api = api_for(getattr(org, person), READ, WRITE)
    assert api.post("/catalog/assets", {**ASSET, "slug": "new"}).status_code == status
    assert api.post("/catalog/assets/tiny/versions", {**VERSION, "version": "2"}).status_code == status
    for verb in ("submit", "deprecate", "retire", "block"):
        response = api.post(
            f"/catalog/assets/tiny/versions/1.0/{verb}", {"reason": "because"} if verb != "submit" else {}
        )
        assert (response.status_code, response.json()["code"]) == (403, "forbidden"), verb
    assert Version.objects.get(asset__slug="tiny", version="1.0").state == "approved"
    assert not Version.objects.exclude(state__in=["approved", "draft"]).exists()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"slug": "A B"}, "slug"),
        ({"kind": "agent"}, "kind"),
        ({"name": ""}, "name"),
        ({"extra": 1}, "extra"),
        ({"tasks": "chat"}, "tasks"),
        ({"description": "x" * 20_001}, "description"),
        ({"versions": [{**VERSION, "needs": None}]}, ""),
        ({"versions": [VERSION, VERSION]}, ""),
        ({"versions": [{**VERSION, "runtime": {"engine": "demo", "command": []}}]}, "versions.0.runtime.command"),
        ({"versions": [{**VERSION, "facts": {"config": {"a": "x" * 70_000}}}]}, "versions.0.facts"),
    ],
)
def test_bad_bodies_are_422(org, api_for, change, field):
    response = api_for(org.pat, WRITE).post("/catalog/assets", {**ASSET, **change})
    assert response.status_code == 422, response.content
    assert response.json()["errors"][0]["field"].endswith(field)
    assert not Version.objects.exists()


def test_a_taken_name_is_409_and_a_retry_with_a_key_is_not(org, api_for):
    api = api_for(org.pat, READ, WRITE)
    first = api.post("/catalog/assets", ASSET, Idempotency_Key="k1")
    again = api.post("/catalog/assets", ASSET, Idempotency_Key="k1")
    assert (first.status_code, again.status_code) == (201, 201) and first.json() == again.json()
    assert api.post("/catalog/assets", ASSET).json()["code"] == "name_taken"
