"""Both sides end sessions: back-channel logout, sign-out over the provider, asking again, recent proof."""

import datetime as dt
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.usersessions.models import UserSession
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from audit.models import Row
from portal import crypto
from projects import tasks
from projects.models import GroupMapping, Membership, SsoSession, UsedToken, User
from projects.signin import proof
from projects.sso import recheck
from tests.conftest import Org
from tests.projects.sso_kit import (
    EVENT,
    LOGOUT,
    OTHER_KEY,
    Issuer,
    asked_of,
    come_back,
    issuing,
    sign_in,
    unsigned,
)

pytestmark = pytest.mark.slow
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def issuer(org: Org, settings: Any) -> Iterator[Issuer]:
    with issuing() as found:
        settings.SSO, settings.SSO_RECHECK_SECONDS = found.provider, 10
        yield found


def me(client: Client) -> str:
    pk = client.session.get("_auth_user_id")
    return User.objects.get(pk=pk).username if pk else ""


def alive(client: Client) -> bool:
    """Whether the browser is still signed in, as the portal sees it."""
    return client.get("/projects/").status_code == 200


def logout(issuer: Issuer, token: str = "", **changes: Any) -> Any:
    token = token or issuer.sign(issuer.logout_claims(**changes), typ="logout+jwt")
    return Client(enforce_csrf_checks=True).post(LOGOUT, {"logout_token": token})


def due() -> None:
    """Let the time of every session come."""
    SsoSession.objects.update(checked_at=timezone.now() - dt.timedelta(hours=1), claimed_until=None)


# --- back-channel logout
def test_a_logout_token_ends_the_session_it_names(issuer: Issuer) -> None:
    client, _ = sign_in(issuer)
    issuer.sid = "sid-2"
    other, _ = sign_in(issuer)
    assert alive(client) and alive(other)
    answer = logout(issuer, sid="sid-1")
    assert (answer.status_code, answer.content, answer.headers["Cache-Control"]) == (200, b"", "no-store")
    assert not alive(client) and alive(other)
    assert not UserSession.objects.filter(session_key=client.session.session_key).exists()
    row = Row.objects.filter(action="sso.end_session").get()
    assert (row.reason, row.actor) == ("ended_by_provider", "system:sso")


def test_a_logout_token_without_sid_ends_all_of_a_person(issuer: Issuer) -> None:
    client, _ = sign_in(issuer)
    issuer.sid = "sid-2"
    other, _ = sign_in(issuer)
    issuer.sub, issuer.sid = "sub-omar", "sid-3"
    stranger, _ = sign_in(issuer)
    assert logout(issuer, sub="sub-dana", sid=None).status_code == 200
    assert (alive(client), alive(other), alive(stranger)) == (False, False, True)


def test_every_session_here_of_one_session_there_ends(issuer: Issuer) -> None:
    """A second sign-in from the same browser, or another window, carries the same sid."""
    clients = [sign_in(issuer)[0] for _ in range(3)]
    assert logout(issuer).status_code == 200
    assert not any(alive(client) for client in clients)


def test_a_logout_token_with_sid_alone_is_enough(issuer: Issuer) -> None:
    client, _ = sign_in(issuer)
    assert logout(issuer, sub=None).status_code == 200
    assert not alive(client)


def test_sid_of_somebody_else_ends_nothing(issuer: Issuer) -> None:
    client, _ = sign_in(issuer)
    assert logout(issuer, sub="sub-omar").status_code == 200
    assert alive(client)


def test_a_session_without_sid_ends_with_its_person(issuer: Issuer) -> None:
    issuer.drop = {"sid"}
    client, _ = sign_in(issuer)
    assert logout(issuer, sid="sid-9").status_code == 200
    assert not alive(client)


NOW = int(time.time())
BAD: dict[str, Any] = {
    "forged": (lambda i: i.sign(i.logout_claims(), key=OTHER_KEY), "bad_signature"),
    "alg none": (lambda i: unsigned(i.logout_claims()), "alg_not_allowed"),
    "unknown key": (lambda i: i.sign(i.logout_claims(), kid="k9"), "unknown_key"),
    "expired": (lambda i: i.sign(i.logout_claims(exp=NOW - 600)), "expired"),
    "from tomorrow": (lambda i: i.sign(i.logout_claims(iat=int(time.time()) + 600)), "not_yet_valid"),
    "wrong issuer": (lambda i: i.sign(i.logout_claims(iss="https://evil.example")), "wrong_issuer"),
    "wrong audience": (lambda i: i.sign(i.logout_claims(aud="somebody")), "wrong_audience"),
    "no jti": (lambda i: i.sign(i.logout_claims(jti=None)), "missing_claim"),
    "no exp": (lambda i: i.sign(i.logout_claims(exp=None)), "missing_claim"),
    "no events": (lambda i: i.sign(i.logout_claims(events=None)), "missing_claim"),
    "other event": (lambda i: i.sign(i.logout_claims(events={"x": {}})), "wrong_event"),
    "events no object": (lambda i: i.sign(i.logout_claims(events=[EVENT])), "wrong_event"),
    "event no object": (lambda i: i.sign(i.logout_claims(events={EVENT: "x"})), "wrong_event"),
    "nonce": (lambda i: i.sign(i.logout_claims(nonce="n")), "nonce_present"),
    "nobody": (lambda i: i.sign(i.logout_claims(sub=None, sid=None)), "missing_claim"),
    "sub no text": (lambda i: i.sign(i.logout_claims(sid={"a": 1})), "malformed"),
    "jti no text": (lambda i: i.sign(i.logout_claims(jti=["a"])), "malformed"),
    "control character": (lambda i: i.sign(i.logout_claims(sid="a\0b")), "malformed"),
    "id token": (lambda i: i.sign(i.identity("n")), "missing_claim"),
    "other type": (lambda i: i.sign(i.logout_claims(), typ="at+jwt"), "malformed"),
    "text": (lambda i: "a.b.c", "malformed"),
    "empty": (lambda i: " ", "malformed"),
}


@pytest.mark.parametrize("case", BAD)
def test_refused_logout_tokens(issuer: Issuer, case: str, caplog: pytest.LogCaptureFixture) -> None:
    client, _ = sign_in(issuer)
    make, code = BAD[case]
    answer = logout(issuer, make(issuer))
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_request"})
    assert answer.headers["Cache-Control"] == "no-store"
    assert f"sso.logout_refused reason={code}" in caplog.text
    assert alive(client)


def test_a_logout_token_works_once(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    token = issuer.sign(issuer.logout_claims(), typ="logout+jwt")
    assert logout(issuer, token).status_code == 200
    client, _ = sign_in(issuer)
    assert logout(issuer, token).status_code == 400
    assert "reason=replayed" in caplog.text and alive(client)
    UsedToken.objects.update(expires_at=timezone.now() - dt.timedelta(minutes=1))
    tasks.clear()
    assert not UsedToken.objects.exists()


def test_bodies_that_are_no_form(issuer: Issuer) -> None:
    client, token = Client(), issuer.sign(issuer.logout_claims())
    for body, kind in (
        (b"{}", "application/json"), (b"", FORM), (b"logout_token=", FORM), (b"x=1", FORM), (b"\xff\0%", FORM),
        (f"logout_token={token}&logout_token={token}".encode(), FORM), (b"x" * 70_000, FORM),
        (b"&".join(b"a=1" for _ in range(3000)), FORM), (b"--x", "multipart/form-data; boundary=x"),
        (b"logout_token=a", f"{FORM}; charset=utf-16"),
    ):  # fmt: skip
        assert client.post(LOGOUT, body, content_type=kind).status_code == 400, body[:30]
    for length in ("²", "٣", "9" * 5000, "-1", ""):  # the first two are digits, and no numbers
        answer = client.post(LOGOUT, b"logout_token=a", content_type=FORM, headers={"Content-Length": length})
        assert answer.status_code == 400, length[:10]
    assert client.get(LOGOUT).status_code == 405
    assert client.post(LOGOUT.replace("keycloak", "other"), {"logout_token": token}).status_code == 404


def test_refused_tokens_are_slowed_down(issuer: Issuer) -> None:
    answers = [logout(issuer, "a.b.c").status_code for _ in range(61)]
    assert answers == [400] * 60 + [429]


def test_logout_while_the_keys_are_away_ends_nothing(issuer: Issuer) -> None:
    client, _ = sign_in(issuer)
    token = issuer.sign(issuer.logout_claims(), kid="k9")
    issuer.down = True
    assert logout(issuer, token).status_code in {400, 503}
    assert alive(client)


# --- asking again
def test_a_disabled_account_is_out_after_the_next_question(issuer: Issuer) -> None:
    client, _ = sign_in(issuer)
    assert recheck.recheck() == 0  # not its turn yet
    assert issuer.refreshes == 0
    due()
    tasks.recheck()
    assert issuer.refreshes == 1 and alive(client)
    issuer.refresh_error = {"error": "invalid_grant", "error_description": "User disabled"}
    due()
    assert recheck.recheck() == 1
    assert not alive(client) and not SsoSession.objects.exists()
    assert Row.objects.get(action="sso.end_session").reason == "refused_by_provider"


def test_refresh_tokens_rotate_and_stay_encrypted(issuer: Issuer) -> None:
    sign_in(issuer)
    for number in (1, 2):
        due()
        recheck.recheck()
        kept = SsoSession.objects.get().refresh_token
        assert "rt-" not in kept and crypto.decrypt(kept) == f"rt-{number}"
    sent = [form["refresh_token"] for _, path, form, _ in issuer.calls if form.get("grant_type") == "refresh_token"]
    assert sent == ["rt-0", "rt-1"]


def test_groups_are_settled_without_a_sign_in(org: Org, issuer: Issuer) -> None:
    issuer.groups = ["fraud-developers", "ml-platform"]
    client, _ = sign_in(issuer)
    person = User.objects.get(username=me(client))
    issuer.groups = ["ml-platform"]
    due()
    recheck.recheck()
    assert not Membership.objects.filter(user=person).exists() and alive(client)
    issuer.drop = {"groups"}  # as Keycloak does for somebody in no group
    due()
    assert recheck.recheck() == 1
    assert not person.groups.exists() and not alive(client)
    assert Row.objects.get(action="sso.end_session").reason == "no_group"


@pytest.mark.parametrize(
    "answer", [(500, b""), (200, b"[]"), (200, b"{"), (429, b"{}"), (401, b'{"error":"invalid_client"}'), (200, b"{}")]
)
def test_a_provider_that_is_away_ends_nobody(issuer: Issuer, answer: tuple[int, bytes]) -> None:
    client, _ = sign_in(issuer)
    due()
    issuer.raw["/token"] = answer
    assert recheck.recheck() == 0
    assert alive(client)
    assert recheck.recheck() == 0  # it waits before it asks again
    assert sum(path == "/token" for _, path, _, _ in issuer.calls) == 2  # the sign-in, and one question
    assert not SsoSession.objects.filter(claimed_until=None).exists()
    del issuer.raw["/token"]
    due()
    assert recheck.recheck() == 0 and issuer.refreshes == 1


def test_another_person_behind_the_token_ends_the_session(issuer: Issuer) -> None:
    client, _ = sign_in(issuer)
    issuer.sub = "sub-pat"
    due()
    assert recheck.recheck() == 1 and not alive(client)


def test_people_who_left_and_sessions_that_are_gone(issuer: Issuer) -> None:
    client, _ = sign_in(issuer)
    other, _ = sign_in(issuer)
    other.session.delete()
    due()
    assert recheck.recheck() == 0
    assert SsoSession.objects.count() == 1
    User.objects.filter(username=me(client)).update(is_active=False)
    due()
    recheck.recheck()
    assert not SsoSession.objects.exists()
    assert issuer.refreshes == 1


def test_two_workers_ask_once(issuer: Issuer) -> None:
    sign_in(issuer)
    due()
    claimed = list(recheck._claimed())
    assert len(claimed) == 1 and not list(recheck._claimed())
    SsoSession.objects.update(claimed_until=timezone.now() - dt.timedelta(seconds=1))  # the worker died
    assert len(list(recheck._claimed())) == 1


def test_without_a_refresh_token_nobody_is_asked(issuer: Issuer) -> None:
    client, _ = sign_in(issuer)
    SsoSession.objects.update(refresh_token="")
    due()
    assert recheck.recheck() == 0 and alive(client) and issuer.refreshes == 0


# --- sign-out at the portal
def test_sign_out_ends_the_provider_session_too(issuer: Issuer) -> None:
    client, _ = sign_in(issuer)
    answer = client.post("/accounts/logout/")
    parts = urlsplit(answer.headers["Location"])
    asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{issuer.url}/logout"
    assert asked["post_logout_redirect_uri"] == "http://testserver/accounts/login/"
    assert asked["client_id"] == "gatehouse" and asked["id_token_hint"].count(".") == 2
    assert not SsoSession.objects.exists() and not alive(client)


def test_sign_out_works_while_the_provider_is_away(issuer: Issuer, client_for: Any, org: Org) -> None:
    client, _ = sign_in(issuer)
    cache.clear()
    issuer.down = True
    answer = client.post("/accounts/logout/")
    assert answer.status_code == 302 and issuer.url not in answer.headers["Location"] and not alive(client)
    local = client_for(org.dana)
    assert issuer.url not in local.post("/accounts/logout/").headers["Location"]


# --- recent proof
def test_prove_asks_the_provider_anew(issuer: Issuer) -> None:
    issuer.claims["auth_time"] = int(time.time()) - 7200
    client, _ = sign_in(issuer)
    assert not proof.is_recent(client.session)
    answer = client.get("/sso/keycloak/prove/", {"next": "/projects/"})
    asked = asked_of(answer)
    assert (asked["prompt"], asked["max_age"]) == ("login", "0") and asked["nonce"]
    issuer.claims |= {"auth_time": int(time.time()), "amr": ["pwd", "otp"]}
    answer = come_back(issuer, client, asked)
    assert answer.headers["Location"] == "/projects/"
    assert proof.is_recent(client.session) and proof.second_factor(client.session) == "sso"
    assert SsoSession.objects.count() == 1


def test_prove_goes_on_with_the_form_that_waited(org: Org, issuer: Issuer) -> None:
    issuer.groups = ["ml-platform"]
    issuer.claims["auth_time"] = int(time.time()) - 7200
    client, _ = sign_in(issuer)
    form = {"group": "search", "into": "", "project": "search-ranking", "role": "viewer", "managed": "on"}
    answer = client.post("/access/mappings/", form, headers={"referer": "http://testserver/access/mappings/"})
    assert answer.headers["Location"].startswith("/sso/keycloak/prove/")
    answer = client.get(answer.headers["Location"])
    issuer.claims["auth_time"] = int(time.time())
    answer = come_back(issuer, client, asked_of(answer))
    assert answer.status_code == 302 and answer.headers["Location"] == "/access/mappings/"
    assert b"search" in client.get("/access/mappings/").content
    assert GroupMapping.objects.get().group == "search"


def test_prove_by_somebody_else_or_not_anew_changes_nothing(issuer: Issuer) -> None:
    issuer.claims["auth_time"] = int(time.time()) - 7200
    client, _ = sign_in(issuer)
    asked = asked_of(client.get("/sso/keycloak/prove/"))
    assert come_back(issuer, client, asked).status_code == 403  # the provider did not ask
    asked = asked_of(client.get("/sso/keycloak/prove/"))
    name, issuer.sub = me(client), "sub-other"
    issuer.claims["auth_time"] = int(time.time())
    assert come_back(issuer, client, asked).status_code == 403
    assert me(client) == name and not proof.is_recent(client.session)
    assert not User.objects.filter(username="dana-3").exists()


def test_prove_is_for_people_of_the_provider(issuer: Issuer, org: Org, client_for: Any) -> None:
    assert client_for(org.dana).get("/sso/keycloak/prove/").status_code == 403
    assert client_for(org.dana).get("/sso/other/prove/").status_code == 404
    assert Client().get("/sso/keycloak/prove/").status_code == 302
