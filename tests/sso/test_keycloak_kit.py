"""The realm that Gatehouse ships, in a real Keycloak: what its tokens hold, and what Keycloak 26.7 does, and leaves
undone, when somebody signs out, is disabled, deleted, or leaves a group.

What is learnt here is what the portal builds on:

* Disabling or deleting an account tells no client. Its sessions stay listed, and come back to life when it is enabled
  again; only a refresh, an introspection or a userinfo call finds out. So the portal asks; it cannot wait to be told.
* "Log out all sessions" of an account, ending one session, and the person's own logout each send one logout token per
  session, once: no second try when the receiver answers 500.
* Leaving a group tells no client either. The next id token, also one from a refresh, and userinfo lack the group.
"""

import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest

from tests.keycloak_kit import Keycloak, Person, claims, totp
from tests.projects.notify_kit import Calls, receiver
from tests.sso.visitor import Visitor
from tests.stack.conftest import ROOT, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.keycloak]

EVENT = "http://schemas.openid.net/event/backchannel-logout"
PORTAL = "http://127.0.0.1:8000"


def made(keycloak: Keycloak, *groups: str, otp: bool = False) -> Person:
    """Somebody of this test's own."""
    return keycloak.create_user(f"u-{secrets.token_hex(4)}", *groups, otp=otp)


@pytest.fixture
def told(keycloak: Keycloak) -> Iterator[Calls]:
    """What Keycloak tells the client by the back channel."""
    with receiver() as calls:
        keycloak.point_client_at(PORTAL, logout_url=calls.url)
        yield calls
    keycloak.point_client_at(PORTAL)


def logout_tokens(told: Calls, count: int) -> list[str]:
    """The logout tokens that came, once there are `count`."""
    wait_for(lambda: len(told.seen) >= count, 20, f"{count} back-channel logouts")
    forms = [parse_qs(body.decode()) for _, body in told.seen]
    assert [set(form) for form in forms] == [{"logout_token"}] * count
    return [form["logout_token"][0] for form in forms]


def heard_nothing(keycloak: Keycloak, told: Calls) -> None:
    """Nothing came by the back channel: a marker that is sent afterwards arrives alone."""
    marker = made(keycloak)
    subject = Visitor(keycloak).id_token(marker)["sub"]
    keycloak.logout(marker)
    assert [claims(token)["sub"] for token in logout_tokens(told, 1)] == [subject]
    told.seen.clear()


def refused(keycloak: Keycloak, tokens: dict[str, Any]) -> dict[str, Any]:
    """What the token endpoint says to a refresh that it refuses."""
    answer = keycloak.grant(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert answer.status_code == 400
    return dict(answer.json())


def userinfo(keycloak: Keycloak, tokens: dict[str, Any]) -> Any:
    """What userinfo says to the access token."""
    return keycloak.http.get(
        f"{keycloak.issuer}/protocol/openid-connect/userinfo",
        headers={"Authorization": f"Bearer {tokens['access_token']}"}, timeout=30,
    )  # fmt: skip


def active(keycloak: Keycloak, tokens: dict[str, Any]) -> bool:
    """What introspection says to the access token."""
    form = {"client_id": keycloak.client_id, "client_secret": keycloak.client_secret, "token": tokens["access_token"]}
    answer = keycloak.http.post(f"{keycloak.issuer}/protocol/openid-connect/token/introspect", data=form, timeout=30)
    return bool(answer.json()["active"])


def test_discovery_names_this_issuer(keycloak: Keycloak) -> None:
    found = keycloak.http.get(f"{keycloak.issuer}/.well-known/openid-configuration", timeout=30).json()
    assert found["issuer"] == keycloak.issuer
    assert found["backchannel_logout_supported"] and found["backchannel_logout_session_supported"]
    assert "S256" in found["code_challenge_methods_supported"]


def test_password_sign_in_tells_groups_and_method(keycloak: Keycloak) -> None:
    visitor = Visitor(keycloak)
    tokens = visitor.sign_in(keycloak.person("dana"))
    keys = jwt.PyJWKClient(f"{keycloak.issuer}/protocol/openid-connect/certs")
    key = keys.get_signing_key_from_jwt(tokens["id_token"])
    found = jwt.decode(tokens["id_token"], key, algorithms=["RS256"], audience="gatehouse", issuer=keycloak.issuer)
    assert found["groups"] == ["fraud-developers"]
    assert (found["amr"], found["acr"]) == (["pwd"], "password")
    assert (found["preferred_username"], found["email"], found["email_verified"]) == ("dana", "dana@example.com", True)
    assert (found["azp"], found["nonce"], found["sid"]) == ("gatehouse", "n", visitor.answer["session_state"])
    # allauth prefers userinfo: it holds the groups, and neither acr, amr nor sid.
    info = userinfo(keycloak, tokens).json()
    assert info["groups"] == ["fraud-developers"]
    assert not {"acr", "amr", "sid"} & set(info)


def test_second_factor_is_asked_for_and_told(keycloak: Keycloak) -> None:
    visitor, mia = Visitor(keycloak), keycloak.person("mia")
    visitor.open()
    visitor.send(username="mia", password=mia.password)
    assert "otp" in visitor.fields and not visitor.answer
    wrong = "000000" if mia.code != "000000" else "111111"
    visitor.send(otp=wrong)
    assert "otp" in visitor.fields and not visitor.answer
    visitor.send(otp=mia.code)
    found = claims(visitor.exchange()["id_token"])
    assert found["amr"] == ["pwd", "otp"]
    # People with a second factor always use it; the level says so only when the client asked for the level.
    assert found["acr"] == "password"
    # Single sign-on keeps what the session proved, and when.
    again = visitor.id_token(mia)
    assert (again["amr"], again["auth_time"], again["sid"]) == (found["amr"], found["auth_time"], found["sid"])


def test_client_may_ask_for_a_second_factor(keycloak: Keycloak) -> None:
    found = Visitor(keycloak).id_token(made(keycloak, otp=True), acr_values="mfa")
    assert found["acr"] == "mfa" and set(found["amr"]) == {"pwd", "otp"}
    # Who has none is led to set one up, and gets no code before that.
    visitor, person = Visitor(keycloak), made(keycloak)
    visitor.open(acr_values="mfa")
    visitor.send(username=person.username, password=person.password)
    assert "code" not in visitor.answer
    assert "CONFIGURE_TOTP" in visitor.page.headers["Location"]


def test_asking_again_renews_the_time_and_keeps_the_session(keycloak: Keycloak) -> None:
    visitor, person = Visitor(keycloak), made(keycloak, otp=True)
    first = visitor.id_token(person)
    # auth_time counts whole seconds: wait until the clock shows another one.
    wait_for(lambda: int(time.time()) > first["auth_time"] + 1, 5, "the next second")
    visitor.open(prompt="login", max_age="0")
    assert "username" not in visitor.fields  # it is known who must prove it
    other = keycloak.person("dana")
    visitor.send(username=other.username, password=other.password)
    assert "password" in visitor.fields and not visitor.answer
    visitor.send(password=person.password)
    visitor.send(otp=person.code)
    again = claims(visitor.exchange()["id_token"])
    assert again["auth_time"] > first["auth_time"]
    assert (again["sub"], again["sid"], again["amr"]) == (first["sub"], first["sid"], ["pwd", "otp"])


def test_no_group_is_no_claim(keycloak: Keycloak) -> None:
    assert "groups" not in Visitor(keycloak).id_token(made(keycloak))


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"response_type": "token"}, "unauthorized_client"),
        ({"prompt": "none"}, "login_required"),
    ],
)
def test_client_is_refused(keycloak: Keycloak, parameters: dict[str, str], error: str) -> None:
    visitor = Visitor(keycloak)
    visitor.open(**parameters)
    location = visitor.page.headers["Location"]
    assert f"error={error}" in location and location.startswith(visitor.callback)


def test_foreign_redirect_is_refused(keycloak: Keycloak) -> None:
    visitor = Visitor(keycloak)
    visitor.open(redirect_uri="http://127.0.0.1:8000/elsewhere/")
    assert visitor.page.status_code == 400


def test_pipeline_token_has_audience_and_scope(keycloak: Keycloak) -> None:
    token = keycloak.pipeline_token()
    found = claims(token)
    assert (found["iss"], found["aud"], found["azp"]) == (keycloak.issuer, "gatehouse-api", "gatehouse-pipeline")
    assert found["scope"] == "requests:read"
    assert found["exp"] - found["iat"] == 300
    assert claims(token, 0) | {"kid": ""} == {"alg": "RS256", "typ": "JWT", "kid": ""}
    asked = claims(keycloak.pipeline_token("requests:write", "usage:read"))
    assert set(asked["scope"].split()) == {"requests:read", "requests:write", "usage:read"}
    # A scope that the realm does not give to the pipeline.
    refusal = keycloak.grant(
        grant_type="client_credentials", scope="approvals:decide",
        client_id=keycloak.pipeline_id, client_secret=keycloak.pipeline_secret,
    )  # fmt: skip
    assert (refusal.status_code, refusal.json()["error"]) == (400, "invalid_scope")


def test_admin_logout_sends_one_token_per_session(keycloak: Keycloak, told: Calls) -> None:
    person = made(keycloak)
    first, second = (Visitor(keycloak).sign_in(person) for _ in range(2))
    sids = {claims(tokens["id_token"])["sid"] for tokens in (first, second)}
    assert set(keycloak.sessions(person)) == sids
    keycloak.logout(person)
    sent = logout_tokens(told, 2)
    assert {claims(token)["sid"] for token in sent} == sids
    header, found = claims(sent[0], 0), claims(sent[0])
    assert (header["alg"], header["typ"]) == ("RS256", "logout+jwt")
    assert set(found) == {"iss", "aud", "sub", "sid", "iat", "exp", "jti", "typ", "events"}
    assert (found["iss"], found["aud"], found["sub"]) == (keycloak.issuer, "gatehouse", person.id)
    assert found["events"][EVENT] == {}
    assert found["exp"] - found["iat"] == 120
    assert claims(sent[0])["jti"] != claims(sent[1])["jti"]
    for tokens in (first, second):
        assert refused(keycloak, tokens) == {"error": "invalid_grant", "error_description": "Session not active"}
        assert not active(keycloak, tokens)


def test_ended_session_sends_a_token(keycloak: Keycloak, told: Calls) -> None:
    person = made(keycloak)
    ended = Visitor(keycloak).id_token(person)["sid"]
    other = Visitor(keycloak).id_token(person)["sid"]
    keycloak.end_session(ended)
    assert [claims(token)["sid"] for token in logout_tokens(told, 1)] == [ended]
    assert keycloak.sessions(person) == [other]


def test_own_logout_sends_a_token_and_comes_back(keycloak: Keycloak, told: Calls) -> None:
    visitor = Visitor(keycloak)
    tokens = visitor.sign_in(made(keycloak))
    page = visitor.http.get(
        f"{keycloak.issuer}/protocol/openid-connect/logout",
        params={"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": f"{PORTAL}/accounts/login/"},
        allow_redirects=False, timeout=30,
    )  # fmt: skip
    assert (page.status_code, page.headers["Location"]) == (302, f"{PORTAL}/accounts/login/")
    assert [claims(token)["sid"] for token in logout_tokens(told, 1)] == [claims(tokens["id_token"])["sid"]]


def test_failing_receiver_is_asked_once(keycloak: Keycloak, told: Calls) -> None:
    person = made(keycloak)
    Visitor(keycloak).sign_in(person)
    told.status = 500
    keycloak.logout(person)
    logout_tokens(told, 1)
    told.status = 204
    told.seen.clear()
    assert keycloak.sessions(person) == []
    heard_nothing(keycloak, told)


def test_disabling_tells_nobody_and_stops_tokens(keycloak: Keycloak, told: Calls) -> None:
    visitor, person = Visitor(keycloak), made(keycloak, "fraud-owners")
    tokens = visitor.sign_in(person)
    keycloak.disable(person)
    heard_nothing(keycloak, told)
    assert len(keycloak.sessions(person)) == 1
    assert refused(keycloak, tokens) == {"error": "invalid_grant", "error_description": "User disabled"}
    assert not active(keycloak, tokens)
    info = userinfo(keycloak, tokens)
    assert info.status_code == 401 and 'error_description="User disabled"' in info.headers["WWW-Authenticate"]
    visitor.open()
    assert not visitor.answer  # the session at Keycloak gives no code any more
    visitor.send(username=person.username, password=person.password)
    assert not visitor.answer and "Account is disabled" in visitor.page.text
    # Nothing was ended: enabling brings the old session back.
    keycloak.enable(person)
    assert keycloak.grant(grant_type="refresh_token", refresh_token=tokens["refresh_token"]).ok
    # Logging out a disabled account does tell.
    keycloak.disable(person)
    keycloak.logout(person)
    assert [claims(token)["sub"] for token in logout_tokens(told, 1)] == [person.id]


def test_deleting_tells_nobody_and_stops_tokens(keycloak: Keycloak, told: Calls) -> None:
    person = made(keycloak)
    tokens = Visitor(keycloak).sign_in(person)
    keycloak.delete(person)
    heard_nothing(keycloak, told)
    assert refused(keycloak, tokens) == {"error": "invalid_grant", "error_description": "Session not active"}
    assert userinfo(keycloak, tokens).status_code == 401


def test_lost_group_shows_in_the_next_token(keycloak: Keycloak, told: Calls) -> None:
    visitor, person = Visitor(keycloak), made(keycloak, "ml-platform", "fraud-owners")
    tokens = visitor.sign_in(person)
    assert set(claims(tokens["id_token"])["groups"]) == {"ml-platform", "fraud-owners"}
    keycloak.set_groups(person, "fraud-owners", "search-developers")
    heard_nothing(keycloak, told)
    expected = {"fraud-owners", "search-developers"}
    assert set(userinfo(keycloak, tokens).json()["groups"]) == expected
    renewed = keycloak.grant(grant_type="refresh_token", refresh_token=tokens["refresh_token"]).json()
    assert set(claims(renewed["id_token"])["groups"]) == expected
    assert set(visitor.id_token(person)["groups"]) == expected


def test_totp_agrees_with_the_standard() -> None:
    """RFC 6238, appendix B: the last six digits of its SHA-1 values."""
    assert [totp("12345678901234567890", at) for at in (59, 1111111109, 20000000000)] == ["287082", "081804", "353130"]


RUN = """
import sys
from tests.keycloak_kit import Keycloak

class Hasty(Keycloak):
    def _ready(self):
        return self.log.stat().st_size > 0

server = Hasty()
server.start()
print(server._process.pid, server.home, flush=True)
sys.stdin.read()
"""


def test_server_ends_with_a_killed_run(keycloak: Keycloak) -> None:
    """A test run that is killed cannot clean up; the guard beside the server does."""
    with subprocess.Popen(
        [sys.executable, "-c", RUN], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        group, home = run.stdout.readline().split()
        assert members(int(group))
        run.kill()
    wait_for(lambda: not members(int(group)), 30, "the server's process group to end")
    shutil.rmtree(home)


def members(group: int) -> list[int]:
    """The living processes of a process group."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, theirs = entry.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(theirs) == group and state != "Z":
            found.append(int(entry.parent.name))
    return found
