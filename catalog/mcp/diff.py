"""What has changed in the definitions of tools, line by line."""

import difflib
import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from catalog.mcp.definitions import KEYS, shown

WIDTH = 96
AROUND = 2  # lines of context
MOST = 400
CUT = {"kind": "hunk", "text": "The rest is in the raw report."}
Line = dict[str, str]
MARKS = {"+": "add", "-": "del", " ": ""}


def lines(report: Mapping[str, Any]) -> list[Line]:
    """Return the diff of a report as lines `{kind, text}`: hunk, add, del or "" for what stayed."""
    found: list[Line] = []
    for line in _all(report):
        if len(found) >= MOST:
            return [*found, CUT]
        found.append(line)
    return found


def _all(report: Mapping[str, Any]) -> Iterator[Line]:
    for name, pair in sorted(report.get("changed", {}).items()):
        yield from _changed(name, pair.get("before", {}), pair.get("after", {}))
    for name, after in sorted(report.get("new", {}).items()):
        yield from _whole(name, "new tool", after, "add")
    for name, before in sorted(report.get("missing", {}).items()):
        yield from _whole(name, "missing tool", before, "del")


def _changed(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Line]:
    for key in KEYS:
        if before.get(key) == after.get(key):
            continue
        yield {"kind": "hunk", "text": f"{shown({'name': name})} · {key}"}
        sides = _text(before.get(key)), _text(after.get(key))
        for line in list(difflib.unified_diff(*sides, lineterm="", n=AROUND))[2:]:
            if not line.startswith("@@"):
                yield {"kind": MARKS.get(line[:1], ""), "text": f"{line[:1]} {line[1:]}"}


def _whole(name: str, what: str, definition: Mapping[str, Any], kind: str) -> Iterator[Line]:
    yield {"kind": "hunk", "text": f"{shown({'name': name})} · {what}"}
    sign = "+" if kind == "add" else "-"
    for key in KEYS[1:]:
        if key in definition:
            for line in _text({key: definition[key]} if key != "description" else definition[key]):
                yield {"kind": kind, "text": f"{sign} {line}"}


def _text(value: object) -> list[str]:
    """Return a value as lines in which every character shows: what nobody sees is written by its number."""
    if value is None:
        return []
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    parts = [_visible(line) for line in text.splitlines()]
    return [piece for line in parts for piece in (textwrap.wrap(line, WIDTH, drop_whitespace=False) or [""])]


def _visible(line: str) -> str:
    return "".join(char if char.isprintable() or char == "\t" else f"<U+{ord(char):04X}>" for char in line)
