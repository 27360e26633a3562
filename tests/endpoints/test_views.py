"""The pages of endpoints and keys, for every kind of reader."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from audit.models import Row
from endpoints.models import Desired, Endpoint, Event, Phase
from endpoints.services import issue_key
from portal import crypto
from projects.models import ApiKey, KeyState
from projects.principal import Principal
from tests.conftest import Org
from tests.endpoints.endpoint_kit import open_demo

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
Clients = Callable[[Any], Client]


@pytest.fixture
def endpoint(org: Org, state_dir: Any) -> Endpoint:
    return open_demo(org.fraud)


def ready(endpoint: Endpoint) -> Endpoint:
    """As the reconciler leaves it when its engine answers."""
    routes = [{"url": "http://127.0.0.1:9", "key": crypto.encrypt("k"), "instance": "0-1-2"}]
    Endpoint.objects.filter(pk=endpoint.pk).update(phase=Phase.READY, upstreams=routes, reason_code="ready")
    endpoint.refresh_from_db()
    return endpoint


PAGES = ("endpoint_detail", "endpoint_status", "endpoint_events", "endpoint_logs")


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(
    ("person", "status"),
    [
        ("dana", 200),
        ("omar", 200),
        ("vic", 200),
        ("pat", 200),
        ("yasmine", 200),
        ("aud", 200),
        ("cy", 404),
        (None, 302),
    ],
)
def test_members_and_the_platform_read_strangers_find_nothing(
    org: Org, client_for: Clients, endpoint: Endpoint, name: str, person: str | None, status: int
) -> None:
    client = client_for(getattr(org, person) if person else None)
    answer = client.get(reverse(name, args=[endpoint.pk]))
    assert answer.status_code == status
    if status == 404:
        assert endpoint.name not in answer.content.decode()


@pytest.mark.parametrize(
    ("person", "status"),
    [("dana", 302), ("omar", 302), ("vic", 403), ("pat", 302), ("yasmine", 403), ("aud", 403), ("cy", 404)],
)
def test_suspend_is_for_builders_and_platform_engineers(
    org: Org, client_for: Clients, endpoint: Endpoint, person: str, status: int
) -> None:
    answer = client_for(getattr(org, person)).post(reverse("endpoint_suspend", args=[endpoint.pk]))
    endpoint.refresh_from_db()
    assert answer.status_code == status
    assert endpoint.desired == (Desired.SUSPENDED if status == 302 else Desired.RUNNING)


def test_a_second_suspend_is_a_conflict_with_a_sentence(org: Org, client_for: Clients, endpoint: Endpoint) -> None:
    client = client_for(org.dana)
    client.post(reverse("endpoint_suspend", args=[endpoint.pk]))
    answer = client.post(reverse("endpoint_suspend", args=[endpoint.pk]))
    assert answer.status_code == 409 and "is suspended; it cannot be suspended now" in answer.content.decode()


def test_list_shows_own_projects_and_says_what_is_a_demo(org: Org, client_for: Clients, endpoint: Endpoint) -> None:
    other = open_demo(org.search)
    page = client_for(org.dana).get(reverse("endpoint_list")).content.decode()
    assert endpoint.name in page and other.name not in page and "Demo engine" in page
    page = client_for(org.pat).get(reverse("endpoint_list"), {"q": other.name}).content.decode()
    assert other.name in page and f">{endpoint.name}<" not in page
    page = client_for(org.pat).get(reverse("endpoint_list"), {"phase": "failed"}).content.decode()
    assert "No endpoint matches" in page


def test_empty_list_leads_to_the_catalog(org: Org, client_for: Clients) -> None:
    assert reverse("catalog_list") in client_for(org.cy).get(reverse("endpoint_list")).content.decode()


def test_detail_shows_address_snippets_steps_and_the_placeholder_of_the_key(
    org: Org, client_for: Clients, endpoint: Endpoint, settings: Any
) -> None:
    settings.BASE_URL = "https://gate.example.com"
    Event.objects.create(
        endpoint=endpoint, code="scheduled", phase=Phase.PROVISIONING, sentence="The engine is being started."
    )
    Event.objects.create(endpoint=endpoint, code="ready", phase=Phase.READY, sentence="Answers calls.")
    page = client_for(org.dana).get(reverse("endpoint_detail", args=[ready(endpoint).pk])).content.decode()
    assert "https://gate.example.com/v1" in page and f"fraud-detection/{endpoint.name}" in page
    for words in ("langchain_openai", "client.chat.completions.create", "curl https://gate", "api_key=&quot;gth_…"):
        assert words in page
    assert page.count("pf-m-success") == 5 and "data-playground" in page
    assert "hx-trigger" not in page.split('id="endpoint-status"')[1].split(">")[0]  # it is ready: nothing asks again


def test_status_asks_again_until_it_rests(org: Org, client_for: Clients, endpoint: Endpoint) -> None:
    client, url = client_for(org.dana), reverse("endpoint_status", args=[endpoint.pk])
    moving = client.get(url, headers={"HX-Request": "true"})
    assert (
        moving.status_code == 200
        and 'hx-trigger="every 2s"' in moving.content.decode()
        and "<html" not in moving.content.decode()
    )
    ready(endpoint)
    rest = client.get(url, headers={"HX-Request": "true"})
    assert rest.status_code == 286 and rest["HX-Refresh"] == "true" and "hx-trigger" not in rest.content.decode()


def test_failed_says_why_whose_turn_and_offers_retry_to_those_who_may(
    org: Org, client_for: Clients, endpoint: Endpoint
) -> None:
    Endpoint.objects.filter(pk=endpoint.pk).update(
        phase=Phase.FAILED,
        reason_code="out_of_memory",
        reason_sentence="The engine ran out of memory.",
        reason_turn="owner",
    )
    url = reverse("endpoint_detail", args=[endpoint.pk])
    page = client_for(org.dana).get(url).content.decode()
    assert (
        "The engine ran out of memory." in page
        and "Your turn" in page
        and reverse("endpoint_retry", args=[endpoint.pk]) in page
    )
    page = client_for(org.aud).get(url).content.decode()
    assert "fraud-detection’s turn" in page and reverse("endpoint_retry", args=[endpoint.pk]) not in page
    assert client_for(org.dana).post(reverse("endpoint_retry", args=[endpoint.pk])).status_code == 302
    endpoint.refresh_from_db()
    assert endpoint.phase == Phase.PENDING


def test_delete_counts_what_is_affected_and_wants_the_name(org: Org, client_for: Clients, endpoint: Endpoint) -> None:
    issue_key(Principal.of(org.omar), org.fraud, "batch", [endpoint.name])
    issue_key(Principal.of(org.omar), org.fraud, "everything", [])
    client, url = client_for(org.dana), reverse("endpoint_delete", args=[endpoint.pk])
    page = client.get(url).content.decode()
    assert "<strong>2 keys</strong> can call it, never used" in page and "<strong>0 calls</strong>" in page
    refused = client.post(url, {"confirm": "something else"})
    endpoint.refresh_from_db()
    assert (
        refused.status_code == 422
        and endpoint.desired == Desired.RUNNING
        and "exactly as it is written" in refused.content.decode()
    )
    assert client.post(url, {"confirm": endpoint.name}).status_code == 302
    endpoint.refresh_from_db()
    assert endpoint.desired == Desired.DELETED
    assert client_for(org.vic).get(url).status_code == 403


def test_playground_key_is_short_bound_audited_and_only_for_builders(
    org: Org, client_for: Clients, endpoint: Endpoint
) -> None:
    url = reverse("endpoint_playground_key", args=[endpoint.pk])
    early = client_for(org.dana).post(url)
    assert early.status_code == 409 and early.json()["code"] == "endpoint_not_ready"
    ready(endpoint)
    answer = client_for(org.dana).post(url)
    body = answer.json()
    key = ApiKey.objects.get(purpose="playground")
    assert answer["Cache-Control"] == "no-store" and body["model"] == f"fraud-detection/{endpoint.name}"
    assert key.person == org.dana and key.scopes == ["inference:invoke"] and body["key"].startswith(key.prefix)
    assert 890 < (key.expires_at - key.created_at).total_seconds() < 901
    assert [target.target_id for target in key.targets.all()] == [str(endpoint.pk)]
    audited = Row.objects.get(action="keys.issue", object_id=str(key.pk))
    assert "playground" in audited.after and body["key"] not in audited.canonical
    assert client_for(org.pat).post(url).status_code == 403 and client_for(org.cy).post(url).status_code == 404
    assert (
        client_for(org.dana).get(reverse("key_list", args=["fraud-detection"])).content.decode().count("Playground")
        == 0
    )


def test_key_secret_is_on_one_answer_and_never_again(org: Org, client_for: Clients, endpoint: Endpoint) -> None:
    client, url = client_for(org.dana), reverse("key_create", args=["fraud-detection"])
    assert f'value="{endpoint.name}" selected' in client.get(f"{url}?endpoint={endpoint.name}").content.decode()
    shown = client.post(url, {"name": "scoring-service", "endpoint": endpoint.name, "days": "30"})
    [secret] = set(re.findall(r"gth_\w{8}_\w+", shown.content.decode()))
    assert shown["Cache-Control"] == "no-store"
    for later in (reverse("key_list", args=["fraud-detection"]), reverse("endpoint_detail", args=[endpoint.pk])):
        page = client.get(later).content.decode()
        assert "scoring-service" in page and secret not in page and secret[:12] in page
    assert not Row.objects.filter(canonical__contains=secret[13:]).exists()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", "", "name needs at least 1 character"),
        ("days", "9999", "a key lives 1 to 365 days"),
        ("days", "soon", "Write a whole number"),
        ("endpoint", "no-such", "which fraud-detection does not have"),
    ],
)
def test_key_with_a_wrong_field_is_refused_and_nothing_typed_is_lost(
    org: Org, client_for: Clients, endpoint: Endpoint, field: str, value: str, words: str
) -> None:
    typed = {"name": "kept", "endpoint": endpoint.name, "days": "30"} | {field: value}
    answer = client_for(org.dana).post(reverse("key_create", args=["fraud-detection"]), typed)
    assert answer.status_code == 422 and words in answer.content.decode() and not ApiKey.objects.exists()
    if field != "name":
        assert 'value="kept"' in answer.content.decode()


def test_developers_end_their_own_keys_owners_any(org: Org, client_for: Clients, endpoint: Endpoint) -> None:
    theirs, _ = issue_key(Principal.of(org.omar), org.fraud, "of-omar", [])
    mine, _ = issue_key(Principal.of(org.dana), org.fraud, "of-dana", [])
    revoke = [reverse("key_revoke", args=["fraud-detection", key.pk]) for key in (theirs, mine)]
    dana = client_for(org.dana)
    page = dana.get(reverse("key_list", args=["fraud-detection"])).content.decode()
    assert revoke[1] in page and revoke[0] not in page
    assert dana.post(revoke[0], {"confirm": "of-omar"}).status_code == 403
    assert dana.post(revoke[1], {"confirm": "of-omar"}).status_code == 422
    assert dana.post(revoke[1], {"confirm": "of-dana"}).status_code == 302
    assert client_for(org.pat).post(revoke[0], {"confirm": "of-omar"}).status_code == 302
    assert set(ApiKey.objects.values_list("state", flat=True)) == {KeyState.REVOKED}


def test_rotating_shows_a_new_secret_and_keeps_the_old_key_for_a_while(org: Org, client_for: Clients) -> None:
    key, old = issue_key(Principal.of(org.dana), org.fraud, "service", [])
    answer = client_for(org.dana).post(reverse("key_rotate", args=["fraud-detection", key.pk]), {"confirm": "service"})
    key.refresh_from_db()
    assert answer.status_code == 200 and old not in answer.content.decode() and "gth_" in answer.content.decode()
    assert key.state == KeyState.ROTATING and ApiKey.objects.filter(state=KeyState.ACTIVE).count() == 1


def test_number_of_queries_does_not_grow(org: Org, client_for: Clients, endpoint: Endpoint) -> None:
    client = client_for(org.dana)
    pages = [
        reverse("endpoint_list"),
        reverse("endpoint_detail", args=[endpoint.pk]),
        reverse("key_list", args=["fraud-detection"]),
        reverse("endpoint_status", args=[endpoint.pk]),
        reverse("endpoint_delete", args=[endpoint.pk]),
    ]
    issue_key(Principal.of(org.dana), org.fraud, "first", [endpoint.name])
    few = {url: _queries(client, url) for url in pages}
    for number in range(8):
        more = open_demo(org.fraud)
        issue_key(Principal.of(org.dana), org.fraud, f"key-{number}", [endpoint.name, more.name])
        Event.objects.create(endpoint=endpoint, code="loading", phase=Phase.PROVISIONING, sentence="Loading.")
    assert {url: _queries(client, url) for url in pages} == few
    # Session, person, groups, memberships and the frame's menu are in these.
    assert max(few.values()) <= 15, few


def _queries(client: Client, url: str) -> int:
    from django.db import connection

    with CaptureQueriesContext(connection) as queries:
        assert client.get(url).status_code == 200
    return len(queries)
