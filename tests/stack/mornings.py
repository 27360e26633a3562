"""The steps of four mornings, one function each. Nobody here has a mouse: see keyboard.py."""

import csv
import io
import re
from pathlib import Path

from playwright.sync_api import expect

from tests.stack import journey
from tests.stack.browser_kit import Visitor
from tests.stack.conftest import PASSWORD
from tests.stack.story import OTHER, PROJECT, REASONS, Story

MODEL, OTHER_MODEL = "Granite 3.3 2B Instruct", "Qwen3 8B"


def sign_in(person: Visitor, name: str) -> None:
    """The form has the focus already."""
    person.page.goto("/")
    person.keys.write(person.page.get_by_label("User name"), name)
    person.keys.write(person.page.get_by_label("Password"), PASSWORD)
    with person.page.expect_navigation():
        person.keys.press("Enter")
    expect(person.page).to_have_url(f"{person.base}/")


# --- pat -------------------------------------------------------------------------------------------------------------


def open_the_oldest(story: Story, pat: Visitor) -> None:
    """The queue is in the order of age; j and o open its first row."""
    asked = story.call("GET", "/requests?state=submitted&limit=100", "pat")["items"]
    oldest = [row["number"] for row in sorted(asked, key=lambda row: str(row["submitted_at"]))]
    pat.keys.go("a", "Approvals")
    rows = pat.main().locator("[data-row]")
    assert [row.locator("a[data-key=o]").inner_text() for row in rows.all()] == oldest
    pat.look("approvals")
    pat.keys.press("j")
    assert rows.first.evaluate("(row) => row.contains(document.activeElement)")
    pat.keys.press("o")
    expect(pat.main().get_by_role("region", name=f"{oldest[0]} in detail")).to_be_visible()
    pat.look("approvals with an open row")


def decide_with_keys(pat: Visitor) -> None:
    """Rejecting wants a reason; what is sent back or approved makes room for the next row, which opens by itself."""
    opened = pat.main().locator(".gh-open")
    number = str(opened.get_attribute("aria-label")).split()[0]
    pat.keys.press("r")
    expect(pat.main().get_by_role("alert").first).to_be_visible()
    pat.quiet("rejecting without a reason", 422)
    pat.keys.write(opened.get_by_label("Reason"), "Which retention period holds for these data?")
    pat.keys.push(opened.get_by_role("button", name="Ask for changes"))
    expect(pat.main()).to_contain_text(f"{number} is sent back")
    following = str(opened.get_attribute("aria-label")).split()[0]
    assert following != number
    expect(pat.main().get_by_role("link", name=following, exact=True)).to_be_focused()
    pat.keys.press("a")
    expect(pat.main()).to_contain_text(f"{following} is approved")
    pat.look("approvals after two decisions")


def ask_for_what_lies_idle(pat: Visitor) -> None:
    """The owner of an idle endpoint is asked once."""
    pat.keys.go("p", "Capacity")
    pat.look("capacity")
    line = pat.main().get_by_role("listitem").filter(has_text="Suggest to suspend").first
    name = line.get_by_role("link").inner_text()
    pat.keys.skip()
    pat.keys.open(line.get_by_role("button"))
    line = pat.main().get_by_role("region", name="Could be given back").get_by_role("listitem").filter(has_text=name)
    expect(line).to_contain_text("asked")
    expect(line.get_by_role("button")).to_have_count(0)
    pat.look("capacity after a question")


def read_the_insights(pat: Visitor) -> None:
    """Lead times with their numbers as a table."""
    pat.keys.go("i", "Insights")
    expect(pat.main()).to_contain_text("Request to first answer")
    pat.look("insights")


# --- yasmine ---------------------------------------------------------------------------------------------------------


def see_what_ends_and_what_is_in_review(yasmine: Visitor) -> None:
    """From two cards of the first page to what they name, and back by keys."""
    steps = (("Ends soon", f"{OTHER}/answers", "answers"), ("Assets that need a look", "Phi-4-mini", "Phi-4-mini"))
    for card, name, heading in steps:
        yasmine.keys.skip()
        yasmine.keys.open(yasmine.main().get_by_role("region", name=card).get_by_role("link", name=name))
        expect(yasmine.page.get_by_role("heading", level=1)).to_contain_text(heading)
        yasmine.look(f"{name} for a governance lead")
        yasmine.keys.go("h", "Hello, yasmine")


def take_the_audit_log(yasmine: Visitor) -> None:
    """Filter by an action; the file has the rows of the filter."""
    yasmine.keys.go("l", "Audit")
    yasmine.look("audit")
    yasmine.keys.skip()
    yasmine.keys.write(yasmine.main().get_by_role("textbox", name="Action", exact=True), "approvals.approve")
    yasmine.keys.press("Enter")
    expect(yasmine.page).to_have_url(re.compile(r"action=approvals\.approve"))
    rows = yasmine.main().locator("[data-row]")
    expect(rows.filter(has_not_text="approvals.approve")).to_have_count(0)
    assert rows.count()
    yasmine.look("audit with a filter")
    with yasmine.page.expect_download() as got:
        yasmine.keys.push(yasmine.main().locator("a[download]"))
    lines = list(csv.DictReader(io.StringIO(Path(got.value.path()).read_text(encoding="utf-8-sig"))))
    assert lines and {line["action"] for line in lines} == {"approvals.approve"}


def read_the_notifications(yasmine: Visitor) -> None:
    """The bell counts until all is read."""
    yasmine.keys.go("n", "Notifications")
    yasmine.look("notifications")
    every = yasmine.page.get_by_role("button", name="Mark all as read")
    if every.count():  # at the second width there may be nothing new
        yasmine.keys.open(every)
    expect(every).to_have_count(0)
    expect(yasmine.page.locator(".gh-bell")).not_to_contain_text("unread")


def change_the_preferences(yasmine: Visitor) -> None:
    """From the account menu; Escape closes it and gives the focus back."""
    account = yasmine.page.locator("summary").filter(has_text="Account")
    yasmine.keys.push(account)
    yasmine.keys.press("Escape")
    expect(account).to_be_focused()
    preferences = yasmine.page.get_by_role("banner").get_by_role("link", name="Preferences")
    expect(preferences).to_have_count(0)
    yasmine.keys.press("Enter")
    yasmine.keys.open(preferences)
    yasmine.look("preferences")
    mail = yasmine.page.locator("#id_mail")
    values = [str(option.get_attribute("value")) for option in mail.locator("option").all()]
    other = next(value for value in values if value != mail.input_value())
    yasmine.keys.choose(mail, other)
    yasmine.keys.open(yasmine.main().get_by_role("button", name="Save preferences"))
    expect(mail).to_have_value(other)
    yasmine.look("preferences after a change")


# --- dana ------------------------------------------------------------------------------------------------------------


def open_what_waits_for_me(dana: Visitor) -> None:
    """What was sent back stands on the first page, with the words of the reviewer one step away."""
    mine = dana.main().get_by_role("region", name="Your requests").get_by_role("listitem")
    dana.keys.skip()
    dana.keys.open(mine.filter(has_text="notes").get_by_role("link").first)
    expect(dana.main()).to_contain_text(REASONS["request_changes"])
    dana.look("a request that was sent back")


def compare_two_models(dana: Visitor) -> None:
    """Two boxes, one link; the request begins with the model."""
    dana.keys.go("c", "Catalog")
    dana.look("catalog")
    for number, name in enumerate((MODEL, OTHER_MODEL), start=1):
        box = dana.main().get_by_role("checkbox", name=f"Compare {name}")
        dana.keys.push(box, "Space")
        expect(box).to_be_checked()
        expect(dana.main().get_by_role("link", name="Do not compare")).to_have_count(number)
        expect(box).to_be_focused()
    compare = dana.main().get_by_role("link", name="Compare 2 versions")
    dana.keys.reach(compare, back=True)
    dana.keys.open(compare)
    dana.look("two models side by side")
    dana.keys.skip()
    dana.keys.open(dana.main().get_by_role("link", name=f"Request {MODEL}"))
    expect(dana.page.locator("#id_asset")).to_have_value(journey.ASSET)


def write_the_request(dana: Visitor, name: str) -> int:
    """The plan follows, alternatives stand beside it, the draft keeps itself. Returns the request's number."""
    page, keys = dana.page, dana.keys
    keys.choose(page.locator("#id_project"), PROJECT)
    keys.write(page.locator("#id_name"), name)
    keys.choose(page.locator("#id_hardware_profile"), "cpu-demo")
    keys.write(page.locator("#id_purpose"), "Answer card holders in their language.")
    expect(page.locator("#plan-body")).to_contain_text("Fits")
    expect(page.locator("#draft-line")).to_contain_text("Saved")
    dana.look("a request with its plan and its draft")
    keys.open(page.get_by_role("button", name="Send request"))
    expect(dana.main()).to_contain_text("is sent")
    dana.look("a request that is sent")
    return int(re.sub(r"\D", "", page.url.partition("/requests/")[2]))


def approve(story: Story, number: int) -> None:
    """Somebody else decides meanwhile."""
    story.call("POST", f"/requests/{number}/decisions", "pat", {"decision": "approve", "reason": REASONS["approve"]})


def wait_for_the_endpoint(dana: Visitor, number: int) -> None:
    """The page of the new endpoint becomes ready by itself."""
    dana.page.goto(f"/requests/{number}/")
    dana.keys.skip()
    dana.keys.open(dana.main().get_by_role("link", name="Open the endpoint"))
    expect(dana.main()).to_contain_text("Answers calls on 1 of 1 replica")
    dana.look("an endpoint that became ready")


def create_a_key(dana: Visitor, name: str) -> str:
    """A key for this endpoint: its secret is shown once. Returns the secret."""
    dana.keys.skip()
    dana.keys.open(dana.main().get_by_role("link", name="New key").first)
    dana.look("new key")
    dana.keys.write(dana.page.locator("#id_name"), f"key-of-{name}")
    dana.keys.open(dana.main().get_by_role("button", name="Create key"))
    secret = dana.main().get_by_role("region", name="secret").inner_text().strip()
    assert re.fullmatch(r"gth_[A-Za-z0-9]{8}_\S{40,}", secret), secret
    dana.look("the secret")
    dana.keys.open(dana.main().get_by_role("link", name="I have stored it"))
    return secret


def ask_the_playground(dana: Visitor, name: str) -> None:
    """Enter in the field sends; the answer stands on the page."""
    dana.keys.go("e", "Endpoints")
    dana.look("endpoints")
    dana.keys.skip()
    dana.keys.open(dana.main().get_by_role("row").filter(has_text=name).get_by_role("link").first)
    dana.keys.write(dana.main().get_by_label("Message"), "What is a chargeback?")
    dana.keys.press("Enter")
    expect(dana.page.locator("[data-facts]")).to_contain_text("Whole answer")
    assert dana.page.locator("[data-answer]").inner_text().strip()
    dana.look("playground")


def look_closer_at_the_usage(dana: Visitor) -> None:
    """What a mouse does by dragging, the links of the table do: one slot as a range, and back."""
    dana.keys.go("u", "Usage")
    dana.look("usage")
    dana.keys.skip()
    dana.keys.push(dana.main().locator(".gh-plot summary").first)
    dana.keys.open(dana.main().locator(".gh-plot").first.locator("tbody a").first)
    expect(dana.page).to_have_url(re.compile("range=custom"))
    dana.look("usage of one slot")
    dana.keys.skip()
    dana.keys.open(dana.main().get_by_role("link", name="Back to"))
    expect(dana.page).not_to_have_url(re.compile("range=custom"))


def read_the_limits(dana: Visitor) -> None:
    """The search knows the project; its limits say which one is reached first."""
    dana.page.goto(f"/projects/{PROJECT}/limits/")
    expect(dana.main()).to_contain_text("reached first")
    expect(dana.main().get_by_role("button", name="Save quotas")).to_have_count(0)
    dana.look("limits")


# --- omar ------------------------------------------------------------------------------------------------------------


def set_a_quota(story: Story, omar: Visitor, tokens: int) -> None:
    """An owner changes when an endpoint of the project warns."""
    omar.page.goto(f"/projects/{PROJECT}/limits/")
    omar.look("limits of an owner")
    line = omar.main().get_by_role("group", name="Endpoint triage, per day")
    omar.keys.skip()
    omar.keys.write(line.get_by_label(re.compile("Warn")), str(tokens))
    omar.keys.open(omar.main().get_by_role("button", name="Save quotas"))
    found = story.call("GET", f"/projects/{PROJECT}/quotas", "omar")["tokens"]
    assert tokens in {entry["soft"] for entry in found if entry["name"] == "triage"}
    omar.look("limits after a change")


def add_a_member(omar: Visitor, role: str) -> None:
    """Ravi gets a role in the project."""
    omar.page.goto(f"/projects/{PROJECT}/")
    omar.look("project")
    omar.keys.skip()
    omar.keys.choose(omar.page.locator("#id_user"), "ravi")
    omar.keys.choose(omar.page.locator("#id_role"), role)
    omar.keys.open(omar.main().get_by_role("button", name="Save role"))
    expect(omar.main().get_by_role("row").filter(has_text="ravi")).to_contain_text(role)
    omar.look("project with another member")
