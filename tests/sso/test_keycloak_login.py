"""People sign in at a real portal over a real Keycloak in a real browser: with and without a second factor, with groups
that come and go, and both sides end what the other began.
"""

import re
import secrets
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.keycloak_kit import Keycloak, Person
from tests.stack.browser_kit import PATIENCE_MS, Visitor, launch
from tests.stack.conftest import Stack, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.keycloak,
    pytest.mark.processes,
    pytest.mark.xdist_group("processes"),
]

GROUPS = ",".join(
    (
        "ml-platform=platform-engineers", "ml-audit=auditors",
        "fraud-developers=fraud-detection:developer", "fraud-owners=fraud-detection:owner",
    )
)  # fmt: skip
MINUTES = 240.0  # seconds that "within minutes" may take here, on a busy machine; asked every 10 s, by beat every 30 s
expect.set_options(timeout=PATIENCE_MS)
Arrive = Callable[[], Visitor]


@pytest.fixture(scope="module")
def portal(keycloak: Keycloak, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A portal whose people come from Keycloak, which is asked about them every ten seconds."""
    stack = Stack(tmp_path_factory.mktemp("state"))
    stack.env |= {
        "GATEHOUSE_SSO_ISSUER": keycloak.issuer, "GATEHOUSE_SSO_CLIENT_ID": keycloak.client_id,
        "GATEHOUSE_SSO_CLIENT_SECRET": keycloak.client_secret, "GATEHOUSE_SSO_NAME": "Keycloak",
        "GATEHOUSE_SSO_GROUPS": GROUPS, "GATEHOUSE_SSO_RECHECK_SECONDS": "10", "GATEHOUSE_REQUIRE_MFA": "1",
    }  # fmt: skip
    keycloak.point_client_at(stack.url)
    try:
        stack.start()
        yield stack
    finally:
        if stack.launcher and stack.launcher.poll() is None:
            stack.stop()


@pytest.fixture(scope="module")
def chrome(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch(playwright, chromium)
        yield browser
        browser.close()


@pytest.fixture
def arrive(portal: Stack, chrome: Browser) -> Iterator[Arrive]:
    """Somebody opens a window; all are closed at the end."""
    came: list[Visitor] = []

    def make() -> Visitor:
        came.append(Visitor.arrive(chrome, portal.url))
        return came[-1]

    yield make
    for visitor in came:
        visitor.leave()


def made(keycloak: Keycloak, *groups: str, otp: bool = True) -> Person:
    return keycloak.create_user(f"t{secrets.token_hex(4)}", *groups, otp=otp)


def to_keycloak(visitor: Visitor, path: str = "/accounts/login/") -> None:
    """Leave the portal for Keycloak by its button."""
    visitor.page.goto(path)
    visitor.follow(visitor.page.get_by_role("button", name="Continue with Keycloak"))


def fill(visitor: Visitor, person: Person) -> None:
    """Give Keycloak what it asks for."""
    page = visitor.page
    name = page.locator("#username")
    if name.is_visible() and name.is_editable():
        name.fill(person.username)
    page.locator("#password").fill(person.password)
    visitor.follow(page.locator("#kc-login"))
    if person.otp and page.locator("#otp").count():
        page.locator("#otp").fill(person.code)
        visitor.follow(page.locator("#kc-login"))


def sign_in(visitor: Visitor, person: Person) -> None:
    """Sign in over Keycloak, up to the portal's first page."""
    to_keycloak(visitor)
    if "/realms/" in visitor.page.url:
        fill(visitor, person)


def signed_in(visitor: Visitor, portal: Stack) -> bool:
    """Whether the portal still knows this window."""
    answer = visitor.page.context.request.get(f"{portal.url}/projects/", max_redirects=0)
    return answer.status == 200


def status(visitor: Visitor, portal: Stack, path: str) -> int:
    """What the portal answers this window."""
    return int(visitor.page.context.request.get(f"{portal.url}{path}", max_redirects=0).status)


def rows(portal: Stack, action: str) -> list[dict[str, Any]]:
    """Rows of the audit log."""
    code, found = portal.call("GET", f"/api/v1/audit?action={action}&limit=200", portal.token("aud", "audit:read"))
    assert code == 200
    return list(found["items"])


def test_sign_in_with_a_second_factor(keycloak: Keycloak, portal: Stack, arrive: Arrive) -> None:
    visitor, person = arrive(), made(keycloak, "fraud-developers")
    asked: list[str] = []
    visitor.page.on("request", lambda request: asked.append(request.url))
    to_keycloak(visitor, "/accounts/login/?next=/catalog/")
    (address,) = [url for url in asked if "/protocol/openid-connect/auth?" in url]
    query = parse_qs(urlsplit(address).query)
    assert query["code_challenge_method"] == ["S256"] and len(query["code_challenge"][0]) >= 43
    assert query["nonce"] and query["state"]
    fill(visitor, person)
    expect(visitor.page).to_have_url(f"{portal.url}/catalog/")  # nobody asks for a second factor once more
    visitor.page.goto("/projects/fraud-detection/")
    expect(visitor.main()).to_contain_text(person.username)
    visitor.quiet("single sign-on")  # no violation of the content security policy on the way
    last = rows(portal, "people.sign_in")[0]
    assert (last["after"]["second_factor"], last["after"]["how"]) == ("sso", "sso")


def test_sign_in_without_a_second_factor_leads_to_its_set_up(keycloak: Keycloak, arrive: Arrive) -> None:
    visitor, person = arrive(), made(keycloak, "fraud-developers", otp=False)
    sign_in(visitor, person)
    expect(visitor.page).to_have_url(re.compile("/accounts/2fa/"))


def test_a_name_that_is_taken_here_is_nobody_elses(keycloak: Keycloak, portal: Stack, arrive: Arrive) -> None:
    """The demo has a local platform engineer pat; Keycloak's pat is somebody else."""
    visitor = arrive()
    sign_in(visitor, keycloak.person("mia"))
    expect(visitor.page).to_have_url(f"{portal.url}/")
    stranger = arrive()
    sign_in(stranger, keycloak.person("dana"))
    expect(stranger.page.locator("body")).to_contain_text("dana-2")


def test_groups_give_and_take_at_the_next_sign_in(keycloak: Keycloak, portal: Stack, arrive: Arrive) -> None:
    visitor, person = arrive(), made(keycloak, "fraud-developers", "ml-audit")
    sign_in(visitor, person)
    assert (status(visitor, portal, "/projects/fraud-detection/"), status(visitor, portal, "/audit/")) == (200, 200)
    keycloak.set_groups(person, "ml-platform")
    again = arrive()
    sign_in(again, person)
    assert status(again, portal, "/access/mappings/") == 200
    removed = [row for row in rows(portal, "projects.remove_member") if row["before"]["user"] == person.username]
    assert removed and removed[0]["actor"] == "system:sso"


def test_a_lost_group_takes_the_role_without_a_sign_in(keycloak: Keycloak, portal: Stack, arrive: Arrive) -> None:
    visitor, person = arrive(), made(keycloak, "fraud-developers", "ml-audit")
    sign_in(visitor, person)
    assert status(visitor, portal, "/audit/") == 200
    keycloak.leave(person, "ml-audit")
    wait_for(lambda: status(visitor, portal, "/audit/") == 403, MINUTES, "the role to go")
    assert signed_in(visitor, portal)
    keycloak.leave(person, "fraud-developers")  # the last one: nothing is left to be here for
    wait_for(lambda: not signed_in(visitor, portal), MINUTES, "the session to end")


def test_a_disabled_account_is_out_within_minutes(keycloak: Keycloak, portal: Stack, arrive: Arrive) -> None:
    visitor, person = arrive(), made(keycloak, "fraud-developers")
    sign_in(visitor, person)
    assert signed_in(visitor, portal)
    keycloak.disable(person)
    wait_for(lambda: not signed_in(visitor, portal), MINUTES, "the session of a disabled account to end")
    assert rows(portal, "sso.end_session")[0]["reason"] == "refused_by_provider"
    visitor.page.goto("/")
    expect(visitor.page).to_have_url(re.compile("/accounts/login/"))


def test_a_logout_at_keycloak_ends_the_session_here(keycloak: Keycloak, portal: Stack, arrive: Arrive) -> None:
    visitor, person = arrive(), made(keycloak, "fraud-developers")
    sign_in(visitor, person)
    other = arrive()
    sign_in(other, made(keycloak, "fraud-developers"))
    keycloak.logout(person)
    wait_for(lambda: not signed_in(visitor, portal), 5, "the session to end at once")
    assert signed_in(other, portal)
    assert rows(portal, "sso.end_session")[0]["reason"] == "ended_by_provider"


def test_a_logout_here_ends_the_session_at_keycloak(keycloak: Keycloak, portal: Stack, arrive: Arrive) -> None:
    visitor, person = arrive(), made(keycloak, "fraud-developers")
    sign_in(visitor, person)
    assert len(keycloak.sessions(person)) == 1
    visitor.page.goto("/accounts/logout/")
    visitor.follow(visitor.main().get_by_role("button", name=re.compile("Sign out|Log out")))
    expect(visitor.page).to_have_url(re.compile(f"{portal.url}/accounts/login/"))
    assert keycloak.sessions(person) == [] and not signed_in(visitor, portal)
    visitor.quiet("sign-out")
    to_keycloak(visitor)
    expect(visitor.page.locator("#password")).to_be_visible()  # Keycloak asks again


def test_nobody_without_a_group_gets_in(keycloak: Keycloak, portal: Stack, arrive: Arrive) -> None:
    visitor, person = arrive(), made(keycloak, "nobody-mapped")
    sign_in(visitor, person)
    expect(visitor.page).to_have_url(f"{portal.url}/sso/no-group/")
    for word in (person.username, "ml-platform", "platform engineer", "fraud-developers"):
        expect(visitor.main()).to_contain_text(word)
    assert not signed_in(visitor, portal)
    visitor.quiet("no group", 403)
    visitor.check("no group")
    keycloak.join(person, "fraud-developers")
    to_keycloak(visitor)  # Keycloak still knows them
    expect(visitor.page).to_have_url(f"{portal.url}/")


def test_recent_proof_is_asked_for_at_keycloak(keycloak: Keycloak, portal: Stack, arrive: Arrive) -> None:
    visitor, person = arrive(), made(keycloak, "ml-platform")
    sign_in(visitor, person)
    visitor.page.goto("/sso/keycloak/prove/?next=/projects/")
    expect(visitor.page).to_have_url(re.compile(re.escape(keycloak.issuer)))
    fill(visitor, person)
    expect(visitor.page).to_have_url(f"{portal.url}/projects/")
    visitor.quiet("proof")


def test_a_cancelled_sign_in_has_a_page(keycloak: Keycloak, portal: Stack, arrive: Arrive) -> None:
    """What Keycloak answers when somebody refuses: the state of the round trip, and access_denied."""
    visitor = arrive()
    asked: list[str] = []
    visitor.page.on("request", lambda request: asked.append(request.url))
    to_keycloak(visitor)
    (address,) = [url for url in asked if "/protocol/openid-connect/auth?" in url]
    state = parse_qs(urlsplit(address).query)["state"][0]
    visitor.page.goto(
        f"/accounts/oidc/keycloak/login/callback/?error=access_denied&state={state}&iss={keycloak.issuer}"
    )
    expect(visitor.main()).to_contain_text("You cancelled")
    assert not signed_in(visitor, portal)
