"""Every case of the explainer on the endpoint's page: from recorded objects through driver, reconciler and row."""

import html
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from endpoints import reconcile as reconciling
from endpoints.clusters.explaining.cases import CASES
from endpoints.clusters.kubernetes import errors
from endpoints.models import Endpoint, Phase
from portal import crypto
from tests.conftest import Org
from tests.endpoints.endpoint_kit import open_demo
from tests.endpoints.explaining_examples import CREATION, ENGINES, ERRORS, EXAMPLES, KSERVE, PLACEMENT
from tests.endpoints.explaining_kit import Example
from tests.endpoints.told_kit import Teller, reported, write_down

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
Clients = Callable[[Any], Client]
TURNS = {"platform": "The platform team’s turn", "you": "Your turn", "nobody": "Nobody"}
# What a look says of these in words of its own: nothing is wrong, and the portal acts by itself.
OWN_WORDS = {"ending": "scheduled", "scaled_to_nothing": "scheduled", "stopped": "scheduled"}
# Of an endpoint that answers calls: it is ready, and nobody has to act for that.
BESIDE = {"autoscaler_blind"}
HOLE = re.compile(r"\{[a-z_]*\}|\bNone\b(?! of)|\bunknown\b(?! format)")


@pytest.fixture
def endpoint(org: Org, state_dir: Any) -> Endpoint:
    return open_demo(org.fraud)


@pytest.fixture
def teller(monkeypatch: pytest.MonkeyPatch) -> Teller:
    found = Teller()
    monkeypatch.setattr(reconciling, "driver_for", lambda cluster: found)
    return found


def text_of(page: str) -> str:
    """The words of the live part, as somebody reads them."""
    part = page.split('id="endpoint-status"')[1].split(">", 1)[1].split('<div class="gh-main-side">')[0]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", part)).split())


def wrong(example: Example, row: Endpoint, words: str) -> str:
    """Return what is missing on the page, "" for nothing."""
    told = example.explained()
    assert told is not None
    if example.code in BESIDE:
        return "" if (row.phase, row.reason_next) == (Phase.READY, told.next) and told.sentence in words else words
    if example.code in OWN_WORDS:
        return "" if row.reason_code == OWN_WORDS[example.code] else f"{row.reason_code}: {row.reason_sentence}"
    if row.reason_code != example.code:
        return f"{row.reason_code} instead, {row.reason_sentence}"
    missing = [word for word in example.words if word not in words]
    if missing or told.next not in words or TURNS[told.turn] not in words:
        return f"not on the page: {missing or told.next} or {TURNS[told.turn]}: {words}"
    holes = HOLE.findall(row.reason_sentence)
    return f"holes: {holes}" if holes or len(row.reason_sentence) > 500 else ""


@pytest.mark.parametrize(
    "examples", [CREATION, PLACEMENT, ENGINES, KSERVE, ERRORS], ids=["creation", "placement", "engine", "kserve", "api"]
)
def test_every_case_stands_on_the_page(
    org: Org, client_for: Clients, endpoint: Endpoint, teller: Teller, examples: list[Example]
) -> None:
    client, found = client_for(org.dana), {}
    for number, example in enumerate(examples):
        row = write_down(endpoint, teller, reported(example))
        # The whole page once: the rest is its live part alone, which the page includes.
        url = reverse("endpoint_status" if number else "endpoint_detail", args=[endpoint.pk])
        words = text_of(client.get(url).content.decode())
        found[f"{number}-{example.code}"] = wrong(example, row, words)
    assert {name: problem for name, problem in found.items() if problem} == {}


@pytest.mark.parametrize("example", [one for one in ERRORS if one.code in ("cluster_unreachable", "token_refused",
    "certificate_expired", "permission_missing", "kind_missing")], ids=lambda one: one.code)  # fmt: skip
def test_a_cluster_that_cannot_be_asked_leaves_what_answers_calls_ready(
    org: Org, client_for: Clients, endpoint: Endpoint, teller: Teller, example: Example
) -> None:
    routes = [{"url": "http://127.0.0.1:9", "key": crypto.encrypt("k"), "instance": "0-1-2", "revision": 1}]
    row = write_down(endpoint, teller, reported(example), phase=Phase.READY, reason_code="ready", upstreams=routes)
    told = example.explained()
    assert told is not None
    assert (row.phase, row.reason_code, row.upstreams) == (Phase.READY, example.code, routes)
    page = client_for(org.dana).get(reverse("endpoint_detail", args=[endpoint.pk])).content.decode()
    words = text_of(page)
    assert told.next in words and "Needs attention" in words and "What answers calls goes on." in words
    assert f"#{example.code}" in page and "not yet" not in words
    assert "hx-trigger" in page.split('id="endpoint-status"')[1].split(">")[0], "it may end by itself"


def test_what_a_cluster_says_is_escaped_on_the_page(
    org: Org, client_for: Clients, endpoint: Endpoint, teller: Teller
) -> None:
    hostile = "<script>alert(1)</script> {code} %(x)s " + "y" * 4000
    row = write_down(endpoint, teller, errors.answered(403, json.dumps({"message": hostile}).encode(), {}))
    page = client_for(org.dana).get(reverse("endpoint_detail", args=[endpoint.pk])).content.decode()
    assert row.reason_code == "forbidden" and len(row.reason_sentence) <= 500
    assert "<script>alert" not in page and "<script>alert(1)</script> {code} %(x)s" in text_of(page)


def test_no_case_is_left_out() -> None:
    assert {one.code for one in EXAMPLES} == set(CASES)
