"""The steps of the journey in the browser, one function each, in their order."""

import re
from typing import Any

import openai
from playwright.sync_api import expect

from tests.stack.browser_kit import Visitor
from tests.stack.conftest import Stack, wait_for

PROJECT, ASSET = "fraud-detection", "granite-3.3-2b-instruct"


def pick_the_model(dana: Visitor) -> None:
    """Catalog, then the asset's page with its tabs."""
    dana.follow(dana.page.get_by_role("link", name="Catalog", exact=True).first)
    expect(dana.page.get_by_role("heading", level=1)).to_have_text("Catalog")
    dana.check("catalog")
    dana.main().get_by_label("Search the catalog").fill("granite")
    dana.main().get_by_label("Search the catalog").press("Enter")
    expect(dana.main().get_by_role("link", name="Qwen3 8B", exact=True)).to_have_count(0)
    dana.follow(dana.main().get_by_role("link", name="Granite 3.3 2B Instruct", exact=True))
    expect(dana.page.get_by_role("heading", level=1)).to_have_text("Granite 3.3 2B Instruct")
    dana.check("asset")
    for tab in ("Evidence", "Facts", "Versions"):
        dana.follow(dana.main().get_by_role("navigation").get_by_role("link", name=tab))
        dana.check(f"asset, {tab}")


def write_the_request(dana: Visitor, name: str) -> None:
    """The form: lists that narrow each other, a plan that follows, a mistake that is explained, and sending it."""
    page, plan = dana.page, dana.page.locator("#plan-body")
    dana.follow(page.get_by_role("link", name="Request this model"))
    expect(page.locator("#id_asset")).to_have_value(ASSET)
    page.select_option("#id_project", PROJECT)

    page.select_option("#id_asset", "mistral-small-3.2-24b-instruct")
    expect(page.locator("#id_version option")).to_contain_text(["2506"])
    expect(page.locator("#id_version option[value='1.0']")).to_have_count(0)
    expect(page.locator("#id_hardware_profile option[value='l4-24gb']")).to_be_disabled()

    page.select_option("#id_asset", ASSET)
    expect(page.locator("#id_version option[value='1.0']")).to_have_count(1)
    page.select_option("#id_version", "1.0")
    expect(page.locator("#id_hardware_profile option[value='l4-24gb']")).to_be_enabled()
    page.select_option("#id_hardware_profile", "l4-24gb")
    expect(plan).to_contain_text("€ 584.00")
    page.fill("#id_replicas", "2")
    expect(plan).to_contain_text("€ 1,168.00")
    page.fill("#id_replicas", "1")
    expect(plan).to_contain_text("€ 584.00")
    expect(plan).to_contain_text("Fits the memory")
    dana.check("request form")

    page.fill("#id_name", "Not A Name")
    page.fill("#id_purpose", "Explain to the fraud desk why a payment was held.")
    page.get_by_role("button", name="Send request").click()
    summary = page.get_by_role("alert")
    expect(summary).to_be_focused()
    expect(summary).to_contain_text("1 thing to fix")
    expect(page.locator("#id_name")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#id_purpose")).to_have_value("Explain to the fraud desk why a payment was held.")
    dana.quiet("a mistake in the form", 422)
    dana.check("request form with a mistake")
    summary.get_by_role("link", name="Endpoint name").click()
    expect(page.locator("#id_name")).to_be_focused()

    page.fill("#id_name", name)
    page.get_by_role("button", name="Send request").click()
    expect(page.get_by_role("status").first).to_contain_text("is sent")


def read_the_frozen_plan(portal: Stack, dana: Visitor, token: str, name: str) -> int:
    """The request's page shows the plan under the digest that the API tells. Returns the request's number."""
    found = re.fullmatch(r".*/requests/(\d+)/", dana.page.url)
    assert found, dana.page.url
    status, request = portal.call("GET", f"/api/v1/requests/{found[1]}", token)
    assert (status, request["name"], request["state"]) == (200, name, "submitted")
    expect(dana.main()).to_contain_text("frozen")
    expect(dana.main().locator(f"[data-copy='{request['plan_digest']}']")).to_have_count(1)
    dana.check("request")
    dana.page.goto("/requests/")
    expect(dana.main()).to_contain_text(name)
    dana.check("requests")
    return int(found[1])


def decide(pat: Visitor, number: int) -> None:
    """The queue opens the row in place; approving leaves nothing to decide."""
    pat.check("home of a platform engineer")
    pat.follow(pat.page.get_by_role("link", name="Approvals").first)
    pat.check("approvals")
    pat.main().get_by_role("link", name=f"R-{number}", exact=True).click()
    opened = pat.main().get_by_role("region", name=f"R-{number} in detail")
    expect(opened).to_contain_text("Explain to the fraud desk")
    pat.check("approvals with an open row")
    opened.get_by_role("button", name="Reject").click()
    expect(pat.main().get_by_role("alert").first).to_be_visible()
    pat.quiet("rejecting without a reason", 422)
    opened.get_by_label("Reason").fill("Small and safe.")
    opened.get_by_role("button", name="Approve").click()
    expect(pat.main()).to_contain_text(f"R-{number} is approved")
    for path in ("/capacity/", "/projects/", "/audit/"):
        pat.page.goto(path)
        pat.check(path)


def wait_until_ready(dana: Visitor, number: int) -> None:
    """The page of the new endpoint becomes ready by itself: nobody presses reload."""
    dana.page.goto(f"/requests/{number}/")
    expect(dana.main()).to_contain_text("Approved by pat")
    dana.follow(dana.page.get_by_role("link", name="Open the endpoint"))
    expect(dana.page.locator("#endpoint-status")).to_contain_text("Answers calls on 1 of 1 replica")
    expect(dana.page.locator("form[data-playground]")).to_be_visible()
    dana.check("endpoint")
    dana.follow(dana.page.get_by_role("link", name="All events"))
    dana.check("events")
    dana.page.go_back()


def create_a_key(dana: Visitor, name: str) -> str:
    """A key for this endpoint: its secret is shown once. Returns the secret."""
    dana.follow(dana.page.get_by_role("link", name="New key").first)
    expect(dana.page.locator("#id_endpoint")).to_have_value(name)
    dana.check("new key")
    dana.page.fill("#id_name", f"key-of-{name}")
    dana.follow(dana.page.get_by_role("button", name="Create key"))
    secret = dana.main().get_by_role("region", name="secret").inner_text().strip()
    assert re.fullmatch(r"gth_[A-Za-z0-9]{8}_\S{40,}", secret), secret
    dana.check("the secret")
    dana.follow(dana.page.get_by_role("link", name="I have stored it"))
    expect(dana.main()).to_contain_text(f"key-of-{name}")
    for look in (lambda: None, dana.page.reload):
        look()
        assert secret not in dana.page.content()
        assert secret[:12] in dana.page.content()
    dana.check("keys")
    return secret


def call_with_the_client(portal: Stack, secret: str, name: str) -> tuple[int, int]:
    """One streamed answer through the client that users have. Returns the tokens that it was told."""
    client = openai.OpenAI(base_url=f"{portal.url}/v1", api_key=secret, max_retries=0, timeout=60)
    stream = client.chat.completions.create(
        model=name,
        messages=[{"role": "user", "content": "Why does a bank review card payments?"}],
        max_tokens=40,
        stream=True,
        stream_options={"include_usage": True},
    )
    text, usage = "", None
    for chunk in stream:
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        usage = chunk.usage or usage
    assert text.strip()
    assert usage is not None
    return usage.prompt_tokens, usage.completion_tokens


def ask_the_playground(dana: Visitor) -> tuple[int, int]:
    """One answer in the playground with its measured first token. Returns the tokens that the page tells."""
    dana.page.goto("/endpoints/")
    dana.check("endpoints")
    dana.main().get_by_role("row").filter(has_text=f"scoring-{dana.theme}").get_by_role("link").first.click()
    dana.page.get_by_label("Message").fill("What is a chargeback?")
    dana.page.get_by_label("Message").press("Enter")
    facts = dana.page.locator("[data-facts]")
    expect(facts).to_contain_text("Whole answer")
    assert dana.page.locator("[data-answer]").inner_text().strip()
    told = facts.inner_text()
    assert re.search(r"First token \d+(\.\d+)? m?s", told), told
    tokens = re.search(r"([\d,]+) in · ([\d,]+) out", told)
    assert tokens, told
    dana.check("playground")
    return int(tokens[1].replace(",", "")), int(tokens[2].replace(",", ""))


def look_at_the_usage(portal: Stack, dana: Visitor, token: str, name: str, told: list[tuple[int, int]]) -> None:
    """Page and API count exactly the tokens that client and playground were told."""
    sums = tuple(map(sum, zip(*told, strict=True)))
    query = f"/api/v1/usage?project={PROJECT}&endpoint={name}&interval=day&group_by=endpoint"

    def counted() -> dict[str, Any] | None:
        status, answer = portal.call("GET", query, token)
        rows = answer["items"] if status == 200 else []
        return dict(rows[0]) if rows and rows[0]["requests"] == len(told) else None

    row = wait_for(counted, 60, "both calls to be counted")
    assert (row["input_tokens"], row["output_tokens"]) == sums
    dana.page.goto(f"/usage/?endpoint={name}")
    shown = dana.page.locator(".gh-stats").inner_text()
    assert f"{sums[0]:,}" in shown and f"{sums[1]:,}" in shown, (sums, shown)
    expect(dana.main()).to_contain_text(f"key-of-{name}")
    dana.check("usage")
    dana.page.goto(f"/projects/{PROJECT}/")
    dana.check("project")


def delete_it(portal: Stack, dana: Visitor, token: str, name: str) -> None:
    """The typed confirmation unlocks the button; then the endpoint and its process are gone."""
    dana.page.goto("/endpoints/")
    dana.main().get_by_role("row").filter(has_text=name).get_by_role("link").first.click()
    dana.page.get_by_label(f"More actions for {name}").click()
    dana.follow(dana.page.get_by_role("link", name="Delete"))
    button = dana.page.get_by_role("button", name=f"Delete {name}")
    expect(button).to_be_disabled()
    dana.check("confirmation")
    dana.page.get_by_label("to confirm").fill(name)
    button.click()
    expect(dana.main()).to_contain_text(f"{name} is being deleted")

    def gone() -> bool:
        status, answer = portal.call("GET", f"/api/v1/endpoints?project={PROJECT}", token)
        return status == 200 and all(row["phase"] == "deleted" for row in answer["items"] if row["name"] == name)

    wait_for(gone, 60, "the endpoint to be deleted")
    wait_for(lambda: not portal.processes(f"{PROJECT}/{name}"), 30, "its engine to end")
