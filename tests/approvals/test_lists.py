"""The list of requests: filters, order, pages, the file, and taking many back."""

import csv
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from approvals import services
from approvals.models import Request, RequestState
from tests.conftest import Org
from tests.factories import make_asset, make_profile, make_request, make_version

pytestmark = pytest.mark.slow

Clients = Callable[..., Client]
HTMX = {"HX-Request": "true"}
BULK = "/requests/bulk/"


@pytest.fixture
def four(org: Org) -> dict[str, Request]:
    """A draft and an approved one of dana's, one of omar's that waits, and one that dana took back."""
    version, profile = make_version(asset=make_asset("granite", name="Granite")), make_profile()
    made: dict[str, Any] = {"version": version, "profile": profile}
    return {
        "draft": make_request(org.dana, state="draft", name="draft", **made),
        "live": make_request(org.dana, state="approved", name="live", **made),
        "waits": make_request(org.omar, name="waits", **made),
        "back": make_request(org.dana, state="withdrawn", name="back", **made),
    }


def shown(html: str) -> list[str]:
    return re.findall(r">(R-\d+)</a>", html)


def test_filters_and_order(org: Org, client_for: Clients, four: dict[str, Request]) -> None:
    client = client_for(org.dana)
    for query, expected in (
        ("", ["back", "waits", "live", "draft"]),
        ("sort=request", ["draft", "live", "waits", "back"]),
        ("sort=sent", ["live", "waits", "back", "draft"]),  # what was never sent comes last,
        ("sort=-sent", ["back", "waits", "live", "draft"]),  # in both directions
        ("sort=state&kind=endpoint", ["live", "draft", "waits", "back"]),
        ("mine=1&state=draft", ["draft"]),
        ("project=fraud-detection&q=wait", ["waits"]),
        ("project=search-ranking", []),
        ("q=granite&state=approved", ["live"]),
        ("q=omar", ["waits"]),
        (f"q={four['live'].number}", ["live"]),
    ):
        html = client.get(f"/requests/?{query}").content.decode()
        assert shown(html) == [four[name].number for name in expected], query


def test_a_stranger_sees_nothing_of_it(org: Org, client_for: Clients, four: dict[str, Request]) -> None:
    client = client_for(org.cy)
    assert shown(client.get("/requests/?project=fraud-detection").content.decode()) == []
    answer = client.get("/requests/?format=csv")
    assert b"".join(answer).count(b"\r\n") == 1


def test_nonsense_is_said_at_the_top(org: Org, client_for: Clients, four: dict[str, Request]) -> None:
    html = client_for(org.dana).get("/requests/?state=lost&page=7&sort=%3Cscript%3E").content.decode()
    assert "State has no choice “lost”. The filter was left out." in html and len(shown(html)) == 4
    assert "“page”, which this list does not know" in html and "&lt;script&gt;" in html and "<script>”" not in html


def test_pages_both_ways(org: Org, client_for: Clients) -> None:
    """Thirty requests on two pages, back again, and the address that htmx writes is the short one."""
    version, profile = make_version(), make_profile()
    made = [make_request(org.dana, state="draft", version=version, profile=profile) for _ in range(30)]
    client = client_for(org.dana)
    first = client.get("/requests/").content.decode()
    assert shown(first) == [item.number for item in made[:4:-1]] and "<b>1–25</b> of <b>30</b>" in first
    following = re.findall(r'rel="next"[^>]*hx-get="([^"]*)"', first)[0]
    answer = client.get(following.replace("&amp;", "&"), headers=HTMX)
    second = answer.content.decode()
    assert shown(second) == [item.number for item in made[4::-1]] and answer["HX-Push-Url"] == following
    previous = re.findall(r'rel="prev"[^>]*hx-get="([^"]*)"', second)[0]
    assert shown(client.get(previous.replace("&amp;", "&")).content.decode()) == shown(first)
    assert len(shown(client.get("/requests/?size=50").content.decode())) == 30


def test_the_file_is_what_the_page_shows(org: Org, client_for: Clients, four: dict[str, Request]) -> None:
    """The columns of the page, all rows that match, numbers instead of words."""
    answer = client_for(org.dana).get("/requests/?format=csv&columns=state,kind,cost&mine=1")
    rows = list(csv.DictReader(io.StringIO(b"".join(answer).decode())))
    assert list(rows[0]) == [
        *("request", "name", "project", "requester", "kind", "state", "sentence", "turn", "per_month", "currency")
    ]
    assert [row["state"] for row in rows] == ["withdrawn", "approved", "draft"]
    assert rows[1]["per_month"] == four["live"].plan["cost"]["per_month"] and rows[2]["per_month"] == ""


def test_many_are_taken_back(org: Org, client_for: Clients, four: dict[str, Request]) -> None:
    """Own ones that are not decided; everybody else's and decided ones are refused, one line each."""
    again = make_request(org.dana, name="again")
    ids = [str(item.pk) for item in (four["draft"], four["live"], four["waits"], again)] + ["nonsense"]
    html = client_for(org.dana).post(BULK, {"action": "withdraw", "id": ids}).content.decode()
    assert "2 of 5 done, 3 refused" in html and "Only omar, who made" in html
    states = {item.name: Request.objects.get(pk=item.pk).state for item in (*four.values(), again)}
    assert states["draft"] == states["again"] == RequestState.WITHDRAWN
    assert states["live"] == RequestState.APPROVED and states["waits"] == RequestState.SUBMITTED


def test_only_what_can_be_taken_back_has_a_tick(org: Org, client_for: Clients, four: dict[str, Request]) -> None:
    html = client_for(org.dana).get("/requests/").content.decode()
    assert re.findall(r'name="id" value="(\d+)" data-tick', html) == [str(four["draft"].pk)]
    assert 'id="bulk"' not in client_for(org.aud).get("/requests/").content.decode()


def test_bulk_refuses_what_it_does_not_know(org: Org, client_for: Clients, four: dict[str, Request]) -> None:
    client = client_for(org.dana)
    assert client.post(BULK, {"action": "withdraw"}).status_code == 422
    assert client.post(BULK, {"action": "approve", "id": "1"}).status_code == 422
    hidden = client_for(org.cy).post(BULK, {"action": "withdraw", "id": str(four["draft"].pk)}).content.decode()
    assert "There is no such request, or you may not see it." in hidden and "draft" not in hidden.partition("<main")[2]


def test_queries_do_not_grow(org: Org, client_for: Clients, django_assert_max_num_queries: Any) -> None:
    version, profile = make_version(), make_profile()
    for state in ("draft", "submitted", "approved", "rejected") * 6:
        item = make_request(org.dana, state=state, version=version, profile=profile)
    services.comment(org.principal(org.omar), item, "x")
    client = client_for(org.dana)
    for path in ("/requests/", "/requests/?q=s&sort=sent&project=fraud-detection", "/requests/?columns=kind,decided"):
        with django_assert_max_num_queries(11):
            assert client.get(path).status_code == 200
