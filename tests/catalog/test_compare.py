"""Up to three versions side by side, and the ticks that lead there."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from catalog.models import VersionState
from tests.factories import FACTS, NEEDS, make_asset, make_profile, make_version

pytestmark = pytest.mark.slow

LIST, COMPARE = "/catalog/", "/catalog/compare/"


def text(response):
    return " ".join(response.content.decode().split())


def row(page, label):
    """The cells of one line of the table, without tags."""
    found = re.search(rf"<th[^>]*><span class=\"gh-two\"><span>{label}</span>(.*?)</tr>", page)
    assert found, label
    return [re.sub(r"<[^>]+>", " ", cell).split() for cell in re.findall(r"<td[^>]*>(.*?)</td>", found[1])], found[1]


@pytest.fixture
def two(org):
    small = make_version(asset=make_asset("small", name="Small", publisher="One"))
    big = make_version(
        asset=make_asset("big", name="Big", publisher="One"), version="2.0",
        needs={**NEEDS, "parameters": 30 * 10**9, "max_context_tokens": 32_768},
    )  # fmt: skip
    make_profile(gpus=1, memory_gib=24, slug="l4", price="1.00")
    make_profile(gpus=1, memory_gib=80, slug="h100", price="4.00")
    return small, big


def test_it_works(org, client_for, two):
    page = text(client_for(org.dana).get(f"{COMPARE}?v=small@1.0&v=big@2.0"))
    cells, line = row(page, "Parameters")
    assert cells == [["2.53", "B"], ["30.0", "B"]] and ">differs<" in line
    assert row(page, "Longest context")[0] == [["131,072", "tokens"], ["32,768", "tokens"]]
    cells, line = row(page, "Publisher")
    assert cells == [["One"], ["One"]] and "differs" not in line
    assert [cell[0] for cell in row(page, "l4")[0]] == ["Fits", "Does"]
    assert [cell[0] for cell in row(page, "h100")[0]] == ["Fits", "Fits"]
    cheapest, line = row(page, "Cheapest that fits")
    assert cheapest[0][-1] == "l4" and cheapest[1][-1] == "h100" and ">differs<" in line
    assert "?asset=small&amp;version=1.0" in page and "?asset=big&amp;version=2.0" in page


def test_evidence_and_tools(org, client_for):
    facts = FACTS | {
        "tools": [{"name": "search"}, {"name": "read"}],
        "remotes": [{"type": "sse", "url": "https://e.example"}],
    }
    one = make_version(asset=make_asset("one", kind="mcp-server"), facts=facts)
    type(one).objects.filter(pk=one.pk).update(needs={})
    two = make_version(asset=make_asset("two"))
    for version, verdict in ((one, "pass"), (two, "warn")):
        version.evidence.create(
            kind="licence", verdict=verdict, summary=f"It is {verdict}.", tool="t", collected_at=timezone.now()
        )
    page = text(client_for(org.dana).get(f"{COMPARE}?v=one@1.0&v=two@1.0"))
    assert row(page, "Tools")[0][0] == ["read,", "search", "2", "listed"]
    assert row(page, "Transport")[0] == [["SSE"], ["–"]]
    evidence = page[page.index("What was checked") :]
    assert "It is pass." in evidence and "It is warn." in evidence and ">differs<" in evidence


@pytest.mark.parametrize(
    "query", ["v=small@1.0&v=nothing@1.0", "v=small@9.9", "v=small", "v=@", "v=%00@1", "v=x@" + "y" * 99]
)
def test_what_is_unknown_is_one_sentence(org, client_for, two, query):
    response = client_for(org.dana).get(f"{COMPARE}?{query}")
    assert response.status_code == 404 and "There is no version" in text(response)


def test_a_hidden_version_looks_like_none(org, client_for, two):
    make_version(VersionState.DRAFT, asset=two[0].asset, version="3.0")
    hidden, unknown = (client_for(org.dana).get(f"{COMPARE}?v=small@{name}") for name in ("3.0", "4.0"))
    assert hidden.status_code == unknown.status_code == 404
    assert client_for(org.pat).get(f"{COMPARE}?v=small@3.0").status_code == 200


def test_more_than_three_are_refused_and_twice_is_once(org, client_for, two):
    client = client_for(org.dana)
    response = client.get(f"{COMPARE}?v=a@1&v=b@1&v=c@1&v=d@1")
    assert response.status_code == 422 and "choose at most 3" in text(response)
    assert text(client.get(f"{COMPARE}?v=small@1.0&v=small@1.0")).count('scope="col"') == 1


def test_none_and_one_say_what_to_do(org, client_for, two):
    assert "Nothing to compare yet" in text(client_for(org.dana).get(COMPARE))
    page = text(client_for(org.dana).get(f"{COMPARE}?v=small@1.0"))
    assert "Only one version is chosen" in page and ">differs<" not in page


def test_queries_do_not_grow(org, client_for, two):
    client = client_for(org.dana)

    def queries(address):
        client.get(address)
        with CaptureQueriesContext(connection) as seen:
            client.get(address)
        return len(seen)

    assert queries(f"{COMPARE}?v=small@1.0") == queries(f"{COMPARE}?v=small@1.0&v=big@2.0") <= 15


def test_ticks_ride_along_with_the_filters(org, client_for, two):
    client = client_for(org.dana)
    page = text(client.get(f"{LIST}?v=small@1.0"))
    assert "Tick one or two more" in page
    page = text(client.get(f"{LIST}?v=small@1.0&v=big@2.0&q=big"))
    assert f'href="{COMPARE}?v=small%401.0&amp;v=big%402.0"' in page and "Compare 2 versions" in page
    assert re.search(r'<input type="hidden" name="v" value="small@1.0" form="catalog-form">', page), (
        "not on this page, but not lost"
    )
    assert re.search(r'value="big@2.0" checked', page)


def test_a_fourth_tick_is_said_and_left_out(org, client_for):
    for number in range(5):
        make_version(asset=make_asset(f"a-{number}"))
    page = text(client_for(org.dana).get(LIST + "?" + "&".join(f"v=a-{number}@1.0" for number in range(4))))
    assert "the first 3 stay" in page and page.count(" checked>") == 3
    assert len(re.findall(r'name="v" value="[^"]*" disabled', page)) == 2
