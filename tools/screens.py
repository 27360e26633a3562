"""The pictures of docs/screens: `python -m tools.screens` starts a portal of its own, fills it with the story of
tests/stack/story.py, and photographs the pages in both themes; those for reading, deciding and revoking on a phone too.

PNGs are reduced by pngquant where there is one. Nothing else writes into docs/screens.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.stack.browser_kit import HEIGHT, PHONE, PHONE_HEIGHT, WIDE, Visitor, launch, running_stack
from tests.stack.conftest import ROOT, Stack
from tests.stack.story import PROJECT, WAITS, Row, Story

MAX_HEIGHT = 2700
INNER_HEIGHT = """
() => Math.max(...[".pf-v6-c-page__main-container", ".pf-v6-c-page__main", "html"]
  .flatMap((what) => [...document.querySelectorAll(what)])
  .map((one) => one.getBoundingClientRect().top + one.scrollHeight))
"""


class Camera:
    """Photographs pages of one portal into one folder."""

    def __init__(self, browser: Browser, stack: Stack, folder: Path) -> None:
        self.browser, self.stack, self.folder = browser, stack, folder

    def everything(self) -> None:
        """All pages, both themes."""
        story = Story(self.stack)
        endpoints, requests = story.endpoints(), story.requests()
        key = story.call("GET", f"/projects/{PROJECT}/keys", "omar")["items"][0]["id"]
        for theme in ("light", "dark"):
            guest = Visitor.arrive(self.browser, self.stack.url, theme)
            self.shoot(guest, "sign-in", "/accounts/login/")
            guest.leave()
            self.builder(theme, endpoints, requests)
            self.owner(theme, endpoints, key)
            self.engineer(theme, requests)
            self.governor(theme)

    def builder(self, theme: str, endpoints: Mapping[str, Row], requests: Mapping[str, Row]) -> None:
        """What dana sees."""
        dana = self.person("dana", theme)
        self.shoot(dana, "home", "/", phone=True)
        self.shoot(dana, "catalog", "/catalog/", phone=True)
        self.shoot(dana, "compare", "/catalog/compare/?v=qwen3-8b@1.0&v=granite-3.3-8b-instruct@1.0")
        self.shoot(dana, "asset", "/catalog/granite-3.3-2b-instruct/")
        self.fill(dana, "/requests/new/?asset=qwen3-8b&version=1.0")
        self.shoot(dana, "request", "", phone=True)
        self.shoot(dana, "request-renewal", f"/requests/new/?kind=renewal&endpoint={endpoints['triage']['id']}")
        self.shoot(dana, "requests", "/requests/", phone=True)
        self.shoot(dana, "request-detail", f"/requests/{requests['scoring']['id']}/")
        self.ask(dana, f"/endpoints/{endpoints['scoring']['id']}/")
        self.shoot(dana, "endpoint", "", phone=True)
        self.shoot(dana, "endpoints", "/endpoints/")
        self.shoot(dana, "endpoint-failing", f"/endpoints/{endpoints['letters']['id']}/", phone=True)
        self.shoot(dana, "endpoint-waiting", f"/endpoints/{endpoints[WAITS]['id']}/")
        self.shoot(dana, "usage", "/usage/?range=7d", phone=True)
        self.shoot(dana, "search", "/search/?q=sc")
        dana.leave()

    def owner(self, theme: str, endpoints: Mapping[str, Row], key: str) -> None:
        """What omar sees."""
        omar = self.person("omar", theme)
        self.shoot(omar, "home-owner", "/")
        self.shoot(omar, "limits", f"/projects/{PROJECT}/limits/")
        self.shoot(omar, "endpoint-shared", f"/endpoints/{endpoints['answers']['id']}/")
        self.shoot(omar, "project", f"/projects/{PROJECT}/")
        self.shoot(omar, "keys", f"/projects/{PROJECT}/keys/", phone=True)
        self.shoot(omar, "key-revoke", f"/projects/{PROJECT}/keys/{key}/revoke/", phone=True)
        self.shoot(omar, "notifications", "/notifications/", phone=True)
        self.shoot(omar, "webhooks", f"/projects/{PROJECT}/webhooks/")
        omar.leave()

    def engineer(self, theme: str, requests: Mapping[str, Row]) -> None:
        """What pat sees."""
        pat = self.person("pat", theme)
        self.shoot(pat, "approvals", f"/approvals/{requests['review']['id']}/", phone=True)
        self.shoot(pat, "capacity", "/capacity/", phone=True)
        self.shoot(pat, "insights", "/insights/")
        self.shoot(pat, "home-platform", "/")
        pat.leave()

    def governor(self, theme: str) -> None:
        """What yasmine and aud see."""
        yasmine = self.person("yasmine", theme)
        self.shoot(yasmine, "home-governance", "/")
        self.shoot(yasmine, "audit", "/audit/")
        self.shoot(yasmine, "preferences", "/preferences/")
        yasmine.leave()
        auditor = self.person("aud", theme)
        self.shoot(auditor, "home-auditor", "/")
        auditor.leave()

    def person(self, name: str, theme: str) -> Visitor:
        """Somebody who has signed in."""
        visitor = Visitor.arrive(self.browser, self.stack.url, theme)
        visitor.sign_in(name)
        return visitor

    def fill(self, visitor: Visitor, path: str) -> None:
        """The request form with a plan beside it."""
        visitor.page.goto(path)
        visitor.page.select_option("#id_project", PROJECT)
        visitor.page.select_option("#id_hardware_profile", "l40s-48gb")
        visitor.page.fill("#id_name", "summaries")
        visitor.page.fill("#id_purpose", "Summarise closed cases for the monthly report.")
        visitor.page.locator("#plan-body").get_by_text("Honest estimate").wait_for()
        visitor.page.wait_for_load_state("networkidle")

    def ask(self, visitor: Visitor, path: str) -> None:
        """The endpoint's page after a question in its playground."""
        visitor.page.goto(path)
        visitor.page.get_by_label("Message").fill("Why was the payment of 12 March held?")
        visitor.page.locator("[data-playground] [type=submit]").click()
        visitor.page.get_by_text("Whole answer").wait_for()

    def shoot(self, visitor: Visitor, name: str, path: str, *, phone: bool = False) -> None:
        """Write NAME-THEME.png, and NAME-phone.png in the light theme. Without `path`: the page as it is."""
        page = visitor.page
        if path:
            page.goto(path)
        page.wait_for_load_state("networkidle")
        self.picture(visitor, f"{name}-{visitor.theme}", WIDE, HEIGHT)
        if phone and visitor.theme == "light":
            self.picture(visitor, f"{name}-phone", PHONE, PHONE_HEIGHT)
        page.set_viewport_size({"width": WIDE, "height": HEIGHT})

    def picture(self, visitor: Visitor, name: str, width: int, height: int) -> None:
        """The whole page, as high as it is: the frame scrolls inside the window, so the window grows."""
        page = visitor.page
        page.set_viewport_size({"width": width, "height": height})
        inner = page.evaluate(INNER_HEIGHT)
        page.set_viewport_size({"width": width, "height": min(max(height, math.ceil(inner) + 24), MAX_HEIGHT)})
        page.mouse.move(0, 0)
        path = self.folder / f"{name}.png"
        page.screenshot(path=path)
        if shutil.which("pngquant"):
            options = ["--force", "--skip-if-larger", "--quality", "60-95", "--output", str(path)]
            subprocess.run(["pngquant", *options, str(path)], check=False)
        print(f"{path.name}: {path.stat().st_size // 1000} kB")


@contextmanager
def portal(state: Path | None) -> Iterator[Stack]:
    """The portal that runs on `state`, or a new one that is filled first."""
    if state is not None:
        stack = Stack(state)
        stack.port = json.loads((state / "run.json").read_text())["port"]
        yield stack
        return
    with tempfile.TemporaryDirectory() as folder, running_stack(Path(folder)) as stack:
        yield stack


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "screens")
    parser.add_argument("--state", type=Path, help="state directory of a running portal with the tests' demo password")
    parser.add_argument("--seeded", action="store_true", help="that portal is filled already")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    chromium = os.environ.get("GATEHOUSE_TEST_CHROMIUM", "/usr/bin/chromium")
    with portal(options.state) as stack:
        if not options.seeded:
            Story(stack).run()
        with sync_playwright() as playwright:
            browser = launch(playwright, chromium)
            Camera(browser, stack, options.out).everything()
            browser.close()


if __name__ == "__main__":
    main()
