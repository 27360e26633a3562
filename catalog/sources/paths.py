"""What every source keeps to: names of files that lead nowhere else, and limits on how many and how much."""

import re
import unicodedata
from collections.abc import Iterable, Iterator

from django.conf import settings

from catalog.sources.tree import Entry, SourceRefused

MAX_FILES = 20_000
MAX_PATH = 512  # characters of a whole path
MAX_PART = 255  # bytes of one name, as file systems have it
MAX_DEPTH = 32
# Control characters, line separators, what turns the direction of writing, and what is no character at all.
_BAD = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})


def shown(text: str) -> str:
    """Return `text` as a sentence may hold it: bad characters written as escapes, and short."""
    plain = "".join(char if unicodedata.category(char) not in _BAD else ascii(char)[1:-1] for char in text[:80])
    return plain if len(text) <= 80 else f"{plain}…"


def clean(path: str) -> str:
    """Return the relative path `path` as it is; raises SourceRefused when it could lead outside or is not printable."""
    if len(path) > MAX_PATH:
        raise SourceRefused(f"The name “{shown(path)}” has {len(path):,} characters; the limit is {MAX_PATH}.")
    if "\\" in path or any(unicodedata.category(char) in _BAD for char in path):
        raise SourceRefused(f"The name “{shown(path)}” holds a backslash or a character that cannot be printed.")
    parts = path.split("/")
    if len(parts) > MAX_DEPTH:
        raise SourceRefused(f"“{shown(path)}” lies {len(parts)} levels deep; the limit is {MAX_DEPTH}.")
    if any(part in {"", ".", ".."} for part in parts):
        raise SourceRefused(f"The name “{shown(path)}” leads outside, or is not in its plain form.")
    if any(len(part.encode()) > MAX_PART for part in parts):
        raise SourceRefused(f"A part of “{shown(path)}” is longer than {MAX_PART} bytes.")
    return path


def bounded(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Give `entries` on; raises SourceRefused for too many, too much, a name that `clean` refuses, or one twice."""
    seen: set[str] = set()
    folders: set[str] = set()
    total = 0
    for entry in entries:
        path = clean(entry.path)
        above = {path[: found.start()] for found in re.finditer("/", path)}
        if path in seen or path in folders or above & seen:
            raise SourceRefused(f"The source names “{shown(path)}” twice, or as a file and as a folder.")
        seen.add(path)
        folders |= above
        total += entry.bytes
        if len(seen) > MAX_FILES:
            raise SourceRefused(f"The source holds more than {MAX_FILES:,} files, which is the limit.")
        if entry.bytes < 0 or total > settings.MODEL_BYTES:
            raise SourceRefused(
                f"The source holds more than {settings.MODEL_BYTES:,} bytes. Whoever runs the portal can raise "
                "GATEHOUSE_MODEL_BYTES."
            )
        yield entry
