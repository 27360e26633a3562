"""The capacity page: boxes with what runs on them, how busy it is, until when; the queue; what comes back."""

import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from audit.services import system
from endpoints import reconcile as reconciling
from endpoints import sweep
from endpoints.models import Endpoint, EngineCount, Phase
from quotas import services
from quotas.ingest import ingest
from quotas.journal import Journal
from quotas.models import Pool
from tests import factories
from tests.conftest import Org
from tests.endpoints.endpoint_kit import Script, open_demo, replica, work
from tests.quotas.conftest import call

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
ClientFor = Callable[[Any], Client]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    made = Script(replicas=(replica(), replica(index=1)))
    for module in (reconciling, sweep):
        monkeypatch.setattr(module, "driver_for", lambda cluster: made)
    return made


@pytest.fixture
def pool(org: Org, script: Script) -> Pool:
    """Eight accelerators: dana's endpoint holds two of them, cy's four; cy's next one waits for four."""
    pool = factories.make_pool(limit=8, slug="shared-gpu")
    mine = open_demo(org.fraud, gpus=1, replicas=2, pool=pool)
    Endpoint.objects.filter(pk=mine.pk).update(ends_on=timezone.now().date() + dt.timedelta(days=12), name="scoring")
    work(mine)
    script.replicas = (replica(),)
    theirs = open_demo(org.search, gpus=4, pool=pool)
    Endpoint.objects.filter(pk=theirs.pk).update(ends_on=timezone.now().date() + dt.timedelta(days=3), name="ranker")
    work(theirs)
    waits, script.replicas = open_demo(org.search, gpus=4, pool=pool), ()
    Endpoint.objects.filter(pk=waits.pk).update(name="reranker")
    assert work(waits).phase == Phase.PENDING
    return pool


def look(client: Client) -> Any:
    """The context of the page."""
    response = client.get("/capacity/")
    assert response.status_code == 200
    return response.context


def text(response: Any) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def names(context: Any) -> list[str]:
    return [box.get("name", box["kind"]) for box in context["pools"][0]["boxes"]]


def test_boxes_say_who_holds_what_until_when(org: Org, pool: Pool, client_for: ClientFor) -> None:
    context = look(client_for(org.pat))
    assert names(context) == ["fraud-detection/scoring"] * 2 + ["search-ranking/ranker"] * 4 + ["free"] * 2
    first, second = context["pools"][0]["boxes"][:2]
    assert (first["part"], second["part"]) == ("replica 1", "replica 2")
    assert first["until"] == timezone.now().date() + dt.timedelta(days=12)
    assert first["chip"]["label"] == "Ready" and first["url"].startswith("/endpoints/")
    assert [one["name"] for one in context["returns"]] == ["search-ranking/ranker", "fraud-detection/scoring"]
    [waits] = context["pools"][0]["waiting"]
    assert (waits["name"], waits["position"], waits["amount"]) == ("search-ranking/reranker", 1, 4)
    day = timezone.now().date() + dt.timedelta(days=4)
    assert (waits["start"], waits["reference"]) == (f"not before {day.day} {day:%b %Y}", "R-1")
    assert waits["why"] == "when search-ranking/ranker ends, unless it is renewed"
    assert "Simulated accelerators" in text(client_for(org.pat).get("/capacity/"))


def test_strangers_are_another_project_and_nothing_else(org: Org, pool: Pool, client_for: ClientFor) -> None:
    client = client_for(org.dana)
    context = look(client)
    assert names(context) == ["fraud-detection/scoring"] * 2 + ["another project"] * 4 + ["free"] * 2
    assert set(context["pools"][0]["boxes"][2]) == {"kind", "number", "part", "amount", "name", "url"}
    assert context["pools"][0]["waiting"][0]["name"] == "another project"
    assert [one["name"] for one in context["returns"]] == ["fraud-detection/scoring"]
    html = client.get("/capacity/").content.decode()
    words = ("search-ranking", "ranker", str(Endpoint.objects.get(name="ranker").pk))
    assert not any(word in html for word in words)
    assert context["stats"][0]["value"] == "6 of 8" and context["stats"][2]["value"] == 4


def test_how_busy_comes_from_engines_and_ledger(org: Org, pool: Pool, client_for: ClientFor, tmp_path: Path) -> None:
    row = Endpoint.objects.get(name="scoring")
    now = timezone.now()
    for route, running in zip(row.upstreams, (3, 8), strict=True):
        EngineCount.objects.create(
            endpoint=row, instance=route["instance"], at=now, running=running, waiting=running - 3, kv_cache_usage=0.41
        )
    EngineCount.objects.create(endpoint=row, instance="0-1-1", at=now, running=99)  # an engine that is gone
    start = {"project_id": org.fraud.pk, "endpoint_id": str(row.pk), "endpoint": row.name, "at": now}
    with Journal(tmp_path / "a") as journal:
        call(journal, start=start)
    ingest(tmp_path / "a")
    first, second = look(client_for(org.dana))["pools"][0]["boxes"][:2]
    assert (first["busy"]["words"], first["busy"]["percent"], first["busy"]["more"]) == (
        "3 of 8 calls", 37.5, "KV cache 41 %",
    )  # fmt: skip
    assert (second["busy"]["words"], second["busy"]["more"]) == ("8 of 8 calls", "5 wait, KV cache 41 %")
    assert first["calls"] == "1 call, 120 tokens in 24 h"
    EngineCount.objects.update(at=now - dt.timedelta(minutes=10))
    assert look(client_for(org.dana))["pools"][0]["boxes"][0]["busy"] is None  # an old reading says nothing of now


def test_what_an_endpoint_holds_besides_its_own_says_what_for(org: Org, pool: Pool, client_for: ClientFor) -> None:
    row = Endpoint.objects.get(name="scoring")
    services.reserve(system("t"), pool, 1, holder=("surge", str(row.pk)), project=org.fraud)
    services.reserve(system("t"), pool, 7, holder=("growth", str(row.pk)), project=org.fraud)
    context = look(client_for(org.dana))
    box = context["pools"][0]["boxes"][6]
    assert (box["name"], box["part"], box["busy"]) == ("fraud-detection/scoring", "next revision", None)
    assert [one["reference"] for one in context["pools"][0]["waiting"]] == ["more replicas", ""], "3 of 4 before 4 of 4"
    stranger = look(client_for(org.cy))
    assert (stranger["pools"][0]["boxes"][6]["name"], stranger["pools"][0]["boxes"][6]["part"]) == (
        "another project",
        "",
    )
    assert stranger["pools"][0]["waiting"][0]["reference"] == ""


def test_missing_nodes_are_said(org: Org, pool: Pool, client_for: ClientFor) -> None:
    services.observe(system("t"), pool, 5)
    response = client_for(org.pat).get("/capacity/")
    assert "The nodes report fewer accelerators than are held" in text(response)
    assert names(response.context)[-2:] == ["absent"] * 2
    assert response.context["stats"][-1]["bad"]


def test_what_is_simulated_is_said_of_it_alone(org: Org, pool: Pool, client_for: ClientFor) -> None:
    words, client = "Simulated accelerators", client_for(org.dana)
    Pool.objects.update(simulated=False)
    assert words not in client.get("/capacity/").content.decode()
    Pool.objects.filter(pk=pool.pk).update(simulated=True)
    page = client.get("/capacity/").content.decode()
    assert page.count(words) == 1 and page.index(words) < page.index('id="pool-shared-gpu"'), "of all of it"
    Pool.objects.filter(pk=factories.make_pool(limit=2, slug="real").pk).update(simulated=False)
    page = client.get("/capacity/").content.decode()
    assert page.count(words) == 1 and page.index('id="pool-shared-gpu"') < page.index(words), "of that pool"


def test_without_a_pool_it_says_what_to_do(org: Org, client_for: ClientFor) -> None:
    assert "No shared pool yet" in text(client_for(org.dana).get("/capacity/"))


def test_a_large_pool_is_a_table(org: Org, script: Script, client_for: ClientFor) -> None:
    pool, script.replicas = factories.make_pool(limit=100), (replica(),)
    work(open_demo(org.fraud, gpus=1, pool=pool))
    services.reserve(system("t"), pool, 7, holder=("something", "else"), project=org.search)
    context = look(client_for(org.pat))
    assert context["pools"][0]["boxes"] == []
    assert [one["amount"] for one in context["pools"][0]["holders"]] == [1, 7]
    assert context["pools"][0]["holders"][1]["name"] == "search-ranking"


def test_the_page_costs_the_same_for_many(
    org: Org, pool: Pool, script: Script, client_for: ClientFor, django_assert_max_num_queries: Any
) -> None:
    for number in range(60):
        services.reserve(system("t"), pool, 8, holder=("endpoint", f"more-{number}"), project=org.search)
    script.replicas = (replica(),)
    for _ in range(4):
        large = factories.make_pool(limit=100)
        work(open_demo(org.fraud, gpus=1, pool=large))
        Endpoint.objects.update(ready_at=timezone.now() - dt.timedelta(days=40))
    client = client_for(org.pat)
    client.get("/capacity/")
    with django_assert_max_num_queries(15):
        response = client.get("/capacity/")
    assert "and 11 more" in text(response)


@pytest.mark.parametrize(("person", "seen"), [("pat", 1), ("dana", 1), ("cy", 0)])
def test_the_api_lists_what_is_idle(
    org: Org, pool: Pool, api_for: Any, person: str, seen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Endpoint.objects.get(name="scoring")
    long_ago = timezone.now() - dt.timedelta(days=20)
    Endpoint.objects.filter(pk=row.pk).update(ready_at=long_ago)
    pool.reservations.filter(holder_id=str(row.pk)).update(held_at=long_ago, price_per_hour="1.42", currency="EUR")
    api = api_for(getattr(org, person), "usage:read")
    body = api.get("/insights/idle").json()
    assert len(body["items"]) == seen and body["next"] is None and body["idle_days"] == 7
    if seen:
        item = body["items"][0]
        assert (item["name"], item["project"], item["pool"], item["accelerators"]) == (
            "scoring", "fraud-detection", "shared-gpu", 2,
        )  # fmt: skip
        assert item["never_called"] is True and item["idle_seconds"] // 86_400 == 20 and item["suggested_at"] is None
        assert (item["cost_per_month"], item["currency"]) == ("2073.20", "EUR")
        mine = api.get("/insights/idle", {"project": "fraud-detection"}).json()["items"]
        for one in (*mine, item):
            del one["idle_seconds"]  # a second may pass between the two answers
        assert mine == [item]
    assert api.get("/insights/idle", {"project": "no-such"}).status_code == 404
    assert api.get("/insights/idle", {"limit": 0}).status_code == 422
