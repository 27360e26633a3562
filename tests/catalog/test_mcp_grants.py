"""Grants of MCP servers: who gives and ends them, what replaces what, the end of the last day, the public registry."""

import datetime as dt
import json

import pytest
from django.utils import timezone

from audit.models import Row
from catalog.mcp import clients, grants, publishing
from catalog.mcp.granted import living_grants
from catalog.models import ServerGrant
from portal.errors import Conflict, Forbidden, Invalid
from projects.models import Notification
from projects.principal import Principal
from tests.catalog.mcp_kit import approved, make_server
from tests.factories import engineer, lead

TODAY = timezone.now().date


@pytest.fixture
def version(org):
    return approved(make_server("https://ledger.example.com/mcp"))


def give(org, version, tools=("list_accounts",), **more):
    return grants.grant(engineer(), version, org.fraud, tools=tools, **({"ends_on": None} | more))


def test_grant_tells_the_project_and_stands_in_the_audit_log(org, version):
    give(org, version, ["b", "a", "a"], reason="For the desk.")
    row = ServerGrant.objects.get()
    assert (row.tools, row.reason, row.granted_by) == (["a", "b"], "For the desk.", org.pat)
    audit = Row.objects.get(action="catalog.grant_server")
    assert (audit.project, json.loads(audit.after)["tools"]) == ("fraud-detection", ["a", "b"])
    told = Notification.objects.filter(kind="server.granted")
    assert {one.person.username for one in told} == {"dana", "omar"}
    assert all(one.url == "/projects/fraud-detection/mcp/" for one in told)


def test_a_later_grant_of_the_same_server_takes_its_place(org, version):
    first, second = give(org, version), give(org, version, ["query_transactions"])
    first.refresh_from_db()
    assert first.ended_at is not None and list(living_grants()) == [second]
    assert json.loads(Row.objects.filter(action="catalog.grant_server").latest("id").before)["tools"] == [
        "list_accounts"
    ]


def test_only_stewards_give(org, version):
    for person in (org.dana, org.omar, org.aud):
        with pytest.raises(Forbidden):
            grants.grant(Principal.of(person), version, org.fraud, tools=[], ends_on=None)


def test_owners_and_stewards_end_it_once(org, version):
    row = give(org, version)
    for person in (org.dana, org.vic, org.cy):
        with pytest.raises(Exception, match=r"may not see|need the role|no such"):
            grants.end(Principal.of(person), row)
    grants.end(Principal.of(org.omar), row, "No longer needed.")
    with pytest.raises(Conflict):
        grants.end(engineer(), row)
    assert Row.objects.get(action="catalog.end_server_grant").reason == "No longer needed."


def test_it_counts_on_its_last_day_and_not_after(org, version):
    give(org, version, ends_on=TODAY())
    assert living_grants().exists()
    assert not living_grants(TODAY() + dt.timedelta(days=1)).exists()
    ServerGrant.objects.update(ends_on=TODAY() - dt.timedelta(days=1))
    assert not living_grants().exists() and ServerGrant.objects.filter(ended_at=None).exists()
    assert grants.expire() == 1 and grants.expire() == 0
    assert Row.objects.get(action="catalog.end_server_grant").actor.startswith("system")


def test_bad_grants_name_the_field(org, version):
    with pytest.raises(Invalid, match="has passed"):
        give(org, version, ends_on=TODAY() - dt.timedelta(days=1))
    with pytest.raises(Invalid, match="the limit is 500"):
        give(org, version, [str(number) for number in range(501)])
    with pytest.raises(Invalid, match="control character"):
        give(org, version, ["a\0b"])
    with pytest.raises(Conflict, match="is draft"):
        give(org, make_server("https://x.example.com/mcp", slug="fresh"))


def test_publishing_is_for_stewards_and_stands_in_the_audit_log(org, version):
    with pytest.raises(Forbidden):
        publishing.publish(Principal.of(org.omar), version.asset, "Anybody may.")
    with pytest.raises(Invalid):
        publishing.publish(lead(), version.asset, "")
    publishing.publish(lead(), version.asset, "Anybody may.")
    with pytest.raises(Conflict):
        publishing.publish(lead(), version.asset, "Anybody may.")
    publishing.unpublish(lead(), version.asset)
    assert [row.action for row in Row.objects.filter(action__contains="publish").order_by("id")] == [
        "catalog.publish_server", "catalog.unpublish_server",
    ]  # fmt: skip


# --- Settings for clients ---------------------------------------------------------------------------------------------


def snippets(*rows):
    return {item["label"]: item["code"] for item in clients.snippets(rows)}


def test_settings_lead_to_the_server_and_hold_no_secret(org, version):
    found = snippets(give(org, version))
    address = {"type": "http", "url": "https://ledger.example.com/mcp"}
    assert json.loads(found["VS Code"]) == {"servers": {"ledger-query": address}}
    assert json.loads(found[".mcp.json"]) == {"mcpServers": {"ledger-query": address}}
    assert '"allowManagedMcpServersOnly": true' in found["Claude Code"]
    assert '"mcp__ledger-query__list_accounts"' in found["Claude Code"]
    assert '"serverUrl": "https://ledger.example.com/mcp*"' in found["Copilot"]
    assert "/mcp/registry/fraud-detection\n" in found["Copilot"]


def test_what_a_caller_must_bring_is_a_variable(org):
    auth = {"required": True, "kinds": ["api-key"], "header": "X-Key", "package_env": "LEDGER_KEY"}
    web = give(org, approved(make_server("https://ledger.example.com/mcp", slug="web", auth=auth)))
    package = give(org, approved(make_server(slug="local", auth=auth)))
    found = snippets(web, package)
    plain = json.loads(found[".mcp.json"])["mcpServers"]
    assert plain["web"]["headers"] == {"X-Key": "${WEB_X_KEY}"}
    assert plain["local"] == {
        "command": "npx",
        "args": ["-y", "@example/ledger@1.4.0"],
        "env": {"LEDGER_KEY": "${LEDGER_KEY}"},
    }
    code = json.loads(found["VS Code"])
    assert {item["id"] for item in code["inputs"]} == {"web_x_key", "ledger_key"}
    assert all(item["password"] for item in code["inputs"])
    assert '"serverCommand": [\n        "npx"' in found["Copilot"]


def test_nothing_is_said_of_what_cannot_be_reached(org):
    option = [{"type": "npm", "identifier": "--call=id", "version": "1.0"}]
    assert clients.snippets([give(org, approved(make_server(slug="option", packages=option)))]) == []
    row = give(org, approved(make_server(remotes=[{"type": "sse", "url": "https://x.example.com/sse"}], packages=[])))
    assert clients.snippets([row]) == []
