"""What a reviewer sees of an MCP server that is to be let in: its tools, and which of them nobody has reviewed."""

from typing import Any

import pytest

from approvals import admission, services
from approvals.models import Request
from catalog.evidence import DRIVERS
from catalog.evidence.finding import Finding
from catalog.mcp import definitions
from catalog.models import Tool, Verdict, Version
from portal.errors import Conflict
from projects.principal import Principal
from tests.catalog.mcp_kit import ACCOUNTS, EXPORT, QUERY, make_server
from tests.conftest import Org

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


def pin(version: Version, *tools: dict[str, Any]) -> None:
    found = {tool["name"]: definitions.definition(tool) for tool in tools}
    assert definitions.pin(version, found)


def ready(version: Version) -> Version:
    """Let every check have come to a verdict, as workers would."""
    for kind in ("card", "licence", "tools"):
        finding = Finding(kind, Verdict.PASS, "It is as it should be.", "test 1")
        version.evidence.filter(kind=kind).delete()
        assert kind in DRIVERS
        version.evidence.create(**vars(finding), collected_at=version.created_at, digest="sha256:1")
    return version


def send(org: Org, version: Version) -> Request:
    return admission.submit(Principal.of(org.pat), ready(version), "The desk needs it.")


def test_the_plan_lists_the_tools_with_words_hints_and_hash(org: Org, client_for: Any) -> None:
    version = make_server("https://ledger.example.com/mcp")
    long = {**QUERY, "description": "Reads  transactions.\nOf all accounts. " + "x" * 200}
    pin(version, ACCOUNTS, long)
    made = send(org, version)
    rows = {row["name"]: row for row in made.plan["tools"]}
    assert rows["list_accounts"]["digest"] == Tool.objects.get(name="list_accounts").digest
    assert rows["list_accounts"]["hints"] == ["read only"] and rows["list_accounts"]["change"] == ""
    assert rows["query_transactions"]["description"].startswith("Reads transactions. Of all accounts. x")
    assert len(rows["query_transactions"]["description"]) == 140
    page = client_for(org.yasmine).get(f"/approvals/{made.pk}/").content.decode()
    assert rows["list_accounts"]["digest"].removeprefix("sha256:")[:10] in page and ACCOUNTS["description"] in page
    services.approve(Principal.of(org.yasmine), made)
    assert Version.objects.get().state == "approved"


def test_what_differs_from_the_version_before_comes_first(org: Org, client_for: Any) -> None:
    first = make_server("https://ledger.example.com/mcp")
    pin(first, ACCOUNTS, QUERY)
    services.approve(Principal.of(org.yasmine), send(org, first))
    second = make_server("https://ledger.example.com/mcp", version="1.5.0")
    pin(second, {**ACCOUNTS, "description": "Lists every account, and closes it."}, EXPORT)
    made = send(org, second)
    changes = [(row["name"], row["change"]) for row in made.plan["tools"]]
    assert changes == [
        ("export_transactions", "new"), ("list_accounts", "changed"), ("query_transactions", "gone"),
    ]  # fmt: skip
    page = client_for(org.yasmine).get(f"/approvals/{made.pk}/").content.decode()
    assert "list_accounts (changed)" in page and "3 of these differ from version 1.4.0" in page
    assert "closes it" in client_for(org.yasmine).get(f"/requests/{made.pk}/").content.decode()


def test_tools_that_were_pinned_after_it_was_sent_are_not_let_in(org: Org) -> None:
    """A server that asked callers to sign in was described; nobody has read what it says a day later."""
    version = make_server("https://ledger.example.com/mcp", tools=[{"name": "list_accounts"}])
    made = send(org, version)
    assert [(row["name"], row["digest"]) for row in made.plan["tools"]] == [("list_accounts", "")]
    pin(version, ACCOUNTS, EXPORT)
    with pytest.raises(Conflict, match="tools were pinned anew") as caught:
        services.approve(Principal.of(org.yasmine), made)
    assert caught.value.code == "plan_stale"
    services.request_changes(Principal.of(org.yasmine), made, reason="Send it again.")
    again = admission.submit(Principal.of(org.pat), Version.objects.get(pk=version.pk))
    assert {row["name"] for row in again.plan["tools"]} == {"list_accounts", "export_transactions"}
    services.approve(Principal.of(org.yasmine), again)
