"""The registry that MCP clients read: the official shape, pages, what is public, what a project was granted, CORS."""

import datetime as dt
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client
from django.utils import timezone
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from catalog import audience, services
from catalog.mcp import grants, publishing, schema
from catalog.models import ServerGrant, Tool
from tests.catalog.mcp_kit import approved, make_server
from tests.factories import engineer, lead, make_version

pytestmark = pytest.mark.slow

PUBLIC = "/mcp/registry/v0.1/servers"
FRAUD = "/mcp/registry/fraud-detection/v0.1/servers"
SEARCH = "/mcp/registry/search-ranking/v0.1/servers"
OFFICIAL = "io.modelcontextprotocol.registry/official"
APPROVAL = "local.gatehouse/approval"
MOMENT = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$"
# The answer of the documented OpenAPI description, v0.1 of 2025-12-01.
RESPONSE = {
    "type": "object",
    "required": ["server", "_meta"],
    "properties": {
        "server": {"type": "object"},
        "_meta": {
            "type": "object",
            "required": [OFFICIAL],
            "properties": {
                OFFICIAL: {
                    "type": "object",
                    "required": ["status", "publishedAt", "isLatest"],
                    "properties": {
                        "status": {"enum": ["active", "deprecated", "deleted"]},
                        "publishedAt": {"type": "string", "pattern": MOMENT},
                        "updatedAt": {"type": "string", "pattern": MOMENT},
                        "isLatest": {"type": "boolean"},
                    },
                }
            },
        },
    },
}
LIST = {
    "type": "object",
    "required": ["servers", "metadata"],
    "properties": {
        "servers": {"type": "array", "items": RESPONSE},
        "metadata": {
            "type": "object",
            "required": ["count"],
            "properties": {"count": {"type": "integer"}, "nextCursor": {"type": "string"}},
        },
    },
}


class RegistryClient:
    """What a client of the official registry does: list by pages, look one up, and check every answer."""

    def __init__(self, base, api=None):
        self.base, self.client = base, api.client if api else Client()

    def get(self, tail="", **query):
        response = self.client.get(f"{self.base}{tail}", query)
        assert response["Access-Control-Allow-Origin"] == "*"
        return response

    def page(self, tail="", **query):
        body = self.get(tail, **query).json()
        Draft202012Validator(LIST).validate(body)
        assert body["metadata"]["count"] == len(body["servers"])
        for item in body["servers"]:
            schema.check(item["server"])
        return body

    def all(self, **query):
        found: list[Any] = []
        cursor: dict[str, str] = {}
        for _ in range(50):
            body = self.page(**query, **cursor)
            found += body["servers"]
            if "nextCursor" not in body["metadata"]:
                return found
            cursor = {"cursor": body["metadata"]["nextCursor"]}
        raise AssertionError("the list does not end")

    def names(self, **query):
        return [(item["server"]["name"], item["server"]["version"]) for item in self.all(**query)]

    def one(self, name, version="latest"):
        response = self.get(f"/{quote(name, safe='')}/versions/{version}")
        if response.status_code == 404:
            assert response.json() == {"error": "Server not found"}
            return None
        Draft202012Validator(RESPONSE).validate(response.json())
        return response.json()


@pytest.fixture
def pinned(org):
    """An approved server with two pinned tools."""
    version = make_server("https://ledger.example.com/mcp")
    for name in ("list_accounts", "query_transactions"):
        Tool.objects.create(version=version, name=name, digest=f"sha256:{name}", definition={"name": name})
    return approved(version)


def give(org, version, *tools, project=None, **more):
    return grants.grant(engineer(), version, project or org.fraud, tools=tools, **({"ends_on": None} | more))


@pytest.fixture
def fraud(org, api_for):
    return RegistryClient(FRAUD, api_for(org.dana, "catalog:read"))


def test_a_project_reads_exactly_what_it_was_granted(org, fraud, pinned, api_for):
    soon = timezone.now().date() + dt.timedelta(days=30)
    approved(make_server("https://other.example.com/mcp", slug="other"))
    give(org, pinned, "list_accounts", ends_on=soon)
    (item,) = fraud.all()
    assert item["server"]["name"] == "com.example/ledger-query"
    assert item["server"]["remotes"] == [{"type": "streamable-http", "url": "https://ledger.example.com/mcp"}]
    assert item["_meta"][OFFICIAL]["status"] == "active" and item["_meta"][OFFICIAL]["isLatest"] is True
    meta = item["_meta"][APPROVAL]
    assert meta["tools"] == [{"name": "list_accounts", "digest": "sha256:list_accounts"}]
    assert meta["endsOn"] == soon.isoformat()
    assert RegistryClient(SEARCH, api_for(org.cy, "catalog:read")).all() == []
    assert RegistryClient(PUBLIC).all() == []


def test_names_are_looked_up_escaped_and_plain(org, fraud, pinned):
    give(org, pinned)
    for version in ("latest", "1.4.0"):
        assert fraud.one("com.example/ledger-query", version)["server"]["version"] == "1.4.0"
        assert fraud.get(f"/com.example/ledger-query/versions/{version}").status_code == 200
    assert len(fraud.page("/com.example%2Fledger-query/versions")["servers"]) == 1
    for name, version in (
        ("com.example/ledger-query", "9"),
        ("com.example/none", "latest"),
        ("ledger-query", "latest"),
    ):
        assert fraud.one(name, version) is None
    assert fraud.get("/com.example%2Fnone/versions").json() == {"error": "Server not found"}


def test_who_may_not_read_it(org, pinned, api_for):
    give(org, pinned)
    assert Client().get(FRAUD).status_code == 401
    assert Client().get(FRAUD)["WWW-Authenticate"].startswith("Bearer")
    assert api_for(org.cy, "catalog:read").client.get(FRAUD).status_code == 404
    assert api_for(org.dana, "requests:read").client.get(FRAUD).status_code == 403
    assert api_for(org.dana, "catalog:read", project=org.fraud).client.get(FRAUD).status_code == 200
    bound = api_for(org.cy, "catalog:read", project=org.search).client
    assert bound.get(FRAUD).status_code == 404 and bound.get(SEARCH).json()["servers"] == []
    assert all("error" in client.get(FRAUD).json() for client in (Client(), bound))


def test_a_grant_that_ended_is_gone_swept_or_not(org, fraud, pinned):
    row = give(org, pinned)
    assert fraud.names()
    ServerGrant.objects.filter(pk=row.pk).update(ends_on=timezone.now().date() - dt.timedelta(days=1))
    assert fraud.names() == [] and fraud.one("com.example/ledger-query") is None
    assert grants.expire() == 1 and grants.expire() == 0


def test_a_blocked_version_vanishes_at_once_everywhere(org, fraud, pinned):
    give(org, pinned)
    publishing.publish(lead(), pinned.asset, "Anybody may.")
    public = RegistryClient(PUBLIC)
    assert fraud.names() and public.names()
    services.deprecate(lead(), pinned, None)
    assert fraud.all()[0]["_meta"][OFFICIAL]["status"] == "deprecated"
    pinned.refresh_from_db()
    services.block(lead(), pinned, "A finding.")
    assert fraud.names() == [] == public.names()
    assert public.one("com.example/ledger-query") is None


def test_only_what_a_steward_published_is_public(org, pinned):
    public = RegistryClient(PUBLIC)
    assert public.all() == []
    publishing.publish(lead(), pinned.asset, "Anybody may.")
    approved(make_server("https://ledger.example.com/mcp", version="1.5.0"))
    assert public.names() == [("com.example/ledger-query", "1.4.0"), ("com.example/ledger-query", "1.5.0")]
    assert public.names(version="latest") == [("com.example/ledger-query", "1.5.0")]
    assert public.names(version="1.4.0") == [("com.example/ledger-query", "1.4.0")]
    assert public.one("com.example/ledger-query")["server"]["version"] == "1.5.0"
    versions = public.page("/com.example%2Fledger-query/versions")["servers"]
    assert [item["_meta"][OFFICIAL]["isLatest"] for item in versions] == [True, False]
    audience.list_only(lead(), pinned.asset, "Only a few.")
    assert public.all() == []


def test_pages_search_and_time(org, pinned):
    for number in range(7):
        version = approved(make_server("https://x.example.com/mcp", slug=f"many-{number}"))
        publishing.publish(lead(), version.asset, "Anybody may.")
    public = RegistryClient(PUBLIC)
    assert len(public.names(limit=2)) == 7 == len(set(public.names(limit=3)))
    assert public.names(search="MANY-3") == [("com.example/many-3", "1.4.0")]
    assert public.names(search="nothing") == []
    assert public.names(updated_since="2999-01-01T00:00:00Z") == []
    assert len(public.names(updated_since="2020-01-01T00:00:00+02:00")) == 7


@pytest.mark.parametrize(
    "query",
    [{"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"cursor": "nonsense"}, {"updated_since": "yesterday"},
     {"search": "x" * 5000}, {"search": "a\tb"}, {"updated_since": "0001-01-01T00:00:00+23:00"}],
)  # fmt: skip
@pytest.mark.django_db
def test_bad_queries_are_400_with_one_sentence(query):
    response = RegistryClient(PUBLIC).get(**query)
    assert response.status_code == 400
    assert response.json()["error"].endswith(".")


def test_browsers_may_read_it(org, pinned):
    for path in (PUBLIC, FRAUD, f"{FRAUD}/com.example%2Fledger-query/versions/latest"):
        response = Client().options(path)
        assert response.status_code == 204
        assert response["Access-Control-Allow-Methods"] == "GET, OPTIONS"
        assert response["Access-Control-Allow-Headers"] == "Authorization, Content-Type"
    assert Client().post(PUBLIC).status_code == 405
    response = Client().get("/mcp/registry/v0.1/nothing")
    assert response.status_code == 404 and response.json() == {"error": "Not found"}


def test_the_number_of_queries_does_not_grow(org, api_for, django_assert_max_num_queries):
    api = api_for(org.dana, "catalog:read")
    for number in range(6):
        give(org, approved(make_server("https://x.example.com/mcp", slug=f"many-{number}")))
    with django_assert_max_num_queries(8):
        assert len(api.client.get(FRAUD).json()["servers"]) == 6


def test_models_are_no_servers(org):
    version = make_version()
    with pytest.raises(Exception, match="is a model"):
        publishing.publish(lead(), version.asset, "Anybody may.")
    with pytest.raises(Exception, match="is a model"):
        give(org, version)
