"""Authorization code with PKCE: consent, one use, no way around the second factor."""

import datetime as dt
import re
from typing import Any

import pytest
import time_machine
from allauth.idp.oidc.models import Token
from django.test import Client
from django.utils import timezone

from audit.models import Row
from projects.models import Application
from tests.conftest import Org, prove
from tests.projects.oauth_kit import (
    AUTHORIZE,
    BACK,
    TOKEN,
    by_code,
    code_of,
    consent,
    exchange,
    me,
    post,
    question,
    register,
    register_public,
    verifier,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def tool(org: Org) -> Application:
    """A public application of fraud-detection, which may also decide."""
    return register_public(
        org.omar, org.fraud, scopes=["openid", "profile", "requests:read", "catalog:read", "approvals:decide"]
    )


def test_a_person_lets_an_application_act_for_them(org: Org, tool: Application, client_for: Any) -> None:
    body = by_code(client_for(org.dana), tool, "openid profile requests:read")
    assert body["token_type"] == "Bearer" and body["expires_in"] == 3600 and body["id_token"].count(".") == 2
    said = me(body["access_token"]).json()
    assert said["principal"]["user"] == "dana" and said["scopes"] == ["openid", "profile", "requests:read"]
    assert said["credential"]["application"]["name"] == "Tool" and said["credential"]["kind"] == "token"
    assert [one["slug"] for one in said["projects"]] == ["fraud-detection"]
    row = Row.objects.get(action="applications.consent")
    assert row.actor == f"user:{org.dana.public_id}" and "requests:read" in row.after
    info = Client(headers={"Authorization": f"Bearer {body['access_token']}"}).get("/identity/o/api/userinfo")
    assert info.json()["sub"] == str(org.dana.public_id) and info.json()["preferred_username"] == "dana"
    assert info["Cache-Control"] == "no-store"


def test_the_page_says_who_asks_for_what_and_where_the_answer_goes(
    org: Org, tool: Application, client_for: Any
) -> None:
    page = client_for(org.dana).get(AUTHORIZE, question(tool, verifier()[1], scope="requests:read approvals:decide"))
    text = page.content.decode()
    for word in ("Allow Tool?", "Approve and reject requests", "Read requests", "omar", "https://app.example.com"):
        assert word in text, word
    assert page["Cache-Control"] == "no-store" and page["X-Frame-Options"] == "DENY"
    policy = page["Content-Security-Policy"]
    assert re.search(r"form-action 'self' https://app\.example\.com(;|$)", policy), policy
    other = client_for(org.dana).get("/")["Content-Security-Policy"]
    assert "app.example.com" not in other


def test_a_scope_that_is_not_ticked_is_not_granted(org: Org, tool: Application, client_for: Any) -> None:
    word, challenge = verifier()
    asked = question(tool, challenge, scope="requests:read catalog:read")
    body = exchange(tool, code_of(consent(client_for(org.dana), asked, scopes=["catalog:read"])), word).json()
    assert body["scope"] == "catalog:read"
    beyond = consent(client_for(org.dana), question(tool, challenge), scopes=["requests:read", "admin"])
    assert beyond.status_code == 200, "what was not asked for is not among the choices"


def test_no_is_an_answer(org: Org, tool: Application, client_for: Any) -> None:
    answer = consent(client_for(org.dana), question(tool, verifier()[1]), action="cancel")
    assert answer.status_code == 302 and answer["Location"] == f"{BACK}?error=access_denied&state=abc"
    assert not Token.objects.exists() and not Row.objects.filter(action="applications.consent").exists()


def test_a_code_works_once_and_a_replay_ends_what_it_gave(org: Org, tool: Application, client_for: Any) -> None:
    word, challenge = verifier()
    code = code_of(consent(client_for(org.dana), question(tool, challenge)))
    body = exchange(tool, code, word).json()
    fresh = post(
        TOKEN, grant_type="refresh_token", client_id=tool.client_id, refresh_token=body["refresh_token"]
    ).json()
    other = by_code(client_for(org.dana), tool)
    assert me(fresh["access_token"]).status_code == 200
    replay = exchange(tool, code, word)
    assert (replay.status_code, replay.json()["error"]) == (400, "invalid_grant")
    for token in (body["access_token"], fresh["access_token"]):
        assert me(token).status_code == 401, "all tokens of that code are gone, refreshed ones too"
    assert me(other["access_token"]).status_code == 200, "those of another consent are not"


def test_a_refresh_token_works_once_and_a_replay_ends_both(org: Org, tool: Application, client_for: Any) -> None:
    first = by_code(client_for(org.dana), tool)
    renew: dict[str, Any] = {"grant_type": "refresh_token", "client_id": tool.client_id}
    second = post(TOKEN, **renew, refresh_token=first["refresh_token"]).json()
    assert second["scope"] == "requests:read" and second["refresh_token"] != first["refresh_token"]
    assert post(TOKEN, **renew, refresh_token=first["refresh_token"]).json()["error"] == "invalid_grant"
    assert me(second["access_token"]).status_code == 401
    assert post(TOKEN, **renew, refresh_token=second["refresh_token"]).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"code_challenge": "", "code_challenge_method": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": ""}, "invalid_request"),
        ({"response_type": "token"}, "unauthorized_client"),
        ({"response_type": "code id_token"}, "unauthorized_client"),
        ({"scope": "usage:read"}, "invalid_scope"),
        ({"scope": "admin"}, "invalid_scope"),
        ({"scope": "fly"}, "invalid_scope"),
        ({"prompt": "none", "scope": "openid"}, "consent_required"),
    ],
)
def test_what_the_application_may_not_ask_is_told_to_it(
    org: Org, tool: Application, client_for: Any, change: dict[str, str], error: str
) -> None:
    asked = {name: value for name, value in (question(tool, verifier()[1]) | change).items() if value}
    answer = client_for(org.dana).get(AUTHORIZE, asked)
    assert answer.status_code == 302, answer.content
    assert answer["Location"].startswith(f"{BACK}?") or answer["Location"].startswith(f"{BACK}#")
    assert f"error={error}" in answer["Location"] or "unsupported_response_type" in answer["Location"]
    assert "code=" not in answer["Location"].replace("code=abc", "")


def test_prompt_none_never_borrows_a_consent(org: Org, tool: Application, client_for: Any) -> None:
    """Upstream takes a scope as granted when any client holds it."""
    browser = client_for(org.dana)
    by_code(browser, tool)
    thief = register_public(org.omar, org.fraud, name="Thief")
    for application in (thief, tool):
        answer = browser.get(AUTHORIZE, question(application, verifier()[1], prompt="none", scope="openid"))
        assert "error=consent_required" in answer["Location"], answer["Location"]
    nobody = Client().get(AUTHORIZE, question(tool, verifier()[1], prompt="none", scope="openid"))
    assert "error=login_required" in nobody["Location"]


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": "nothing"},
        {"client_id": "a" * 101},
        {"client_id": "x\0y"},
        {"redirect_uri": "https://evil.example.com/callback"},
        {"redirect_uri": f"{BACK}/more"},
        {"redirect_uri": "https://app.example.com:444/callback"},
        {"redirect_uri": "https://app.example.com@evil.example.com/callback"},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": ""},
        {"redirect_uri": "http://["},
        {"scope": "a" * 9000},
        {"state": "a\nb"},
        {"resource": "https://elsewhere.example.com"},
        {"resource": "/relative"},
    ],
)
def test_what_cannot_be_trusted_leads_nowhere(
    org: Org, tool: Application, client_for: Any, change: dict[str, str]
) -> None:
    answer = client_for(org.dana).get(AUTHORIZE, question(tool, verifier()[1]) | change)
    assert answer.status_code == 400, (change, answer.status_code)
    assert "leads nowhere" in answer.content.decode() and "Location" not in answer


def test_a_forged_consent_is_refused(org: Org, tool: Application, client_for: Any) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(org.dana)
    prove(browser, org.dana)
    page = browser.get(AUTHORIZE, question(tool, verifier()[1])).content.decode()
    signed = re.search(r'name="request" value="([^"]+)"', page)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert signed and token
    form = {"request": signed[1], "action": "grant", "scopes": ["requests:read"]}
    assert browser.post(AUTHORIZE, form).status_code == 403
    assert (
        browser.post(AUTHORIZE, form | {"request": signed[1][:-2], "csrfmiddlewaretoken": token[1]}).status_code == 403
    )
    assert browser.post(AUTHORIZE, form | {"csrfmiddlewaretoken": token[1]}).status_code == 302


def test_signed_out_people_sign_in_first(tool: Application) -> None:
    answer = Client().get(AUTHORIZE, question(tool, verifier()[1]))
    assert answer.status_code == 302 and answer["Location"].startswith("/accounts/login/?next=/identity/o/authorize")


def test_deciding_needs_a_second_factor_that_is_recent(org: Org, tool: Application, client_for: Any) -> None:
    asked = question(tool, verifier()[1], scope="requests:read approvals:decide")
    page = client_for(org.dana, factor="").get(AUTHORIZE, asked).content.decode()
    assert "need a second factor" in page and re.search(r'value="approvals:decide" disabled', page)
    answer = consent(client_for(org.dana, factor=""), asked, scopes=["requests:read", "approvals:decide"])
    assert answer.status_code == 200, "it is not among the choices"
    stale = client_for(org.dana, seconds_ago=3600).get(AUTHORIZE, asked)
    assert stale.status_code == 302 and stale["Location"].startswith("/accounts/")
    assert "next=" in stale["Location"] and "authorize" in stale["Location"]


def test_a_deciding_token_says_which_factor_and_dies_within_the_hour(
    org: Org, tool: Application, client_for: Any
) -> None:
    body = by_code(client_for(org.dana, factor="webauthn"), tool, "requests:read approvals:decide")
    said = me(body["access_token"]).json()
    assert said["credential"]["second_factor"] == "webauthn" and "approvals:decide" in said["scopes"]
    Token.objects.filter(type="at").update(expires_at=timezone.now() + dt.timedelta(days=30))
    renew: dict[str, Any] = {
        "grant_type": "refresh_token",
        "client_id": tool.client_id,
        "refresh_token": body["refresh_token"],
    }
    wanted: list[dict[str, Any]] = [{}, {"scope": "approvals:decide"}, {"scope": "requests:read approvals:decide"}]
    for scope in wanted:
        assert post(TOKEN, **renew, **scope).json()["error"] == "invalid_scope"
    with time_machine.travel(timezone.now() + dt.timedelta(minutes=61)):
        assert me(body["access_token"]).status_code == 401, "whatever its end says"
        narrowed = post(TOKEN, **renew, scope="requests:read").json()
        again = me(narrowed["access_token"]).json()
        assert again["scopes"] == ["requests:read"] and again["credential"]["second_factor"] is None


def test_an_application_of_a_project_is_for_its_members_and_stays_in_it(
    org: Org, tool: Application, client_for: Any
) -> None:
    assert client_for(org.cy).get(AUTHORIZE, question(tool, verifier()[1])).status_code == 403
    org.search.memberships.create(user=org.dana, role="owner")
    token = by_code(client_for(org.dana), tool)["access_token"]
    api = Client(headers={"Authorization": f"Bearer {token}"})
    assert api.get("/api/v1/projects/fraud-detection").status_code == 200
    assert api.get("/api/v1/projects/search-ranking").status_code == 404


def test_a_confidential_application_needs_its_secret_and_pkce(org: Org, client_for: Any) -> None:
    made, secret = register(
        org.omar, org.fraud, name="Site", grants=["code"], redirect_uris=[BACK], scopes=["requests:read"]
    )
    word, challenge = verifier()
    code = code_of(consent(client_for(org.dana), question(made, challenge)))
    fields: dict[str, Any] = {"grant_type": "authorization_code", "redirect_uri": BACK, "code_verifier": word}
    assert post(TOKEN, **fields, client_id=made.client_id, code=code).status_code == 401
    assert post(TOKEN, (made.client_id, "wrong"), **fields, code=code).json()["error"] == "invalid_client"
    assert post(TOKEN, (made.client_id, secret), **fields, code=code).status_code == 200
    without = {name: value for name, value in question(made, "x").items() if not name.startswith("code_")}
    assert "error=invalid_request" in client_for(org.dana).get(AUTHORIZE, without)["Location"]


@pytest.mark.parametrize("wrong", [{"code_verifier": "x" * 50}, {"redirect_uri": f"{BACK}2"}, {"client_id": "other"}])
def test_a_code_of_somebody_else_is_worth_nothing(
    org: Org, tool: Application, client_for: Any, wrong: dict[str, str]
) -> None:
    other = register_public(org.omar, org.fraud, name="Other")
    word, challenge = verifier()
    code = code_of(consent(client_for(org.dana), question(tool, challenge)))
    fields: dict[str, Any] = {
        "grant_type": "authorization_code", "client_id": tool.client_id, "code": code, "redirect_uri": BACK,
        "code_verifier": word,
    } | wrong  # fmt: skip
    if fields["client_id"] == "other":
        fields["client_id"] = other.client_id
    answer = post(TOKEN, **fields)
    assert answer.status_code == 400 and answer.json()["error"] in {"invalid_grant", "invalid_request"}
    assert not Token.objects.exists()
