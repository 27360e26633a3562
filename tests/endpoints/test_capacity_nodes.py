"""The capacity page by nodes: boxes, differences, unassigned accelerators, shares, and what if."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from audit.services import system
from endpoints import giving_back
from endpoints.models import Endpoint
from quotas import services
from quotas.models import Node, Pool, Survey
from tests import factories
from tests.conftest import Org
from tests.endpoints.endpoint_kit import open_demo

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
ClientFor = Callable[[Any], Client]
GPU = "nvidia.com/gpu"


def pod(name: str, amount: int, row: Endpoint | None = None) -> dict[str, Any]:
    born = f"2026-11-29T10:00:0{name[-1]}+00:00"
    return {"namespace": "n", "name": name, "amount": amount, "endpoint": str(row.pk) if row else "", "since": born}


def node(name: str, capacity: int, *pods: dict[str, Any], **values: Any) -> Node:
    values = {"resource": GPU, "product": "L40S", "memory_mib": 46068, "condition": "ready"} | values
    return Node.objects.create(
        cluster="local",
        name=name,
        capacity=capacity,
        allocatable=capacity,
        pods=list(pods),
        since=timezone.now(),
        **values,
    )


@pytest.fixture
def pool(org: Org) -> Pool:
    """Two nodes of four: dana's endpoint runs on three, cy's on four, a stranger's pod has one; one waits for two."""
    pool = factories.make_pool(limit=8, slug="shared-gpu")
    mine = open_demo(org.fraud, gpus=1, replicas=3, pool=pool)
    theirs = open_demo(org.search, gpus=4, pool=pool)
    waits = open_demo(org.search, gpus=2, pool=pool)
    day = timezone.now().date() + dt.timedelta(days=3)
    Endpoint.objects.filter(pk=mine.pk).update(name="scoring", ends_on=day)
    Endpoint.objects.filter(pk=theirs.pk).update(name="ranker")
    Endpoint.objects.filter(pk=waits.pk).update(name="reranker")
    node("gpu-01", 4, pod("p1", 1, mine), pod("p2", 1, mine), pod("p3", 1))
    node("gpu-02", 4, pod("p4", 4, theirs))
    Survey.objects.create(cluster="local", seen_at=timezone.now())
    return pool


def look(client: Client, address: str = "/capacity/") -> Any:
    response = client.get(address)
    assert response.status_code == 200
    return response


def boxes(response: Any) -> list[tuple[str, str, str]]:
    return [(box["where"], box["kind"], box.get("name", "")) for box in response.context["pools"][0]["boxes"]]


def test_boxes_are_nodes_and_numbers(org: Org, pool: Pool, client_for: ClientFor) -> None:
    response = look(client_for(org.pat))
    assert boxes(response) == [
        ("gpu-01 / 0", "held", "fraud-detection/scoring"), ("gpu-01 / 1", "held", "fraud-detection/scoring"),
        ("gpu-01 / 2", "other", "n/p3"), ("gpu-01 / 3", "reserved", "fraud-detection/scoring"),
        *[(f"gpu-02 / {number}", "held", "search-ranking/ranker") for number in range(4)],
    ]  # fmt: skip
    html = response.content.decode()
    assert "L40S, 45 GiB" in html and "Held by something else" in html and "reserved, no pod is here yet" in html
    assert response.context["pools"][0]["differences"] == (
        "1 accelerator is held by something that the portal did not start: there is less room than reservations say, "
        "and who is served may wait for a node. "
        "1 accelerator is reserved, and no pod is there yet: they start, or wait for a node."
    )
    assert [(one["name"], one["taken"], one["free"]) for one in response.context["pools"][0]["nodes"]] == [
        ("gpu-01", 3, 0), ("gpu-02", 4, 0),
    ]  # fmt: skip
    table = look(client_for(org.pat), "/capacity/?view=table").content.decode()
    assert 'class="gh-boxes"' not in table and "gpu-02" in table


def test_strangers_stay_another_project(org: Org, pool: Pool, client_for: ClientFor) -> None:
    response = look(client_for(org.dana))
    assert boxes(response)[2:5] == [
        ("gpu-01 / 2", "other", ""), ("gpu-01 / 3", "reserved", "fraud-detection/scoring"),
        ("gpu-02 / 0", "held", "another project"),
    ]  # fmt: skip
    html = response.content.decode()
    ranker = Endpoint.objects.get(name="ranker")
    assert not any(word in html for word in ("search-ranking", "ranker", str(ranker.pk), "n/p3", "p4"))
    assert [one["name"] for one in response.context["pools"][0]["shares"]] == ["fraud-detection", "another project"]


def test_lost_split_and_unassigned_nodes(org: Org, pool: Pool, client_for: ClientFor) -> None:
    Node.objects.filter(name="gpu-02").update(condition="lost")
    node("gpu-03", 2, resource="amd.com/gpu", product="MI300X")
    pool.profiles.add(factories.make_profile(gpus=1, resource="nvidia.com/mig-1g.10gb"))
    node("gpu-04", 7, pod("p5", 2), resource="nvidia.com/mig-1g.10gb", product="H100", memory_mib=None)
    response = look(client_for(org.pat))
    found = response.context["pools"][0]["boxes"]
    assert [box["lost"] for box in found if box["where"].startswith("gpu-02")] == [True] * 4
    assert [(box["name"], len(box["slices"])) for box in found if box["kind"] == "split"] == [
        ("2 of 7 × 1g.10gb held", 7)
    ]
    [stranger] = response.context["strangers"]
    assert (stranger["name"], stranger["count"]) == ("gpu-03", 2) and "resource amd.com/gpu" in stranger["fix"]
    assert "amd.com/gpu" in response.content.decode()
    assert "A platform engineer adds" in look(client_for(org.dana)).context["strangers"][0]["fix"]


def test_what_is_free_says_who_would_take_it(org: Org, pool: Pool, client_for: ClientFor) -> None:
    Node.objects.filter(name="gpu-01").update(pods=[])
    Pool.objects.filter(pk=pool.pk).update(limit=9, observed=8)
    node("gpu-03", 1)
    whys = [box.get("why") for box in look(client_for(org.pat)).context["pools"][0]["boxes"] if box["kind"] == "free"]
    assert whys == ["search-ranking/reranker would take it with 1 more"] * 2


def test_the_queue_has_places_and_estimates(org: Org, pool: Pool, client_for: ClientFor) -> None:
    [waits] = look(client_for(org.pat)).context["pools"][0]["waiting"]
    day = timezone.now().date() + dt.timedelta(days=4)
    assert (waits["position"], waits["start"]) == (1, f"not before {day.day} {day:%b %Y}")
    Endpoint.objects.update(ends_on=None)
    [waits] = look(client_for(org.pat)).context["pools"][0]["waiting"]
    assert (waits["start"], waits["why"]) == ("not known", "nothing that is held before it has an end")


def test_what_if_a_request(org: Org, pool: Pool, client_for: ClientFor) -> None:
    client = client_for(org.pat)
    services.release(system("t"), ("endpoint", str(Endpoint.objects.get(name="reranker").pk)))
    answer = look(client, "/capacity/?project=fraud-detection&replicas=1").context["what_if"]["request"]
    assert answer["sentence"] == "1 accelerator of shared-gpu: starts at once, 1 are free."
    asked = look(client, "/capacity/?project=search-ranking&replicas=2").context["what_if"]["request"]
    assert "waits at place 1" in asked["sentence"] and asked["back"].startswith("Nothing would be asked back")
    never = look(client, "/capacity/?project=fraud-detection&replicas=9").context["what_if"]["request"]
    assert "never fit" in never["sentence"]


def test_what_if_says_what_would_be_asked_back_and_asks_nothing(org: Org, client_for: ClientFor) -> None:
    pool = factories.make_pool(limit=8, slug="shared-gpu")
    for _ in range(4):
        open_demo(org.fraud, gpus=2, pool=pool)
    answer = look(client_for(org.pat), "/capacity/?project=search-ranking&replicas=4").context["what_if"]["request"]
    assert "It would be within its share" in answer["back"] and answer["back"].count("(2)") == 2
    assert [(row["name"], row["before"], row["after"], row["borrowed_before"]) for row in answer["rows"]] == [
        ("fraud-detection", "8", "4", 0), ("search-ranking", "–", "4", 0),
    ]  # fmt: skip
    stranger = look(client_for(org.cy), "/capacity/?project=search-ranking&replicas=4")
    assert "another project (2), another project (2)" in stranger.context["what_if"]["request"]["back"]
    assert "fraud-detection" not in stranger.content.decode()
    assert giving_back.settle() == 0, "nothing was asked for: nobody waits"


def test_what_if_the_pool_had_another_size(org: Org, pool: Pool, client_for: ClientFor) -> None:
    client = client_for(org.pat)
    more = look(client, "/capacity/?gpus=9").context["what_if"]["size"]["sentences"]
    assert more[1] == "1 of 1 that wait would start at once: search-ranking/reranker."
    lost = look(client, "/capacity/?lost=gpu-02").context["what_if"]["size"]
    assert lost["bad"] and "3 more would be held than there are" in lost["sentences"][1]
    assert "search-ranking/ranker" in lost["sentences"][-1]


@pytest.mark.parametrize(
    "address",
    ["?project=no-such", "?project=search-ranking&replicas=0", "?project=search-ranking&replicas=²", "?gpus=1e9",
     "?gpus=99999999999999999999", "?lost=nowhere", "?pool=nope&project=search-ranking",
     "?profile=x&project=search-ranking",
     "?replicas=-1&project=search-ranking", "?view=%00", "?lost=%F0%9F%92%A5&gpus=a"],
)  # fmt: skip
def test_what_if_survives_whatever_is_typed(org: Org, pool: Pool, client_for: ClientFor, address: str) -> None:
    response = look(client_for(org.pat), f"/capacity/{address}")
    cells = response.context["what_if"]
    assert cells["request"] is None and cells["size"] is None
    assert "view" in address or any(field["error"] for field in cells["fields"].values())


def test_a_project_that_is_not_known_is_not_told_apart(org: Org, pool: Pool, client_for: ClientFor) -> None:
    client = client_for(org.dana)
    known, unknown = (
        look(client, f"/capacity/?project={slug}").context["what_if"]["fields"]["project"]["error"]
        for slug in ("search-ranking", "no-such")
    )
    assert known.replace("search-ranking", "no-such") == unknown


def test_the_page_costs_the_same_for_many_nodes(
    org: Org, pool: Pool, client_for: ClientFor, django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        node(f"more-{number}", 8, pod(f"x{number}", 1))
    client = client_for(org.pat)
    look(client)
    with django_assert_max_num_queries(15):
        look(client, "/capacity/?project=search-ranking&replicas=2&gpus=20&lost=gpu-02")
