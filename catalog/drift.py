"""What a source holds by now against what was pinned."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from catalog.hashing import File
from catalog.sources.paths import shown
from catalog.sources.tree import Entry

NAMED = 50  # names that are kept of each sort


@dataclass(frozen=True)
class Drift:
    """How the content differs; empty: it is what was pinned. `why` says what cannot be put in names of files."""

    changed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    revision: str = ""  # where the name of the source leads by now, when that is elsewhere
    why: str = ""

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing or self.extra or self.revision or self.why)

    def report(self) -> dict[str, Any]:
        """Return it as Pin.drift keeps it: at most NAMED names of each sort, and how many there are."""
        sorts = {"changed": self.changed, "missing": self.missing, "extra": self.extra}
        names = {sort: paths[:NAMED] for sort, paths in sorts.items()}
        counts = {sort: len(paths) for sort, paths in sorts.items() if len(paths) > NAMED}
        return {"revision": self.revision, **names, **({"counts": counts} if counts else {}), "why": self.why}

    def sentence(self, pinned: str) -> str:
        """Return it in one sentence of at most 300 characters; `pinned` is the revision of the pin."""
        parts = []
        if self.why:
            parts.append(self.why.rstrip("."))
        if self.revision:
            parts.append(f"the source leads to {self.revision[:19]}… by now, pinned was {pinned[:19]}…")
        for word, paths in (("changed", self.changed), ("missing", self.missing), ("added", self.extra)):
            if paths:
                parts.append(f"{len(paths):,} {'file' if len(paths) == 1 else 'files'} {word} ({_some(paths)})")
        text = "; ".join(parts)
        text = text if len(text) <= 299 else f"{text[:298]}…"
        return f"{text[:1].upper()}{text[1:]}."


def _some(paths: Sequence[str]) -> str:
    return ", ".join(shown(path) for path in paths[:2]) + (", …" if len(paths) > 2 else "")


def compare(pinned: Iterable[File], found: Iterable[File]) -> Drift:
    """Return how `found` differs from `pinned`, file by file."""
    before = {file["path"]: file for file in pinned}
    now = {file["path"]: file for file in found}
    return Drift(
        changed=sorted(path for path in before.keys() & now.keys() if _differ(before[path], now[path])),
        missing=sorted(before.keys() - now.keys()),
        extra=sorted(now.keys() - before.keys()),
    )


def _differ(one: File, other: File) -> bool:
    return (one["bytes"], one["sha256"]) != (other["bytes"], other["sha256"])


def moved(pinned: Sequence[File], listed: Iterable[Entry], revision: str) -> Drift:
    """Return the drift of a name that leads to `revision` by now, with what its list says; nothing of it is read."""
    known = {file["path"]: file for file in pinned}
    found = []
    for entry in listed:
        before = known.get(entry.path)
        claim = entry.sha256 or (before["sha256"] if before and before["bytes"] == entry.bytes else "")
        found.append({"path": entry.path, "bytes": entry.bytes, "sha256": claim})
    by_list = compare(pinned, found)
    return Drift(by_list.changed, by_list.missing, by_list.extra, revision=revision)
