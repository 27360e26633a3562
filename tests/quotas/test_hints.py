"""The limit that comes first, on the usage page."""

import datetime as dt

import pytest

from quotas import hints
from quotas.ingest import ingest
from quotas.journal import Journal
from quotas.models import Quota
from tests.conftest import Org
from tests.quotas.conftest import NOON, call

pytestmark = pytest.mark.django_db


def quota(org: Org, *, window: str = "month", soft: int | None = None, hard: int | None = None) -> Quota:
    return Quota.objects.create(
        project=org.fraud, kind="tokens", target_kind="project", window=window, soft=soft, hard=hard
    )


@pytest.fixture
def daily(org: Org, tmp_path) -> Org:
    """1,000 tokens on each of the ten days before today, and nothing today: 10,000 this month."""
    with Journal(tmp_path / "journal") as journal:
        for days in range(1, 11):
            start = {"project_id": org.fraud.pk, "at": NOON - dt.timedelta(days=days)}
            call(journal, start=start, input_tokens=800, output_tokens=200)
        assert ingest(tmp_path / "journal") == 10
    return org


def test_no_quota_no_hint(daily):
    assert hints.hint(daily.fraud, NOON) is None


def test_at_this_pace_the_tokens_end_before_the_month(daily):
    quota(daily, hard=14_500)
    found = hints.hint(daily.fraud, NOON)
    assert found is not None
    # 4,500 are left and 1,000 go each day: they end in 4.5 days, on the 25th at midnight.
    assert (found.kind, found.title) == ("warning", "Tokens may run out on 25 November")
    assert found.text == (
        "At the pace of the last 7 days 4,500 tokens last about 5 days. Calls are then refused with quota_exceeded "
        "until 1 December."
    )
    assert (found.limit, round(found.percent)) == (14_500, 69)
    assert found.url == "/projects/fraud-detection/limits/"


def test_what_lasts_the_month_is_not_worth_a_word(daily):
    quota(daily, hard=100_000)
    found = hints.hint(daily.fraud, NOON)
    assert found is not None
    assert (found.kind, found.percent) == ("", 10.0)


@pytest.mark.parametrize(
    ("numbers", "kind", "title"),
    [
        ({"hard": 10_000}, "danger", "The monthly token quota is used up"),
        ({"soft": 9_000}, "warning", "The monthly token quota is used up"),
        ({"soft": 9_000, "hard": 100_000}, "warning", "10 % of the monthly token quota is used"),
    ],
)
def test_what_is_passed_is_said(daily, numbers, kind, title):
    quota(daily, **numbers)
    found = hints.hint(daily.fraud, NOON)
    assert found is not None
    assert (found.kind, found.title) == (kind, title)


def test_of_two_quotas_the_one_that_is_nearer(daily):
    quota(daily, hard=1_000_000)
    quota(daily, window="day", hard=1_000)
    today = hints.hint(daily.fraud, NOON)
    yesterday = hints.hint(daily.fraud, NOON - dt.timedelta(days=1))
    assert today is not None and yesterday is not None
    assert today.window == "month"  # nothing was used today
    assert (yesterday.window, yesterday.kind) == ("day", "danger")


def test_the_page_shows_it_with_a_way_out(daily, client_for, monkeypatch):
    quota(daily, hard=14_500)
    monkeypatch.setattr("django.utils.timezone.now", lambda: NOON)
    html = client_for(daily.dana).get("/usage/?project=fraud-detection&range=month").content.decode()
    assert "Tokens may run out on 25 November" in html and "/projects/fraud-detection/limits/" in html
    assert "kind=quota&amp;project=fraud-detection" in html
    assert "69 % of 14,500" in html
    viewer = client_for(daily.vic).get("/usage/?project=fraud-detection").content.decode()
    assert "Tokens may run out" in viewer and "kind=quota" not in viewer
    assert "Tokens may run out" not in client_for(daily.dana).get("/usage/?project=").content.decode()
