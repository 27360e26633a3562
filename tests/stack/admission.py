"""The steps that let something into the catalog in the browser, and out again, one function each, in their order."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.stack.browser_kit import Visitor
from tests.stack.conftest import ROOT, Stack, wait_for
from tests.stack.journey import PROJECT

CARD = "A tiny Llama.\n\n## Intended use\n\nTests of a portal.\n\n## Limitations\n\nIt knows nothing.\n"
# A real engine that takes any model: what the demo engine is, but started from content that is pinned.
COMMAND = (
    "/usr/bin/env", f"PYTHONPATH={ROOT}", "{python}", "-m", "endpoints.engines.demo", "--host", "{host}", "--port",
    "{port}", "--model", "{model}", "--served-model-name", "{name}", "--max-model-len", "{context}",
)  # fmt: skip
NEEDS = {"parameters": "41088", "layers": "2", "kv_heads": "2", "head_dim": "16", "max_context_tokens": "512"}


def describe_a_model(dana: Visitor, slug: str, name: str, source: Path) -> None:
    """The form: what is missing is said at its field, then it is proposed."""
    page = dana.page
    page.goto("/catalog/")
    dana.follow(page.get_by_role("link", name="Propose", exact=True))
    page.get_by_role("button", name="Propose it").click()
    expect(page.get_by_role("alert")).to_be_focused()
    expect(page.get_by_role("alert")).to_contain_text("Publisher's page is missing")
    expect(page.get_by_role("alert")).to_contain_text("Card still has words of the template")
    dana.quiet("an empty proposal", 422)
    fields: Mapping[str, str] = {
        "slug": slug, "name": name, "publisher": "Example", "homepage": "https://example.com/tiny",
        "summary": "A tiny Llama.", "description": CARD, "tasks": "chat", "languages": "en", "version": "1.0",
        "source": f"file://{source}", "licence": "MIT", "command": "\n".join(COMMAND),
        "sources": "https://example.com/card", **NEEDS,
    }  # fmt: skip
    for field, value in fields.items():
        page.fill(f"#id_{field}", value)
    dana.follow(page.get_by_role("button", name="Propose it"))


def wait_for_the_evidence(visitor: Visitor) -> None:
    """The page looks again by itself until every check has come to a verdict: nobody presses reload."""
    tab = visitor.page.locator("#evidence")
    expect(tab).not_to_have_attribute("hx-trigger", re.compile("."), timeout=60_000)
    expect(tab).not_to_contain_text("Not collected")


def verdict(visitor: Visitor, check: str) -> Any:
    """The line of one check on the tab “Evidence”."""
    return visitor.page.locator("#evidence").get_by_role("row").filter(has=visitor.page.get_by_role("link", name=check))


def send_to_review(visitor: Visitor, purpose: str) -> int:
    """From the page of the version to its request. Returns the request's number."""
    visitor.follow(visitor.page.get_by_role("link", name="Send to review"))
    visitor.page.fill("#id_purpose", purpose)
    visitor.follow(visitor.page.get_by_role("button", name="Send to review"))
    found = re.fullmatch(r".*/requests/(\d+)/", visitor.page.url)
    assert found, (visitor.page.url, visitor.main().inner_text())
    return int(found[1])


def read_the_queue(reviewer: Visitor, number: int, *words: str) -> Any:
    """The open row says what is let in; each raw report is one step away. Returns the row."""
    reviewer.page.goto(f"/approvals/{number}/")
    opened = reviewer.main().get_by_role("region", name=f"R-{number} in detail")
    for text in words:
        expect(opened).to_contain_text(text)
    return opened


def decide(reviewer: Visitor, number: int, button: str, reason: str) -> None:
    """Press one of the three buttons."""
    opened = read_the_queue(reviewer, number)
    opened.get_by_label("Reason").fill(reason)
    opened.get_by_role("button", name=button).click()
    said = {"Approve": "is approved", "Ask for changes": "is sent back for changes"}[button]
    expect(reviewer.main()).to_contain_text(f"R-{number} {said}")


def run_it(portal: Stack, dana: Visitor, pat: Visitor, token: str, slug: str, name: str, ends_on: str) -> str:
    """An endpoint on the version: it is in the dropdown, and answers. Returns the endpoint's number."""
    page = dana.page
    page.goto("/requests/new/")
    page.select_option("#id_project", PROJECT)
    page.select_option("#id_asset", slug)
    expect(page.locator("#id_version option[value='1.0']")).to_have_count(1)
    status, made = portal.call("POST", "/api/v1/requests", token, {
        "kind": "endpoint", "project": PROJECT, "name": name, "asset": slug, "version": "1.0", "replicas": 1,
        "hardware_profile": "cpu-demo", "environment": "dev", "concurrency": 2, "context_tokens": 256,
        "purpose": "Run what was let in.", "data_classification": "internal", "ends_on": ends_on,
    })  # fmt: skip
    assert status == 201, made
    decide(pat, made["id"], "Approve", "Small and safe.")
    page.goto(f"/requests/{made['id']}/")
    dana.follow(page.get_by_role("link", name="Open the endpoint"))
    expect(page.locator("#endpoint-status")).to_contain_text("Answers calls on 1 of 1 replica", timeout=60_000)
    return page.url.rstrip("/").rpartition("/")[2]


def paste_a_server(omar: Visitor, document: Mapping[str, Any]) -> None:
    """An MCP server is proposed by its document."""
    page = omar.page
    page.goto("/catalog/propose/?kind=mcp-server")
    page.fill("#id_server_json", json.dumps({**document, "version": 1}))
    page.fill("#id_licence", "Apache-2.0")
    page.fill("#id_tasks", "ledger")
    page.fill("#id_description", CARD)
    page.get_by_role("button", name="Propose it").click()
    expect(page.locator("#id_server_json")).to_have_attribute("aria-invalid", "true")
    omar.quiet("a wrong document", 422)
    page.fill("#id_server_json", json.dumps(document, indent=2))
    omar.follow(page.get_by_role("button", name="Propose it"))


def ask_for_tools(omar: Visitor, slug: str, project: str, tools: tuple[str, ...]) -> int:
    """From the server's page to a request for some of its tools. Returns the request's number."""
    page = omar.page
    page.goto(f"/catalog/{slug}/")
    omar.follow(page.get_by_role("link", name="Request this server"))
    page.select_option("#id_project", project)
    page.fill("#id_tools", "\n".join(tools))
    page.fill("#id_purpose", "The assistant of the fraud desk looks up transactions.")
    expect(page.locator("#plan-body")).to_contain_text("1 further tool of it is not asked for")
    page.get_by_role("button", name="Send request").click()  # the draft that saved itself has an address already
    expect(page).to_have_url(re.compile(r"/requests/\d+/$"))
    return int(page.url.rstrip("/").rpartition("/")[2])


def until(portal: Stack, token: str, endpoint: str, phase: str) -> dict[str, Any]:
    """Wait until an endpoint is in `phase`, and return it."""

    def reached() -> dict[str, Any] | None:
        status, row = portal.call("GET", f"/api/v1/endpoints/{endpoint}", token)
        return dict(row) if status == 200 and row["phase"] == phase else None

    return dict(wait_for(reached, 90, f"the endpoint to be {phase}"))
