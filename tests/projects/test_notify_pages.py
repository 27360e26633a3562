"""The pages of webhooks, and the REST API of notifications and webhooks."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from audit.models import Row
from projects.models import ApiKey, Delivery, DeliveryState, Notification, User, Webhook
from projects.notify import calls, webhooks
from projects.notify.services import tell
from projects.principal import Principal
from tests.conftest import ApiClient, Org
from tests.projects.notify_kit import receiver

pytestmark = pytest.mark.slow

Clients = Callable[[User | None], Client]
Tokens = Callable[..., ApiClient]
URL = "http://127.0.0.1:9/hooks/path"


@pytest.fixture(autouse=True)
def _allowed(settings: Any) -> None:
    settings.OUTBOUND_ALLOW = {"webhook": ["127.0.0.0/8"]}


@pytest.fixture
def hook(org: Org) -> Webhook:
    return webhooks.create(Principal.of(org.omar), project=org.fraud, name="chat", url=URL)[0]


def say(org: Org, people: list[User], **fields: Any) -> None:
    wanted: dict[str, Any] = {"title": "scoring is ready.", "project": org.fraud, **fields}
    with transaction.atomic():
        tell("endpoint.ready", people, **wanted)


# --- Pages


def test_the_way_through_the_pages(org: Org, client_for: Clients) -> None:
    client = client_for(org.omar)
    assert "Webhooks" in client.get("/projects/fraud-detection/").content.decode()
    assert "No webhook yet" in client.get("/projects/fraud-detection/webhooks/").content.decode()
    form = {"name": "chat", "url": URL, "kinds": ["quota.raised", "endpoint.ready"], "enabled": "on"}
    made = client.post("/projects/fraud-detection/webhooks/new/", form)
    page, row = made.content.decode(), Webhook.objects.get()
    assert (made.status_code, made["Cache-Control"]) == (200, "no-store")
    assert "whsec_" in page and (row.kinds, row.enabled) == (["endpoint.ready", "quota.raised"], True)
    detail = client.get(f"/webhooks/{row.pk}/").content.decode()
    assert "whsec_" not in detail and URL in detail and "Nothing was sent yet" in detail
    assert client.post(f"/webhooks/{row.pk}/test/").status_code == 302
    calls.deliver()
    detail = client.get(f"/webhooks/{row.pk}/").content.decode()
    assert "nothing listens there" in detail and "Webhook test" in detail
    assert "chat" in client.get("/projects/fraud-detection/webhooks/").content.decode()
    changed = client.post(f"/webhooks/{row.pk}/change/", {"name": "chat", "url": URL})
    row.refresh_from_db()
    assert (changed.status_code, row.kinds, row.enabled) == (302, [], False)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"url": "http://10.1.2.3/"}, "GATEHOUSE_WEBHOOK_ALLOW"),
        ({"url": "nonsense"}, "The address must look like"),
        ({"name": ""}, "name needs at least 1 character"),
        ({"kinds": ["nonsense"]}, "kinds holds"),
        ({"name": "chat"}, "Choose another name"),
    ],
)
def test_a_wrong_form_keeps_what_was_typed(
    org: Org, hook: Webhook, client_for: Clients, fields: dict[str, Any], sentence: str
) -> None:
    form = {"name": "tickets", "url": URL, "enabled": "on"} | fields
    response = client_for(org.omar).post("/projects/fraud-detection/webhooks/new/", form)
    page = response.content.decode()
    assert response.status_code in {409, 422}
    assert sentence in page and str(form["name"]) in page
    assert Webhook.objects.count() == 1


def test_deleting_and_rotating_ask_for_the_name(org: Org, hook: Webhook, client_for: Clients) -> None:
    client = client_for(org.omar)
    for verb in ("rotate", "delete"):
        assert client.get(f"/webhooks/{hook.pk}/{verb}/").status_code == 200
        assert client.post(f"/webhooks/{hook.pk}/{verb}/", {"confirm": "chats"}).status_code == 422
    assert not Row.objects.filter(action__in=["webhooks.rotate", "webhooks.delete"]).exists()
    assert "whsec_" in client.post(f"/webhooks/{hook.pk}/rotate/", {"confirm": "chat"}).content.decode()
    gone = client.post(f"/webhooks/{hook.pk}/delete/", {"confirm": "chat"})
    assert gone["Location"] == "/projects/fraud-detection/webhooks/"
    assert not Webhook.objects.exists()


def test_dead_letters_are_seen_and_sent_again(org: Org, hook: Webhook, client_for: Clients) -> None:
    client = client_for(org.omar)
    for _ in range(2):
        say(org, [])
    Delivery.objects.update(state=DeliveryState.DEAD, last_error="The receiver answered 500.")  # as calls leave it
    page = client.get(f"/webhooks/{hook.pk}/?state=dead").content.decode()
    assert "Send all 2 that were given up again" in page and "The receiver answered 500." in page
    first = Delivery.objects.all()[0]
    client.post(f"/webhooks/{hook.pk}/replay/", {"id": str(first.pk)})
    assert Delivery.objects.filter(state="waiting").count() == 1
    client.post(f"/webhooks/{hook.pk}/replay/")
    assert Delivery.objects.filter(state="waiting").count() == 2
    assert client.post(f"/webhooks/{hook.pk}/replay/", {"id": "x"}).status_code in {400, 422}


def test_the_platforms_webhooks_are_for_engineers(org: Org, client_for: Clients) -> None:
    assert client_for(org.pat).get("/webhooks/").status_code == 200
    assert 'href="/webhooks/"' in client_for(org.pat).get("/preferences/").content.decode()
    assert 'href="/webhooks/"' not in client_for(org.omar).get("/preferences/").content.decode()
    for user in (org.omar, org.yasmine, org.aud):
        assert client_for(user).get("/webhooks/").status_code == 403
    made = client_for(org.pat).post("/webhooks/new/", {"name": "siem", "url": URL, "enabled": "on"})
    assert made.status_code == 200 and Webhook.objects.get().project is None
    assert client_for(org.omar).get(f"/webhooks/{Webhook.objects.get().pk}/").status_code == 404


def test_pages_cost_the_same_with_many(org: Org, client_for: Clients, django_assert_max_num_queries: Any) -> None:
    omar = Principal.of(org.omar)
    for number in range(20):
        webhooks.create(omar, project=org.fraud, name=f"hook {number}", url=URL)
    for _ in range(40):
        say(org, [])
    client = client_for(org.omar)
    for path in ("/projects/fraud-detection/webhooks/", f"/webhooks/{Webhook.objects.all()[0].pk}/", "/preferences/"):
        with django_assert_max_num_queries(15):
            assert client.get(path).status_code == 200


def test_the_list_of_deliveries_is_a_csv_too(org: Org, hook: Webhook, client_for: Clients) -> None:
    say(org, [])
    response: Any = client_for(org.omar).get(f"/webhooks/{hook.pk}/?format=csv")
    text = response.getvalue().decode()
    assert str(Delivery.objects.get().pk) in text and "waiting" in text


# --- API: notifications


def test_notifications_are_the_callers_own(org: Org, api_for: Tokens) -> None:
    say(org, [org.dana, org.omar], url="/endpoints/1/", about=("endpoint", "1"), text="It answers.")
    say(org, [org.dana], title="Second.", project=None)
    found = api_for(org.dana).get("/notifications", {"limit": 1}).json()
    assert [item["title"] for item in found["items"]] == ["Second."]
    rest = api_for(org.dana).get("/notifications", {"cursor": found["next"]}).json()
    (item,) = rest["items"]
    assert rest["next"] is None
    assert (item["kind"], item["project"], item["about"], item["url"], item["text"], item["read_at"]) == (
        "endpoint.ready",
        "fraud-detection",
        {"kind": "endpoint", "id": "1"},
        "/endpoints/1/",
        "It answers.",
        None,
    )


def test_marking_as_read(org: Org, api_for: Tokens) -> None:
    for _ in range(3):
        say(org, [org.dana, org.omar])
    api, mine = api_for(org.dana), list(Notification.objects.filter(person=org.dana).values_list("pk", flat=True))
    theirs = Notification.objects.filter(person=org.omar)[0].pk
    assert api.post("/notifications/read", {"ids": [mine[0], theirs]}).json() == {"read": 1}
    assert len(api.get("/notifications", {"unread": "true"}).json()["items"]) == 2
    for body in ({}, {"ids": [1], "all": True}, {"ids": [0]}, {"ids": [10**30]}, {"ids": ["x"]}, {"all": False}):
        assert api.post("/notifications/read", body).status_code == 422, body
    assert api.post("/notifications/read", {"all": True}).json() == {"read": 2}
    assert Notification.objects.filter(person=org.omar, read_at=None).count() == 3


def test_a_token_of_one_project_sees_that_one_only(org: Org, api_for: Tokens) -> None:
    say(org, [org.dana])
    say(org, [org.dana], project=None, title="Platform.")
    say(org, [org.dana], project=org.search, title="Elsewhere.")
    api = api_for(org.dana, project=org.fraud)
    assert [item["project"] for item in api.get("/notifications").json()["items"]] == ["fraud-detection"]
    assert api.post("/notifications/read", {"all": True}).json() == {"read": 1}
    assert Notification.objects.filter(read_at=None).count() == 2


# --- API: webhooks


def test_the_life_of_a_webhook(org: Org, api_for: Tokens) -> None:
    api = api_for(org.omar, "admin")
    with receiver() as there:
        body = {"project": "fraud-detection", "name": "chat", "url": there.url, "kinds": ["endpoint.ready"]}
        made = api.post("/webhooks", body, Idempotency_Key="one")
        assert made.status_code == 201
        again = api.post("/webhooks", body, Idempotency_Key="one")
        assert (again.status_code, again.json()["code"]) == (409, "secret_already_shown")
        document = made.json()
        assert document["secret"].startswith("whsec_")
        path = f"/webhooks/{document['id']}"
        shown = api.get(path)
        assert "secret" not in shown.json() and shown.json()["kinds"] == ["endpoint.ready"]
        assert api.patch(path, {"enabled": False}).status_code == 428
        assert api.patch(path, {"enabled": False}, If_Match='"old"').status_code == 412
        changed = api.patch(path, {"name": "tickets"}, If_Match=shown["ETag"])
        assert (changed.status_code, changed.json()["name"], changed["ETag"]) == (200, "tickets", api.get(path)["ETag"])
        assert api.post(f"{path}/test").status_code == 202
        say(org, [])
        assert calls.deliver() == 2
        deliveries = api.get(f"{path}/deliveries", {"state": "sent"}).json()["items"]
        assert sorted(item["kind"] for item in deliveries) == ["endpoint.ready", "webhook.test"]
        assert deliveries[0]["payload"]["type"] == deliveries[0]["kind"]
        assert api.post(f"{path}/replay", {"ids": [deliveries[0]["id"]]}).json() == {"queued": 1}
        assert api.post(f"{path}/replay", {}).json() == {"queued": 0}
        rotated = api.post(f"{path}/rotate")
        assert rotated.json()["secret"] not in {document["secret"], ""}
        assert [item["name"] for item in api.get("/webhooks").json()["items"]] == ["tickets"]
        assert api.delete(path).status_code == 204
        assert api.get(path).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "http://10.0.0.1/"}, "url"),
        ({"url": "ftp://x.example.com"}, "url"),
        ({"url": "https://a:b@x.example.com"}, "url"),
        ({"name": ""}, "name"),
        ({"kinds": ["x"]}, "kinds"),
        ({"kinds": "endpoint.ready"}, "kinds"),
        ({"enabled": "perhaps"}, "enabled"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_body_names_its_field(org: Org, api_for: Tokens, body: dict[str, Any], field: str) -> None:
    right = {"project": "fraud-detection", "name": "chat", "url": URL}
    response = api_for(org.omar, "admin").post("/webhooks", right | body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == field
    assert not Webhook.objects.exists()


def test_scope_role_and_sight(org: Org, hook: Webhook, api_for: Tokens) -> None:
    path = f"/webhooks/{hook.pk}"
    assert api_for(org.omar).get(path).json()["code"] == "insufficient_scope"
    for user, status in ((org.pat, 200), (org.dana, 404), (org.cy, 404), (org.aud, 404), (org.yasmine, 404)):
        assert api_for(user, "admin").get(path).status_code == status, user
        assert len(api_for(user, "admin").get("/webhooks").json()["items"]) == (status == 200)
    assert api_for(org.pat, "admin").get(f"/webhooks/{uuid.uuid4()}").status_code == 404
    body = {"name": "chat", "url": URL}
    assert api_for(org.dana, "admin").post("/webhooks", body | {"project": "fraud-detection"}).status_code == 403
    assert api_for(org.cy, "admin").post("/webhooks", body | {"project": "fraud-detection"}).status_code == 404
    assert api_for(org.omar, "admin").post("/webhooks", body).status_code == 403
    assert api_for(org.pat, "admin", project=org.fraud).post("/webhooks", body).status_code == 403
    assert api_for(org.pat, "admin").post("/webhooks", body).json()["project"] is None
    assert not ApiKey.objects.exists()
