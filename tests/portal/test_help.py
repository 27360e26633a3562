"""Help of every page, guides, quick-starts that tick themselves, and the dot that goes away."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLResolver, get_resolver, reverse

from approvals import services as approvals
from portal import guide, help
from portal.helptexts import GUIDES, TEXTS
from projects.models import Membership, Preference, SavedView
from tests.conftest import Org
from tests.factories import engineer, make_pool, make_request
from tests.test_url_matrix import PAGES

ClientFor = Callable[[Any], Client]


def ticks(org: Org, person: Any, key: str) -> list[bool]:
    start = next(item for item in guide.quick_starts(org.principal(person)) if item.key == key)
    return [step.done for step in start.steps]


def test_every_page_explains_itself_in_two_paragraphs(org: Org, client_for: ClientFor) -> None:
    for route, (name, *paragraphs) in TEXTS.items():
        assert name in GUIDES and len(paragraphs) == 2, route
        assert all(20 < len(text) < 400 and text.endswith((".", "”")) for text in paragraphs), route
    page = client_for(org.dana).get("/catalog/").content.decode()
    drawer = page.split('class="gh-drawer"')[1].split("</aside>")[0]
    assert "Only approved versions can be requested" in drawer and 'href="/help/catalog/"' in drawer
    assert "<details" in page.split('class="gh-drawer"')[0].rsplit("<summary", 1)[0], "opens without JavaScript"


def pages(resolver: Any = None, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(route, name) of every page of the matrix that somebody can read."""
    for pattern in (resolver or get_resolver()).url_patterns:
        where = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from pages(pattern, where)
        elif where in PAGES and " 200" in PAGES[where].get and not where.startswith(("accounts/", "health/")):
            yield where, str(pattern.name)


def test_every_readable_page_has_its_own_words() -> None:
    """A new page comes with two paragraphs in portal/helptexts.py."""
    parts = {"home_card", "catalog_reports", "catalog_ml_bom"}  # parts of pages, and files
    assert sorted({name for _, name in pages()} - set(TEXTS) - parts) == []


def test_an_unknown_route_still_has_help() -> None:
    assert len(help.of_route("no-such-route")["paragraphs"]) == 2


@pytest.mark.parametrize("name", list(GUIDES))
def test_every_guide_is_a_page(org: Org, client_for: ClientFor, name: str) -> None:
    response = client_for(org.dana).get(f"/help/{name}/")
    page = response.content.decode()
    assert response.status_code == 200 and page.count("<h1") == 1 and "gh-guide" in page
    article = page.split('class="gh-prose gh-guide">')[1].split("</article>")[0]
    assert len(article) > 500 and "<script" not in article
    for target in re.findall(r'href="(/[^"#]*)', article):
        assert client_for(org.dana).get(target).status_code == 200, target
    assert not re.findall(r'href="[^"]*\.md', article), "a link to a file leads nowhere"


@pytest.mark.parametrize("name", ["nothing", "adr", "dependencies", "..", "catalog.md"])
def test_only_guides_are_served(org: Org, client_for: ClientFor, name: str) -> None:
    assert client_for(org.dana).get(f"/help/{name}/").status_code == 404


def test_signed_out_people_read_no_guide(client_for: ClientFor, db: None) -> None:
    assert client_for(None).get("/help/catalog/").status_code == 302


def test_links_between_guides_stay_in_the_portal() -> None:
    linked = help.LINK.sub(help._link, "[a](usage.md) [b](usage.md#x) [c](adr/0001.md) [d](../x.py) ![e](e.png)")
    assert linked == "[a](/help/usage/) [b](/help/usage/) c d e"
    assert help.LINK.sub(help._link, "[a](https://example.com)") == "[a](https://example.com)"


def test_first_endpoint_ticks_from_rows(org: Org) -> None:
    assert ticks(org, org.dana, "endpoint") == [False] * 5
    draft = make_request(org.dana, state="draft")
    assert ticks(org, org.dana, "endpoint") == [True, False, False, False, False]
    approvals.submit(org.principal(org.dana), draft)
    assert ticks(org, org.dana, "endpoint") == [True, True, False, False, False]
    assert ticks(org, org.omar, "endpoint") == [False] * 5, "somebody else's request is not mine"


def test_who_gets_which_checklist(org: Org) -> None:
    def keys(person: Any) -> list[str]:
        return [start.key for start in guide.quick_starts(org.principal(person))]

    assert keys(org.dana) == ["endpoint"]
    assert keys(org.omar) == ["endpoint", "project"]
    assert keys(org.pat) == ["platform"]
    assert keys(org.yasmine) == keys(org.aud) == ["governance"]
    assert keys(org.vic) == []


def test_deciders_and_owners_tick_too(org: Org) -> None:
    make_pool()
    assert ticks(org, org.pat, "platform") == [True, False, False]
    approvals.approve(engineer(), make_request(org.dana), reason="for a test")
    assert ticks(org, org.pat, "platform") == [True, True, False]
    assert ticks(org, org.ravi, "platform") == [True, False, False]
    assert ticks(org, org.omar, "project") == [True, False, False]
    Membership.objects.filter(project=org.fraud).exclude(user=org.omar).delete()
    assert ticks(org, org.omar, "project") == [False, False, False]
    SavedView.objects.create(person=org.aud, page="audit_list", name="Daily")
    assert ticks(org, org.aud, "governance") == [True]
    assert guide.quick_start(org.principal(org.aud)) == [], "what is complete is not shown again"


def test_one_query_for_all_checklists(org: Org) -> None:
    principal = org.principal(org.omar)
    with CaptureQueriesContext(connection) as seen:
        assert guide.quick_start(principal)
    assert len(seen) == 1


def test_help_page_lists_guides_and_checklists(org: Org, client_for: ClientFor) -> None:
    page = client_for(org.omar).get("/help/").content.decode()
    assert "Your first endpoint" in page and "0 of 5 done" in page and "Your project" in page
    assert all(f'href="/help/{name}/"' in page for name in GUIDES)


def test_the_dot_goes_when_the_news_are_read(org: Org, client_for: ClientFor) -> None:
    client = client_for(org.dana)
    page = client.get("/news/").content.decode()
    assert 'class="gh-dot"' in page and "Mark as read" in page and "Search everything" in page
    assert client.post("/news/read/", follow=True).redirect_chain == [("/news/", 302)]
    page = client.get("/news/").content.decode()
    assert 'class="gh-dot"' not in page and "Mark as read" not in page
    assert Preference.objects.get(person=org.dana).seen_news == guide.NEWS[0].version
    assert 'class="gh-dot"' in client_for(org.omar).get("/").content.decode(), "each person reads for themselves"


def test_news_lead_where_the_person_may_go(org: Org, client_for: ClientFor) -> None:
    assert 'href="/approvals/">The queue' not in client_for(org.dana).get("/news/").content.decode()
    assert 'href="/approvals/">The queue' in client_for(org.pat).get("/news/").content.decode()
    for release in guide.NEWS:
        assert release.pieces and len(release.version) <= 20
        assert all(reverse(piece.route) for piece in release.pieces if piece.route)
