"""Signing in as people do it: an app, a recovery code, a security key, a proof in the middle of a decision, the list of
sessions. In a real browser under the portal's own content security policy.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, CDPSession, expect, sync_playwright

from tests.projects.test_signin_factors import code_of
from tests.stack.browser_kit import PATIENCE_MS, Visitor, launch, running_stack
from tests.stack.conftest import PASSWORD, Stack
from tests.stack.test_browser import ask

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.processes,
    pytest.mark.xdist_group("processes"),
]

expect.set_options(timeout=PATIENCE_MS)
Arrive = Callable[..., Visitor]
# Makes everything that the sessions of somebody proved an hour old.
AGE = """
import time
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from projects.models import User
person = str(User.objects.get(username={name!r}).pk)
for row in Session.objects.all():
    if row.get_decoded().get("_auth_user_id") == person:
        store = SessionStore(row.session_key)
        for record in store["account_authentication_methods"]:
            record["at"] = time.time() - 3600
        store.modified = True
        store.save()
"""


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One running portal for all tests here: each uses people of its own."""
    with running_stack(tmp_path_factory.mktemp("state")) as stack:
        yield stack


@pytest.fixture(scope="module")
def chrome(chromium: str) -> Iterator[Browser]:
    """One browser; every person gets a window with nothing stored."""
    with sync_playwright() as playwright:
        browser = launch(playwright, chromium)
        yield browser
        browser.close()


@pytest.fixture
def arrive(portal: Stack, chrome: Browser) -> Iterator[Arrive]:
    """Somebody arrives at the portal under a name: browsers offer security keys to names, not to numbers."""
    came: list[Visitor] = []

    def make(theme: str = "light", *, javascript: bool = True) -> Visitor:
        visitor = Visitor.arrive(chrome, f"http://localhost:{portal.port}", theme, javascript=javascript)
        came.append(visitor)
        return visitor

    yield make
    for visitor in came:
        visitor.leave()


def press(visitor: Visitor, name: str) -> None:
    visitor.follow(visitor.main().get_by_role("button", name=name, exact=True))


def sign_out(visitor: Visitor) -> None:
    visitor.page.goto("/accounts/logout/")
    press(visitor, "Sign out")


def type_password(visitor: Visitor, name: str) -> None:
    visitor.page.goto("/accounts/login/")
    visitor.page.get_by_label("User name").fill(name)
    visitor.page.get_by_label("Password").fill(PASSWORD)
    visitor.follow(visitor.page.get_by_role("button", name="Sign in", exact=True))


def with_a_key(visitor: Visitor) -> CDPSession:
    """Plug a security key into the window; it answers by itself, as when somebody touches it."""
    devtools = visitor.page.context.new_cdp_session(visitor.page)
    devtools.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "usb", "hasResidentKey": False, "hasUserVerification": False}
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options | {"automaticPresenceSimulation": True}})
    return devtools


def set_up_app(visitor: Visitor) -> tuple[str, list[str]]:
    """Set up an authenticator app by the pages; return its key and the recovery codes."""
    visitor.page.goto("/account/")
    visitor.follow(visitor.main().get_by_role("link", name="Manage: Second factor"))
    visitor.check("second factor, none yet")
    visitor.follow(visitor.main().get_by_role("link", name="Set up the app"))
    visitor.check("set up an app")
    secret = visitor.main().locator(".gh-copy code").inner_text()
    visitor.page.get_by_label("Code of the app").fill("000000")
    press(visitor, "Set up")
    expect(visitor.main()).to_contain_text("This code is not right")
    visitor.check("set up an app, wrong code")
    visitor.page.get_by_label("Code of the app").fill(code_of(secret))
    press(visitor, "Set up")
    codes = visitor.main().locator(".gh-codes code").all_inner_texts()
    assert len(codes) == 10 and all(re.fullmatch(r"\d{8}", code) for code in codes)
    visitor.check("recovery codes")
    return secret, codes


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_app_and_a_recovery_code(arrive: Arrive, theme: str) -> None:
    """Set up by a code computed by hand, then sign in with a code, then with a recovery code when the phone is away."""
    name = {"light": "dana", "dark": "omar"}[theme]
    visitor = arrive(theme)
    visitor.sign_in(name)
    secret, codes = set_up_app(visitor)
    visitor.follow(visitor.main().get_by_role("link", name="I have stored them"))
    expect(visitor.main()).to_contain_text("10 codes are left")
    visitor.check("second factor, set up")
    for path, what in (
        ("/account/", "account"),
        ("/accounts/password/change/", "change password"),
        ("/accounts/email/", "mail address"),
        ("/accounts/2fa/totp/deactivate/", "remove the app"),
        ("/accounts/2fa/recovery-codes/generate/", "new recovery codes"),
        ("/accounts/2fa/webauthn/", "no keys"),
        ("/accounts/2fa/webauthn/add/", "add a key"),
        ("/accounts/reauthenticate/", "proof by password"),
        ("/accounts/2fa/reauthenticate/", "proof by code"),
    ):
        visitor.page.goto(path)
        visitor.check(what)
    sign_out(visitor)
    visitor.check("sign in")

    type_password(visitor, name)
    expect(visitor.page.get_by_role("heading", name="Second factor")).to_be_visible()
    visitor.check("second step")
    visitor.page.get_by_label("Code").fill("000000")
    press(visitor, "Sign in")
    expect(visitor.main()).to_contain_text("This code is not right")
    visitor.page.get_by_label("Code").fill(code_of(secret))
    press(visitor, "Sign in")
    expect(visitor.page).to_have_url(f"{visitor.base}/")

    sign_out(visitor)
    type_password(visitor, name)
    visitor.page.get_by_label("Code").fill(codes[3])
    press(visitor, "Sign in")
    visitor.page.goto("/accounts/2fa/")
    expect(visitor.main()).to_contain_text("9 codes are left")
    visitor.page.goto("/accounts/sessions/")
    expect(visitor.main()).to_contain_text("Recovery code")
    visitor.check("sessions")


def test_a_security_key(arrive: Arrive) -> None:
    """Added, used to sign in and to prove once more, renamed: nothing that the policy of the page refuses."""
    visitor = arrive()
    with_a_key(visitor)
    visitor.sign_in("yasmine")
    visitor.page.goto("/accounts/2fa/")
    visitor.follow(visitor.main().get_by_role("link", name="Add a key"))
    visitor.page.get_by_label("Name").fill("Blue key")
    visitor.follow(visitor.main().get_by_role("button", name="Add the key"))
    expect(visitor.page).to_have_url(re.compile("/accounts/2fa/recovery-codes/$"))
    visitor.page.goto("/accounts/2fa/webauthn/")
    expect(visitor.main()).to_contain_text("Blue key")
    visitor.check("keys")
    visitor.follow(visitor.main().get_by_role("link", name="Remove Blue key"))
    visitor.check("remove a key")
    sign_out(visitor)

    type_password(visitor, "yasmine")
    visitor.follow(visitor.main().get_by_role("button", name="Use a security key"))
    expect(visitor.page).to_have_url(f"{visitor.base}/")
    visitor.page.goto("/accounts/sessions/")
    expect(visitor.main()).to_contain_text("Security key")

    visitor.page.goto("/accounts/2fa/webauthn/reauthenticate/?next=/help/")
    visitor.check("proof by key")
    visitor.follow(visitor.main().get_by_role("button", name="Use the security key"))
    expect(visitor.page).to_have_url(f"{visitor.base}/help/")
    visitor.quiet("a key")


def test_a_key_that_does_not_answer_is_said(arrive: Arrive) -> None:
    """In words on the page, not on the console alone."""
    visitor = arrive()
    devtools = visitor.page.context.new_cdp_session(visitor.page)
    devtools.send("WebAuthn.enable")  # no key is plugged in, and none will be: the browser gives up at once
    visitor.sign_in("aud")
    visitor.page.goto("/accounts/2fa/webauthn/add/")
    refuse = "() => { navigator.credentials.create = () => Promise.reject(new DOMException('no', 'NotAllowedError')); }"
    visitor.page.evaluate(refuse)
    visitor.main().get_by_role("button", name="Add the key").click()
    expect(visitor.main().get_by_role("alert")).to_contain_text("The key did not answer")
    visitor.check("a key without an answer")


def test_a_decision_waits_for_the_proof(arrive: Arrive, portal: Stack) -> None:
    """The reason is typed, the proof is asked for, and then the decision stands, with the reason, by itself."""
    token = portal.token("dana", "requests:write", "requests:read")
    made = ask(portal, token, "waits-for-proof")
    pat = arrive()
    pat.sign_in("pat")
    pat.page.goto(f"/approvals/{made['id']}/")
    portal.manage("shell", "-c", AGE.format(name="pat"))
    pat.page.get_by_label(re.compile("^Reason")).first.fill("Fits beside the other one.")
    pat.follow(pat.main().get_by_role("button", name=re.compile("^Approve")).first)
    expect(pat.page.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
    expect(pat.main()).to_contain_text("You decide over what others may spend.")
    assert portal.call("GET", f"/api/v1/requests/{made['id']}", token)[1]["state"] == "submitted"
    pat.check("a proof in the middle of a decision")
    pat.page.get_by_label("Password").fill(PASSWORD)
    press(pat, "Confirm")
    expect(pat.main()).to_contain_text("is approved")
    found = portal.call("GET", f"/api/v1/requests/{made['id']}", token)[1]
    assert found["state"] == "approved" and "Fits beside the other one." in str(found)
    pat.quiet("a decision after a proof")


def test_ending_a_session(arrive: Arrive) -> None:
    """The other window is out with its next click."""
    here, lost = arrive(), arrive("dark")
    here.sign_in("ravi")
    lost.sign_in("ravi")
    here.page.goto("/accounts/sessions/")
    expect(here.main().get_by_role("row")).to_have_count(3)
    here.follow(here.main().get_by_role("button", name=re.compile("^End Chromium")))
    expect(here.main().get_by_role("row")).to_have_count(2)
    here.check("sessions, one ended")
    lost.page.goto("/catalog/")
    expect(lost.page).to_have_url(re.compile(r"/accounts/login/\?next=/catalog/$"))


def test_pages_of_the_door(arrive: Arrive) -> None:
    """What people read before they are in."""
    visitor: Any = arrive("dark")
    for path, what in (
        ("/accounts/signup/", "no sign-up"),
        ("/accounts/inactive/", "inactive"),
        ("/accounts/password/reset/", "forgotten password"),
        ("/accounts/password/reset/done/", "look into your mail"),
        ("/accounts/password/reset/key/1-nothing/", "a link that does not work"),
        ("/accounts/password/reset/key/done/", "new password set"),
        ("/accounts/confirm-email/", "nothing to confirm"),
    ):
        visitor.page.goto(path)
        visitor.check(what)
    for _ in range(6):
        visitor.page.goto("/accounts/login/")
        visitor.page.get_by_label("User name").fill("nobody-here")
        visitor.page.get_by_label("Password").fill("wrong")
        visitor.follow(visitor.page.get_by_role("button", name="Sign in", exact=True))
    expect(visitor.main().get_by_role("alert")).to_contain_text("Wait five minutes")
    visitor.check("locked out")
