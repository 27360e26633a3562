"""While a cluster is away, pages of endpoints that answer calls say since when nobody knows how they are."""

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from endpoints.away import last_seen
from endpoints.clusters.checks import Check, Report
from endpoints.fleet import examining
from endpoints.models import Cluster, Desired, Endpoint, Phase
from tests.conftest import Org
from tests.endpoints.endpoint_kit import open_demo
from tests.factories import make_place

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
LIST = "/endpoints/"
GONE = Check("reachable", "fail", "10.0.0.7 port 6443 is not reached: timed out.", "Look at the network.")


@pytest.fixture
def row(org: Org) -> Endpoint:
    """One that answers calls, on a cluster that answered twelve minutes ago."""
    place = make_place(org.pat)
    Cluster.objects.filter(pk=place.pk).update(last_seen_at=timezone.now() - dt.timedelta(minutes=12))
    return ready(open_demo(org.fraud), place)


def ready(endpoint: Endpoint, place: Cluster) -> Endpoint:
    """Let an endpoint answer calls on a cluster."""
    mine = Endpoint.objects.filter(pk=endpoint.pk)
    mine.update(cluster=place, phase=Phase.READY, reason_code="ready", reason_sentence="Answers calls on 1 of 1.")
    return mine.select_related("cluster").get()


def noted(cluster: Cluster, check: Check) -> None:
    """Write what a short look found, as a worker does."""
    examining.keep(cluster, Report((check,), seen=check.verdict == "pass"), timezone.now())


def words(response: Any) -> str:
    assert response.status_code in {200, 286}
    return re.sub(r"\s+", " ", response.content.decode())


def test_list_and_page_say_it_while_it_lasts(org: Org, client_for: Callable[[Any], Client], row: Endpoint) -> None:
    client, url = client_for(org.dana), f"/endpoints/{row.pk}/"
    said = "Last seen 12 min ago: the cluster outpost does not answer since"
    assert said not in words(client.get(LIST)) + words(client.get(url))
    noted(row.cluster, GONE)
    listed = words(client.get(LIST))
    assert said in listed and "Answers calls on 1 of 1." not in listed and "Ready" in listed
    assert said in words(client.get(url)) and said in words(client.get(f"{url}status/"))
    assert Endpoint.objects.get(pk=row.pk).phase == Phase.READY
    noted(row.cluster, Check("reachable", "pass", "It answers."))
    assert said not in words(client.get(LIST)) + words(client.get(url))


def test_a_list_of_many_asks_no_more(org: Org, client_for: Callable[[Any], Client], row: Endpoint) -> None:
    client = client_for(org.dana)
    noted(row.cluster, GONE)

    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            words(client.get(LIST))
        return len(seen)

    few = queries()
    for number in range(3):
        ready(open_demo(org.fraud, name=f"more-{number}"), row.cluster)
    assert queries() == few and words(client.get(LIST)).count("Last seen 12 min ago") == 4


@pytest.mark.parametrize(("cluster", "endpoint", "said"), [
    ({"problem_code": "reachable"}, {}, "does not answer since"),
    ({"problem_code": "certificate"}, {"phase": Phase.DEGRADED}, "does not answer since"),
    ({"problem_code": "credential"}, {}, "does not let the portal in since"),
    ({"problem_code": "reachable", "last_seen_at": None}, {}, "Never seen: the cluster outpost does not answer."),
    ({"problem_code": ""}, {}, ""),
    ({"problem_code": "rbac"}, {}, ""),
    ({"problem_code": "reachable"}, {"phase": Phase.PROVISIONING}, ""),
    ({"problem_code": "reachable"}, {"desired": Desired.SUSPENDED}, ""),
])  # fmt: skip
def test_of_what_it_is_said(row: Endpoint, cluster: dict[str, Any], endpoint: dict[str, Any], said: str) -> None:
    Cluster.objects.filter(pk=row.cluster.pk).update(**cluster)
    Endpoint.objects.filter(pk=row.pk).update(**endpoint)
    found = last_seen(Endpoint.objects.select_related("cluster").get(pk=row.pk))
    assert said in found and bool(found) == bool(said)
