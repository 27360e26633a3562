"""Sessions: which there are, how each came in, and that an ended one is refused at its next request."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import Row
from portal.errors import Forbidden, Invalid, NotFound
from projects.models import SsoSession
from projects.principal import Principal
from projects.signin import devices, sessions
from tests.conftest import Org, prove

pytestmark = pytest.mark.slow
PASSWORD = "correct horse battery"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 Version/19.0 Safari/604.1"
Clients = Callable[..., Client]


def arrive(name: str, agent: str = FIREFOX, address: str = "198.51.100.7") -> Client:
    """A browser that signed in on the page."""
    client = Client(headers={"user-agent": agent}, REMOTE_ADDR=address)
    assert client.post("/accounts/login/", {"login": name, "password": PASSWORD})["Location"] == "/"
    return client


def inside(client: Client) -> bool:
    return bool(client.get("/account/").status_code == 200)


def test_the_page_says_where_one_is_signed_in(org: Org) -> None:
    """Device, address, how, with which factor; this one is marked; those of others do not stand there."""
    here, phone = arrive("dana"), arrive("dana", IPHONE, "2001:db8::9")
    arrive("omar", address="203.0.113.1")
    prove(phone, org.dana, factor="webauthn")
    page = here.get("/accounts/sessions/").content.decode()
    for words in ("Firefox on Linux", "Safari on iPhone", "198.51.100.7", "2001:db8::9", "this one", "Security key"):
        assert words in page, words
    assert "203.0.113.1" not in page and page.count("this one") == 1


def test_ending_one(org: Org) -> None:
    """It takes effect with its next request, and leaves a row; one of somebody else is not found."""
    here, lost, omar = arrive("dana"), arrive("dana", IPHONE, "2001:db8::9"), arrive("omar")
    rows = {row.ip: row.pk for row in UserSession.objects.filter(user=org.dana)}
    assert omar.post(f"/accounts/sessions/{rows['2001:db8::9']}/end/").status_code == 404 and inside(lost)
    assert here.post(f"/accounts/sessions/{rows['2001:db8::9']}/end/").status_code == 302
    assert not inside(lost) and inside(here) and inside(omar)
    row = Row.objects.get(action="people.end_session")
    assert row.actor == f"user:{org.dana.public_id}" and "2001:db8::9" in row.after and "iPhone" in row.after
    assert here.post(f"/accounts/sessions/{rows['2001:db8::9']}/end/").status_code == 404


def test_ending_all_others(org: Org) -> None:
    here, *others = [arrive("dana") for _ in range(4)]
    here.post("/accounts/sessions/")
    assert inside(here) and not any(inside(client) for client in others)
    assert Row.objects.filter(action="people.end_session").count() == 3


def test_a_platform_engineer_ends_all_of_somebody(org: Org) -> None:
    """Those of the identity provider, too; with a reason; nobody else may."""
    clients = [arrive("dana"), arrive("dana")]
    key = clients[0].session.session_key or ""
    SsoSession.objects.create(
        person=org.dana, provider="keycloak", subject="s", session_key=key, checked_at=timezone.now()
    )
    for name in ("dana", "omar", "yasmine", "cy"):
        with pytest.raises(Forbidden):
            sessions.end_all(Principal.of(getattr(org, name)), org.dana, "Because.")
    with pytest.raises(Invalid):
        sessions.end_all(Principal.of(org.pat), org.dana, "x" * 301)
    assert all(inside(client) for client in clients)
    assert sessions.end_all(Principal.of(org.pat), org.dana, "Laptop stolen.") == 2
    assert not any(inside(client) for client in clients)
    assert not SsoSession.objects.exists() and not UserSession.objects.filter(user=org.dana).exists()
    rows = Row.objects.filter(action="people.end_session")
    assert {row.reason for row in rows} == {"Laptop stolen."} and len(rows) == 2
    assert sessions.end_all(Principal.of(org.pat), org.dana, "Again.") == 0


def test_what_is_over_does_not_count(org: Org) -> None:
    """An expired session, and one from before the password was changed, are not listed."""
    arrive("dana")
    Session.objects.update(expire_date=timezone.now() - dt.timedelta(seconds=1))
    assert sessions.living(org.dana) == []
    client = arrive("dana")
    assert len(sessions.living(org.dana)) == 1
    org.dana.set_password("another horse battery")
    org.dana.save()
    assert sessions.living(org.dana) == [] and not inside(client)


def test_an_unknown_session_is_not_found(org: Org) -> None:
    with pytest.raises(NotFound):
        sessions.end_one(Principal.of(org.dana), 987654)


def test_last_seen_is_known_to_five_minutes(org: Org) -> None:
    """One write in that time, however many pages."""
    client = arrive("dana")
    client.get("/account/")
    UserSession.objects.update(last_seen_at=timezone.now() - dt.timedelta(hours=1))
    client.get("/account/")
    assert UserSession.objects.get().last_seen_at < timezone.now() - dt.timedelta(minutes=50)
    cache.clear()  # five minutes later
    client.get("/account/")
    assert UserSession.objects.get().last_seen_at > timezone.now() - dt.timedelta(minutes=1)


@pytest.mark.parametrize("path", ["/accounts/sessions/", "/account/"])
def test_the_page_asks_as_often_with_many_sessions(org: Org, path: str) -> None:
    client, counts = arrive("dana"), []
    for _ in range(2):
        client.get(path)
        with CaptureQueriesContext(connection) as queries:
            client.get(path)
        counts.append(len(queries))
        for number in range(12):
            arrive("dana", address=f"198.51.100.{number}")
    assert counts[0] == counts[1] <= 15


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (FIREFOX, "Firefox on Linux"),
        (IPHONE, "Safari on iPhone"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/140.0 Safari/537.36",
            "Chrome on macOS",
        ),
        ("curl/8.9", "curl"),
        ("", "Unknown device"),
        ("<script>alert(1)</script>" + "x" * 100, "<script>alert(1)</script>xxxxxxxxxxxxxxx"),
    ],
)
def test_devices(agent: str, name: str) -> None:
    assert devices.name_of(agent) == name


def test_a_hostile_browser_name_is_text(org: Org, db: Any) -> None:
    client = arrive("dana", agent="<script>alert(1)</script>")
    assert "<script>alert" not in client.get("/accounts/sessions/").content.decode()
