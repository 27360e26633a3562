"""The pictures of docs/screens: `python -m tools.screens` starts a portal of its own, fills it through the REST API as
people would, calls one endpoint, adds two days of sample traffic of another, and photographs the pages in both themes.

PNGs are reduced by pngquant where there is one. Nothing else writes into docs/screens.
"""

import argparse
import datetime as dt
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from tests.stack.browser_kit import HEIGHT, PHONE, PHONE_HEIGHT, WIDE, Visitor, launch, running_stack
from tests.stack.conftest import ROOT, Stack, wait_for

PROJECT, OTHER = "fraud-detection", "search-ranking"
HOURS_OF_TRAFFIC = 48
CALLS = 120
MAX_HEIGHT = 2700
Row = dict[str, Any]

BASE: Row = {
    "kind": "endpoint", "project": PROJECT, "version": "1.0", "environment": "dev", "replicas": 1, "concurrency": 8,
    "context_tokens": 4096, "data_classification": "internal",
}  # fmt: skip
# asks, decision, what is asked
STORY: list[tuple[str, str, Row]] = [
    ("dana", "approve", {"name": "scoring", "asset": "granite-3.3-2b-instruct", "hardware_profile": "l4-24gb",
     "purpose": "Explain to the fraud desk why a card payment was held."}),
    ("dana", "approve", {"name": "triage", "asset": "qwen3-8b", "hardware_profile": "l40s-48gb",
     "environment": "staging", "concurrency": 16, "context_tokens": 8192,
     "purpose": "Sort incoming chargeback letters by reason code."}),
    ("omar", "approve", {"project": OTHER, "name": "answers", "asset": "granite-3.3-8b-instruct", "replicas": 2,
     "hardware_profile": "l40s-48gb", "purpose": "Draft answers for the help centre; a person sends them."}),
    ("dana", "approve", {"name": "letters", "asset": "demo-failures", "version": "oom", "hardware_profile": "cpu-demo",
     "purpose": "Try what the desk sees when an engine cannot start."}),
    ("dana", "reject", {"name": "everything", "asset": "gpt-oss-20b", "hardware_profile": "4x-h100-80gb",
     "purpose": "A big model, to be on the safe side."}),
    ("dana", "request_changes", {"name": "notes", "asset": "phi-4-mini-instruct", "hardware_profile": "l4-24gb",
     "data_classification": "confidential", "purpose": "Summarise the notes of investigators."}),
    ("dana", "", {"name": "review", "asset": "qwen2.5-coder-7b-instruct", "hardware_profile": "l40s-48gb",
     "environment": "prod", "concurrency": 16, "data_classification": "confidential",
     "purpose": "Second reader for changes to the scoring rules; proposes, never merges."}),
    ("omar", "", {"project": OTHER, "name": "rerank", "asset": "bge-small-en-v1.5", "version": "1.5",
     "hardware_profile": "l4-24gb", "context_tokens": 512, "purpose": "Embed help articles for the new ranking."}),
    ("dana", "", {"name": "assistant", "asset": "mistral-small-3.2-24b-instruct", "version": "2506",
     "hardware_profile": "h100-80gb", "context_tokens": 16384, "purpose": "Chat about policies for new analysts."}),
]  # fmt: skip
PROJECT_IDS = """
import json
from projects.models import Project
print(json.dumps(dict(Project.objects.values_list("slug", "pk"))))
"""
# People need hours where a script needs milliseconds: the requests of the story were sent longer ago.
LONGER_AGO = """
import datetime as dt
from django.db.models import F
from approvals.models import Request
hours = {"scoring": 5, "triage": 9, "answers": 27, "review": 51, "rerank": 20, "assistant": 3, "notes": 30}
for name, amount in hours.items():
    ago = dt.timedelta(hours=amount, minutes=amount * 7 % 60)
    Request.objects.filter(name=name).update(created_at=F("created_at") - ago, submitted_at=F("submitted_at") - ago)
print("true")
"""
REASONS = {
    "approve": "Fits the card, inside the budget of the project.",
    "reject": "Four H100 for a trial: start with granite-3.3-8b-instruct on one L40S and measure.",
    "request_changes": "Confidential notes: name the retention period in the purpose, please.",
}


INNER_HEIGHT = """
() => Math.max(...[".pf-v6-c-page__main-container", ".pf-v6-c-page__main", "html"]
  .flatMap((what) => [...document.querySelectorAll(what)])
  .map((one) => one.getBoundingClientRect().top + one.scrollHeight))
"""


class Seed:
    """Fills an empty portal."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        scopes = ("requests:read", "requests:write", "endpoints:read", "endpoints:write", "usage:read")
        self.people = {name: stack.token(name, *scopes) for name in ("dana", "omar")}
        self.reviewer = stack.token("pat", "approvals:decide", "requests:read", "endpoints:read")

    def call(self, method: str, path: str, token: str, body: Row | None = None) -> Row:
        """One call that must work."""
        status, answer = self.stack.call(method, f"/api/v1{path}", token, body)
        if status >= 400:
            sys.exit(f"{method} {path} answered {status}: {answer}")
        return dict(answer)

    def run(self) -> None:
        """Requests, decisions, keys, traffic."""
        ends = (dt.datetime.now(dt.UTC).date() + dt.timedelta(days=90)).isoformat()
        for person, decision, wanted in STORY:
            made = self.call("POST", "/requests", self.people[person], BASE | wanted | {"ends_on": ends})
            if decision:
                body = {"decision": decision, "reason": REASONS[decision]}
                self.call("POST", f"/requests/{made['id']}/decisions", self.reviewer, body)
        wait_for(self.settled, 180, "every endpoint to be ready or failed")
        path, dana = f"/projects/{PROJECT}/keys", self.people["dana"]
        keys = {
            name: self.call("POST", path, dana, {"name": name, "endpoints": targets})
            for name, targets in (("scoring-service", ["scoring"]), ("notebook-dana", []), ("triage-batch", ["triage"]))
        }
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: self.chat(keys["scoring-service"]["secret"], number), range(CALLS)))
        self.history([keys["triage-batch"], keys["notebook-dana"]])
        self.shell(LONGER_AGO)

    def settled(self) -> list[Row] | None:
        """All endpoints, once nothing moves any more."""
        items = self.call("GET", "/endpoints?limit=100", self.reviewer)["items"]
        return items if items and all(item["phase"] in {"ready", "failed"} for item in items) else None

    def chat(self, secret: str, number: int) -> None:
        """One real call through the gateway."""
        body = {
            "model": "scoring",
            "messages": [{"role": "user", "content": f"Case {number}: why was this card payment held?"}],
            "max_tokens": 40 + number % 60,
        }
        status, answer = self.stack.call("POST", "/v1/chat/completions", secret, body)
        if status != 200:
            sys.exit(f"a call answered {status}: {answer}")

    def history(self, keys: list[Row]) -> None:
        """Two days of sample calls, in a journal like those that gateways leave behind; the worker counts them."""
        found = self.call("GET", "/endpoints?limit=100", self.people["dana"])["items"]
        triage = next(item for item in found if item["name"] == "triage")
        project = self.shell(PROJECT_IDS)[PROJECT]
        dice, now = random.Random(7), dt.datetime.now(dt.UTC)  # noqa: S311 - the same picture each time, no secret
        lines: list[str] = []
        for minute in range(HOURS_OF_TRAFFIC * 60, 1, -3):
            at = now - dt.timedelta(minutes=minute)
            busy = 0.25 + max(0.0, math.sin((at.hour - 6) / 12 * math.pi))  # office hours
            for key, share in zip(keys, (0.7, 0.2), strict=True):
                if dice.random() < share * busy:
                    lines.append(_line(len(lines) + 1, at, dice, triage, key, project))
        path = self.stack.state / "journal" / "sample.jsonl"
        head = json.dumps({"gateway": "sample", "pid": 0, "started": now.isoformat()})
        path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")

        def counted() -> bool:
            since = (now - dt.timedelta(days=3)).date()
            query = f"/usage?project={PROJECT}&interval=day&group_by=project&from={since}"
            rows = self.call("GET", query, self.people["dana"])["items"]
            return sum(int(row["requests"]) for row in rows) >= len(lines) + CALLS

        wait_for(counted, 60, "the sample traffic to be counted")

    def shell(self, code: str) -> Any:
        """Run code in the portal's shell; the last line that it prints is JSON."""
        return json.loads(self.stack.manage("shell", "-v", "0", "-c", code).strip().splitlines()[-1])


def _line(number: int, at: dt.datetime, dice: random.Random, endpoint: Row, key: Row, project: int) -> str:
    first = dice.lognormvariate(5.2, 0.35) * (1.6 if endpoint["name"] == "triage" else 1)
    output = int(dice.lognormvariate(5, 0.5))
    failed = dice.random() < 0.012
    return json.dumps({
        "s": number, "t": "end", "at": at.isoformat(), "request_id": f"sample-{number}", "project_id": project,
        "endpoint_id": endpoint["id"], "endpoint": endpoint["name"], "key_id": key["id"], "key": key["prefix"],
        "person": "dana", "purpose": "api", "operation": "chat", "stream": True,
        "status": 502 if failed else 200, "outcome": "error" if failed else "ok",
        "input_tokens": int(dice.lognormvariate(6, 0.4)), "output_tokens": 0 if failed else output,
        "cached_tokens": dice.choice([0, 0, 128, 256]),
        "ttft_ms": None if failed else round(first, 1), "latency_ms": round(first + output * 9, 1),
    })  # fmt: skip


class Camera:
    """Photographs pages of one portal into one folder."""

    def __init__(self, browser: Browser, stack: Stack, folder: Path) -> None:
        self.browser, self.stack, self.folder = browser, stack, folder

    def everything(self) -> None:
        """All pages, both themes."""
        seed = Seed(self.stack)
        endpoints = {item["name"]: item for item in seed.call("GET", "/endpoints?limit=100", seed.reviewer)["items"]}
        requests = {item["name"]: item for item in seed.call("GET", "/requests?limit=100", seed.reviewer)["items"]}
        form = "/requests/new/?asset=qwen3-8b&version=1.0"
        for theme in ("light", "dark"):
            guest = Visitor.arrive(self.browser, self.stack.url, theme)
            self.shoot(guest, "sign-in", "/accounts/login/")
            guest.leave()
            dana = self.person("dana", theme)
            self.shoot(dana, "home", "/", phone=True)
            self.shoot(dana, "catalog", "/catalog/", phone=True)
            self.shoot(dana, "asset", "/catalog/granite-3.3-2b-instruct/")
            self.fill(dana, form)
            self.shoot(dana, "request", "", phone=True)
            self.shoot(dana, "requests", "/requests/")
            self.shoot(dana, "request-detail", f"/requests/{requests['scoring']['id']}/")
            self.ask(dana, f"/endpoints/{endpoints['scoring']['id']}/")
            self.shoot(dana, "endpoint", "", phone=True)
            self.shoot(dana, "endpoints", "/endpoints/")
            self.shoot(dana, "endpoint-failing", f"/endpoints/{endpoints['letters']['id']}/", phone=True)
            self.shoot(dana, "usage", "/usage/", phone=True)
            self.shoot(dana, "project", f"/projects/{PROJECT}/")
            self.shoot(dana, "keys", f"/projects/{PROJECT}/keys/")
            dana.leave()
            pat = self.person("pat", theme)
            self.shoot(pat, "approvals", f"/approvals/{requests['review']['id']}/", phone=True)
            self.shoot(pat, "capacity", "/capacity/")
            self.shoot(pat, "home-platform", "/")
            pat.leave()
            auditor = self.person("aud", theme)
            self.shoot(auditor, "audit", "/audit/")
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
            Seed(stack).run()
        with sync_playwright() as playwright:
            browser = launch(playwright, chromium)
            Camera(browser, stack, options.out).everything()
            browser.close()


if __name__ == "__main__":
    main()
