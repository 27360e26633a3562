"""What a reviewer should see in the definitions of tools: words for the model that people do not read.

Each rule has a name of its own. A rule that fails keeps the version out; one that warns is for the reviewer to weigh.
No list of words finds everything: the pins make sure that what was reviewed is what is used.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from catalog.mcp.definitions import shown
from catalog.models import Verdict

LONG_TEXT, LONGEST_TEXT = 4_000, 20_000  # characters of one text
LONG_DEFINITION = 64_000  # characters of all texts of a tool together
MOST = 40  # remarks
QUOTE = 120
ZERO_WIDTH_JOINER = "\u200d"

_HIDDEN = re.compile(
    r"ignore\s+(all\s+|any\s+)?(of\s+)?(the\s+|your\s+)?(previous|prior|above|earlier|other)\b"
    r"|disregard\s+(all\s+|any\s+)?(the\s+|your\s+)?(previous|prior|above|earlier|instructions)"
    r"|<\s*/?\s*(important|system|instructions?|secret|hidden|admin)\s*>"
    r"|\[\s*(system|inst|important)\s*\]"
    r"|(do\s+not|don'?t|never)\s+(tell|mention|inform|reveal|notify|alert)\b"
    r"|without\s+(telling|informing|asking|notifying|mentioning\s+(it|this)\s+to)\s+(the\s+)?user"
    r"|you\s+(must|are\s+now|should)\s+(always\s+)?(obey|act\s+as|pretend)"
    r"|(override|bypass)\s+(the\s+|your\s+|all\s+)?(safety|security|instructions|guardrails|restrictions)",
    re.IGNORECASE,
)
_FILES = re.compile(
    r"(before|prior\s+to)\s+(calling|using|invoking|running|you\s+call|you\s+use)\b"
    r"[^.]{0,80}?\b(read|open|cat|load|fetch|send|upload)\b"
    r"|\bread\s+(the\s+)?(file|contents?\s+of)\b[^.]{0,120}\b(pass|send|include|put|provide)\b"
    r"|\bpass\s+(its|the|their)\s+contents?\b"
    r"|~/\.(ssh|aws|config|kube|gnupg|netrc|cursor)|\bid_(rsa|ed25519|ecdsa)\b|/etc/(passwd|shadow)"
    r"|(^|[\s/`'\"])\.env\b",
    re.IGNORECASE,
)
_SAME = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s", "-": "", "_": "", ".": ""})


@dataclass(frozen=True)
class Remark:
    """One thing that a reviewer should see: which rule, in which tool, and the words that made it."""

    rule: str
    tool: str
    verdict: str
    title: str
    quote: str = ""
    fix: str = ""

    def json(self) -> dict[str, str]:
        """Return the remark as a report keeps it."""
        return asdict(self)


def remarks(tools: Mapping[str, Mapping[str, Any]], instructions: str = "") -> list[Remark]:
    """Return what is remarkable in `tools` and in the server's own instructions, failures first; at most 40."""
    found = [remark for name in sorted(tools) for remark in _of_tool(tools[name])]
    found += list(_of_text("the server itself", "instructions", instructions)) if instructions else []
    found += _alike(tools)
    return sorted(found, key=lambda one: (one.verdict != Verdict.FAIL, one.rule, one.tool))[:MOST]


def _of_tool(tool: Mapping[str, Any]) -> Iterator[Remark]:
    name = shown(tool)
    said: set[str] = set()
    size = 0
    for place, text in _texts(tool):
        size += len(text)
        for remark in _of_text(name, place, text):
            if remark.rule not in said:  # the first place of each rule is enough to send it back
                said.add(remark.rule)
                yield remark
    if size > LONG_DEFINITION:
        title = "Definition is very long"
        yield Remark("mcp-005", name, Verdict.WARN, title, f"{size:,} characters", "Ask for a shorter one.")
    if not name.isascii():
        title = "Name holds letters that look like others"
        yield Remark("mcp-003", name, Verdict.FAIL, title, _names(name), "Ask for a name of plain letters.")


def _of_text(tool: str, place: str, text: str) -> Iterator[Remark]:
    hidden = _invisible(text)
    if hidden:
        title, fix = "Invisible characters", "Ask the publisher to remove them."
        yield Remark("mcp-001", tool, Verdict.FAIL, title, f"{place}: {_names(hidden)}", fix)
    plain = unicodedata.normalize("NFKC", "".join(char for char in text if char not in hidden))
    found = _HIDDEN.search(plain)
    if found:
        title, fix = (
            "Text gives the model hidden instructions",
            "Ask the publisher to describe only what the tool does.",
        )
        yield Remark("mcp-002", tool, Verdict.FAIL, title, _quote(place, plain, found), fix)
    found = _FILES.search(plain)
    if found:
        title, fix = (
            "Text tells the model to read or send something",
            "Ask the publisher to drop it, or to ship it apart.",
        )
        yield Remark("mcp-004", tool, Verdict.FAIL, title, _quote(place, plain, found), fix)
    if len(text) > LONG_TEXT:
        verdict = Verdict.FAIL if len(text) > LONGEST_TEXT else Verdict.WARN
        fix = f"Ask for at most {LONG_TEXT:,}."
        yield Remark("mcp-005", tool, verdict, "Text is very long", f"{place}: {len(text):,} characters", fix)


def _texts(tool: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield every text of a definition with its place, keys too, without recursion."""
    rest: list[tuple[str, Any]] = [(key, value) for key, value in tool.items() if key != "icons"]
    while rest:
        place, value = rest.pop(0)
        if isinstance(value, str):
            yield place, value
        elif isinstance(value, dict):
            for key, item in value.items():
                yield f"{place}, a key", str(key)
                rest.append((f"{place}.{shown({'name': key})}"[:100], item))
        elif isinstance(value, list):
            rest += [(place, item) for item in value]


def _invisible(text: str) -> str:
    """Return the characters of `text` that nobody sees, each once: format characters and private ones.

    The joiner between the parts of an emoji is none of them.
    """
    found = []
    for place, char in enumerate(text):
        if char.isascii() or unicodedata.category(char) not in {"Cf", "Co", "Cn"}:
            continue
        beside = text[max(0, place - 2) : place] + text[place + 1 : place + 2]
        if char == ZERO_WIDTH_JOINER and any(unicodedata.category(near) == "So" for near in beside):
            continue
        found.append(char)
    return "".join(dict.fromkeys(found))


def _alike(tools: Iterable[str]) -> list[Remark]:
    """Return the tools whose names differ only in characters that people mix up."""
    known: dict[str, str] = {}
    found = []
    for name in sorted(tools):
        skeleton = unicodedata.normalize("NFKC", name).casefold().translate(_SAME).replace("rn", "m")
        other = known.setdefault(skeleton, name)
        if other != name:
            quote = f"{shown({'name': other})} and {shown({'name': name})}"
            found.append(Remark("mcp-003", shown({"name": name}), Verdict.WARN, "Two names look alike", quote))
    return found


def _quote(place: str, text: str, found: re.Match[str]) -> str:
    start = max(0, found.start() - 20)
    words = " ".join(text[start : start + QUOTE].split())
    return f"{place}: “{''.join(char for char in words if char.isprintable())}”"


def _names(characters: str) -> str:
    odd = [char for char in dict.fromkeys(characters) if not char.isascii()]
    return ", ".join(f"U+{ord(char):04X}" for char in odd[:6])
