"""The pictures of docs/failures.md: `python -m tools.failure_screens` shows every case of the explainer as it stands on
an endpoint's page, several on one picture, and writes the pages about them.

The rows come from the recorded objects of tests/endpoints, through driver, reconciler and view; no portal runs for it.
"""

import argparse
import mimetypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import django
import pytest  # noqa: F401  the settings are those of tests then: a database in memory, static files by their own names
from playwright.sync_api import Page, Route, sync_playwright

os.environ.pop("DATABASE_URL", None)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
django.setup()

from django.db import connection, transaction  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import setup_test_environment  # noqa: E402
from django.urls import reverse  # noqa: E402
from django.utils import timezone  # noqa: E402

from endpoints import reconcile as reconciling  # noqa: E402
from endpoints.models import Endpoint  # noqa: E402
from tests.conftest import people  # noqa: E402
from tests.endpoints import explaining_document  # noqa: E402
from tests.endpoints.endpoint_kit import open_demo  # noqa: E402
from tests.endpoints.explaining_examples import EXAMPLES  # noqa: E402
from tests.endpoints.told_kit import Teller, reported, write_down  # noqa: E402
from tools import palette  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
BASE = "http://portal.example"
WIDE, PHONE = 1280, 390
# The frame of the page goes; of each case the why box stays, or the line of its state.
ARRANGE = """
(cases) => {
  const sheet = document.createElement("div");
  sheet.className = "gh-stack pf-m-lg";
  sheet.id = "sheet";
  sheet.style.padding = "16px";
  for (const [code, html] of cases) {
    const one = document.createElement("div");
    one.innerHTML = html;
    one.querySelectorAll(".gh-stepper").forEach((step) => step.remove());
    const box = one.querySelector(".gh-why") || one.querySelector("section");
    if (!box.classList.contains("gh-why")) {
      const title = document.createElement("code");
      title.textContent = code;
      box.querySelector(".pf-v6-c-card__body").prepend(title);
    }
    sheet.append(box);
  }
  const main = document.querySelector("main") || document.body;
  main.replaceChildren(sheet);
  for (let at = main; at && at !== document.documentElement; at = at.parentElement) {
    at.style.height = "auto"; at.style.maxHeight = "none"; at.style.overflow = "visible";
  }
}
"""


@dataclass(frozen=True)
class Shown:
    """One page with the live parts of all cases: code → HTML."""

    frame: str
    parts: dict[str, str]


def rendered(theme: str) -> Shown:
    """Return the page of an endpoint and its live part for every case, as the person on duty in its project sees it."""
    teller, parts = Teller(), dict[str, str]()
    with transaction.atomic(), mock.patch.object(reconciling, "driver_for", return_value=teller):
        org = people()
        client = Client()
        client.force_login(org.dana)
        client.cookies["theme"] = theme
        endpoint = open_demo(org.fraud)
        frame = client.get(reverse("endpoint_detail", args=[endpoint.pk])).content.decode()
        for example in EXAMPLES:
            if f"<code>{example.code}</code>" not in parts.get(example.code, ""):
                parts[example.code] = _part(client, endpoint, teller, example)
        transaction.set_rollback(True)
    return Shown(frame, parts)


def _part(client: Client, endpoint: Endpoint, teller: Teller, example: Any) -> str:
    write_down(endpoint, teller, reported(example))
    Endpoint.objects.filter(pk=endpoint.pk).update(phase_since=timezone.now() - timedelta(minutes=9))
    return client.get(reverse("endpoint_status", args=[endpoint.pk]), headers={"HX-Request": "true"}).content.decode()


def serve(page: Page, shown: Shown) -> None:
    """Answer the page and the static files from here."""

    def answer(route: Route) -> None:
        path = route.request.url.removeprefix(BASE).partition("?")[0]
        if path == "/":
            route.fulfill(body=shown.frame, content_type="text/html; charset=utf-8")
            return
        file = ROOT / path.lstrip("/")
        if path.startswith("/static/") and file.is_file():
            route.fulfill(body=file.read_bytes(), content_type=mimetypes.guess_type(file.name)[0] or "text/plain")
            return
        route.fulfill(status=404, body="")

    page.route("**/*", answer)


def shoot(page: Page, shown: Shown, codes: Sequence[str], path: Path, width: int) -> None:
    """Write one picture."""
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{BASE}/")
    page.evaluate(ARRANGE, [[code, shown.parts[code]] for code in codes])
    page.evaluate("document.fonts.ready")
    page.locator("#sheet").screenshot(path=path)
    palette.reduce(path)
    print(f"{path.name}: {path.stat().st_size // 1000} kB")


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=explaining_document.PICTURES)
    parser.add_argument("--theme", default="light", choices=("light", "dark"))
    parser.add_argument("--width", type=int, default=WIDE)
    parser.add_argument("--codes", nargs="*", help="one picture of these alone")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    setup_test_environment()
    connection.creation.create_test_db(verbosity=0)
    shown = rendered(options.theme)
    chromium = os.environ.get("GATEHOUSE_TEST_CHROMIUM", "/usr/bin/chromium")
    wanted = [("chosen", "", options.codes)] if options.codes else list(explaining_document.sheets())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_context(color_scheme=options.theme).new_page()
        serve(page, shown)
        for name, _, codes in wanted:
            shoot(page, shown, codes, options.out / f"{name}.png", options.width)
        browser.close()
    if not options.codes:
        explaining_document.write()


if __name__ == "__main__":
    main()
