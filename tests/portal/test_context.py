"""The frame: a menu of at most eight by role, keys that match it, counts by one query."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from portal import context
from projects.models import Membership, Notification
from tests.conftest import Org
from tests.factories import make_request

pytestmark = pytest.mark.slow

ClientFor = Callable[[Any], Client]
USE = ["Home", "Catalog", "Requests", "Endpoints", "Usage"]
MENUS = {
    "dana": [*USE, "Capacity"],
    "vic": [*USE, "Capacity"],
    "omar": [*USE, "Approvals", "Capacity", "Access"],  # an owner decides who else may call an endpoint
    "pat": ["Catalog", "Endpoints", "Approvals", "Capacity", "Insights", "Policies", "Access", "Audit"],
    "yasmine": ["Catalog", "Endpoints", "Approvals", "Capacity", "Insights", "Policies", "Access", "Audit"],
    "aud": [*USE[1:], "Insights", "Policies", "Access", "Audit"],
}


def menu(page: str) -> list[str]:
    sidebar = page.split('id="sidebar"')[1].split("</nav>")[0]
    return re.findall(r'nav__link-text">([^<]+)<', sidebar)


@pytest.mark.parametrize("name", list(MENUS))
def test_menu_by_role(org: Org, client_for: ClientFor, name: str) -> None:
    client = client_for(getattr(org, name))
    page = client.get("/").content.decode()
    assert menu(page) == MENUS[name] and len(MENUS[name]) <= context.MOST_ENTRIES
    links = re.findall(r'<a class="pf-v6-c-nav__link[^"]*" href="([^"]+)"', page)
    assert [client.get(link).status_code for link in links] == [200] * len(links), "no entry leads to a refusal"


def test_a_decider_who_also_asks_keeps_requests(org: Org, client_for: ClientFor) -> None:
    Membership.objects.create(project=org.fraud, user=org.pat, role="developer")
    assert menu(client_for(org.pat).get("/").content.decode()) == [
        "Catalog", "Requests", "Endpoints", "Approvals", "Insights", "Policies", "Access", "Audit",
    ]  # fmt: skip


def test_each_entry_has_its_own_key_and_the_map_lists_it(org: Org, client_for: ClientFor) -> None:
    page = client_for(org.pat).get("/").content.decode()
    keys = re.findall(r'data-go="(.)"', page)
    assert len(keys) == len(set(keys)) >= 8
    shown = page.split('class="gh-keys-list"')[1]
    assert all(f'<kbd class="gh-kbd">{key}</kbd>' in shown for key in keys)


def test_counts_cost_next_to_nothing(org: Org) -> None:
    make_request(org.dana)
    Membership.objects.create(project=org.fraud, user=org.pat, role="developer")
    make_request(org.pat)
    for number in range(3):
        Notification.objects.create(person=org.pat, kind="x", title="x", url="/", once=str(number))
    unread = Notification.objects.filter(person=org.pat, read_at=None).count()
    Notification.objects.filter(kind="x", once="0").update(read_at=timezone.now())
    page, other = org.request(org.pat), org.request(org.dana)
    with CaptureQueriesContext(connection) as seen:
        found = context.counts(page, decides=True)
    assert len(seen) == 2, "the numbers, and who lends to a reviewer"
    assert found == context.Counts(unread=unread - 1, waiting=1, news=True), "the own request is for others to decide"
    with CaptureQueriesContext(connection) as seen:
        assert context.counts(other, decides=False) == context.Counts(0, 0, True)
    assert len(seen) == 1


def test_a_part_asks_for_nothing_of_the_frame_around_it(org: Org, client_for: ClientFor) -> None:
    client = client_for(org.dana)
    asked = []
    for headers in ({}, {"HX-Request": "true"}):
        with CaptureQueriesContext(connection) as seen:
            page = client.get("/catalog/", headers=headers).content.decode()
        assert ("<html" in page) == (not headers)
        asked.append([one for one in seen.captured_queries if "projects_notification" in one["sql"]])
    assert len(asked[0]) == 1 and not asked[1]
