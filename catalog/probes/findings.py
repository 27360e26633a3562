"""What probes answer with: sentences about what is wrong, each of them failing or warning."""

from typing import Any

MOST = 20  # sentences of one file; whoever makes more has failed already
FAIL, WARN = "fail", "warn"


class Stop(Exception):
    """The file is wrong in a way that ends the reading; the text is the finding."""


class Findings:
    """A bounded list of findings."""

    def __init__(self) -> None:
        self.found: list[list[str]] = []

    def fail(self, text: str) -> None:
        """Add what the version must not have."""
        self._add(FAIL, text)

    def warn(self, text: str) -> None:
        """Add what a reviewer should know."""
        self._add(WARN, text)

    def _add(self, level: str, text: str) -> None:
        item = [level, text[:300]]
        if item not in self.found and len(self.found) < MOST:
            self.found.append(item)

    def answer(self, **facts: Any) -> dict[str, Any]:
        """Return the answer of a probe."""
        return {"findings": self.found, "facts": facts}


def shown(name: object, length: int = 80) -> str:
    """Return something of the file so that a sentence can hold it."""
    text = name if isinstance(name, str) else repr(name)
    return text if len(text) <= length else text[: length - 1] + "…"
