"""Somebody who has no mouse: everything is reached with the keyboard, and what has the focus is seen."""

from dataclasses import dataclass

from playwright.sync_api import Locator, Page, expect

MOST_STOPS = 150  # tab stops until a walk has gone wrong
NEVER_A_POINTER = """
for (const kind of ["pointerdown", "mousedown", "touchstart"])
  document.addEventListener(kind, (event) => event.isTrusted && console.error(`a pointer was used: ${kind}`), true);
"""
# The focus is visible to the eye: it has an outline or a ring of its own, lies in the window, and nothing covers it.
SEEN = """
(one) => {
  const name = one.outerHTML.slice(0, 160), style = getComputedStyle(one), around = getComputedStyle(one, "::after");
  const parent = getComputedStyle(one.parentElement), after = getComputedStyle(one.parentElement, "::after");
  const ringed = (it) => it.outlineStyle !== "none" || it.boxShadow !== "none";
  const box = one.getBoundingClientRect();
  if (!one.matches(":focus-visible")) return `it does not show that it has the focus: ${name}`;
  if (![style, around, parent, after].some(ringed) &&
      style.borderColor === "rgba(0, 0, 0, 0)") return `its focus has no ring: ${name}`;
  if (box.bottom <= 0 || box.top >= innerHeight || box.right <= 0 || box.left >= innerWidth)
    return `it has the focus out of sight: ${name}`;
  const x = Math.min(Math.max(box.left + Math.min(box.width / 2, 12), 1), innerWidth - 1);
  const y = Math.min(Math.max(box.top + Math.min(box.height / 2, 12), 1), innerHeight - 1);
  const top = document.elementFromPoint(x, y);
  if (top && top !== one && !one.contains(top) && !top.contains(one) && !top.closest("label"))
    return `it has the focus and is covered by ${top.outerHTML.slice(0, 120)}: ${name}`;
  return "";
}
"""
IS_FOCUSED = "(one) => one === document.activeElement"
TYPING = "() => document.activeElement.matches('textarea, select, input:not([type=checkbox])')"
WHERE = "() => document.activeElement.outerHTML.slice(0, 160)"


@dataclass
class Keyboard:
    """Two hands on the keyboard of one window."""

    page: Page

    def press(self, *keys: str) -> None:
        """Press keys one after the other, wherever the focus is."""
        for key in keys:
            self.page.keyboard.press(key)

    def reach(self, target: Locator, *, back: bool = False, most: int = MOST_STOPS) -> None:
        """Press Tab (Shift+Tab with `back`) until `target` has the focus, and look whether one sees that."""
        expect(target).to_be_visible()
        for _ in range(most):
            if target.evaluate(IS_FOCUSED):
                problem = target.evaluate(SEEN)
                assert not problem, problem
                return
            self.press("Shift+Tab" if back else "Tab")
        raise AssertionError(f"{most} tab stops do not lead to {target}; the focus is on {self.page.evaluate(WHERE)}")

    def skip(self) -> None:
        """From the top of a page into its content, past masthead and menu."""
        self.reach(self.page.get_by_role("link", name="Skip to content"), most=3)
        self.press("Enter")
        assert self.page.evaluate("() => document.activeElement.id") == "main"

    def open(self, link: Locator, key: str = "Enter") -> None:
        """Reach a link or button and follow it to another page."""
        self.reach(link)
        with self.page.expect_navigation():
            self.press(key)

    def push(self, button: Locator, key: str = "Enter") -> None:
        """Reach a button, box or summary and press it; the page stays."""
        self.reach(button)
        self.press(key)

    def go(self, letter: str, heading: str) -> None:
        """The short way: `g` and the letter of an entry of the menu, once no field takes letters."""
        while self.page.evaluate(TYPING):
            self.press("Tab")
        with self.page.expect_navigation():
            self.press("g", letter)
        expect(self.page.get_by_role("heading", level=1)).to_have_text(heading)

    def write(self, box: Locator, text: str) -> None:
        """Reach a text field and write over what it holds."""
        self.reach(box)
        self.press("ControlOrMeta+a", "Delete")
        self.page.keyboard.type(text)

    def choose(self, box: Locator, value: str) -> None:
        """Reach a list and walk with the arrow keys to the entry with `value`."""
        self.reach(box)
        index = "(one, value) => [...one.options].filter((it) => !it.disabled).findIndex((it) => it.value === value)"
        to = box.evaluate(index, value)
        assert to >= 0, f"{box} does not offer {value}"
        steps = to - box.evaluate(index, box.input_value())
        self.press(*(["ArrowDown"] * steps if steps > 0 else ["ArrowUp"] * -steps))
        expect(box).to_have_value(value)
