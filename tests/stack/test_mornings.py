"""The portal in the middle of its life, in a real browser: every page in three themes, the weight of a first visit, and
the mornings of four people who have no mouse.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from tests.stack import journey, mornings
from tests.stack.browser_kit import PATIENCE_MS, PHONE, WIDE, Visitor, launch, running_stack
from tests.stack.places import LOOKERS, Places, looker
from tests.stack.story import PROJECT, Story
from tests.test_url_matrix import PAGES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.processes,
    pytest.mark.xdist_group("processes"),
]
THEMES = ("light", "dark", "high-contrast")
WIDTHS = (WIDE, PHONE)
FIRST_VISIT_BYTES = 200_000
expect.set_options(timeout=PATIENCE_MS)
Arrive = Callable[..., Visitor]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """One portal in the middle of its life."""
    with running_stack(tmp_path_factory.mktemp("state")) as stack:
        told = Story(stack, calls=20)
        told.run()
        yield told


@pytest.fixture(scope="module")
def places(story: Story) -> Places:
    """Where everything is."""
    return Places(story)


@pytest.fixture(scope="module")
def chrome(chromium: str) -> Iterator[Browser]:
    """One browser for all windows."""
    with sync_playwright() as playwright:
        browser = launch(playwright, chromium)
        yield browser
        browser.close()


@pytest.fixture
def arrive(story: Story, chrome: Browser) -> Iterator[Arrive]:
    """Somebody arrives who has only a keyboard, at a desk or with a phone; all windows are closed at the end."""
    came: list[Visitor] = []

    def make(name: str, width: int, *, pointer: bool = False) -> Visitor:
        visitor = Visitor.arrive(chrome, story.stack.url, pointer=pointer)
        came.append(visitor)
        visitor.resize(width)
        mornings.sign_in(visitor, name)
        return visitor

    yield make
    for visitor in came:
        visitor.leave()


SECOND_FACTOR = (
    "authenticate", "reauthenticate", "recovery-codes", "recovery-codes/download", "totp/deactivate",
    "webauthn/keys/<int:pk>/edit", "webauthn/keys/<int:pk>/remove", "webauthn/reauthenticate",
)  # fmt: skip


# --- Every page ------------------------------------------------------------------------------------------------------


def test_somebody_looks_at_every_page() -> None:
    """Only what never answers a person with a page is left out."""
    unseen = {route for route in PAGES if looker(route) == ""}
    assert {route for route in unseen if PAGES[route].get != PAGES["news/read/"].get} == {
        # Of versions in other states: places.MORE has their addresses.
        *(f"catalog/<str:slug>/versions/<str:version>/{verb}/" for verb in ("discard", "retire", "submit")),
        "catalog/<str:slug>/versions/<str:version>/files/",  # a file of rows
        "endpoints/<uuid:endpoint_id>/status/",  # a part of its page
        "clusters/<slug:cluster>/checks/",  # likewise
        "endpoints/<uuid:endpoint_id>/promote/",  # leads to the form
        "rogue/<int:rogue_id>/adopt/",  # likewise
        "metrics",
        "accounts/password/set/",
        "accounts/login/code/confirm/",
        # Pages of second factors that one must have: tests/stack/test_signin_browser.py looks at them.
        *(f"accounts/2fa/{rest}/" for rest in SECOND_FACTOR),
        # Of the identity provider, which this portal has not: tests/sso/test_keycloak_login.py.
        *(f"accounts/3rdparty/{rest}" for rest in ("", "login/error/", "signup/")),
        *(f"accounts/social/{rest}/" for rest in ("connections", "login/cancelled", "login/error", "signup")),
        *(f"accounts/oidc/<slug:provider_id>/login/{rest}" for rest in ("", "callback/")),
        *(f"sso/<slug:provider_id>/{rest}/" for rest in ("backchannel-logout", "prove")),
        # For machines, and the consent that an application asks for: tests/stack/test_oauth_guide.py.
        *(f"identity/o/api/{rest}" for rest in ("device/code", "introspect", "revoke", "token", "userinfo")),
        "identity/o/authorize",
    }


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("person", LOOKERS)
def test_page(story: Story, places: Places, chrome: Browser, person: str | None, theme: str) -> None:
    visitor = Visitor.arrive(chrome, story.stack.url, theme)
    wrong, seen = [], 0
    try:
        if person:
            visitor.sign_in(person)
        for path in places.of(person):
            answer = visitor.page.goto(path)
            if answer is None or answer.status != 200:
                wrong.append(f"{path} for {person} answers {answer and answer.status}")
                visitor.forget()
                continue
            if "text/html" not in answer.headers["content-type"]:
                continue
            seen += 1
            wrong += look(visitor, f"{path} for {person}")
    finally:
        visitor.leave()
    assert seen, f"{person} saw no page"
    assert not wrong, "\n\n".join(wrong)


def look(visitor: Visitor, what: str) -> list[str]:
    """All that is wrong with a page: axe and the console at a desk; on a phone the width, which no theme changes."""
    wrong = []
    for width in WIDTHS if visitor.theme == "light" else (WIDE,):
        visitor.resize(width)
        visitor.axe = width == WIDE
        try:
            visitor.look(what)
        except AssertionError as error:
            wrong.append(str(error).partition("\nassert ")[0])
            visitor.forget()
    visitor.resize(WIDE)
    return wrong


@pytest.mark.parametrize("page", ["sign-in", "home"])
def test_a_first_visit_is_light(story: Story, chrome: Browser, page: str) -> None:
    """At most 200 kB come over the wire for a browser that has nothing stored: all of it, as it is transferred."""
    signed_in = Visitor.arrive(chrome, story.stack.url)
    if page == "home":
        signed_in.sign_in("dana")
    cookies: Any = signed_in.page.context.cookies()
    signed_in.leave()
    with chrome.new_context(base_url=story.stack.url) as fresh:
        fresh.add_cookies(cookies)
        sizes = transferred(fresh, "/accounts/login/" if page == "sign-in" else "/")
    print(f"{page}: {sum(sizes.values()) / 1000:.1f} kB: {sizes}")
    assert len(sizes) > 3, sizes
    assert sum(sizes.values()) <= FIRST_VISIT_BYTES, sizes


def transferred(context: BrowserContext, path: str) -> dict[str, int]:
    """Bytes over the wire, headers and compressed bodies, by address."""
    page = context.new_page()
    tools, names, sizes = context.new_cdp_session(page), {}, {}
    tools.send("Network.enable")
    tools.on("Network.requestWillBeSent", lambda event: names.update({event["requestId"]: event["request"]["url"]}))
    tools.on(
        "Network.loadingFinished",
        lambda event: sizes.update({names[event["requestId"]]: int(event["encodedDataLength"])}),
    )
    page.goto(path, wait_until="networkidle")
    assert page.url.endswith(path), page.url
    return sizes


# --- Mornings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
def test_pat_decides(story: Story, arrive: Arrive, width: int) -> None:
    """Home, the queue by age, a row opened and decided with keys, capacity, the question to an owner, insights."""
    pat = arrive("pat", width)
    pat.look("home of a platform engineer")
    mornings.open_the_oldest(story, pat)
    mornings.decide_with_keys(pat)
    mornings.ask_for_what_lies_idle(pat)
    mornings.read_the_insights(pat)
    pat.quiet("the end of pat's morning")


@pytest.mark.parametrize("width", WIDTHS)
def test_yasmine_governs(arrive: Arrive, width: int) -> None:
    """Home, what ends and what is in review, the audit log filtered and taken along, notifications, preferences."""
    yasmine = arrive("yasmine", width)
    yasmine.look("home of a governance lead")
    mornings.see_what_ends_and_what_is_in_review(yasmine)
    mornings.take_the_audit_log(yasmine)
    mornings.read_the_notifications(yasmine)
    mornings.change_the_preferences(yasmine)
    yasmine.quiet("the end of yasmine's morning")


@pytest.mark.parametrize("width", WIDTHS)
def test_dana_builds(story: Story, arrive: Arrive, width: int) -> None:
    """Home, two models side by side, a request with its alternatives and its draft; later its endpoint, a key, a call,
    usage, limits.
    """
    name = f"replies-{width}"
    dana = arrive("dana", width)
    dana.look("home of a data scientist")
    mornings.open_what_waits_for_me(dana)
    mornings.compare_two_models(dana)
    number = mornings.write_the_request(dana, name)
    mornings.approve(story, number)
    mornings.wait_for_the_endpoint(dana, number)
    secret = mornings.create_a_key(dana, name)
    journey.call_with_the_client(story.stack, secret, name)
    mornings.ask_the_playground(dana, name)
    mornings.look_closer_at_the_usage(dana)
    mornings.read_the_limits(dana)
    dana.quiet("the end of dana's morning")


@pytest.mark.parametrize("width", WIDTHS)
def test_omar_owns(story: Story, arrive: Arrive, width: int) -> None:
    """A quota is set on the limits page, and somebody becomes a member."""
    omar = arrive("omar", width)
    omar.look("home of an owner")
    mornings.set_a_quota(story, omar, 190_000 + width)
    mornings.add_a_member(omar, "developer" if width == WIDE else "viewer")
    omar.quiet("the end of omar's morning")


def test_dragging_over_a_chart_zooms(arrive: Arrive) -> None:
    """With a mouse a stretch of the chart becomes the range; a link leads back."""
    dana = arrive("dana", WIDE, pointer=True)
    dana.page.goto(f"/usage/?project={PROJECT}&range=7d")
    over = dana.page.locator(".gh-plot .u-over").first
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    dana.page.mouse.move(box["x"] + box["width"] * 0.55, middle)
    dana.page.mouse.down()
    dana.page.mouse.move(box["x"] + box["width"] * 0.75, middle, steps=5)
    with dana.page.expect_navigation():
        dana.page.mouse.move(box["x"] + box["width"] * 0.95, middle, steps=5)
        dana.page.mouse.up()
    expect(dana.page).to_have_url(re.compile("range=custom"))
    dana.check("usage of a stretch")
    dana.follow(dana.main().get_by_role("link", name="Back to"))
    expect(dana.page).to_have_url(re.compile("range=7d"))
    dana.quiet("usage after a look at a stretch")
