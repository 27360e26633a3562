"""Tab “Tools” of an MCP server: pins, states, what changed before and after, remarks, the public registry."""

import pytest
from django.utils import timezone

from catalog.evidence.tools import CHANGED
from catalog.models import Asset, Evidence, Tool, Verdict
from tests.catalog.mcp_kit import ACCOUNTS, EXPORT, QUERY, approved, make_server

ALTERED = QUERY | {"description": "Returns transactions of one account between two times.\nAt most 5,000 rows."}
TAB = "/catalog/ledger-query/?tab=tools"


@pytest.fixture
def server(org):
    version = make_server("https://ledger.example.com/mcp")
    for tool in (ACCOUNTS, QUERY):
        Tool.objects.create(version=version, name=tool["name"], digest=f"sha256:{'ab' * 32}", definition=tool)
    return approved(version)


def found(version, **report):
    Evidence.objects.create(
        version=version, kind="tools", verdict=Verdict.FAIL, summary="It answers with other tools than were pinned.",
        tool="t", report=report, collected_at=timezone.now(),
    )  # fmt: skip


def test_pinned_tools_show_hints_and_the_digest_to_copy(org, server, client_for):
    page = client_for(org.cy).get(TAB).content.decode()
    for words in ("list_accounts", "read only", "Pinned", f"sha256:{'ab' * 32}", "abab…ab", "Tools of 1.4.0"):
        assert words in page


def test_changes_show_both_sides_and_every_state(org, server, client_for):
    remark = {"rule": "mcp-004", "tool": "query_transactions", "verdict": "fail", "title": "Tells the model to read",
              "quote": "“read <script>alert(1)</script>”", "fix": "Drop it."}  # fmt: skip
    found(
        server, code=CHANGED, changed={"query_transactions": {"before": QUERY, "after": ALTERED}},
        new={"export_transactions": EXPORT}, missing={"list_accounts": ACCOUNTS}, lint=[remark],
    )  # fmt: skip
    page = client_for(org.dana).get(TAB).content.decode()
    assert "tool_definition_changed" in page
    assert '<div class="pf-m-del">- At most 500 rows. Card numbers are masked.</div>' in page
    assert '<div class="pf-m-add">+ At most 5,000 rows.</div>' in page
    for words in ("Changed", "New", "Missing", "destructive", "no pin", "mcp-004"):
        assert words in page
    assert "<script>alert(1)" not in page


def test_described_tools_say_so(org, client_for):
    approved(make_server(tools=[{"name": "list_accounts", "description": "Lists."}]))
    page = client_for(org.dana).get(TAB).content.decode()
    assert "Described" in page and "no hint given" in page and "no pin" in page


def test_only_stewards_publish_and_everybody_reads_that_it_is_public(org, server, client_for):
    url, form = "/catalog/ledger-query/registry/", {"public": "1", "reason": "Anybody may."}
    assert url not in client_for(org.omar).get(TAB).content.decode()
    assert client_for(org.omar).post(url, form).status_code == 403
    yasmine = client_for(org.yasmine)
    assert url in yasmine.get(TAB).content.decode()
    yasmine.post(url, {"public": "1", "reason": ""})
    assert not Asset.objects.get(slug="ledger-query").registry_public
    assert yasmine.post(url, form).status_code == 302
    assert Asset.objects.get(slug="ledger-query").registry_public
    assert "Anybody may read of this server" in client_for(org.cy).get(TAB).content.decode()


def test_constant_queries(org, server, client_for, django_assert_max_num_queries):
    client = client_for(org.dana)
    client.get(TAB)
    for number in range(30):
        Tool.objects.create(version=server, name=f"tool-{number}", digest="sha256:x", definition={"name": "x"})
    with django_assert_max_num_queries(15):
        client.get(TAB)
