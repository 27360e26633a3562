"""The canary on the page of revisions and in the API: numbers of both, its share, promote and abort, and who may."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from audit.models import Row
from endpoints import trials
from endpoints.models import Endpoint, Phase, Revision, RevisionOutcome
from quotas.models import UsageEvent
from tests.conftest import ApiClient, Org
from tests.endpoints.endpoint_kit import next_demo, open_demo

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
Clients = Callable[[Any], Client]
Api = Callable[..., ApiClient]


@pytest.fixture
def endpoint(org: Org, state_dir: Any) -> Endpoint:
    """A ready endpoint whose second revision is on its way."""
    made = open_demo(org.fraud)
    Endpoint.objects.filter(pk=made.pk).update(phase=Phase.READY, reason_code="ready")
    Revision.objects.filter(endpoint=made).update(outcome=RevisionOutcome.WORKED)
    made.refresh_from_db()
    next_demo(made)
    return made


def answered(endpoint: Endpoint, revision: int | None, count: int, *, ago: int, ttft: float, failed: int = 0) -> None:
    """Calls of a revision some minutes ago, the first of which failed."""
    at, place = timezone.now() - dt.timedelta(minutes=ago), {"project_id": endpoint.project_id, "endpoint": "scoring"}
    UsageEvent.objects.bulk_create(
        UsageEvent(
            gateway=f"gw-{revision}-{ago}", sequence=number, request_id="r", at=at, endpoint_id=str(endpoint.pk),
            key_id="k", key="gth_k", person="dana", operation="chat", status=502 if number < failed else 200,
            outcome="error" if number < failed else "ok", ttft_ms=None if number < failed else ttft, revision=revision,
            **place,
        )
        for number in range(count)
    )  # fmt: skip


def act(client: Client, endpoint: Endpoint, **data: str) -> Any:
    return client.post(reverse("endpoint_canary", args=[endpoint.pk]), data)


def read(client: Client, endpoint: Endpoint) -> str:
    return client.get(reverse("endpoint_revisions", args=[endpoint.pk])).content.decode()


def test_the_page_shows_what_both_did_since_the_canary_began(org: Org, client_for: Clients, endpoint: Endpoint) -> None:
    dana = client_for(org.dana)
    before = read(dana, endpoint)
    assert "Try it as a canary" in before and "TTFT p95" not in before and "Promote revision" not in before
    assert act(dana, endpoint, act="share", percent="10").status_code == 302
    endpoint.refresh_from_db()
    assert endpoint.canary_percent == 10 and "has answered no call yet" in read(dana, endpoint)
    answered(endpoint, 1, 50, ago=120, ttft=100)  # before the canary
    answered(endpoint, None, 9, ago=5, ttft=100)  # no engine answered
    answered(endpoint, 2, 20, ago=30, ttft=400, failed=5)
    answered(endpoint, 1, 80, ago=20, ttft=200)
    since, (runs, tried) = trials.compared(endpoint)
    assert since is not None and (runs.requests, runs.errors, tried.requests, tried.errors) == (80, 0, 20, 5)
    assert runs.ttft_p50 == pytest.approx(200, rel=0.03) and tried.ttft_p95 == pytest.approx(400, rel=0.03)
    page = read(dana, endpoint)
    assert "5 (25.0 %)" in page and "Promote revision 2" in page and "Canary, 10 % of the calls" in page
    with CaptureQueriesContext(
        connection,
    ) as queries:
        read(dana, endpoint)
    assert len(queries) <= 15
    seen_by_viewer = read(client_for(org.vic), endpoint)
    assert "5 (25.0 %)" in seen_by_viewer and "Promote revision 2" not in seen_by_viewer


def test_the_overview_leads_to_the_decision_and_stops_asking(org: Org, client_for: Clients, endpoint: Endpoint) -> None:
    dana = client_for(org.dana)
    act(dana, endpoint, act="share", percent="10")
    said = {"reason_code": "canary", "reason_sentence": "Revision 2 gets 10 % of the calls.", "reason_turn": "owner"}
    Endpoint.objects.filter(pk=endpoint.pk).update(**said, due_at=None, drain_until=None)
    status = dana.get(reverse("endpoint_status", args=[endpoint.pk]))
    assert status.status_code == 286  # it waits for a person
    page = dana.get(reverse("endpoint_detail", args=[endpoint.pk])).content.decode()
    assert "Revision 2 is a canary beside revision 1: decide under Revisions." in page
    assert "Revision 2 gets 10 % of the calls." in page and "Not ready for" not in page


def test_promote_and_abort_by_the_page(org: Org, client_for: Clients, endpoint: Endpoint) -> None:
    dana = client_for(org.dana)
    act(dana, endpoint, act="share", percent="25")
    assert act(dana, endpoint, act="promote").status_code == 302
    endpoint.refresh_from_db()
    assert (endpoint.canary_percent, endpoint.next_revision is not None) == (None, True)
    late = act(client_for(org.omar), endpoint, act="abort")  # somebody else was faster
    assert late.status_code == 409 and "no canary now" in late.content.decode()
    act(dana, endpoint, act="share", percent="25")
    assert act(dana, endpoint, act="abort").status_code == 302
    endpoint.refresh_from_db()
    assert endpoint.next_revision is None and "Canary" not in read(dana, endpoint)
    assert Revision.objects.get(endpoint=endpoint, number=2).outcome == RevisionOutcome.CANCELLED


@pytest.mark.parametrize(
    "data",
    [
        {"act": "share", "percent": "0"}, {"act": "share", "percent": "51"}, {"act": "share", "percent": "ten"},
        {"act": "share", "percent": "²"}, {"act": "share", "percent": "9" * 400}, {"act": "share"}, {"act": "explode"},
        {},
    ],
)  # fmt: skip
def test_a_bad_form_changes_nothing_and_says_why(
    org: Org, client_for: Clients, endpoint: Endpoint, data: dict[str, str]
) -> None:
    answer = act(client_for(org.dana), endpoint, **data)
    endpoint.refresh_from_db()
    assert answer.status_code == 422 and "Nothing was changed" in answer.content.decode()
    assert endpoint.canary_percent is None and not Row.objects.filter(action__contains="canary").exists()


def test_the_api_steers_it_too(org: Org, api_for: Api, endpoint: Endpoint) -> None:
    dana, path = api_for(org.dana, "endpoints:read", "endpoints:write"), f"/endpoints/{endpoint.pk}/canary"
    assert dana.get(path).json() == {"percent": None, "since": None, "items": []}
    first = dana.post(path, {"percent": 10})
    assert first.status_code == 202 and first.json()["canary_percent"] == 10
    assert dana.post(path, {"percent": 20, "revision": 2}).json()["canary_percent"] == 20  # it is the one on its way
    answered(endpoint, 2, 4, ago=1, ttft=50)
    found = dana.get(path).json()
    assert [one["percent"] for one in found["items"]] == [80, 20] and found["items"][1]["requests"] == 4
    for body, status in (({"percent": 0}, 422), ({"percent": "x"}, 422), ({}, 422), ({"percent": 20}, 409)):
        assert dana.post(path, body).status_code == status
    assert dana.post(f"{path}/abort", {"reason": "Slower."}).json()["canary_percent"] is None
    assert dana.post(f"{path}/promote").status_code == 409
    again = dana.post(path, {"percent": 5, "revision": 2})
    assert (again.status_code, again.json()["next_revision"], again.json()["canary_percent"]) == (202, 2, 5)
    assert dana.post(f"{path}/promote").json()["canary_percent"] is None
    assert dana.post(path, {"percent": 5, "revision": 99}).status_code == 422
    assert dana.post(path, {"percent": 5, "revision": 2**70}).status_code == 422
