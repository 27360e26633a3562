"""Reading pinned content for a check: what is read must be what was pinned."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO

from catalog.evidence import sandbox
from catalog.evidence.case import Case
from catalog.models import Pin, PinState
from catalog.sources.tree import Tree

CHUNK = 2**20


class Changed(Exception):
    """The source holds something else than what was pinned; the text is a clause, after the name of the file."""


@dataclass(frozen=True)
class Pinned:
    """A file as the pin remembers it."""

    path: str
    bytes: int
    sha256: str
    heads: Mapping[str, str] = field(default_factory=dict)  # bytes → SHA-256 of the first so many, of large weights


def files(pin: Pin) -> list[Pinned]:
    """Return the files of a pin, by path."""
    return sorted(
        (Pinned(item["path"], item["bytes"], item["sha256"], item.get("heads", {})) for item in pin.files),
        key=lambda item: item.path,
    )


def opened(case: Case) -> tuple[Tree, list[Pinned], list[str]]:
    """Return the tree of a case, its pinned files, and in which files the tree differs from them: by name or size now,
    or by content when it was last verified. Raises SourceError.
    """
    tree = case.open_tree()
    known = files(case.pin) if case.pin is not None else []
    there = {entry.path: entry.bytes for entry in tree.entries()}
    pinned = {item.path: item.bytes for item in known}
    changed = {path for path in there.keys() | pinned.keys() if there.get(path) != pinned.get(path)}
    return tree, known, sorted(changed | _drifted(case.pin))


def _drifted(pin: Pin | None) -> set[str]:
    """Return what a verification found changed. Where only the name of the source moved on, the pinned revision that
    is read here is still what it was.
    """
    drift = pin.drift if pin is not None and pin.state == PinState.DRIFTED else {}
    if drift.get("revision"):
        return set()
    return {str(path) for sort in ("changed", "missing", "extra") for path in drift.get(sort, [])}


def whole(tree: Tree, item: Pinned) -> IO[bytes]:
    """Return a file in a scratch file of this machine, hashed on the way. Raises Changed, and SourceError."""
    target, seen = sandbox.scratch(), hashlib.sha256()
    try:
        left = item.bytes + 1  # one more than pinned shows that there is more
        with tree.open(item.path) as stream:
            while left and (part := stream.read(min(CHUNK, left))):
                seen.update(part)
                target.write(part)
                left -= len(part)
        if left != 1 or seen.hexdigest() != item.sha256:
            raise Changed("what was read is not what was pinned")
    except BaseException:
        target.close()
        raise
    return target


def beginning(tree: Tree, item: Pinned, count: int, target: IO[bytes], start: int = 0) -> int:
    """Append bytes `start` to `count` of a file to `target`, and return how many of the file it holds then. Raises
    SourceError.
    """
    left = min(count, item.bytes) - start
    with tree.open(item.path, start) as stream:
        while left > 0 and (part := stream.read(min(CHUNK, left))):
            target.write(part)
            left -= len(part)
    return target.tell()


def agree(item: Pinned, target: IO[bytes]) -> None:
    """Compare a beginning that stands in `target` with the digest that was taken when the whole file was hashed. Raises
    Changed when it is another one. What was pinned by an earlier release has none.
    """
    if not item.heads:
        return
    target.seek(0)
    found = hashlib.file_digest(target, "sha256").hexdigest()  # type: ignore[arg-type]
    if item.heads.get(str(target.tell())) != found:
        raise Changed("its beginning is not what was pinned")
