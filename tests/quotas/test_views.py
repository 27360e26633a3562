"""The usage page."""

import datetime as dt
import re

import pytest
from django.utils import timezone

from projects import keys
from quotas.ingest import ingest
from quotas.journal import Journal
from tests.conftest import Org
from tests.quotas.conftest import call

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture
def calls(org: Org, tmp_path) -> Org:
    """Calls of the last days by two keys and the playground, on six endpoints."""
    by = org.principal(org.dana)
    made = [
        keys.issue(by, project=org.fraud, name=name, scopes=["inference:invoke"], purpose=purpose)[0]
        for name, purpose in (("nightly", "api"), ("one", "playground"), ("two", "playground"))
    ]
    with Journal(tmp_path / "journal") as journal:
        for number in range(60):
            key = made[number % 3]
            start = {
                "project_id": org.fraud.pk, "at": timezone.now() - dt.timedelta(hours=number), "person": "dana",
                "key_id": str(key.pk), "key": key.prefix, "endpoint": f"e{number % 6}", "endpoint_id": f"e{number % 6}",
            }  # fmt: skip
            call(journal, start=start, ttft_ms=100.0 + number)
        assert ingest(tmp_path / "journal") == 60
    return org


def text_of(response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def test_usage_shows_numbers_charts_and_keys(calls, client_for):
    response = client_for(calls.dana).get("/usage/")
    assert response.status_code == 200
    text, html = text_of(response), response.content.decode()
    assert "7,200" in text and "6,000 in, 1,200 out" in text
    assert "0.00 % failed" in text
    assert "nightly" in text  # a choice of the filter
    assert html.count('class="gh-plot"') == 4
    assert "other endpoints" in text  # six endpoints, four colours
    assert "Show the numbers as a table" in text
    assert "fraud-detection/e0" not in text  # one project only


def test_usage_of_several_projects_names_them(calls, client_for, tmp_path):
    with Journal(tmp_path / "more") as journal:
        call(journal, start={"project_id": calls.search.pk, "at": timezone.now(), "endpoint": "rerank"})
        ingest(tmp_path / "more")
    client = client_for(calls.pat)
    assert "fraud-detection/e0" in text_of(client.get("/usage/"))
    client.post("/projects/switch/", {"project": "search-ranking"})
    chosen = text_of(client.get("/usage/"))
    assert "What search-ranking used" in chosen and "e0" not in chosen
    assert "fraud-detection/e0" in text_of(client.get("/usage/?project="))


def test_usage_hides_what_one_may_not_see(calls, client_for):
    stranger = client_for(calls.cy).get("/usage/")
    assert stranger.status_code == 200
    assert "No calls in this range" in text_of(stranger)
    assert "fraud-detection" not in stranger.content.decode()
    assert client_for(calls.cy).get("/usage/?project=fraud-detection").status_code == 404
    assert client_for(None).get("/usage/").status_code == 302
    assert client_for(calls.dana).post("/usage/").status_code == 405


def test_filters_stay_in_the_address(calls, client_for):
    client = client_for(calls.dana)
    html = client.get("/usage/?range=30d&project=fraud-detection&endpoint=e1").content.decode()
    assert "range=24h" in html and "endpoint=e1" in html
    assert '<option value="e1" selected>' in html
    assert "1,200" in html
    nothing = client.get("/usage/?endpoint=unknown")
    assert "No calls with these filters" in text_of(nothing)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("range=99d", "choose one of"), ("range=custom&to=2026-11-01", "needs from"),
        ("range=custom&from=2026-11-01", "needs to"),
        ("range=custom&from=x&to=2026-11-01", "write a date"),
        ("range=custom&from=2026-11-02&to=2026-11-01", "before to"),
        ("range=custom&from=2020-01-01&to=2026-11-01", "400 days"),
    ],
)  # fmt: skip
def test_a_bad_range_says_what_to_do_and_loses_nothing(calls, client_for, query, says):
    response = client_for(calls.dana).get(f"/usage/?{query}&endpoint=e2")
    assert response.status_code == 422
    assert says in text_of(response)
    assert '<option value="e2" selected>' in response.content.decode()


def test_a_custom_range_and_the_last_24_hours(calls, client_for):
    client, today = client_for(calls.dana), timezone.now().date()
    day = client.get(f"/usage/?range=custom&from={today}&to={today}")
    assert "Tokens per hour" in text_of(day)
    long = client.get(f"/usage/?range=custom&from={today - dt.timedelta(days=200)}&to={today}")
    assert "Tokens per month" in text_of(long) and "7,200" in text_of(long)
    assert "Tokens per day" in text_of(client.get("/usage/?range=custom"))
    assert "2,880" in text_of(client.get("/usage/?range=24h"))


def test_usage_costs_the_same_for_many_rows(calls, client_for, django_assert_max_num_queries, tmp_path):
    with Journal(tmp_path / "more") as journal:
        for number in range(200):
            call(
                journal,
                start={
                    "project_id": calls.fraud.pk, "at": timezone.now(), "key_id": f"k{number}", "key": f"k{number}",
                    "endpoint": f"many-{number}", "endpoint_id": f"many-{number}",
                },
            )  # fmt: skip
        ingest(tmp_path / "more")
    client = client_for(calls.dana)
    with django_assert_max_num_queries(12):
        assert client.get("/usage/").status_code == 200
