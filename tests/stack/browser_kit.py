"""A person at a browser: signs in, walks through the pages, and remembers everything that a developer console would
have shown.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Playwright, Response, expect

from tests.stack.conftest import PASSWORD, ROOT, Stack
from tests.stack.keyboard import NEVER_A_POINTER, Keyboard

WIDE, PHONE, HEIGHT, PHONE_HEIGHT = 1280, 390, 900, 844
PATIENCE_MS = 30_000  # two busy cores; nothing below waits longer than it needs
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
AXE = ROOT / "tests" / "assets" / "axe.min.js"
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# What the browser says about an answer of 4xx: the answers themselves are in `refused`. And what htmx says when the
# next word of a filter makes the request before it superfluous: failures have other names (sendError, swapError).
OWN_WORDS = re.compile(
    r"Failed to load resource: the server responded with a status of 4\d\d|htmx:(sendAbort|afterRequest),"
)
REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`content security policy: ${event.violatedDirective} refused ${event.blockedURI || event.sample}`));
"""
RUN_AXE = """
async (tags) => {
  const rules = { "target-size": { enabled: true } };
  const found = await axe.run(document, { runOnly: { type: "tag", values: tags }, rules });
  return found.violations.map((one) => `${one.id} (${one.impact}): ${one.help}\\n` +
    one.nodes.map((node) => `    ${node.target.join(" ")}  ${node.html.slice(0, 200)}\\n      ` +
      (node.failureSummary || "").split("\\n").slice(1, 3).join(" ")).join("\\n"));
}
"""
# What reaches beyond the window, or beyond its own card, column or block: people would scroll sideways or read through
# the neighbour. What scrolls inside its own frame is meant.
FIND_OVERFLOW = """
() => {
  const root = document.documentElement, name = (one) => one.outerHTML.slice(0, 160), found = [];
  if (root.scrollWidth > root.clientWidth) found.push(`the page by ${root.scrollWidth - root.clientWidth} px`);
  const framed = (one) => {
    for (let up = one.parentElement; up && up.tagName !== "MAIN"; up = up.parentElement)
      if (getComputedStyle(up).overflowX !== "visible") return true;
    return one.closest(".pf-v6-screen-reader") !== null;
  };
  for (const one of document.querySelectorAll("main *"))
    if (one.getBoundingClientRect().width && one.getBoundingClientRect().right > root.clientWidth + 1 && !framed(one))
      found.push(name(one));
  for (const one of document.querySelectorAll(".gh-open__col, .pf-v6-c-card__body, .gh-plan__block, .gh-stat, .gh-box"))
    if (getComputedStyle(one).overflowX === "visible" && one.scrollWidth > one.clientWidth + 1) found.push(name(one));
  return found.slice(0, 5);
}
"""


@contextmanager
def running_stack(state: Path, **settings: str) -> Iterator[Stack]:
    """A portal of its own on `state`, with more `settings`, stopped in order at the end; what is left of it then is
    killed.
    """
    stack = Stack(state)
    stack.env |= settings
    try:
        stack.start()
        yield stack
    finally:
        if stack.launcher and stack.launcher.poll() is None:
            try:
                stack.stop()
            except subprocess.TimeoutExpired:
                stack.launcher.kill()
        for pid in stack.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def launch(playwright: Playwright, path: str) -> Browser:
    """The Chromium at `path`."""
    return playwright.chromium.launch(executable_path=path, args=ARGUMENTS)


@dataclass
class Visitor:
    """One person in one browser window."""

    page: Page
    base: str
    theme: str
    problems: list[str] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)  # answers of 400 and more: status, path
    axe: bool = True
    width: int = WIDE
    keys: Keyboard = field(init=False)

    def __post_init__(self) -> None:
        self.keys = Keyboard(self.page)

    @classmethod
    def arrive(
        cls, browser: Browser, base: str, theme: str = "light", *, javascript: bool = True, pointer: bool = True
    ) -> "Visitor":
        """Open a window on a system of `theme`, with nothing stored; high contrast is a choice made before.

        Without `pointer` a click is a problem like those of the console.
        """
        context = browser.new_context(
            base_url=base,
            viewport={"width": WIDE, "height": HEIGHT},
            color_scheme="dark" if theme == "dark" else "light",
            reduced_motion="reduce",
            java_script_enabled=javascript,
            locale="en-GB",
            timezone_id="UTC",
        )
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(REPORT_VIOLATIONS)
        if theme == "high-contrast":
            context.add_cookies([{"name": "gatehouse_theme", "value": theme, "url": base}])
        if not pointer:
            context.add_init_script(NEVER_A_POINTER)
        visitor = cls(context.new_page(), base, theme, axe=javascript)
        visitor.page.on("console", visitor._console)
        visitor.page.on("pageerror", lambda error: visitor.problems.append(f"uncaught: {error}"))
        visitor.page.on("response", visitor._response)
        return visitor

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not OWN_WORDS.search(message.text):
            self.problems.append(f"{message.type} on {self.page.url}: {message.text}")

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self.refused.append((response.status, response.url.removeprefix(self.base)))

    def sign_in(self, name: str) -> None:
        """Sign in as somebody of the demo organisation."""
        self.page.goto("/accounts/login/")
        self.page.get_by_label("User name").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.follow(self.page.get_by_role("button", name="Sign in", exact=True))
        expect(self.page).to_have_url(f"{self.base}/")

    def follow(self, link: Locator) -> None:
        """Click a link or button that leads to another page, and arrive there."""
        with self.page.expect_navigation():
            link.click()

    def main(self) -> Locator:
        """The content of the page without masthead and sidebar."""
        return self.page.locator("main")

    def check(self, what: str) -> None:
        """Look at the page as it is, wide and on a phone; `what` names it in a failure."""
        try:
            for width in (WIDE, PHONE):
                self.resize(width)
                self.look(what)
        finally:
            self.resize(WIDE)

    def resize(self, width: int) -> None:
        """Make the window that of a desk or of a phone."""
        self.width = width
        self.page.set_viewport_size({"width": width, "height": HEIGHT if width == WIDE else PHONE_HEIGHT})

    def look(self, what: str) -> None:
        """Look at the page at its present width: nothing on the console, nothing for axe, no sideways scroll."""
        self.quiet(what)
        where = f"{what}, {self.theme}, {self.width} px"
        wide = self.page.evaluate(FIND_OVERFLOW)
        assert not wide, f"{where}: too wide: {wide}"
        if self.axe:
            self._axe(where)

    def _axe(self, what: str) -> None:
        if not self.page.evaluate("typeof window.axe === 'object'"):
            self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = self.page.evaluate(RUN_AXE, AXE_TAGS)
        assert not found, f"{what}:\n" + "\n".join(found)

    def quiet(self, what: str, *expected: int) -> None:
        """Nothing went wrong since the last look, except answers with an `expected` status (which must have come)."""
        got = {status for status, _ in self.refused}
        assert got == set(expected), f"{what}: {self.refused}"
        assert not self.problems, f"{what}: {self.problems}"
        self.refused.clear()

    def forget(self) -> None:
        """Begin anew: what went wrong until now has been told."""
        self.problems.clear()
        self.refused.clear()

    def leave(self) -> None:
        """Close the window."""
        self.page.context.close()
