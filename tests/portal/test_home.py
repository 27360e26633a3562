"""The first page: what it says to whom, and what it costs."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from approvals.models import RequestState
from endpoints.models import Endpoint, Phase
from portal.states import move
from tests.conftest import Org
from tests.factories import make_endpoint, make_pool, make_request

MOST_QUERIES = 15
ClientFor = Callable[[Any], Client]


def read(client: Client) -> str:
    """The page; fails when it needs too many queries."""
    client.get("/")  # content types and the like are remembered after the first page
    with CaptureQueriesContext(connection) as queries:
        response = client.get("/")
    assert response.status_code == 200
    assert len(queries) <= MOST_QUERIES, [query["sql"][:120] for query in queries]
    return response.content.decode()


def endpoint(org: Org, name: str, phase: Phase) -> None:
    """An endpoint of dana's in `phase`, by the arrows that the reconciler takes."""
    made = make_endpoint(org.dana, name=name)
    rows = Endpoint.objects.filter(pk=made.pk)
    assert move(rows, made.phase, Phase.PROVISIONING, field="phase")
    assert move(rows, Phase.PROVISIONING, phase, field="phase")


def test_new_person_sees_the_first_steps(org: Org, client_for: ClientFor) -> None:
    text = read(client_for(org.dana))
    assert "Nothing runs yet" in text
    assert "0 of 4" in text and "Pick a model" in text
    assert "Request an endpoint" in text


def test_steps_tick_from_what_happened(org: Org, client_for: ClientFor) -> None:
    make_request(org.dana, state=RequestState.SUBMITTED)
    text = read(client_for(org.dana))
    assert "2 of 4" in text
    assert "Waits for one decision." in text


def test_failed_endpoint_comes_first_and_is_news(org: Org, client_for: ClientFor) -> None:
    endpoint(org, "a-good-one", Phase.READY)
    endpoint(org, "z-broken", Phase.FAILED)
    text = read(client_for(org.dana))
    assert "1 endpoint failed" in text
    assert text.index("z-broken") < text.index("a-good-one")


def test_decider_sees_queue_and_pool(org: Org, client_for: ClientFor) -> None:
    make_pool(limit=8)
    waiting = make_request(org.dana, state=RequestState.SUBMITTED)
    text = read(client_for(org.pat))
    assert "1 request waits for a decision" in text
    assert f'href="/approvals/{waiting.pk}/"' in text
    assert "of 8 held" in text
    assert "Get going" not in text


def test_nobody_is_told_of_foreign_projects(org: Org, client_for: ClientFor) -> None:
    endpoint(org, "secret-plan", Phase.READY)
    text = read(client_for(org.cy))
    assert "secret-plan" not in text and "fraud-detection" not in text


@pytest.mark.parametrize("name", ["aud", "vic"])
def test_who_may_not_request_is_not_offered_it(org: Org, client_for: ClientFor, name: str) -> None:
    assert "Request an endpoint" not in read(client_for(getattr(org, name)))
