"""The page of an endpoint that is shared with the reader's project, and the keys that its members make for it."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from endpoints import services
from endpoints.models import Endpoint, Event, Phase, Share
from portal import crypto
from projects.models import ApiKey, Membership, Role
from projects.principal import Principal
from quotas.grants import set_quotas
from tests import factories
from tests.conftest import Org
from tests.endpoints.endpoint_kit import open_demo

pytestmark = pytest.mark.django_db
Clients = Callable[[Any], Client]


@pytest.fixture
def share(org: Org, state_dir: Any) -> Share:
    """A ready endpoint of fraud-detection, shared with search-ranking."""
    made = open_demo(org.fraud)
    routes = [{"url": "http://127.0.0.1:9", "key": crypto.encrypt("k"), "instance": "0-1-2"}]
    Endpoint.objects.filter(pk=made.pk).update(
        phase=Phase.READY, upstreams=routes, shareable=True, contact=org.dana, reason_sentence="Answers calls."
    )
    Event.objects.create(endpoint=made, code="scaled", phase=Phase.READY, sentence="dana scaled it.")
    made.refresh_from_db()
    return services.share(Principal.of(org.omar), made, org.search, ends_on=dt.date(2099, 1, 31), reason="Ranking.")


def test_members_of_the_other_project_read_state_address_and_their_own_limits(
    org: Org, client_for: Clients, share: Share
) -> None:
    endpoint, model = share.endpoint, f"fraud-detection/{share.endpoint.name}"
    tokens = [{"target": "project", "window": "month", "hard": 77_000}]
    set_quotas(factories.engineer(), org.search, {"gpus": None, "tokens": tokens}, endpoints={})
    page = client_for(org.cy).get(reverse("endpoint_detail", args=[endpoint.pk])).content.decode()
    assert model in page and "Answers calls." in page and "until 31 Jan 2099" in page.replace("\n", " ")
    assert "/ 77,000" in page and "client.chat.completions.create" in page
    key_url = reverse("key_create", args=["search-ranking"])
    assert f"{key_url}?endpoint=fraud-detection%2F{endpoint.name}" in page
    their_keys = reverse("key_list", args=["fraud-detection"])
    for hidden in ("Score card payments.", "dana", "omar", "scaled it", "data-playground", "R-1", their_keys):
        assert hidden not in page, hidden
    for name in ("usage", "revisions", "events", "logs", "settings", "suspend", "delete"):
        address = reverse(f"endpoint_{name}", args=[endpoint.pk])
        assert address not in page
        assert client_for(org.cy).get(address).status_code == 404, name


def test_its_status_is_followed_without_events(org: Org, client_for: Clients, share: Share) -> None:
    endpoint = share.endpoint
    Endpoint.objects.filter(pk=endpoint.pk).update(phase=Phase.PROVISIONING, reason_sentence="The engine starts.")
    client = client_for(org.cy)
    assert 'hx-trigger="every 2s"' in client.get(reverse("endpoint_detail", args=[endpoint.pk])).content.decode()
    answer = client.get(reverse("endpoint_status", args=[endpoint.pk]), headers={"HX-Request": "true"})
    text = answer.content.decode()
    assert answer.status_code == 200 and "The engine starts." in text and "dana scaled it." not in text


def test_a_failed_one_names_no_key_and_offers_no_retry(org: Org, client_for: Clients, share: Share) -> None:
    Endpoint.objects.filter(pk=share.endpoint_id).update(phase=Phase.FAILED, reason_sentence="The engine ended.")
    page = client_for(org.cy).get(reverse("endpoint_detail", args=[share.endpoint_id])).content.decode()
    assert "The engine ended." in page and "Retry" not in page and "Who is affected" not in page


def test_a_viewer_there_reads_and_makes_no_key_and_an_ended_share_closes_the_page(
    org: Org, client_for: Clients, share: Share
) -> None:
    Membership.objects.create(project=org.search, user=org.ravi, role=Role.VIEWER)
    org.ravi.groups.clear()
    address, client = reverse("endpoint_detail", args=[share.endpoint_id]), client_for(org.ravi)
    page = client.get(address).content.decode()
    assert "Answers calls." in page and reverse("key_create", args=["search-ranking"]) not in page
    Share.objects.filter(pk=share.pk).update(ended_at=timezone.now())
    assert client.get(address).status_code == 404 == client_for(org.cy).get(address).status_code


def test_a_key_of_the_other_project_can_be_bound_to_it(org: Org, client_for: Clients, share: Share) -> None:
    client, address = client_for(org.cy), reverse("key_create", args=["search-ranking"])
    model = f"fraud-detection/{share.endpoint.name}"
    form = client.get(address, {"endpoint": model}).content.decode()
    assert f'value="{model}" selected' in form and "shared with you" in form
    answer = client.post(address, {"name": "ranker", "endpoint": model, "days": "30"})
    assert answer.status_code == 200 and model in answer.content.decode()
    [target] = ApiKey.objects.get(name="ranker").targets.all()
    assert target.target_id == str(share.endpoint_id)
    own = client_for(org.dana).get(reverse("key_create", args=["fraud-detection"])).content.decode()
    assert model not in own  # at home it is called by its name
