"""The catalog as a list like the others: saved views, a choice of columns, and the file of those columns."""

import csv
import io
import re
from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from catalog.models import Version
from projects import saved_views
from projects.models import SavedView
from projects.principal import Principal
from tests.conftest import Org
from tests.factories import make_asset, make_version

pytestmark = pytest.mark.slow

Clients = Callable[..., Client]
LIST, SAVE = "/catalog/", "/views/save/"


@pytest.fixture
def two(org: Org) -> list[Version]:
    """A model with a name that a spreadsheet would run, and a server."""
    return [
        make_version(asset=make_asset("chatty", name="=1+1", tasks=["chat", "code"])),
        make_version(asset=make_asset("server", name="Server", kind="mcp-server", tasks=["tools"])),
    ]


def heads(html: str) -> list[str]:
    """What stands over the columns."""
    return re.findall(r'<th class="[^"]*" scope="col">([^<]+)</th>', html)


def html_of(client: Client, query: str = "") -> str:
    answer = client.get(LIST + query)
    assert answer.status_code == 200
    return answer.content.decode()


def file_of(client: Client, query: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(client.get(LIST + query).content.decode())))


def test_a_saved_view_opens_the_same_list(org: Org, client_for: Clients, two: list[Version]) -> None:
    client = client_for(org.dana)
    here = "/catalog/?kind=model&task=chat&task=code&view=table&columns=asset%2Clicence"
    answer = client.post(SAVE, {"name": "Talkers", "next": f"{here}&page=1&v=chatty%401.0"}, follow=True)
    html = answer.content.decode()
    assert "The view Talkers is saved" in html and 'name="v" value="chatty@1.0" checked' in html, "the tick stays"
    view = SavedView.objects.get()
    assert (view.person, view.page, f"/catalog/?{view.query}") == (org.dana, "catalog_list", here)
    current = f'href="{here.replace("&", "&amp;")}" aria-current="true"'
    assert current in html
    again = html_of(client, f"?{view.query}")
    assert current in again and heads(again) == ["Asset", "Licence"] and "=1+1" in again and ">Server<" not in again
    assert current in html_of(client, "?columns=asset%2Clicence&task=code&task=chat&kind=model&view=table&sort=name")
    assert current not in html_of(client, "?kind=model") and "Talkers" in html_of(client, "?kind=model")
    assert "Talkers" not in client.get("/endpoints/").content.decode()
    assert "Talkers" not in html_of(client_for(org.omar))


def test_the_fifty_first_view_is_refused(org: Org, client_for: Clients) -> None:
    client = client_for(org.dana)
    for number in range(saved_views.MAX_VIEWS):
        saved_views.save_view(Principal.of(org.dana), name=f"view {number}", address="/catalog/?kind=model")
    refused = client.post(SAVE, {"name": "one more", "next": LIST})
    sentence = "You have 50 saved views of this list; delete one first."
    assert refused.status_code == 409 and sentence in refused.content.decode()
    assert SavedView.objects.count() == 50 and sentence in html_of(client)


def test_columns_are_chosen_in_the_address(org: Org, client_for: Clients, two: list[Version]) -> None:
    client = client_for(org.dana)
    usual = html_of(client, "?view=table")
    assert heads(usual) == ["Asset", "State", "Kind", "Facts", "Trust"] and 'aria-label="Columns"' in usual
    assert 'aria-label="Columns"' not in html_of(client), "cards have none"
    html = html_of(client, "?view=table&columns=tasks&columns=parameters&columns=memory&columns=context&columns=added")
    assert heads(html) == ["Asset", "Tasks", "Parameters", "Longest context", "GPU memory", "Added"]
    assert 'data-label="Tasks">chat, code</td>' in html and 'data-label="State"' not in html
    assert "2.53 B</td>" in html or re.search(r'data-label="Parameters">[\d.]+ [BM]</td>', html)
    carried = "columns=asset%2Ctasks%2Cparameters%2Ccontext%2Cmemory%2Cadded"
    assert f'href="/catalog/?{carried}"' in html, "to the cards and back"
    assert 'name="columns" value="asset,tasks,parameters,context,memory,added"' in html, "the filters keep them"
    part = client.get(f"{LIST}?view=table&kind=model&{carried}", headers={"HX-Request": "true"})
    assert part["HX-Push-Url"] == f"/catalog/?kind=model&view=table&{carried}"
    assert f'href="/catalog/?view=table&amp;{carried}"' in part.content.decode(), "and so does taking a filter away"
    every = client.get(f"{LIST}?columns=asset,state,kind,facts,trust", headers={"HX-Request": "true"})
    assert every["HX-Push-Url"] == "/catalog/?", "the usual ones are not written down"


@pytest.mark.parametrize(
    ("wanted", "left", "shown"),
    [
        ("nonsense", "the usual ones", ["Asset", "State", "Kind", "Facts", "Trust"]),
        ("licence,nonsense,%3Cb%3E", "the others", ["Asset", "Licence"]),
    ],
)
def test_an_unknown_column_is_said_in_one_sentence(
    org: Org, client_for: Clients, two: list[Version], wanted: str, left: str, shown: list[str]
) -> None:
    html = html_of(client_for(org.dana), f"?view=table&columns={wanted}")
    assert html.count("There is no column “") == html.count(f"There is no column “nonsense”; {left} are shown.") == 1
    assert heads(html) == shown


def test_the_file_holds_every_fact_or_the_chosen_ones(org: Org, client_for: Clients, two: list[Version]) -> None:
    client = client_for(org.dana)
    every = {"slug", "name", "version", "publisher", "state", "kind", "licence", "evidence", "parameters",
             "context_tokens", "needed_bytes", "tasks", "added"}  # fmt: skip
    assert set(file_of(client, "?format=csv")[0]) == every
    assert set(file_of(client, "?view=table&format=csv")[0]) == every
    chosen = file_of(client, "?kind=model&columns=facts,parameters,tasks&format=csv")
    assert [tuple(line) for line in chosen] == [
        ("slug", "name", "version", "publisher", "parameters", "context_tokens", "needed_bytes", "tasks")
    ]
    assert (chosen[0]["name"], chosen[0]["tasks"]) == ("'=1+1", "chat, code"), "no formula"
    assert file_of(client, "?kind=mcp-server&format=csv")[0]["tasks"] == "tools"
    assert "CSV of all 2 assets" in html_of(client) and "CSV of all 1 asset" in html_of(client, "?kind=model")


def test_views_and_columns_cost_one_query(org: Org, client_for: Clients, two: list[Version]) -> None:
    client = client_for(org.dana)
    for number in range(5):
        saved_views.save_view(Principal.of(org.dana), name=f"view {number}", address="/catalog/?kind=model")
    query = f"{LIST}?view=table&columns=licence,tasks,memory,added"
    client.get(query)
    with CaptureQueriesContext(connection) as seen:
        client.get(query)
    assert sum("savedview" in one["sql"] for one in seen) == 1
    assert sum('FROM "catalog_' in one["sql"] for one in seen) <= 5 and len(seen) <= 15
