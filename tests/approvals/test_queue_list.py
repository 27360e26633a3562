"""The queue as a list: filters, order, what stays over a decision, many decisions at once, the file."""

import csv
import datetime as dt
import io
import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone

from approvals import services
from approvals.models import Decision, Request, RequestState
from catalog import services as catalog
from tests.approvals.test_queue import aged, places
from tests.conftest import Org
from tests.factories import lead, make_asset, make_profile, make_request, make_version

pytestmark = pytest.mark.slow

Clients = Callable[..., Client]
HTMX = {"HX-Request": "true"}
BULK = "/approvals/bulk/"
DAY = dt.timedelta(days=1)


@pytest.fixture
def three(org: Org) -> list[Request]:
    """Three of dana's, oldest first; the second one for staging."""
    version, profile = make_version(asset=make_asset("zeta", name="Zeta")), make_profile()
    other = make_version(asset=make_asset("alpha", name="Alpha"))
    return [
        aged(make_request(org.dana, version=version, profile=profile, name="first"), days=3),
        aged(make_request(org.dana, version=other, profile=profile, name="second", environment="staging"), days=2),
        aged(make_request(org.omar, version=version, profile=profile, name="third"), days=1),
    ]


def shown(html: str) -> list[str]:
    return re.findall(r">(R-\d+)</a>", html)


def ticks(html: str) -> list[str]:
    return re.findall(r'name="id" value="(\d+)"', html)


def test_filters_and_order(org: Org, client_for: Clients, three: list[Request]) -> None:
    client, (first, second, third) = client_for(org.pat), three
    numbers = {name: item.number for name, item in (("first", first), ("second", second), ("third", third))}
    for query, expected in (
        ("", ["first", "second", "third"]),
        ("sort=age", ["third", "second", "first"]),
        ("sort=what", ["second", "first", "third"]),
        ("q=seco", ["second"]),
        ("q=omar", ["third"]),
        ("q=alpha", ["second"]),
        ("q=fraud-det", ["first", "second", "third"]),
        ("q=zeta", ["first", "third"]),
        ("q=nobody", []),
        (f"q={third.number.lower()}", ["third"]),
        ("environment=staging", ["second"]),
        ("kind=endpoint", ["first", "second", "third"]),
        ("kind=renewal", []),
    ):
        html = client.get(f"/approvals/?{query}").content.decode()
        assert shown(html) == [numbers[name] for name in expected], query
    html = client.get("/approvals/?kind=renewal").content.decode()
    assert "No request matches" in html and "of 3 open" in html  # the strip counts all that wait
    assert 'aria-sort="descending"' in client.get("/approvals/").content.decode()


def test_own_ones_can_be_left_out(org: Org, client_for: Clients, three: list[Request]) -> None:
    org.fraud.memberships.create(user=org.pat, role="developer")
    own = make_request(org.pat, name="own")
    html = client_for(org.pat).get("/approvals/").content.decode()
    assert own.number in shown(html) and str(own.pk) not in ticks(html)
    assert own.number not in shown(client_for(org.pat).get("/approvals/?mine=1").content.decode())


def test_totals_and_the_menu_say_what_the_list_shows(org: Org, client_for: Clients, three: list[Request]) -> None:
    """They are counted once, for the numbers over the list; the menu counts all projects, whichever is chosen."""
    org.fraud.memberships.create(user=org.pat, role="developer")
    make_request(org.pat, name="own")
    aged(three[0], days=30)
    client = client_for(org.pat)
    for chosen in ("", "search-ranking"):
        client.post("/projects/switch/", {"project": chosen})
        for query, of_all in (("", 4), ("mine=1", 3), ("overdue=1", 1), ("mine=1&q=first", 1)):
            html = client.get(f"/approvals/?{query}").content.decode()
            total = 0 if chosen else of_all
            assert len(shown(html)) == total, (chosen, query)
            assert f'data-announce="{total} request{"s wait" if total != 1 else " waits"}.' in html, (chosen, query)
            assert 'gh-nav-count">3<' in html, (chosen, query)


def test_filters_stay_from_row_to_row_and_over_a_decision(org: Org, client_for: Clients, three: list[Request]) -> None:
    """The next one is the next one of the filtered list in its order; the address says so to htmx as well."""
    client, (first, second, third) = client_for(org.pat), three
    html = client.get("/approvals/?environment=dev&sort=age").content.decode()
    [url] = set(re.findall(rf'href="(/approvals/{third.pk}/[^"]*)"', html))
    assert url == f"/approvals/{third.pk}/?environment=dev&amp;sort=age"
    opened = client.get(url.replace("&amp;", "&"), headers=HTMX)
    assert opened["HX-Push-Url"] == url.replace("&amp;", "&") and second.number not in opened.content.decode()
    [decide] = set(re.findall(r'formaction="([^"]*/reject/[^"]*)"', opened.content.decode()))
    answer = client.post(decide.replace("&amp;", "&"), {"reason": "No."})
    assert answer["Location"] == f"/approvals/{first.pk}/?environment=dev&sort=age"
    refused = client.post(f"/approvals/{first.pk}/reject/?environment=dev", {"reason": ""})
    assert refused.status_code == 422 and ticks(refused.content.decode()) == [str(first.pk)]
    last = client.post(f"/approvals/{first.pk}/reject/?environment=dev", {"reason": "No."}, follow=True)
    assert last.redirect_chain == [("/approvals/?environment=dev", 302)]
    assert "Nothing else waits for you." in last.content.decode()


def test_htmx_gets_the_list_alone_with_a_short_address(org: Org, client_for: Clients, three: list[Request]) -> None:
    answer = client_for(org.pat).get("/approvals/?q=first&kind=&environment=&sort=-age", headers=HTMX)
    html = answer.content.decode()
    assert "<html" not in html and html.count('id="list"') == 1 and answer["HX-Push-Url"] == "/approvals/?q=first"


def test_many_are_decided_at_once(org: Org, client_for: Clients, three: list[Request]) -> None:
    """One result per row: done, stale, own, decided meanwhile, hidden; the others are not touched by a refusal."""
    first, second, third = three
    org.fraud.memberships.create(user=org.pat, role="developer")
    own = make_request(org.pat, name="own")
    services.reject(org.principal(org.ravi), third, reason="No.")
    assert second.version is not None
    catalog.block(lead(), second.version, reason="CVE")
    ids = [str(one.pk) for one in (first, second, third, own)] + ["987654", "x\0y", "9" * 30]
    answer = client_for(org.pat).post(BULK, {"action": "approve", "id": ids, "reason": "Batch of Saturday."})
    html = re.sub(r"\s+", " ", answer.content.decode())
    assert answer.status_code == 200 and "1 of 7 done, 6 refused" in html
    for words in (
        "It is approved",
        "The plan is stale",
        "is rejected already",
        "Nobody decides on an own request",
        "There is no such request, or you may not see it.",
    ):
        assert words in html
    decision = Decision.objects.exclude(reviewer=org.ravi).get()
    assert decision.request == first and decision.reason == "Batch of Saturday."
    states = {one.pk: Request.objects.get(pk=one.pk).state for one in (first, second, own)}
    assert states == {first.pk: "approved", second.pk: "submitted", own.pk: "submitted"}


@pytest.mark.parametrize("verb", ["reject", "request_changes"])
def test_no_without_a_reason_is_refused_row_by_row(
    org: Org, client_for: Clients, three: list[Request], verb: str
) -> None:
    ids = [str(item.pk) for item in three]
    client = client_for(org.pat)
    html = client.post(BULK, {"action": verb, "id": ids, "reason": "  "}).content.decode()
    assert html.count("Write a reason") == 3 and not Decision.objects.exists()
    html = client.post(BULK, {"action": verb, "id": ids, "reason": "Not now."}).content.decode()
    assert "3 of 3 done" in html and Decision.objects.filter(decision=verb, reason="Not now.").count() == 3
    assert not Request.objects.filter(state=RequestState.SUBMITTED).exists()


def test_the_bar_needs_ticks_and_a_known_action(org: Org, client_for: Clients, three: list[Request]) -> None:
    client, ids = client_for(org.pat), [str(item.pk) for item in three]
    for form, words in (
        ({"action": "approve"}, "Nothing is ticked"),
        ({"action": "delete", "id": ids}, "approve, request_changes, reject"),
        ({"action": "approve", "id": [str(number) for number in range(101)]}, "101 rows are ticked"),
    ):
        answer = client.post(BULK, form)
        assert answer.status_code == 422 and words in answer.content.decode()
    assert client.get(BULK).status_code == 405
    assert client_for(org.dana).post(BULK, {"action": "approve", "id": ids}).status_code == 403
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(org.pat)
    assert strict.post(BULK, {"action": "approve", "id": ids}).status_code == 403
    assert not Decision.objects.exists()


def test_results_lead_back_to_the_filtered_queue(org: Org, client_for: Clients, three: list[Request]) -> None:
    form = {"action": "reject", "id": str(three[0].pk), "reason": "No.", "next": "/approvals/?environment=dev"}
    html = client_for(org.pat).post(BULK, form).content.decode()
    assert 'href="/approvals/?environment=dev"' in html and f'href="/requests/{three[0].pk}/"' in html
    html = client_for(org.pat).post(BULK, form | {"next": "https://evil.example/"}).content.decode()
    assert "evil.example" not in html


def test_enter_in_the_reason_decides_nothing(org: Org, client_for: Clients, three: list[Request]) -> None:
    """A disabled button stands first in the form: that is what Enter presses."""
    html = client_for(org.pat).get("/approvals/").content.decode()
    form = html.partition('id="bulk"')[2].partition("</form>")[0]
    assert re.findall(r"<button[^>]*>", form)[0].endswith("disabled hidden>")
    assert re.search(r'value="approve" formnovalidate', form) and 'name="reason" required' in form


def test_columns_are_chosen(org: Org, client_for: Clients, three: list[Request]) -> None:
    html = client_for(org.pat).get(f"/approvals/{three[0].pk}/?columns=what").content.decode()
    assert 'data-label="What"' in html and 'data-label="Rules"' not in html and 'colspan="3"' in html
    assert places(html, three) == sorted(places(html, three))


def test_the_file(org: Org, client_for: Clients, three: list[Request]) -> None:
    Request.objects.filter(pk=three[0].pk).update(name="=1+1")
    answer = client_for(org.pat).get("/approvals/?environment=dev&format=csv")
    rows = list(csv.DictReader(io.StringIO(b"".join(answer).decode())))
    assert [row["request"] for row in rows] == [three[0].number, three[2].number]
    assert rows[0]["name"] == "'=1+1" and rows[0]["what"] == "Zeta 1.0" and rows[0]["waits_for"] == "You"
    assert rows[0]["currency"] == "EUR" and rows[0]["overdue"] == "no" and rows[0]["failed"] == "0"
    assert client_for(org.dana).get("/approvals/?format=csv").status_code == 403


def test_it_goes_by_what_is_left_of_the_objective(org: Org, client_for: Clients) -> None:
    """One that was sent first, and came back to its requester for long, is due later."""
    early, late = make_request(org.dana, name="early"), make_request(org.dana, name="late")
    now = timezone.now()
    Request.objects.filter(pk=early.pk).update(submitted_at=now - dt.timedelta(days=30), due_at=now + 4 * DAY)
    Request.objects.filter(pk=late.pk).update(due_at=now - dt.timedelta(hours=2), clock_seconds=5 * 86_400 + 7_200)
    client = client_for(org.pat)
    html = client.get("/approvals/").content.decode()
    assert shown(html) == [late.number, early.number] and "2 h overdue" in html
    assert f"{late.number}, 2 h overdue" in html  # the strip names the worst one
    assert shown(client.get("/approvals/?overdue=1").content.decode()) == [late.number]


def test_views_that_everybody_has(org: Org, client_for: Clients, three: list[Request]) -> None:
    html = client_for(org.pat).get("/approvals/?mine=1").content.decode()
    menu = html.partition('class="pf-v6-c-menu gh-pop__body pf-m-end gh-views"')[2].partition("</details>")[0]
    assert "My queue" in menu and "Overdue" in menu and 'aria-current="true"' in menu
    assert "Delete the view" not in menu  # nobody deletes what everybody has


def test_opening_a_row_is_the_first_look(org: Org, client_for: Clients, three: list[Request]) -> None:
    first = three[0]
    client_for(org.omar).get(f"/approvals/{first.pk}/")
    first.refresh_from_db()
    assert first.triaged_at is None  # an owner decides nothing of it
    client_for(org.pat).get(f"/approvals/{first.pk}/")
    first.refresh_from_db()
    seen = first.triaged_at
    client_for(org.ravi).get(f"/approvals/{first.pk}/")
    first.refresh_from_db()
    assert seen is not None and first.triaged_at == seen
