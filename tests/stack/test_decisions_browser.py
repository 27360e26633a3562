"""A request that needs two people, an exception and a change, decided by three people in a real browser on the whole
embedded stack; and what an envelope does once it is switched on.
"""

import datetime as dt
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, expect, sync_playwright

from tests.stack import admission
from tests.stack.browser_kit import PATIENCE_MS, Visitor, launch, running_stack
from tests.stack.conftest import Stack, wait_for
from tests.stack.journey import PROJECT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.processes,
    pytest.mark.xdist_group("processes"),
]
expect.set_options(timeout=PATIENCE_MS)
Arrive = Callable[[str], Visitor]


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One running portal."""
    with running_stack(tmp_path_factory.mktemp("state")) as stack:
        yield stack


@pytest.fixture(scope="module")
def arrive(portal: Stack, chromium: str) -> Iterator[Arrive]:
    """Somebody signs in; who came before is still there."""
    came: dict[str, Visitor] = {}
    with sync_playwright() as playwright:
        browser: Browser = launch(playwright, chromium)

        def make(name: str) -> Visitor:
            if name not in came:
                came[name] = Visitor.arrive(browser, portal.url)
                came[name].sign_in(name)
            return came[name]

        yield make
        for visitor in came.values():
            visitor.leave()
        browser.close()


def in_days(days: int) -> str:
    return (timezone.now().date() + dt.timedelta(days=days)).isoformat()


def body(**fields: Any) -> dict[str, Any]:
    """A small endpoint in dev."""
    return {
        "kind": "endpoint", "project": PROJECT, "name": "case-notes", "asset": "granite-3.3-2b-instruct",
        "version": "1.0", "hardware_profile": "cpu-demo", "environment": "dev", "replicas": 1, "concurrency": 2,
        "context_tokens": 1024, "purpose": "Summarise case notes.", "data_classification": "internal",
        "ends_on": in_days(25), **fields,
    }  # fmt: skip


def test_two_stages_a_delegation_a_waiver_and_a_change(portal: Stack, arrive: Arrive) -> None:
    dana, pat, yasmine, ravi = arrive("dana"), arrive("pat"), arrive("yasmine"), arrive("ravi")
    token = portal.token("dana", "requests:write", "requests:read")
    status, made = portal.call(
        "POST", "/api/v1/requests", token, body(data_classification="restricted") | {"draft": True}
    )
    assert status == 201, made
    number = made["id"]

    # dana: a rule fails, and may be waived
    dana.page.goto(f"/requests/{number}/edit/")
    expect(dana.page.locator("#plan-body")).to_contain_text("Restricted data stay out of dev")
    dana.follow(dana.page.get_by_role("link", name="Ask for a waiver data-101"))
    expect(dana.page.locator("#id_check")).to_have_value("data-101")
    dana.page.select_option("#id_owner", "omar")
    dana.page.fill("#id_purpose", "The test needs real cases for two weeks.")
    dana.page.fill("#id_compensating_control", "Only dana reads there; the logs are off.")
    dana.page.fill("#id_ends_on", in_days(20))
    dana.follow(dana.page.get_by_role("button", name="Send request"))
    waiver = int(dana.page.url.rstrip("/").rpartition("/")[2])
    assert waiver != number

    # yasmine waives it, and lets ravi decide for her
    admission.decide(yasmine, waiver, "Approve", "Two weeks, and the logs are off.")
    yasmine.page.goto("/approvals/delegations/")
    yasmine.page.fill("#id_delegate", "ravi")
    yasmine.page.fill("#id_ends_on", in_days(7))
    yasmine.page.fill("#id_reason", "On leave this week.")
    yasmine.follow(yasmine.page.get_by_role("button", name="Delegate"))
    expect(yasmine.main()).to_contain_text("ravi decides for you")

    # dana sends it: the plan names the waiver and both stages
    dana.page.goto(f"/requests/{number}/edit/")
    expect(dana.page.locator("#plan-body")).to_contain_text("Waived: Restricted data stay out of dev")
    dana.follow(dana.page.get_by_role("button", name="Send request"))
    expect(dana.main()).to_contain_text("Governance")

    # pat asks for a change; dana makes it; pat sees what changed and says yes
    admission.decide(pat, number, "Ask for changes", "Half of the context is enough.")
    dana.page.goto(f"/requests/{number}/edit/")
    dana.page.fill("#id_context_tokens", "512")
    dana.follow(dana.page.get_by_role("button", name="Send again"))
    opened = admission.read_the_queue(pat, number, "Changed since it was sent last", "1,024", "512")
    opened.get_by_label("Reason").fill("Small now.")
    opened.get_by_role("button", name="Approve").click()
    expect(pat.main()).to_contain_text(f"R-{number} has your yes")
    pat.page.goto(f"/approvals/{number}/")
    expect(pat.main()).to_contain_text("It does not wait for you")

    # ravi decides for yasmine
    admission.decide(ravi, number, "Approve", "As agreed with yasmine.")

    # the timeline tells the story
    dana.page.goto(f"/requests/{number}/")
    story = dana.main().locator("#timeline")
    for words in (
        "Sent for review",
        "waived",
        "Sent back for changes",
        "Sent again",
        "stage",
        "for yasmine",
        "Approved",
    ):
        expect(story).to_contain_text(re.compile(words, re.IGNORECASE))
    dana.check("a request with its whole story")
    status, shown = portal.call("GET", f"/api/v1/requests/{number}", token)
    assert status == 200 and shown["state"] == "approved"
    names = [stage["name"] for stage in shown["stages"]]
    assert names[:2] == ["Review", "Governance"] and shown["stages"][1]["by"], shown["stages"]


def test_an_envelope_that_is_switched_on_approves_the_next_one_in_seconds(portal: Stack, arrive: Arrive) -> None:
    yasmine, pat = arrive("yasmine"), arrive("pat")
    yasmine.page.goto("/approvals/rules/small-dev/")
    expect(yasmine.main()).to_contain_text("In shadow")
    expect(yasmine.main()).to_contain_text(re.compile(r"\d of \d"))  # decided requests of the demo
    yasmine.check("an envelope in shadow")
    yasmine.follow(yasmine.page.get_by_role("link", name="Switch on"))
    yasmine.page.fill("#id_reason", "It agreed with us for a month.")
    yasmine.follow(yasmine.page.get_by_role("button", name="Switch on"))
    expect(yasmine.main()).to_contain_text("Live")

    token = portal.token("dana", "requests:write", "requests:read", "endpoints:read")
    begun = time.monotonic()
    status, made = portal.call("POST", "/api/v1/requests", token, body(name="by-rule"))
    assert status == 201 and made["state"] == "approved", made
    assert made["decisions"][0]["via"] == "rule"

    def ready() -> bool:
        return bool(portal.call("GET", f"/api/v1/endpoints/{made['endpoint']}", token)[1]["phase"] == "ready")

    wait_for(ready, 60, "the endpoint to be ready")
    took = time.monotonic() - begun
    print(f"request to ready endpoint by rule: {took:.1f} s")

    # off again with one button, by an engineer, for the very next one
    pat.page.goto("/approvals/rules/")
    pat.follow(pat.page.get_by_role("button", name="Switch all off"))
    status, made = portal.call("POST", "/api/v1/requests", token, body(name="by-people"))
    assert status == 201 and made["state"] == "submitted", made
