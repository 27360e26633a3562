"""Access to an MCP server: asking by API and form, the plan with hints and pins, one review, the grant, who sees it."""

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone

from approvals.models import Request
from catalog import services as catalog
from catalog.mcp import grants
from catalog.models import Evidence, ServerGrant, Tool, Verdict
from projects.models import Notification
from tests.catalog.mcp_kit import ACCOUNTS, EXPORT, QUERY, approved, make_server
from tests.factories import engineer, lead, make_asset, make_version

pytestmark = pytest.mark.slow

SCOPES = ("requests:read", "requests:write", "catalog:read")
NAMES = ["export_transactions", "list_accounts", "query_transactions"]


@pytest.fixture
def server(org):
    """An approved server with three pinned tools, one of which destroys."""
    version = make_server("https://ledger.example.com/mcp")
    for tool in (ACCOUNTS, QUERY, EXPORT):
        Tool.objects.create(version=version, name=tool["name"], digest=f"sha256:{tool['name']}", definition=tool)
    return approved(version)


def body(**fields):
    return {
        "kind": "mcp-access",
        "project": "fraud-detection",
        "asset": "ledger-query",
        "version": "1.4.0",
        "tools": ["list_accounts"],
        "purpose": "The desk's assistant looks accounts up.",
        "ends_on": (timezone.now().date() + dt.timedelta(days=60)).isoformat(),
    } | fields


def verdicts(plan):
    return {check["id"]: check["verdict"] for check in plan["checks"]}


def test_asking_and_one_review_grant_it(org, server, api_for):
    dana, pat = api_for(org.dana, *SCOPES), api_for(org.pat, *SCOPES, "approvals:decide")
    asked = dana.post("/requests", body())
    assert asked.status_code == 201, asked.content
    shown = asked.json()
    assert (shown["kind"], shown["name"], shown["tools"]) == ("mcp-access", "ledger-query", ["list_accounts"])
    assert shown["plan"]["tools"] == [
        {"name": "list_accounts", "digest": "sha256:list_accounts", "hints": ["read only"]}
    ]
    assert shown["plan"]["stages"][0]["count"] == 1
    assert Notification.objects.filter(kind="request.submitted", person=org.pat).exists()
    decided = pat.post(f"/requests/{shown['id']}/decisions", {"decision": "approve", "reason": "Fine."})
    assert decided.status_code == 200, decided.content
    row = ServerGrant.objects.get()
    assert (row.project, row.version, row.tools, row.reference) == (
        org.fraud,
        server,
        ["list_accounts"],
        shown["number"],
    )
    done = dana.get(f"/requests/{shown['id']}").json()
    assert done["state"] == "approved" and [stage["state"] for stage in done["stages"]] == ["approved", "done"]


def test_the_four_fields_of_the_contract_are_enough(org, server, api_for):
    short = {name: body()[name] for name in ("kind", "project", "asset", "version", "tools")}
    made = api_for(org.dana, *SCOPES).post("/requests", short)
    assert made.status_code == 201
    assert verdicts(made.json()["plan"])["srv-006"] == "warn"


def test_without_tools_all_that_it_lists_are_meant(org, server, api_for):
    nothing: list[Any] = [[], None]
    for empty in nothing:
        plan = api_for(org.dana, *SCOPES).post("/requests/check", body(tools=empty)).json()
        assert [tool["name"] for tool in plan["tools"]] == NAMES
        assert verdicts(plan)["srv-003"] == "warn"  # one of them destroys


def test_the_plan_says_what_is_not_known(org, api_for):
    version = approved(make_server(tools=[{"name": "list_accounts", "read_only_hint": True}, {"name": "other"}]))
    plan = api_for(org.dana, *SCOPES).post("/requests/check", body(tools=[])).json()
    assert [tool["digest"] for tool in plan["tools"]] == ["", ""]
    assert (verdicts(plan)["srv-002"], verdicts(plan)["srv-003"]) == ("warn", "warn")
    assert version.asset.slug == plan["asset"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"asset": "nothing"}, "asset"),
        ({"version": "9"}, "version"),
        ({"project": "search-ranking"}, "project"),
        ({"project": None}, "project"),
        ({"asset": None}, "asset"),
        ({"tools": ["x"] * 501}, "tools"),
        ({"tools": ["x" * 200]}, "tools"),
        ({"tools": ["a\tb"]}, "tools"),
        ({"tools": [1]}, "tools.0"),
        ({"tools": "list_accounts"}, "tools"),
        ({"ends_on": "2001-01-01"}, "ends_on"),
        ({"purpose": "x" * 3000}, "purpose"),
        ({"replicas": 2}, "replicas"),
    ],
)
def test_bad_input_names_the_field(org, server, api_for, fields, field):
    for path in ("/requests", "/requests/check"):
        response = api_for(org.dana, *SCOPES).post(path, body(**fields))
        assert response.status_code == 422, response.content
        assert field in {error["field"] for error in response.json()["errors"]}
    assert not Request.objects.exists()


def test_tools_that_it_does_not_list_are_refused_with_those_that_it_does(org, server, api_for):
    api, asked = api_for(org.dana, *SCOPES), body(tools=["drop_table", "list_accounts"])
    assert verdicts(api.post("/requests/check", asked).json())["srv-001"] == "fail"
    refused = api.post("/requests", asked)
    assert (refused.status_code, refused.json()["code"]) == (422, "checks_failed")
    assert "drop_table" in refused.json()["errors"][0]["message"] and "list_accounts" in refused.json()["detail"]


def test_a_model_is_no_server_and_a_server_no_model(org, server, api_for):
    make_version(asset=make_asset("tiny"))
    api = api_for(org.dana, *SCOPES)
    assert "asset" in {
        error["field"] for error in api.post("/requests", body(asset="tiny", version="1.0")).json()["errors"]
    }


def test_only_approved_versions_without_failed_evidence_are_granted(org, server, api_for):
    api, pat = api_for(org.dana, *SCOPES), api_for(org.pat, *SCOPES, "approvals:decide")
    made = api.post("/requests", body()).json()
    Evidence.objects.create(
        version=server, kind="tools", verdict=Verdict.FAIL, summary="It answers with other tools.", tool="t",
        collected_at=timezone.now(),
    )  # fmt: skip
    refused = pat.post(f"/requests/{made['id']}/decisions", {"decision": "approve"})
    assert (refused.status_code, refused.json()["code"]) == (409, "plan_stale")
    assert api.post("/requests", body(ends_on=None)).status_code == 422
    Evidence.objects.filter(verdict=Verdict.FAIL).delete()
    catalog.block(lead(), server, "A finding.")
    assert pat.post(f"/requests/{made['id']}/decisions", {"decision": "approve"}).status_code == 409
    assert not ServerGrant.objects.exists()


def test_nobody_asks_twice_and_a_later_grant_takes_the_place(org, server, api_for):
    api, pat = api_for(org.dana, *SCOPES), api_for(org.pat, *SCOPES, "approvals:decide")
    first = api.post("/requests", body()).json()
    again = api.post("/requests", body(tools=["query_transactions"]))
    assert (again.status_code, again.json()["code"]) == (409, "already_asked")
    pat.post(f"/requests/{first['id']}/decisions", {"decision": "approve"})
    second = api.post("/requests", body(tools=["query_transactions"])).json()
    assert second["plan"]["replaces"] == "version 1.4.0, 1 tool"
    pat.post(f"/requests/{second['id']}/decisions", {"decision": "approve"})
    assert ServerGrant.objects.get(ended_at=None).tools == ["query_transactions"]


def test_who_may_ask_and_decide(org, server, api_for):
    assert api_for(org.vic, *SCOPES).post("/requests", body()).status_code == 422
    assert api_for(org.cy, *SCOPES).post("/requests", body()).status_code == 422
    made = api_for(org.dana, *SCOPES).post("/requests", body()).json()
    for person, status in ((org.omar, 403), (org.dana, 403), (org.cy, 404), (org.aud, 403)):
        api = api_for(person, *SCOPES, "approvals:decide")
        assert api.post(f"/requests/{made['id']}/decisions", {"decision": "approve"}).status_code == status
    assert not ServerGrant.objects.exists()


# --- Pages ------------------------------------------------------------------------------------------------------------


def test_the_form_fills_in_the_tools_and_sends(org, server, client_for):
    dana = client_for(org.dana)
    page = dana.get("/requests/new/?kind=mcp-access&asset=ledger-query&version=1.4.0")
    text = page.content.decode()
    assert page.status_code == 200 and "Ledger Query 1.4.0" in text
    assert "\n".join(NAMES) in text and "all pinned" in text
    form = {
        "kind": "mcp-access", "project": "fraud-detection",
        "server": "ledger-query@1.4.0", "begun": "ledger-query@1.4.0",
        "tools": "list_accounts\r\nquery_transactions\r\n", "ends_on": body()["ends_on"], "purpose": "For the desk.",
    }  # fmt: skip
    plan = dana.post("/requests/new/?kind=mcp-access", form | {"action": "plan"})
    assert "com.example/ledger-query" in plan.content.decode()
    wrong = dana.post("/requests/new/?kind=mcp-access", form | {"action": "send", "tools": "drop_table"})
    assert wrong.status_code == 422 and "drop_table" in wrong.content.decode()
    sent = dana.post("/requests/new/?kind=mcp-access", form | {"action": "send"})
    assert sent.status_code == 302
    made = Request.objects.get()
    assert made.body["tools"] == ["list_accounts", "query_transactions"]
    assert "list_accounts, query_transactions" in dana.get(sent["Location"]).content.decode()
    assert "list_accounts\nquery_transactions" in dana.get(f"/requests/new/?from={made.pk}").content.decode()


def test_the_way_from_the_catalog_to_the_clients_settings(org, server, client_for):
    dana, pat = client_for(org.dana), client_for(org.pat)
    page = dana.get("/catalog/ledger-query/?tab=tools").content.decode()
    assert "Request this server" in page and "kind=mcp-access&amp;asset=ledger-query&amp;version=1.4.0" in page
    assert "Connect" not in page
    form = {"project": "fraud-detection", "server": "ledger-query@1.4.0", "tools": "", "purpose": "x", "action": "send"}
    dana.post("/requests/new/?kind=mcp-access", form)
    made = Request.objects.get()
    queue = pat.get(f"/approvals/{made.pk}/").content.decode()
    assert "may destroy something" in queue and "Approving lets fraud-detection use Ledger Query 1.4.0" in queue
    assert pat.post(f"/approvals/{made.pk}/approve/", {"reason": ""}).status_code in {200, 302}
    made.refresh_from_db()
    assert made.state == "approved"
    assert "Connect a client" in dana.get(f"/requests/{made.pk}/").content.decode()
    page = dana.get("/catalog/ledger-query/?tab=tools").content.decode()
    assert ".vscode/mcp.json" in page and "https://ledger.example.com/mcp" in page
    mine = dana.get("/projects/fraud-detection/mcp/").content.decode()
    assert "Ledger Query" in mine and "export_transactions" in mine and made.number in mine
    stranger = client_for(org.cy)
    assert "Connect" not in stranger.get("/catalog/ledger-query/?tab=tools").content.decode()
    assert stranger.get("/projects/fraud-detection/mcp/").status_code == 404


def test_owners_end_a_grant_from_the_list(org, server, client_for):
    row = grants.grant(engineer(), server, org.fraud, tools=["list_accounts"], ends_on=None)
    url = f"/projects/fraud-detection/mcp/{row.pk}/end/"
    assert url not in client_for(org.dana).get("/projects/fraud-detection/mcp/").content.decode()
    assert client_for(org.dana).post(url).status_code == 403
    assert client_for(org.cy).post(url).status_code == 404
    assert url in client_for(org.omar).get("/projects/fraud-detection/mcp/").content.decode()
    assert client_for(org.omar).post(url).status_code == 302
    assert client_for(org.omar).post(url).status_code == 409
    assert "No MCP server yet" in client_for(org.omar).get("/projects/fraud-detection/mcp/").content.decode()
