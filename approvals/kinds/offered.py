"""The tools of an MCP server as plans name them: the pinned ones, or else those that its publisher describes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from approvals.kinds.base import shortened
from catalog.mcp import definitions
from catalog.models import Tool, Version

MOST_WORDS = 140  # characters of a description in a plan; the tab “Tools” has all of them
WORDS = (
    ("read_only_hint", {True: "read only", False: "writes"}),
    ("destructive_hint", {True: "destructive"}),
    ("idempotent_hint", {True: "idempotent"}),
    ("open_world_hint", {True: "reaches outside"}),
)
NEW, CHANGED, GONE = "new", "changed", "gone"


@dataclass(frozen=True)
class Offered:
    """A tool of a version. `digest` "" means that it is the publisher's word only."""

    name: str
    digest: str = ""
    hints: Mapping[str, bool] = field(default_factory=dict)
    description: str = ""

    def json(self) -> dict[str, Any]:
        """Return the tool as a plan keeps it: hints in words, and that none was given."""
        words = [looks[value] for name, looks in WORDS if (value := self.hints.get(name)) in looks]
        return {"name": self.name, "digest": self.digest, "hints": words or ["no hint given"]}


def offered(version: Version) -> dict[str, Offered]:
    """Return the tools of a version by name (one query)."""
    pinned = {
        row.name: Offered(row.name, row.digest, definitions.hints(row.definition), _line(row.definition))
        for row in Tool.objects.filter(version=version)
    }
    if pinned:
        return pinned
    return {
        tool["name"]: Offered(
            tool["name"], "", {name: tool[name] for name, _ in WORDS if tool.get(name) is not None}, _line(tool)
        )
        for tool in version.facts.get("tools", [])
    }


def compared(before: Version | None, after: Version) -> list[dict[str, Any]]:
    """Return the tools of a version with what is said of each, and how each differs from the version that was approved
    before: `new`, `changed`, `gone`, or "" (two queries).
    """
    now, past = offered(after), offered(before) if before is not None else None
    rows = [tool.json() | {"description": tool.description, "change": _change(past, tool)} for tool in now.values()]
    gone = [tool for name, tool in (past or {}).items() if name not in now]
    rows += [tool.json() | {"description": tool.description, "change": GONE} for tool in gone]
    order = (NEW, CHANGED, GONE, "")
    return sorted(rows, key=lambda row: (order.index(row["change"]), row["name"]))


def _change(past: Mapping[str, Offered] | None, tool: Offered) -> str:
    """How a tool differs; what only a publisher describes has no digest that could."""
    if past is None:
        return ""
    if tool.name not in past:
        return NEW
    return CHANGED if past[tool.name].digest != tool.digest else ""


def _line(tool: Mapping[str, Any]) -> str:
    """Return what is said of a tool as one short line in which every character shows."""
    text = tool.get("description") or tool.get("title") or ""
    words = " ".join(text.split()) if isinstance(text, str) else ""
    return shortened("".join(char if char.isprintable() else "�" for char in words), MOST_WORDS)
