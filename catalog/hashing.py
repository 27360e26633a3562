"""The SHA-256 of every file of a source: each is streamed once through one buffer, and goes on where it broke off."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

from catalog import heads
from catalog.sources.paths import shown
from catalog.sources.tree import Entry, NotResumed, SourceError, SourceRefused, Tree

CHUNK = 131_072  # bytes; larger ones leave the cache of the core, smaller ones ask the system more often
TRIES = 5  # times that a file may break off without getting WORTH further
WORTH = 64 * 1024**2  # bytes

File = dict[str, Any]  # {"path", "bytes", "sha256"}, and of large weights "heads": {bytes: SHA-256 of so many}
Tick = Callable[[int], None]  # bytes that were read just now


class _Hash(Protocol):
    def update(self, data: memoryview, /) -> None: ...
    def copy(self) -> "_Hash": ...
    def hexdigest(self) -> str: ...


@dataclass
class _Running:
    """A file that is being hashed: how far, and how often it broke off."""

    entry: Entry
    at: int = 0
    broken: int = 0
    good: int = 0  # where it was when `broken` began to count
    hash: _Hash = field(default_factory=hashlib.sha256)
    first: bytes = b""  # of a file whose beginning counts
    ends: Sequence[int] = ()  # where beginnings end that are still to come
    heads: dict[str, str] = field(default_factory=dict)
    begins: bool = False  # whether a beginning may still end in what comes

    def __post_init__(self) -> None:
        self.begins = heads.needed(self.entry.path, self.entry.bytes)

    def take(self, piece: memoryview) -> None:
        """Hash a piece, and keep the digest of each beginning that ends in it."""
        if len(self.first) < heads.LENGTH_BYTES:
            self.first += bytes(piece[: heads.LENGTH_BYTES - len(self.first)])
            if len(self.first) == heads.LENGTH_BYTES:
                self.ends = heads.ends(self.entry.path, self.first)
                self.begins = bool(self.ends)
        done = 0
        while self.ends and self.ends[0] <= self.at + len(piece):
            stop = self.ends[0] - self.at
            self.hash.update(piece[done:stop])
            self.heads[str(self.ends[0])] = self.hash.copy().hexdigest()
            self.ends, done = self.ends[1:], stop
            self.begins = bool(self.ends)
        self.hash.update(piece[done:])

    def again(self, error: SourceError) -> None:
        """Count one break; raises `error` when there were too many."""
        if self.at - self.good >= WORTH:
            self.broken, self.good = 0, self.at
        self.broken += 1
        if self.broken >= TRIES:
            raise error
        if isinstance(error, NotResumed):
            self.at, self.good, self.hash = 0, 0, hashlib.sha256()
            self.first, self.ends, self.heads = b"", (), {}
            self.begins = heads.needed(self.entry.path, self.entry.bytes)


def hash_file(tree: Tree, entry: Entry, tick: Tick) -> File:
    """Read one file and return its path, bytes and SHA-256, of large weights also the SHA-256 of the beginning that is
    looked at; `tick` is called after every piece.

    What breaks off is taken up where it broke off. Raises SourceError when the file cannot be read now, SourceMissing
    when it is not there, and AnotherFile when it is not what the source says it is.
    """
    run = _Running(entry)
    while True:
        try:
            with tree.open(entry.path, run.at) as stream:
                _feed(stream, run, tick)
            break
        except SourceRefused:
            raise
        except SourceError as error:
            run.again(error)
    digest = run.hash.hexdigest()
    if run.at != entry.bytes or (entry.sha256 and digest != entry.sha256):
        raise AnotherFile(entry, run.at, digest)
    found: File = {"path": entry.path, "bytes": run.at, "sha256": digest}
    return found | ({"heads": run.heads} if run.heads else {})


def bare(files: Iterable[File]) -> list[File]:
    """Return what the digest of a content is taken over, and what is told of it: path, bytes and SHA-256 of each."""
    return [{name: file[name] for name in ("path", "bytes", "sha256")} for file in files]


class AnotherFile(SourceRefused):
    """What was read is not the file that the source lists. `found` is what it is, as far as it was read."""

    def __init__(self, entry: Entry, came: int, digest: str) -> None:
        if came > entry.bytes:
            why = f"it goes on after the {entry.bytes:,} bytes that the source lists"
        elif came < entry.bytes:
            why = f"it ended after {came:,} of the {entry.bytes:,} bytes that the source lists"
        else:
            why = f"its SHA-256 is {digest[:12]}…, the source lists {entry.sha256[:12]}…"
        super().__init__(f"“{shown(entry.path)}” is another file when it is read: {why}.")
        self.path = entry.path


def _feed(stream: BinaryIO, run: _Running, tick: Tick) -> None:
    """Hash what comes until the end, or until it is longer than the source says."""
    buffer = memoryview(bytearray(CHUNK))
    # What came is hashed before the next piece is waited for: it is not lost when that one never comes.
    readinto, update, most = stream.readinto1, run.hash.update, run.entry.bytes  # type: ignore[attr-defined]
    while count := readinto(buffer):
        if run.begins:
            run.take(buffer[:count])
        else:
            update(buffer[:count])
        run.at += count
        tick(count)
        if run.at > most:
            return
