"""Usage by project, endpoint, key and person, per hour, day and month."""

import datetime as dt
import json
from typing import Any

import pytest

from portal.errors import Invalid, NotFound
from projects.models import Membership, Project, Role
from projects.principal import Principal
from quotas import usage as module
from quotas.ingest import ingest
from quotas.journal import Journal
from tests.conftest import Org
from tests.quotas.conftest import NOON, call

pytestmark = pytest.mark.django_db
DAY = NOON.replace(hour=0)
RANGE: dict[str, Any] = {"start": DAY - dt.timedelta(days=2), "end": DAY + dt.timedelta(days=1)}


@pytest.fixture
def calls(org: Org, tmp_path) -> Org:
    """Twelve calls: scoring twice a day by two keys, casework once, over three days, and a stranger's project."""
    with Journal(tmp_path / "journal") as journal:
        for days in range(3):
            at = NOON - dt.timedelta(days=days)
            for key, person, endpoint, ttft in (
                ("gth_aaaaaaaa", "dana", "scoring", 100), ("gth_bbbbbbbb", "omar", "scoring", 200),
                ("gth_aaaaaaaa", "dana", "casework", 400),
            ):  # fmt: skip
                start = {
                    "project_id": org.fraud.pk, "at": at, "key": key, "key_id": key, "person": person,
                    "endpoint": endpoint, "endpoint_id": endpoint,
                }  # fmt: skip
                call(journal, start=start, ttft_ms=ttft)
            start = {"project_id": org.search.pk, "at": at, "endpoint": "rerank", "endpoint_id": "rerank"}
            call(journal, start=start, outcome="error", status=500, ttft_ms=None)
        assert ingest(tmp_path / "journal") == 12
    return org


def rows(org: Org, user, **fields):
    return module.usage(Principal.of(user), **(RANGE | fields))


def test_a_member_sees_the_own_project_only(calls):
    assert [row["requests"] for row in rows(calls, calls.dana)] == [3, 3, 3]
    assert [row["requests"] for row in rows(calls, calls.cy)] == [1, 1, 1]
    for reader in (calls.pat, calls.yasmine, calls.aud):
        assert [row["requests"] for row in rows(calls, reader)] == [4, 4, 4]
    bound = Principal.of(calls.pat, project_id=calls.search.pk)
    assert [row["errors"] for row in module.usage(bound, **RANGE)] == [1, 1, 1]
    with pytest.raises(NotFound):
        rows(calls, calls.dana, project="search-ranking")
    with pytest.raises(NotFound):
        rows(calls, calls.dana, project="nowhere")


def test_grouping_adds_its_keys_and_sums_up(calls):
    grouped = rows(calls, calls.dana, group_by=["endpoint"], start=DAY)
    assert [(row["start"], row["endpoint"], row["requests"]) for row in grouped] == [
        (DAY, "casework", 1), (DAY, "scoring", 2),
    ]  # fmt: skip
    by_all = rows(calls, calls.pat, group_by=["project", "endpoint", "key", "person"], start=DAY)
    assert list(by_all[0])[:5] == ["start", "project", "endpoint", "key", "person"]
    assert sum(row["input_tokens"] for row in by_all) == 400
    assert {row["project"] for row in by_all} == {"fraud-detection", "search-ranking"}


@pytest.mark.parametrize(
    ("fields", "requests"),
    [
        ({"endpoint": "scoring"}, 2), ({"key": "gth_aaaaaaaa"}, 2), ({"person": "omar"}, 1),
        ({"endpoint": "scoring", "key": "gth_aaaaaaaa"}, 1), ({"endpoint": "unknown"}, 0),
    ],
)  # fmt: skip
def test_filters(calls, fields, requests):
    assert sum(row["requests"] for row in rows(calls, calls.dana, start=DAY, **fields)) == requests


def test_intervals(calls):
    hours = rows(calls, calls.dana, interval="hour")
    assert [row["start"] for row in hours] == [NOON - dt.timedelta(days=days) for days in (2, 1, 0)]
    (month,) = rows(calls, calls.dana, interval="month")
    assert (month["start"], month["requests"]) == (DAY.replace(day=1), 9)
    part = rows(calls, calls.dana, start=NOON.replace(minute=30), end=NOON.replace(minute=40), interval="hour")
    assert [row["requests"] for row in part] == [3]  # widened to the whole hour
    assert rows(calls, calls.dana, start=DAY - dt.timedelta(days=9), end=DAY - dt.timedelta(days=3)) == []


def test_percentiles_are_of_all_calls_and_in_seconds(calls):
    (row,) = rows(calls, calls.dana, interval="month")
    assert row["ttft_p50"] == pytest.approx(0.2, rel=0.026)
    assert row["ttft_p95"] == row["ttft_p99"] == pytest.approx(0.4, rel=0.026)
    assert row["latency_p50"] == pytest.approx(0.9, rel=0.026)
    (none,) = rows(calls, calls.cy, interval="month")
    assert none["ttft_p50"] is None
    assert json.dumps(row["ttft_p50"])


def test_it_takes_the_same_queries_for_many_projects(calls, django_assert_num_queries, tmp_path):
    reader = Principal.of(calls.dana)
    with django_assert_num_queries(3):
        module.usage(reader, **RANGE)
    with Journal(tmp_path / "more") as journal:
        for number in range(30):
            project = Project.objects.create(slug=f"p{number}", name="P")
            Membership.objects.create(project=project, user=calls.dana, role=Role.VIEWER)
            call(journal, start={"project_id": project.pk, "key_id": f"k{number}"})
        ingest(tmp_path / "more")
    with django_assert_num_queries(3):
        found = module.usage(reader, **RANGE)
    assert found[-1]["requests"] == 33


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"interval": "week"}, "interval", "hour, day, month"),
        ({"group_by": ["model"]}, "group_by", "project, endpoint, key, person"),
        ({"start": DAY, "end": DAY}, "from", "before to"),
        ({"start": DAY - dt.timedelta(days=401), "end": DAY}, "from", "400 days"),
        ({"start": DAY - dt.timedelta(days=32), "end": DAY, "interval": "hour"}, "interval", "31 days"),
    ],
)
def test_bounds(org, fields, field, says):
    with pytest.raises(Invalid, match=says) as caught:
        rows(org, org.dana, **fields)
    assert list(caught.value.fields) == [field]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-20", DAY),
        ("2026-11-20T12:00:00Z", NOON),
        ("2026-11-20T13:00:00+01:00", NOON),
        ("2026-11-20T13:00:00 01:00", NOON),
        ("2026-11-20T12:00", NOON),
    ],
)
def test_moment_reads_dates_and_times(text, moment):
    assert module.moment(text, field="from") == moment


def test_the_end_of_a_day_is_its_end():
    assert module.moment("2026-11-20", field="to", end=True) == DAY + dt.timedelta(days=1)


@pytest.mark.parametrize(
    "text", ["yesterday", "", "2026-13-01", "0001-01-01T00:00:00+14:00", "9999-12-31", "1999-12-30", "20261", "1" * 60]
)
def test_moment_refuses_the_rest(text):
    with pytest.raises(Invalid) as caught:
        module.moment(text, field="to", end=True)
    assert list(caught.value.fields) == ["to"]
