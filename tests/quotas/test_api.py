"""REST API of pools and usage."""

import csv
import datetime as dt
import io

import pytest
from django.utils import timezone

from audit.services import system
from portal.listing import to_csv
from quotas import services
from quotas.ingest import ingest
from quotas.journal import Journal
from quotas.models import Pool
from tests.conftest import Org
from tests.factories import make_profile
from tests.quotas.conftest import call

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
NEW = {"slug": "shared-gpu", "name": "Shared", "cluster": "local", "limit": 8}


@pytest.fixture
def pool(db) -> Pool:
    made = Pool.objects.create(slug="shared-gpu", name="Shared", cluster="local", limit=8, observed=8, simulated=True)
    made.profiles.add(make_profile(gpus=1, slug="l40s-1"))
    return made


@pytest.fixture
def calls(org: Org, tmp_path) -> Org:
    now = timezone.now()
    with Journal(tmp_path / "journal") as journal:
        for number in range(6):
            start = {"project_id": org.fraud.pk, "at": now, "key_id": f"k{number % 3}", "key": f"=k{number % 3}"}
            call(journal, start=start)
        call(journal, start={"project_id": org.search.pk, "at": now})
        assert ingest(tmp_path / "journal") == 7
    return org


def test_pools_show_aggregates_to_everyone(org, api_for, pool):
    services.reserve(system("t"), pool, 6, holder=("endpoint", "a"), project=org.fraud)
    services.reserve(system("t"), pool, 4, holder=("endpoint", "b"), project=org.fraud)
    response = api_for(org.cy, "usage:read").get("/pools")
    assert response.status_code == 200
    assert response.json() == {
        "items": [
            {
                "slug": "shared-gpu", "name": "Shared", "cluster": "local", "limit": 8, "observed": 8, "held": 6,
                "waiting": 4, "available": 2, "simulated": True, "profiles": ["l40s-1"], "from_nodes": True,
                "give_back": "not-prod", "grace_hours": 24, "nodes": [], "shares": [],
            }
        ],
        "next": None,
    }  # fmt: skip
    one = api_for(org.cy, "catalog:read").get("/pools/shared-gpu")
    assert one.json() == response.json()["items"][0] and one.headers["ETag"]
    assert api_for(org.cy, "usage:read").get("/pools/nowhere").status_code == 404
    refused = api_for(org.cy, "inference:invoke").get("/pools")
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")


def test_listing_pools_costs_the_same_for_many(org, api_for, pool, django_assert_max_num_queries):
    for number in range(30):
        Pool.objects.create(slug=f"p{number}", name="P", cluster="local", limit=1, observed=1).profiles.add(
            *pool.profiles.all()
        )
    api = api_for(org.cy, "usage:read")
    with django_assert_max_num_queries(10):
        assert len(api.get("/pools").json()["items"]) == 31


def test_platform_engineers_create_pools(org, api_for):
    made = api_for(org.pat, "admin").post("/pools", NEW)
    assert made.status_code == 201 and made.json()["available"] == 8
    for user, scope, code in (
        (org.pat, "usage:read", "insufficient_scope"), (org.dana, "admin", "forbidden"),
        (org.yasmine, "admin", "forbidden"),
    ):  # fmt: skip
        refused = api_for(user, scope).post("/pools", NEW | {"slug": "other"})
        assert (refused.status_code, refused.json()["code"]) == (403, code)
    assert Pool.objects.count() == 1


@pytest.mark.parametrize(
    "change",
    [
        {"limit": 0}, {"limit": "many"}, {"limit": 1e99}, {"limit": None}, {"slug": "A B"}, {"name": "x" * 500},
        {"profiles": ["nope"]}, {"profiles": "x"}, {"held": 3}, {"observed": -1}, {"simulated": 7},
    ],
)  # fmt: skip
def test_bad_pools_are_422_with_the_field(org, api_for, change):
    response = api_for(org.pat, "admin").post("/pools", NEW | change)
    assert response.status_code == 422
    assert next(iter(change)) in str(response.json()["errors"])
    assert not Pool.objects.exists()


def test_a_pool_changes_under_if_match(org, api_for, pool):
    api = api_for(org.pat, "admin")
    assert api.patch("/pools/shared-gpu", {"limit": 9}).status_code == 428
    assert api_for(org.dana, "admin").patch("/pools/shared-gpu", {"limit": 9}).status_code == 403
    tag = api.get("/pools/shared-gpu").headers["ETag"]
    changed = api.patch("/pools/shared-gpu", {"limit": 9, "observed": 9}, If_Match=tag)
    assert (changed.status_code, changed.json()["available"]) == (200, 9)
    assert api.patch("/pools/shared-gpu", {"limit": 10}, If_Match=tag).status_code == 412
    again = api.patch("/pools/shared-gpu", {"name": "Other"}, If_Match=changed.headers["ETag"])
    assert (again.status_code, again.json()["name"], again.json()["limit"]) == (200, "Other", 9)
    services.reserve(system("t"), pool, 6, holder=("endpoint", "a"), project=org.fraud)
    conflict = api.patch("/pools/shared-gpu", {"limit": 5}, If_Match="*")
    assert (conflict.status_code, conflict.json()["code"]) == (409, "limit_below_held")


def test_usage_answers_rows_of_the_contract(calls, api_for):
    answer = api_for(calls.dana).get("/usage?project=fraud-detection&group_by=project,endpoint&interval=day")
    assert answer.status_code == 200
    (row,) = answer.json()["items"]
    assert list(answer.json()) == ["items", "next"]
    assert set(row) == {
        "start", "project", "endpoint", "requests", "errors", "input_tokens", "output_tokens", "cached_tokens",
        "ttft_p50", "ttft_p95", "ttft_p99", "latency_p50", "latency_p95", "latency_p99", "cost", "currency",
        "cost_centre", "owner_team",
    }  # fmt: skip
    assert (row["cost"], row["currency"], row["cost_centre"], row["owner_team"]) == (None, "", "CC-4711", "Risk")
    assert row["start"] == f"{timezone.now():%Y-%m-%dT00:00:00Z}"
    assert (row["requests"], row["input_tokens"], row["output_tokens"], row["cached_tokens"]) == (6, 600, 120, 60)
    assert row["ttft_p50"] == pytest.approx(0.18, rel=0.026)


def test_usage_pages_through_its_rows(calls, api_for):
    api, seen, cursor = api_for(calls.dana), [], ""
    for _ in range(4):
        body = api.get(f"/usage?group_by=key&group_by=person&limit=1&cursor={cursor}").json()
        seen += [row["key"] for row in body["items"]]
        cursor = body["next"]
        if cursor is None:
            break
    assert seen == ["=k0", "=k1", "=k2"]


def test_usage_needs_its_scope_and_hides_strangers(calls, api_for):
    assert api_for(calls.dana, "catalog:read").get("/usage").json()["code"] == "insufficient_scope"
    assert api_for(calls.dana).get("/usage?project=search-ranking").status_code == 404
    assert sum(row["requests"] for row in api_for(calls.cy).get("/usage").json()["items"]) == 1
    bound = api_for(calls.pat, "usage:read", project=calls.search)
    assert sum(row["requests"] for row in bound.get("/usage").json()["items"]) == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("interval=week", "interval"), ("group_by=model", "group_by"), ("group_by=project,colour", "group_by"),
        ("from=yesterday", "from"), ("to=2026-99-01", "to"), ("from=2026-11-20&to=2026-11-01", "from"),
        ("from=2024-01-01&to=2026-01-01", "from"), ("from=2026-01-01&to=2026-03-01&interval=hour", "interval"),
        ("limit=0", "limit"), ("limit=201", "limit"), ("limit=x", "limit"), ("cursor=%00", "cursor"),
        ("cursor=e30", "cursor"), ("cursor=WzFd", "cursor"), ("format=xml", "format"), ("from=%F0%9F%98%80", "from"),
        (f"project={'x' * 41}", "project"), ("from=0001-01-01T00:00:00%2B14:00", "from"),
    ],
)  # fmt: skip
def test_bad_usage_queries_are_422_with_the_field(org, api_for, query, field):
    response = api_for(org.dana).get(f"/usage?{query}")
    assert response.status_code == 422, response.content
    assert field in str(response.json()["errors"])


def test_usage_comes_as_csv(calls, api_for):
    api = api_for(calls.dana)
    by_format = api.get("/usage?group_by=key&format=csv")
    by_header = api.get("/usage?group_by=key", Accept="text/csv")
    assert by_format.content == by_header.content
    assert by_format.headers["Content-Type"].startswith("text/csv")
    assert api.get("/usage", Accept="*/*").headers["Content-Type"] == "application/json"
    rows = list(csv.DictReader(io.StringIO(by_format.content.decode())))
    assert [row["key"] for row in rows] == ["'=k0", "'=k1", "'=k2"]
    assert rows[0]["requests"] == "2" and rows[0]["start"].endswith("T00:00:00Z")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_csv_disarms_formulas(text):
    (_, row) = csv.reader(io.StringIO(to_csv([{"a": text, "b": -1}], ["a", "b"])))
    assert row == [f"'{text}", "-1"]


def test_usage_costs_the_same_for_many_rows(calls, api_for, tmp_path, django_assert_max_num_queries):
    with Journal(tmp_path / "more") as journal:
        for number in range(60):
            at = timezone.now() - dt.timedelta(hours=number)
            call(journal, start={"project_id": calls.fraud.pk, "at": at, "key_id": f"m{number}", "key": f"m{number}"})
        ingest(tmp_path / "more")
    api = api_for(calls.dana)
    with django_assert_max_num_queries(8):
        assert len(api.get("/usage?group_by=key,endpoint,person,project&limit=200").json()["items"]) == 63
