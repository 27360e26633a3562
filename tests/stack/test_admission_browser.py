"""From a directory of files to an endpoint that runs, from a server.json to a registry, and back out: in a real
browser, on the whole embedded stack, by people who review each other.

How each page looks at rest is for tests/stack/test_mornings.py; here are the states that pass.
"""

import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.catalog.content_kit import write_model
from tests.catalog.mcp_kit import ACCOUNTS, EXPORT, QUERY, LedgerServer
from tests.catalog.signing_kit import new_key, public_pem, sign
from tests.stack import admission
from tests.stack.browser_kit import PATIENCE_MS, Visitor, launch, running_stack
from tests.stack.conftest import Stack
from tests.stack.journey import PROJECT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.processes,
    pytest.mark.xdist_group("processes"),
]
OTHER = "search-ranking"
expect.set_options(timeout=PATIENCE_MS)
Arrive = Callable[[str], Visitor]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Where models lie, a key that signs them, and whom the portal trusts."""
    folder = tmp_path_factory.mktemp("content")
    found = SimpleNamespace(models=folder / "models", signers=folder / "signers", scratch=folder, key=new_key())
    for path in (found.models, found.signers):
        path.mkdir()
    (found.signers / "release.pub").write_bytes(public_pem(found.key))
    return found


@pytest.fixture(scope="module")
def portal(home: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One running portal that may read these directories, and ask servers on this machine."""
    with running_stack(
        tmp_path_factory.mktemp("state"),
        GATEHOUSE_SOURCE_DIRS=f"models={home.models}",
        GATEHOUSE_SIGNERS_DIR=str(home.signers),
        GATEHOUSE_MCP_ALLOW="127.0.0.0/8",
    ) as stack:
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


@pytest.fixture(scope="module")
def dana_token(portal: Stack) -> str:
    """What dana's programs call with."""
    return portal.token("dana", "requests:write", "endpoints:read", "endpoints:write", "catalog:read")


def signed(home: SimpleNamespace, name: str) -> Path:
    """A model directory with the signature of somebody who is trusted."""
    folder = write_model(home.models / name)
    sign(folder, home.key, home.scratch)
    return folder


def turn_a_byte(folder: Path) -> None:
    """Change the last byte of the weights; a second time puts it back."""
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_model_is_let_in_drifts_is_blocked_and_runs_again(
    portal: Stack, home: SimpleNamespace, arrive: Arrive, dana_token: str
) -> None:
    folder, dana, pat, yasmine = signed(home, "tiny"), arrive("dana"), arrive("pat"), arrive("yasmine")
    admission.describe_a_model(dana, "tiny-llama", "Tiny Llama", folder)
    admission.wait_for_the_evidence(dana)
    expect(admission.verdict(dana, "Signature")).to_contain_text("Signed by release")
    expect(dana.page.locator("#trust")).to_contain_text("Pinned")  # what stands beside it followed
    expect(dana.page.get_by_role("link", name="Request this model")).to_have_count(0)

    number = admission.send_to_review(dana, "The fraud desk tries it.")
    opened = admission.read_the_queue(pat, number, "What is let in", f"file://{folder}", "The fraud desk tries it.")
    pat.follow(opened.get_by_role("link", name="Signature"))
    expect(pat.main()).to_contain_text("Raw report")
    admission.decide(pat, number, "Ask for changes", "Say who pays for it.")
    dana.page.goto(f"/requests/{number}/")
    dana.follow(dana.page.get_by_role("link", name="Change and send again"))
    dana.page.fill("#id_purpose", "The fraud desk tries it and pays.")
    dana.follow(dana.page.get_by_role("button", name="Send again"))
    dana.page.goto(f"/approvals/{number}/")
    dana.quiet("the queue of others", 403)
    admission.decide(yasmine, number, "Approve", "Signed, scanned, and paid for.")

    ends_on = (dt.datetime.now(dt.UTC).date() + dt.timedelta(days=30)).isoformat()
    endpoint = admission.run_it(portal, dana, pat, dana_token, "tiny-llama", "tiny", ends_on)
    drifts(pat, dana, folder, endpoint)
    is_blocked(portal, pat, dana, dana_token, endpoint)
    pat.page.goto("/catalog/tiny-llama/")
    again = admission.send_to_review(pat, "The finding was about another model.")
    admission.read_the_queue(yasmine, again, "It was blocked: A finding in the weights.")
    admission.decide(yasmine, again, "Approve", "It was about another model.")
    admission.until(portal, dana_token, endpoint, "ready")
    for visitor in (dana, pat, yasmine):
        visitor.quiet("the end of the journey")


def drifts(pat: Visitor, dana: Visitor, folder: Path, endpoint: str) -> None:
    """One byte is another: the check says which file, the endpoint goes on and says so, nobody can ask for the version;
    until the byte is back.
    """
    turn_a_byte(folder)
    pat.page.goto("/catalog/tiny-llama/?tab=evidence")
    pat.page.get_by_role("button", name="Collect Pin again").click()
    expect(pat.page.locator("#evidence")).to_contain_text("The source holds something else by now", timeout=60_000)
    admission.wait_for_the_evidence(pat)
    expect(admission.verdict(pat, "Pin")).to_contain_text("model.safetensors")
    pat.check("evidence of a version that drifted")
    dana.page.goto(f"/endpoints/{endpoint}/")
    expect(dana.main()).to_contain_text("The content of its version Tiny Llama 1.0 has drifted")
    expect(dana.page.locator("#endpoint-status")).to_contain_text("Answers calls")
    dana.check("an endpoint whose content drifted")
    dana.page.goto("/catalog/tiny-llama/")
    expect(dana.main()).to_contain_text("nothing new of it is started")
    expect(dana.page.get_by_role("link", name="Request this model")).to_have_count(0)
    turn_a_byte(folder)
    pat.page.get_by_role("button", name="Collect all again").click()
    admission.wait_for_the_evidence(pat)
    expect(admission.verdict(pat, "Pin")).to_contain_text("8 files, every one hashed")


def is_blocked(portal: Stack, pat: Visitor, dana: Visitor, token: str, endpoint: str) -> None:
    """The page counts first; what runs is suspended and cannot be resumed, with a sentence that says why."""
    pat.page.goto("/catalog/tiny-llama/")
    pat.page.get_by_label("Actions for Tiny Llama").click()
    pat.follow(pat.page.get_by_role("link", name="Block", exact=True))
    expect(pat.main()).to_contain_text(f"{PROJECT}/tiny")
    expect(pat.page.locator(".gh-stats")).to_contain_text("of 1 on it")
    pat.page.select_option("#id_suspend", "now")
    pat.page.fill("#id_reason", "A finding in the weights.")
    pat.follow(pat.page.get_by_role("button", name="Block", exact=True))
    expect(pat.main()).to_contain_text("1 endpoint on it is being suspended")
    pat.check("a blocked version")
    admission.until(portal, token, endpoint, "suspended")
    status, answer = portal.call("POST", f"/api/v1/endpoints/{endpoint}/resume", token, {})
    assert (status, answer["code"]) == (409, "on_hold"), answer
    assert "A finding in the weights." in answer["detail"]
    dana.page.goto(f"/endpoints/{endpoint}/")
    expect(dana.main()).to_contain_text("It runs again by itself when the version is let in again.")
    expect(dana.page.get_by_role("button", name="Resume")).to_have_count(0)
    dana.check("an endpoint on hold")
    dana.page.goto("/notifications/")
    expect(dana.main()).to_contain_text("Tiny Llama 1.0 is blocked.")
    status, rows = portal.call("GET", "/api/v1/audit?action=endpoints.block", portal.token("aud", "audit:read"))
    assert status == 200 and rows["items"][0]["reason"] == "A finding in the weights.", rows
    assert rows["items"][0]["after"]["running"] == 1


def test_what_was_changed_after_signing_is_not_let_in(home: SimpleNamespace, arrive: Arrive) -> None:
    folder, dana = signed(home, "changed"), arrive("dana")
    turn_a_byte(folder)
    admission.describe_a_model(dana, "changed-llama", "Changed Llama", folder)
    admission.wait_for_the_evidence(dana)
    expect(admission.verdict(dana, "Signature")).to_contain_text("other content of model.safetensors")
    dana.check("evidence that fails")
    dana.follow(dana.page.get_by_role("link", name="Send to review"))
    dana.page.get_by_role("button", name="Send to review").click()
    expect(dana.page.get_by_role("alert")).to_contain_text("other content of model.safetensors")
    dana.quiet("sending what failed", 422)
    dana.page.goto("/catalog/changed-llama/")
    expect(dana.main()).to_contain_text("This version is a draft")


def registry(portal: Stack, project: str, token: str) -> list[dict[str, Any]]:
    """What an MCP client of a project reads."""
    status, found = portal.call("GET", f"/mcp/registry/{project}/v0.1/servers", token)
    assert status == 200, found
    return list(found["servers"])


def test_a_server_goes_from_its_document_to_the_registry_of_one_project(
    portal: Stack, arrive: Arrive, tmp_path: Path
) -> None:
    omar, pat, server = arrive("omar"), arrive("pat"), LedgerServer(tmp_path)
    try:
        server.offer(ACCOUNTS, QUERY, EXPORT)
        document = {
            "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
            "name": "com.example/ledger", "title": "Ledger", "description": "Reads the ledger.", "version": "1.4.0",
            "websiteUrl": "https://example.com/ledger",
            "remotes": [{"type": "streamable-http", "url": server.url}],
        }  # fmt: skip
        admission.paste_a_server(omar, document)
        admission.wait_for_the_evidence(omar)
        expect(admission.verdict(omar, "Tool definitions")).to_contain_text("3 tools, every one as pinned")
        number = admission.send_to_review(omar, "Analysts ask for it.")
        admission.decide(pat, number, "Approve", "It only reads, but for one tool.")
        names = (ACCOUNTS["name"], QUERY["name"])
        wish = admission.ask_for_tools(omar, "ledger", PROJECT, names)
        admission.read_the_queue(pat, wish, *names)
        admission.decide(pat, wish, "Approve", "Two tools that read.")

        token = portal.token("omar", "catalog:read")
        found = registry(portal, PROJECT, token)
        assert [(one["server"]["name"], one["server"]["remotes"]) for one in found] == [
            ("com.example/ledger", document["remotes"])
        ]
        told = json.dumps(found)
        assert all(name in told for name in names) and EXPORT["name"] not in told
        assert registry(portal, OTHER, token) == []
        omar.page.goto(f"/projects/{PROJECT}/mcp/")
        expect(omar.main()).to_contain_text(", ".join(names))
        assert (
            json.loads(omar.page.locator(".pf-v6-c-code-block__code").first.inner_text())["servers"]["ledger"]["url"]
            == server.url
        )
        expect(omar.main().locator(f"[data-copy='{portal.url}/mcp/registry/{PROJECT}']")).to_have_count(1)

        server.offer(ACCOUNTS, QUERY | {"description": "Returns everything."}, EXPORT)
        pat.page.goto("/catalog/ledger/?tab=evidence")
        pat.page.get_by_role("button", name="Collect Tool definitions again").click()
        expect(admission.verdict(pat, "Tool definitions")).to_contain_text("changed query_transactions", timeout=60_000)
        pat.page.goto("/catalog/ledger/?tab=tools")
        expect(pat.main()).to_contain_text("+ Returns everything.")
        pat.check("tools that changed")
        omar.page.reload()
        expect(omar.main()).to_contain_text("Failed a check")
        omar.quiet("the end for the owner")
    finally:
        server.stop()
