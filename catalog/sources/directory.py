"""file:// and pvc://: a directory that an operator listed in GATEHOUSE_SOURCE_DIRS, or one below it.

Every step opens by descriptor and refuses symbolic links, so that a link which is put there between two steps leads
nowhere either. Only regular files are read.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote

from django.conf import settings

from catalog.sources import paths
from catalog.sources.tree import Entry, NotResumed, SourceDenied, SourceError, SourceMissing, SourceRefused

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Non-blocking: a pipe that was put in the place of a file must not hold the worker until somebody writes to it.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def of(scheme: str, rest: str) -> "DirectoryTree":
    """Return the tree for file:///path (`rest` is the path) or pvc://name/path. Raises SourceDenied, SourceRefused."""
    text = unquote(rest)
    if scheme == "pvc":
        name, _, below = text.partition("/")
        root = settings.SOURCE_DIRS.get(name)
        if root is None:
            raise SourceDenied(
                f"No directory is mounted here under the name “{paths.shown(name)}”. Whoever runs the portal can list "
                "it in GATEHOUSE_SOURCE_DIRS."
            )
        return DirectoryTree(root, _parts(below))
    parts = _parts(text.removeprefix("/"))
    if not text.startswith("/"):
        raise SourceRefused("A file:// source needs an absolute path: file:///srv/models/name.")
    whole = PurePosixPath("/", *parts)
    above = [root for root in settings.SOURCE_DIRS.values() if whole.is_relative_to(root)]
    if not above:
        raise SourceDenied(
            f"{paths.shown(text)} lies below no directory that the portal may read. Whoever runs it can list one in "
            "GATEHOUSE_SOURCE_DIRS."
        )
    root = max(above, key=lambda path: len(path.parts))
    return DirectoryTree(root, list(whole.relative_to(root).parts))


def _parts(path: str) -> list[str]:
    trimmed = path.rstrip("/")
    return paths.clean(trimmed).split("/") if trimmed else []


class DirectoryTree:
    """The files below `root`, which an operator chose, and `parts`, which somebody proposed."""

    revision = ""  # a directory has none

    def __init__(self, root: Path, parts: list[str]) -> None:
        self._root, self._parts = root, parts

    def entries(self) -> Iterator[Entry]:
        """Return the files, folder by folder in the order of their names. Raises SourceError, SourceRefused."""
        with self._top() as top:
            yield from paths.bounded(_walk(top, ""))

    @contextlib.contextmanager
    def open(self, path: str, start: int = 0) -> Iterator[BinaryIO]:
        """Give the file at `path` from byte `start` on. Raises SourceError also at the end, when it was written to."""
        *folders, name = paths.clean(path).split("/")
        with self._top() as top, _below(top, folders) as folder, _said(path):
            descriptor = os.open(name, FILE, dir_fd=folder)
            with os.fdopen(descriptor, "rb") as file:
                before = os.fstat(descriptor)
                if not stat.S_ISREG(before.st_mode):
                    raise SourceRefused(f"“{path}” is no regular file any more.")
                os.set_blocking(descriptor, True)
                if start:
                    file.seek(start)
                yield file
                if _mark(os.fstat(descriptor)) != _mark(before):
                    raise NotResumed(f"“{path}” was written to while it was read.")

    @contextlib.contextmanager
    def _top(self) -> Iterator[int]:
        """Give a descriptor of the directory itself."""
        try:
            # The operator's own path may hold links; nothing below it may.
            root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise SourceError(f"The directory of the source cannot be opened: {error.strerror}.") from error
        try:
            with _below(root, self._parts, missing=SourceMissing) as top:
                yield top
        finally:
            os.close(root)


@contextlib.contextmanager
def _below(folder: int, parts: list[str], *, missing: type[SourceError] = SourceError) -> Iterator[int]:
    """Give a descriptor of the folder that `parts` lead to from `folder`, no link followed on the way."""
    held: list[int] = []
    try:
        for part in parts:
            with _said(part, missing):
                held.append(os.open(part, FOLDER, dir_fd=held[-1] if held else folder))
        yield held[-1] if held else folder
    finally:
        for descriptor in held:
            os.close(descriptor)


@contextlib.contextmanager
def _said(path: str, missing: type[SourceError] = SourceError) -> Iterator[None]:
    """Put in a sentence what the system says about `path`."""
    try:
        yield
    except FileNotFoundError as error:
        raise missing(f"“{paths.shown(path)}” is not there.") from error
    except OSError as error:
        if isinstance(error, NotADirectoryError) or error.errno in _LINKS:
            raise SourceRefused(f"“{paths.shown(path)}” is a symbolic link or no longer what it was.") from error
        raise SourceError(f"“{paths.shown(path)}” cannot be read: {error.strerror}.") from error


_LINKS = frozenset({40, 62})  # ELOOP here and elsewhere: O_NOFOLLOW met a link


def _walk(folder: int, prefix: str) -> Iterator[Entry]:
    """Give what lies below the descriptor `folder`."""
    with _said(prefix or "/"):
        with os.scandir(folder) as found:
            names = sorted(_taken(found, prefix))
        for name in names:
            path = paths.clean(f"{prefix}{name}")
            facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(facts.st_mode):
                with _below(folder, [name]) as inner:
                    yield from _walk(inner, f"{path}/")
            elif stat.S_ISREG(facts.st_mode):
                yield Entry(path, facts.st_size, mark=_mark(facts))
            else:
                what = "a symbolic link" if stat.S_ISLNK(facts.st_mode) else "neither a file nor a folder"
                raise SourceRefused(f"“{path}” is {what}. A version holds plain files only.")


def _taken(found: Iterator[os.DirEntry[str]], prefix: str) -> Iterator[str]:
    for count, item in enumerate(found):
        if count >= 2 * paths.MAX_FILES:  # never hold a million names
            raise SourceRefused(f"“{paths.shown(prefix) or '/'}” holds more than {paths.MAX_FILES:,} files, the limit.")
        yield item.name


def _mark(facts: os.stat_result) -> str:
    """What changes with the file; the time of the inode's change cannot be set by hand."""
    return f"{facts.st_ino}:{facts.st_size}:{facts.st_mtime_ns}:{facts.st_ctime_ns}"
