"""The whole journey in a real browser, on the whole embedded stack: what people see is what happened."""

import datetime as dt
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.stack import journey
from tests.stack.browser_kit import PATIENCE_MS, Visitor, launch, running_stack
from tests.stack.conftest import Stack
from tests.stack.journey import ASSET, PROJECT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.processes,
    pytest.mark.xdist_group("processes"),
]

THEMES = ("light", "dark")
expect.set_options(timeout=PATIENCE_MS)
Arrive = Callable[..., Visitor]


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One running portal for all tests here: each uses names of its own."""
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
    """Somebody arrives, and signs in when a name is given; all windows are closed at the end."""
    came: list[Visitor] = []

    def make(name: str = "", theme: str = "light", *, javascript: bool = True) -> Visitor:
        visitor = Visitor.arrive(chrome, portal.url, theme, javascript=javascript)
        came.append(visitor)
        if name:
            visitor.sign_in(name)
        return visitor

    yield make
    for visitor in came:
        visitor.leave()


def wanted(name: str, **changes: Any) -> dict[str, Any]:
    """The body of a request as a pipeline would send it."""
    ends = (dt.datetime.now(dt.UTC).date() + dt.timedelta(days=30)).isoformat()
    return {
        "kind": "endpoint", "project": PROJECT, "name": name, "asset": ASSET, "version": "1.0",
        "hardware_profile": "cpu-demo", "environment": "dev", "replicas": 1, "concurrency": 4, "context_tokens": 2048,
        "purpose": "See what the browser shows.", "data_classification": "internal", "ends_on": ends,
    } | changes  # fmt: skip


def ask(portal: Stack, token: str, name: str, **changes: Any) -> dict[str, Any]:
    """Send a request through the REST API."""
    status, made = portal.call("POST", "/api/v1/requests", token, wanted(name, **changes))
    assert status == 201, made
    return dict(made)


# --- The journey -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", THEMES)
def test_journey(portal: Stack, arrive: Arrive, theme: str) -> None:
    name = f"scoring-{theme}"
    token = portal.token("dana", "requests:read", "endpoints:read", "usage:read")
    dana = arrive(theme=theme)
    dana.page.goto("/")
    dana.check("sign in")
    dana.sign_in("dana")
    dana.check("home")

    journey.pick_the_model(dana)
    journey.write_the_request(dana, name)
    number = journey.read_the_frozen_plan(portal, dana, token, name)
    journey.decide(arrive("pat", theme), number)
    journey.wait_until_ready(dana, number)
    secret = journey.create_a_key(dana, name)
    told = [journey.call_with_the_client(portal, secret, name), journey.ask_the_playground(dana)]
    journey.look_at_the_usage(portal, dana, token, name, told)
    journey.delete_it(portal, dana, token, name)
    dana.quiet("the end of the journey")


# --- What the journey does not pass ----------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", THEMES)
def test_page_follows_the_endpoint(portal: Stack, arrive: Arrive, theme: str) -> None:
    """A slow start is followed by polling, step by step. When it is ready, the page has what it then needs, and asks no
    more.
    """
    name = f"slow-{theme}"
    made = ask(portal, portal.token("dana", "requests:write"), name, asset="demo-failures", version="slow-load")
    body = {"decision": "approve", "reason": "go"}
    status, _ = portal.call(
        "POST", f"/api/v1/requests/{made['id']}/decisions", portal.token("pat", "approvals:decide"), body
    )
    assert status == 200
    dana = arrive("dana", theme)
    dana.page.goto(f"/requests/{made['id']}/")
    dana.follow(dana.page.get_by_role("link", name="Open the endpoint"))
    state = dana.page.locator("#endpoint-status")
    expect(state).to_contain_text("loading the model")
    expect(state).to_have_attribute("hx-trigger", "every 2s")
    expect(dana.page.locator("form[data-playground]")).to_have_count(0)
    dana.check("a starting endpoint")
    expect(state).to_contain_text("Answers calls on 1 of 1 replica", timeout=60_000)
    expect(state).not_to_have_attribute("hx-trigger", re.compile("."))
    expect(dana.page.locator("form[data-playground]")).to_be_visible()
    dana.check("an endpoint that became ready")


@pytest.mark.parametrize("theme", THEMES)
def test_failed_endpoint_says_why(portal: Stack, arrive: Arrive, theme: str) -> None:
    made = ask(portal, portal.token("dana", "requests:write"), f"broken-{theme}", asset="demo-failures", version="oom")
    body = {"decision": "approve", "reason": "go"}
    portal.call("POST", f"/api/v1/requests/{made['id']}/decisions", portal.token("pat", "approvals:decide"), body)
    dana = arrive("dana", theme)
    dana.page.goto(f"/requests/{made['id']}/")
    dana.follow(dana.page.get_by_role("link", name="Open the endpoint"))
    expect(dana.main()).to_contain_text("nothing more is tried until somebody presses Retry", timeout=60_000)
    expect(dana.main().get_by_role("button", name="Retry")).to_be_visible()
    dana.check("a failed endpoint")
    dana.follow(dana.page.get_by_role("link", name="Read the log"))
    expect(dana.main()).to_contain_text("simulated out of memory")
    dana.check("logs")


@pytest.mark.parametrize("theme", THEMES)
def test_forbidden_page_names_the_role(arrive: Arrive, theme: str) -> None:
    dana = arrive("dana", theme)
    expect(dana.page.get_by_role("link", name="Approvals")).to_have_count(0)
    dana.page.goto("/approvals/")
    expect(dana.main()).to_contain_text("platform engineer")
    expect(dana.main()).to_contain_text("governance lead")
    dana.quiet("forbidden", 403)
    dana.check("forbidden")
    dana.page.goto("/endpoints/00000000-0000-0000-0000-000000000000/")
    dana.quiet("not found", 404)
    dana.check("not found")


@pytest.mark.parametrize("theme", THEMES)
def test_auditor_reads(arrive: Arrive, theme: str) -> None:
    aud = arrive("aud", theme)
    aud.follow(aud.page.get_by_role("link", name="Audit").first)
    expect(aud.main().get_by_role("table").first).to_be_visible()
    aud.check("audit")
    expect(aud.page.get_by_role("link", name="Request an endpoint")).to_have_count(0)


def test_nobody_decides_on_an_own_request(portal: Stack, arrive: Arrive) -> None:
    omar = portal.token("omar", "admin")
    status, answer = portal.call("PUT", f"/api/v1/projects/{PROJECT}/members/pat", omar, {"role": "developer"})
    assert status in {200, 201}, answer
    made = ask(portal, portal.token("pat", "requests:write"), "pats-own")
    pat = arrive("pat")
    pat.page.goto(f"/approvals/{made['id']}/")
    opened = pat.main().get_by_role("region", name=f"{made['number']} in detail")
    expect(opened).to_contain_text("This is your own request")
    for verb in ("Approve", "Reject", "Ask for changes"):
        expect(opened.get_by_role("button", name=verb)).to_have_count(0)
    pat.check("an own request in the queue")


def test_the_chosen_theme_is_in_the_html(arrive: Arrive) -> None:
    """The server writes the chosen theme: nothing flashes."""
    dana = arrive("dana")
    dana.page.get_by_label("Theme").click()
    dana.follow(dana.page.get_by_role("button", name="Dark"))
    expect(dana.page.locator("html")).to_have_class(re.compile("pf-v6-theme-dark"))
    html = dana.page.request.get("/").text()
    assert 'class="pf-v6-theme-dark"' in html
    dana.page.get_by_label("Theme").click()
    dana.check("home with the theme menu open")


@pytest.mark.parametrize("theme", THEMES)
def test_core_path_without_javascript(portal: Stack, arrive: Arrive, theme: str) -> None:
    """Browse, request, decide, read: all of it works where no script runs."""
    name = f"plain-{theme}"
    dana = arrive("dana", theme, javascript=False)
    dana.page.goto("/catalog/")
    dana.main().get_by_label("Search the catalog").fill("granite")
    dana.main().get_by_role("button", name="Search").click()
    dana.follow(dana.main().get_by_role("link", name="Granite 3.3 2B Instruct", exact=True))
    dana.page.get_by_role("link", name="Request this model").click()
    dana.page.select_option("#id_project", PROJECT)
    dana.page.select_option("#id_hardware_profile", "cpu-demo")
    dana.page.fill("#id_name", name)
    dana.page.fill("#id_purpose", "Work without scripts.")
    dana.page.get_by_role("button", name="Update plan").click()
    expect(dana.page.locator("#plan-body")).to_contain_text("Fits")
    dana.check("plan without scripts")
    dana.page.get_by_role("button", name="Send request").click()
    expect(dana.main()).to_contain_text("is sent")
    number = re.sub(r"\D", "", dana.page.url.partition("/requests/")[2])

    pat = arrive("pat", theme, javascript=False)
    pat.page.goto("/approvals/")
    pat.main().get_by_role("link", name=f"R-{number}", exact=True).click()
    opened = pat.main().get_by_role("region", name=f"R-{number} in detail")
    opened.get_by_label("Reason").fill("Small and safe.")
    opened.get_by_role("button", name="Approve").click()
    expect(pat.main()).to_contain_text(f"R-{number} is approved")
    pat.check("queue without scripts")

    dana.page.goto(f"/requests/{number}/")
    expect(dana.main()).to_contain_text("Approved by pat")
    dana.follow(dana.page.get_by_role("link", name="Open the endpoint"))
    expect(dana.main()).to_contain_text(f"{PROJECT}/{name}")
    dana.check("endpoint without scripts")
    dana.quiet("the end without scripts")
