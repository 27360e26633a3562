"""What every source offers: the list of its files, and each of them as a stream."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol


class SourceError(Exception):
    """The content could not be read now; the text is one sentence. Trying again may help."""


class SourceRefused(SourceError):
    """The source is not one that this installation reads, or it holds what no version may hold; trying again changes
    nothing until somebody changes the source or a setting.
    """


class SourceMissing(SourceRefused):
    """The source, or a file of it, is not there."""


class SourceDenied(SourceRefused):
    """This installation may not read the source: a setting, the list of hosts, or the other side says so. It tells
    nothing about the content.
    """


class NotResumed(SourceError):
    """The rest of a file cannot be had; read it from its beginning."""


@dataclass(frozen=True)
class Entry:
    """A file of a tree. `path` is relative with forward slashes, checked: no "..", no empty part, no backslash, no
    control character. `sha256` (64 hex digits) is what the other side claims, if it does; only hashing proves it.
    `mark` is the same as long as the file is, as far as one can tell without reading it.
    """

    path: str
    bytes: int
    sha256: str = ""
    mark: str = ""


class Tree(Protocol):
    """The files of one revision of a source. Reading never follows a symbolic link out of it."""

    @property
    def revision(self) -> str:
        """The commit or digest that the source stands for now: 40 hex digits, sha256:…, or "" where it has none."""

    def entries(self) -> Iterator[Entry]:
        """Return the files. Raises SourceError; SourceRefused for too many of them and for names that lead outside."""

    def open(self, path: str, start: int = 0) -> AbstractContextManager[BinaryIO]:
        """Return a file as a stream from byte `start` on, never held in memory as a whole. Raises SourceError."""
