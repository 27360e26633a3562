"""MCP servers that projects were granted, in the explorer, in reviews, and when the person leaves who asked for one."""

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone

from approvals import services
from approvals.access import leaving
from approvals.access import review as reviews
from approvals.access.explain import Explorer
from approvals.access.sight import question, sight
from approvals.access.why import why
from approvals.models import AccessReviewItem, Outcome
from audit.models import Row
from catalog.mcp import grants
from catalog.mcp.granted import living_grants
from catalog.models import ServerGrant, Tool, Version
from projects.models import User
from projects.principal import Principal
from tests.catalog.mcp_kit import ACCOUNTS, QUERY, approved, make_server
from tests.conftest import Org
from tests.factories import engineer, make_request

pytestmark = [pytest.mark.slow, pytest.mark.django_db]

UNTIL = timezone.now().date() + dt.timedelta(days=60)


@pytest.fixture
def server(org: Org) -> Version:
    """An approved server with two pinned tools."""
    version = make_server("https://ledger.example.com/mcp")
    for tool in (ACCOUNTS, QUERY):
        Tool.objects.create(version=version, name=tool["name"], digest=f"sha256:{tool['name']}", definition=tool)
    return approved(version)


@pytest.fixture
def given(org: Org, server: Version) -> ServerGrant:
    """Asked for by dana, approved by pat."""
    asked = services.send(Principal.of(org.dana), {
        "kind": "mcp-access", "project": "fraud-detection", "asset": "ledger-query", "version": "1.4.0",
        "tools": ["list_accounts"], "purpose": "The desk's assistant.", "ends_on": UNTIL.isoformat(),
    })  # fmt: skip
    services.approve(Principal.of(org.pat), asked)
    return ServerGrant.objects.get()


def rows(reader: User, word: str = "invoke", **names: str) -> dict[str, list[str]]:
    """Who may do a word to the server, with the sentences why."""
    found = Explorer(sight(Principal.of(reader)), question(sight(Principal.of(reader)), **names)).rows(word=word)
    return {row.who: [way.sentence for way in row.through] for row in found if row.on.name == "ledger-query"}


def test_who_uses_which_tools_through_which_project_until_when(org: Org, given: ServerGrant, client_for: Any) -> None:
    found = rows(org.aud, asset="ledger-query")
    assert set(found) == {"dana", "omar", "vic"}, "members of the project, nobody else"
    (said,) = found["dana"]
    assert said.startswith("developer of fraud-detection since")
    assert "1 tool of ledger-query 1.4.0 (list_accounts), granted to fraud-detection until" in said
    page = client_for(org.pat).get("/access/?asset=ledger-query").content.decode()
    assert "1 tool of ledger-query 1.4.0" in page and "use it as a server" in page
    beside = rows(org.pat, project="fraud-detection")
    assert set(beside) == {"dana", "omar", "vic"}, "a project shows the servers that it may use"
    assert set(rows(org.pat, user="dana")) == {"dana"} and not rows(org.pat, user="cy")
    assert not rows(org.pat, word="see", project="fraud-detection"), "and says nothing else of them"


def test_an_owner_reads_it_of_the_own_project_only(org: Org, given: ServerGrant) -> None:
    assert set(rows(org.omar, asset="ledger-query")) == {"dana", "omar", "vic"}
    assert not rows(org.cy, asset="ledger-query"), "of another project nothing is said"
    assert set(rows(org.dana, asset="ledger-query", user="dana")) == {"dana"}


def test_what_ended_or_is_blocked_is_used_by_nobody(org: Org, given: ServerGrant, server: Version) -> None:
    ServerGrant.objects.update(ends_on=timezone.now().date() - dt.timedelta(days=1))
    assert not rows(org.pat, asset="ledger-query")
    ServerGrant.objects.update(ends_on=None)
    assert rows(org.pat, asset="ledger-query")
    grants.end(engineer(), given)
    assert not rows(org.pat, asset="ledger-query")


def test_a_token_needs_the_scope_with_which_clients_read_the_registry(org: Org, given: ServerGrant) -> None:
    reader = sight(Principal.of(org.pat))
    asked = Explorer(reader, question(reader, asset="ledger-query", user="dana"))
    assert why(asked, "invoke").allowed and "granted to fraud-detection" in why(asked, "invoke").sentence
    no = why(Explorer(reader, question(reader, asset="ledger-query", user="cy")), "invoke")
    assert not no.allowed and "no project that may use ledger-query" in no.sentence
    may = why(Explorer(reader, question(reader, asset="ledger-query", user="cy")), "request")
    assert may.allowed, "in the own project"


def test_it_is_an_entry_of_a_review_and_ends_with_its_reason(org: Org, given: ServerGrant, client_for: Any) -> None:
    whole = reviews.start(Principal.of(org.yasmine), name="Quarter", due_on=UNTIL)
    own = reviews.start(Principal.of(org.yasmine), name="Fraud", due_on=UNTIL, project=org.fraud)
    other = reviews.start(Principal.of(org.yasmine), name="Search", due_on=UNTIL, project=org.search)
    items = AccessReviewItem.objects.filter(kind="server")
    assert set(items.values_list("review", flat=True)) == {whole.pk, own.pk} and other.items.exists()
    item = own.items.get(kind="server")
    assert (item.holder, item.reviewer, item.project) == ("fraud-detection", None, None)
    assert f"1 tool of ledger-query 1.4.0 until {UNTIL}: The desk's assistant." in item.words
    page = client_for(org.yasmine).get(f"/access/reviews/{own.pk}/?kind=server").content.decode()
    assert "MCP server for a project" in page and "1 tool of ledger-query" in page
    said = reviews.decide(Principal.of(org.yasmine), item, "revoke", reason="Nobody uses it.")
    assert said.outcome == Outcome.REVOKE and not living_grants().exists()
    row = Row.objects.get(action="catalog.end_server_grant")
    assert (row.reason, row.via) == ("Nobody uses it.", "review")
    twin = whole.items.get(kind="server")
    assert reviews.decide(Principal.of(org.yasmine), twin, "keep").outcome == Outcome.GONE


def test_a_leaver_leaves_the_grants_that_they_asked_for(org: Org, given: ServerGrant, client_for: Any) -> None:
    make_request(org.omar, state="draft")
    found = leaving.preview(Principal.of(org.pat), org.dana)
    assert found.servers == ("fraud-detection/ledger-query",)
    assert leaving.preview(Principal.of(org.pat), org.omar).servers == ()
    page = client_for(org.pat).get("/people/dana/leave/").content.decode()
    assert "fraud-detection/ledger-query" in page and "still needed" in page
    leaving.leave(Principal.of(org.pat), org.dana, reason="Left.")
    assert living_grants().get() == given, "it is the project's"
    grants.end(engineer(), given)
    assert leaving.preview(Principal.of(org.pat), org.vic).servers == ()
