"""Signing in over an identity provider: who gets in, as whom, and which answers are refused."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.db import connection
from django.test import Client

from audit.models import Row
from portal.sso import Provider, origin
from projects.models import Membership, SsoSession, User
from projects.signin import proof
from tests.conftest import Org
from tests.projects.sso_kit import (
    CALLBACK,
    LOGIN,
    OTHER_KEY,
    PUBLIC_PEM,
    Issuer,
    begin,
    come_back,
    issuing,
    sign_in,
    unsigned,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def issuer(org: Org, settings: Any) -> Iterator[Issuer]:
    with issuing() as found:
        settings.SSO = found.provider
        yield found


def me(client: Client) -> str:
    """Who the browser is signed in as, "" for nobody."""
    pk = client.session.get("_auth_user_id")
    return User.objects.get(pk=pk).username if pk else ""


def test_first_sign_in_makes_an_account_with_roles(org: Org, issuer: Issuer) -> None:
    issuer.sub, issuer.person["preferred_username"], issuer.person["email"] = "sub-nora", "nora", "nora@idp.example"
    client, answer = sign_in(issuer)
    assert (answer.status_code, answer.headers["Location"], me(client)) == (302, "/", "nora")
    nora = User.objects.get(username="nora")
    assert (nora.first_name, nora.last_name, nora.email) == ("Dana", "Okafor", "nora@idp.example")
    assert not nora.has_usable_password()
    member = Membership.objects.get(user=nora)
    assert (member.project, member.role, member.source) == (org.fraud, "developer", "sso")
    address = EmailAddress.objects.get(user=nora)
    assert address.verified
    actions = set(Row.objects.values_list("action", flat=True))
    assert {"people.create", "projects.add_member", "people.sign_in"} <= actions
    session = SsoSession.objects.get(person=nora)
    assert (session.subject, session.sid, session.session_key) == ("sub-nora", "sid-1", client.session.session_key)
    assert "rt-" not in session.refresh_token and "." not in session.id_token  # encrypted


def test_authorize_address_holds_pkce_state_and_nonce(issuer: Issuer) -> None:
    asked = begin(Client())
    assert (asked["code_challenge_method"], asked["response_type"]) == ("S256", "code")
    assert len(asked["code_challenge"]) >= 43 and len(asked["nonce"]) == 32 and len(asked["state"]) >= 16
    assert set(asked["scope"].split()) == {"openid", "profile", "email"}
    again = begin(Client())
    assert asked["nonce"] != again["nonce"] and asked["state"] != again["state"]


def test_code_verifier_is_sent(issuer: Issuer) -> None:
    sign_in(issuer)
    form = next(form for _, path, form, _ in issuer.calls if path == "/token")
    assert len(form["code_verifier"]) >= 43
    assert form["redirect_uri"] == f"http://testserver{CALLBACK}"


def test_what_the_address_asks_for_is_not_passed_on(issuer: Issuer) -> None:
    """allauth takes scopes, parameters and processes from the query; a link must not choose them."""
    client = Client()
    answer = client.post(f"{LOGIN}?auth_params=redirect_uri%3Dhttps%3A%2F%2Fevil.example&scope=admin&process=connect")
    address = answer.headers["Location"]
    assert "evil" not in address and "admin" not in address


def test_a_link_alone_signs_nobody_in(issuer: Issuer) -> None:
    answer = Client().get(LOGIN)
    assert answer.status_code == 200 and b"Continue with" in answer.content
    strict = Client(enforce_csrf_checks=True)
    assert strict.post(LOGIN).status_code == 403


def test_next_survives_and_open_redirects_do_not(issuer: Issuer) -> None:
    assert sign_in(issuer, next="/catalog/")[1].headers["Location"] == "/catalog/"
    for bad in ("https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "http:///evil"):
        assert sign_in(issuer, next=bad)[1].headers["Location"] == "/", bad


def test_an_existing_local_account_is_never_taken_over(org: Org, issuer: Issuer) -> None:
    """Neither the name nor the verified address of mail of pat leads into the local account of pat."""
    org.pat.email = "pat@bank.example"
    org.pat.save()
    EmailAddress.objects.create(user=org.pat, email="pat@bank.example", verified=True, primary=True)
    issuer.person |= {"preferred_username": "pat", "email": "pat@bank.example"}
    issuer.sub = "sub-pat"
    client, _ = sign_in(issuer)
    assert me(client) == "pat-2"
    org.pat.refresh_from_db()
    assert org.pat.check_password("correct horse battery")
    assert not SocialAccount.objects.filter(user=org.pat).exists()
    assert not EmailAddress.objects.filter(user__username="pat-2", verified=True).exists()
    assert me(sign_in(issuer)[0]) == "pat-2"  # and again the same one


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("Dana", "dana-2"), ("раt", "t"), ("a b/../c", "a-b-..-c"), ("", "person"), ("x" * 150, "x" * 60),
        ("nora@corp.example", "nora"), ("система", "person"), ("system", "system-2"), ("☃", "person"),
    ],
)  # fmt: skip
def test_names_are_cleaned_and_unique(issuer: Issuer, told: str, expected: str) -> None:
    issuer.person["preferred_username"] = told
    assert me(sign_in(issuer)[0]) == expected


@pytest.mark.parametrize("odd", [None, 7, ["a"], {"a": 1}, "a\0b", "\ud800", "x" * 5000])
def test_claims_of_any_shape_are_no_mistake(issuer: Issuer, odd: Any) -> None:
    issuer.person = dict.fromkeys(("preferred_username", "name", "given_name", "family_name", "email"), odd)
    issuer.claims |= {"amr": odd, "acr": odd, "sid": odd}
    client, answer = sign_in(issuer)
    assert answer.status_code == 302 and me(client) == "person"


def test_unverified_mail_stays_unverified(issuer: Issuer) -> None:
    issuer.person["email_verified"] = "true"  # only the JSON true counts
    client, _ = sign_in(issuer)
    assert not EmailAddress.objects.get(user__username=me(client)).verified


def test_names_and_mail_follow_the_provider(issuer: Issuer) -> None:
    client, _ = sign_in(issuer)
    issuer.person |= {"name": "Dana Brandt", "email": "brandt@idp.example"}
    sign_in(issuer)
    person = User.objects.get(username=me(client))
    assert (person.last_name, person.email) == ("Brandt", "brandt@idp.example")
    assert EmailAddress.objects.get(user=person).email == "brandt@idp.example"


def test_groups_give_and_take_at_each_sign_in(org: Org, issuer: Issuer) -> None:
    issuer.groups = ["fraud-developers", "ml-platform"]
    client, _ = sign_in(issuer)
    person = User.objects.get(username=me(client))
    assert person.groups.get().name == "platform-engineers"
    issuer.groups = ["ml-platform"]
    sign_in(issuer)
    assert not Membership.objects.filter(user=person).exists()
    issuer.groups = ["fraud-developers"]
    sign_in(issuer)
    assert not person.groups.exists() and Membership.objects.get(user=person).role == "developer"


def test_nobody_without_a_group_gets_an_account(org: Org, issuer: Issuer) -> None:
    before = User.objects.count()
    issuer.groups, issuer.person["preferred_username"] = ["nobody-mapped"], "zoe"
    client, answer = sign_in(issuer)
    assert answer.headers["Location"] == "/sso/no-group/" and not me(client)
    assert User.objects.count() == before and not SocialAccount.objects.exists()
    page = client.get("/sso/no-group/")
    text = page.content.decode()
    assert page.status_code == 403
    for word in ("zoe", "ml-platform", "platform engineer", "fraud-developers", "developer of a project", "pat"):
        assert word in text, word
    assert "fraud-detection" not in text  # a stranger to every project
    assert Row.objects.filter(action="people.sign_in_refused", after__contains="sso.no_group").exists()
    stranger = Client().get("/sso/no-group/")
    assert stranger.status_code == 200 and b"ml-platform" not in stranger.content


def test_who_lost_every_group_loses_roles_and_gets_the_page(issuer: Issuer) -> None:
    client, _ = sign_in(issuer)
    person = User.objects.get(username=me(client))
    issuer.groups = []
    other, answer = sign_in(issuer)
    assert answer.headers["Location"] == "/sso/no-group/" and not me(other)
    assert not Membership.objects.filter(user=person).exists()


def test_a_role_given_by_hand_lets_in_without_a_group(org: Org, issuer: Issuer) -> None:
    client, _ = sign_in(issuer)
    person = User.objects.get(username=me(client))
    Membership.objects.create(project=org.search, user=person, role="viewer")
    issuer.groups = []
    assert me(sign_in(issuer)[0]) == person.username
    assert Membership.objects.get(user=person).project == org.search


def test_people_who_left_stay_out(issuer: Issuer) -> None:
    client, _ = sign_in(issuer)
    User.objects.filter(username=me(client)).update(is_active=False)
    other, answer = sign_in(issuer)
    assert answer.headers["Location"] == "/sso/no-group/" and not me(other)
    page = other.get("/sso/no-group/")
    assert page.status_code == 403 and b"closed" in page.content


def test_second_factor_is_what_the_provider_saw(issuer: Issuer) -> None:
    client, _ = sign_in(issuer)
    assert proof.second_factor(client.session) == ""
    issuer.claims["amr"] = ["pwd", "otp", "otp"]
    client, _ = sign_in(issuer)
    assert proof.second_factor(client.session) == "sso"
    assert Row.objects.filter(action="people.sign_in", after__contains='"second_factor":"sso"').exists()
    issuer.claims |= {"amr": ["pwd"], "acr": "mfa"}
    assert proof.second_factor(sign_in(issuer)[0].session) == "sso"
    issuer.claims |= {"amr": "otp", "acr": ["mfa"]}  # neither is what the specification says
    assert proof.second_factor(sign_in(issuer)[0].session) == ""


def test_a_silent_sign_in_is_no_recent_proof(issuer: Issuer) -> None:
    client, _ = sign_in(issuer)
    assert proof.is_recent(client.session)
    issuer.claims["auth_time"] = int(time.time()) - 7200
    client, _ = sign_in(issuer)
    assert not proof.is_recent(client.session)
    issuer.drop = {"auth_time"}
    assert not proof.is_recent(sign_in(issuer)[0].session)


WRONG: dict[str, Any] = {
    "forged": lambda issuer, claims: issuer.sign(claims, key=OTHER_KEY),
    "unknown key": lambda issuer, claims: issuer.sign(claims, key=OTHER_KEY, kid="k9"),
    "alg none": lambda issuer, claims: unsigned(claims),
    "expired": lambda issuer, claims: issuer.sign(claims | {"exp": int(time.time()) - 60, "iat": 1}),
    "from tomorrow": lambda issuer, claims: issuer.sign(claims | {"iat": int(time.time()) + 600}),
    "wrong audience": lambda issuer, claims: issuer.sign(claims | {"aud": "somebody"}),
    "wrong issuer": lambda issuer, claims: issuer.sign(claims | {"iss": "https://evil.example"}),
    "wrong party": lambda issuer, claims: issuer.sign(claims | {"azp": "somebody"}),
    "no subject": lambda issuer, claims: issuer.sign({k: v for k, v in claims.items() if k != "sub"}),
    "no nonce": lambda issuer, claims: issuer.sign({k: v for k, v in claims.items() if k != "nonce"}),
    "another nonce": lambda issuer, claims: issuer.sign(claims | {"nonce": "x" * 32}),
    "another subject": lambda issuer, claims: issuer.sign(claims | {"sub": "sub-pat"}),
    "number": lambda issuer, claims: 7,
    "nothing": lambda issuer, claims: "",
    "text": lambda issuer, claims: "a.b.c",
}


@pytest.mark.parametrize("case", WRONG)
def test_refused_id_tokens(issuer: Issuer, case: str, caplog: pytest.LogCaptureFixture) -> None:
    before = User.objects.count()
    issuer.mint = lambda claims: WRONG[case](issuer, claims)
    client, answer = sign_in(issuer)
    assert (answer.status_code, me(client)) == (401, "")
    assert b"You are not signed in" in answer.content and b"Traceback" not in answer.content
    assert "sso.refused reason=" in caplog.text
    assert User.objects.count() == before


def test_hmac_with_the_public_key_is_refused(issuer: Issuer) -> None:
    """The classic: the provider's public key as a shared secret."""

    def forge(claims: dict[str, Any]) -> str:
        parts = [json.dumps({"alg": "HS256", "typ": "JWT", "kid": "k1"}), json.dumps(claims)]
        body = ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)
        mac = hmac.new(PUBLIC_PEM, body.encode(), hashlib.sha256).digest()
        return f"{body}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"

    issuer.mint = forge
    client, answer = sign_in(issuer)
    assert (answer.status_code, me(client)) == (401, "")


def test_state_of_another_browser_or_none_is_refused(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    asked = begin(Client())
    for client in (Client(), Client()):
        answer = come_back(issuer, client, asked)
        assert (answer.status_code, me(client)) == (401, "")
    assert "reason=state_mismatch" in caplog.text
    assert Client().get(CALLBACK, {"code": "x"}).status_code == 401
    assert Client().get(CALLBACK).status_code == 401
    assert not any(path == "/token" for _, path, _, _ in issuer.calls)


def test_a_state_works_once(issuer: Issuer) -> None:
    client = Client()
    asked = begin(client)
    assert come_back(issuer, client, asked).status_code == 302
    client.post("/accounts/logout/")
    assert come_back(issuer, client, asked).status_code == 401
    assert not me(client)


def test_answer_of_another_issuer_is_refused(issuer: Issuer) -> None:
    client = Client()
    answer = come_back(issuer, client, begin(client), iss="https://evil.example")
    assert (answer.status_code, me(client)) == (401, "")
    assert come_back(issuer, client, begin(client), iss=issuer.url).status_code == 302


def test_cancelled_and_other_errors_have_a_page(issuer: Issuer) -> None:
    client = Client()
    state = begin(client)["state"]
    answer = client.get(CALLBACK, {"error": "access_denied", "state": state}, follow=True)
    assert b"You cancelled" in answer.content
    state = begin(client)["state"]
    answer = client.get(CALLBACK, {"error": "server_error", "error_description": "<b>boo", "state": state})
    assert answer.status_code == 401 and b"boo" not in answer.content


@pytest.mark.parametrize("path", ["/token", "/userinfo", "/keys", "/.well-known/openid-configuration"])
@pytest.mark.parametrize(
    "answer", [(500, b""), (200, b"[]"), (200, b"{"), (200, b"[" * 100_000), (302, b""), (401, b""), (200, b"{}")]
)
def test_a_broken_provider_is_no_mistake_of_ours(issuer: Issuer, path: str, answer: tuple[int, bytes]) -> None:
    client = Client()
    if path.startswith("/.well"):
        issuer.raw[path] = answer
        assert client.post(LOGIN).status_code == 503
        return
    asked = begin(client)
    issuer.raw[path] = answer
    assert come_back(issuer, client, asked).status_code in {401}
    assert not me(client)


def test_a_provider_that_is_away_says_so(issuer: Issuer) -> None:
    issuer.down = True
    answer = Client().post(LOGIN)
    assert answer.status_code == 503 and b"identity provider" in answer.content


def test_linking_is_closed(org: Org, issuer: Issuer, client_for: Any) -> None:
    client = client_for(org.dana)
    for path in ("/accounts/3rdparty/", "/accounts/3rdparty/signup/"):
        assert client.get(path).status_code == 404
        assert client.post(path, {"account": "1"}).status_code == 404


def test_origin_is_what_the_content_security_policy_names() -> None:
    assert origin(Provider("https://sso.example:8443/realms/x", "gatehouse", "secret")) == "https://sso.example:8443"


def test_without_an_identity_provider_nothing_leads_there(org: Org, settings: Any) -> None:
    settings.SSO = None
    assert Client().post(LOGIN).status_code == 404
    assert Client().get(CALLBACK).status_code == 404
    assert b"Continue with" not in Client().get("/accounts/login/").content


def test_sign_in_page_offers_the_provider_as_a_form(issuer: Issuer) -> None:
    text = Client().get("/accounts/login/?next=/catalog/").content.decode()
    form = text[text.index(f'action="{LOGIN}"') :].split("</form>")[0]
    assert "csrfmiddlewaretoken" in form and 'value="/catalog/"' in form and "Continue with Single sign-on" in form


@pytest.mark.django_db(transaction=True)
def test_two_first_sign_ins_at_once_make_one_account(issuer: Issuer) -> None:
    """Two windows of one new person come back in the same instant: both are let in, as the same one."""
    windows, both = [Client(), Client()], threading.Barrier(2, timeout=20)
    asked = [begin(window) for window in windows]
    told = issuer.userinfo

    def together() -> dict[str, Any]:
        both.wait()
        return told()

    issuer.userinfo = together  # type: ignore[method-assign] # the provider answers both at the same time

    def back(number: int) -> int:
        try:
            return int(come_back(issuer, windows[number], asked[number]).status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(back, range(2))) == [302, 302]
    assert SocialAccount.objects.count() == 1
    assert [me(window) for window in windows] == ["dana-2", "dana-2"]
    assert Row.objects.filter(action="people.create").count() == 1
