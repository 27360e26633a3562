"""What stands in a repository at one commit: files by their path, as git's own ids. Nothing is ever checked out."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

FILE_MODES = frozenset({"100644", "100755"})
_FOLDER = re.compile(r"[a-z0-9._/-]+-(ep-[0-9a-f]{13})")  # of plain names alone: no other is the portal's


@dataclass(frozen=True)
class Entry:
    """A file: its mode, as git writes it, and the id of its content."""

    mode: str
    blob: str

    @property
    def plain(self) -> bool:
        """Whether it is a file, not a link or another repository."""
        return self.mode in FILE_MODES


@dataclass(frozen=True)
class Snapshot:
    """All files of one commit below the portal's directory."""

    commit: str
    entries: Mapping[str, Entry] = field(repr=False, default_factory=dict)
    folders: Mapping[str, tuple[str, ...]] = field(repr=False, default_factory=dict)  # paths of files by their folder

    @cached_property
    def stems(self) -> Mapping[str, Sequence[str]]:
        """The directories that are called like an endpoint's, by the stem of their names: anybody can copy one."""
        found: dict[str, list[str]] = {}
        for path in self.folders:
            if (match := _FOLDER.fullmatch(path)) is not None:
                found.setdefault(match[1], []).append(path)
        return MappingProxyType(found)

    def below(self, folder: str) -> dict[str, Entry]:
        """Return the files in `folder` and below, by their path within it."""
        direct = {path[len(folder) + 1 :]: self.entries[path] for path in self.folders.get(folder, ())}
        if f"{folder}/" not in self.folders:  # no folder in it
            return direct
        return {path[len(folder) + 1 :]: one for path, one in self.entries.items() if path.startswith(f"{folder}/")}

    def within(self, folder: str) -> Iterator[str]:
        """Yield the names of what lies directly in `folder`."""
        yield from (path.rsplit("/", 1)[-1] for path in self.folders.get(folder, ()))

    def changed(self, commit: str, files: Mapping[str, bytes | None]) -> "Snapshot":
        """Return what stands there at `commit`, which changed nothing but `files` (None: taken away)."""
        entries = dict(self.entries)
        for path, content in files.items():
            if content is None:
                entries.pop(path, None)
            else:
                entries[path] = Entry("100644", blob_id(content))
        return of(commit, entries)


def of(commit: str, entries: Mapping[str, Entry]) -> Snapshot:
    """Return a snapshot of `entries`."""
    folders: dict[str, list[str]] = {}
    for path in entries:
        folder = path.rpartition("/")[0]
        folders.setdefault(folder, []).append(path)
        parent = folder.rpartition("/")[0]
        while parent and f"{parent}/" not in folders:
            folders[f"{parent}/"] = []  # marks that there are folders in it
            parent = parent.rpartition("/")[0]
    return Snapshot(commit, entries, {name: tuple(paths) for name, paths in folders.items()})


def parsed(commit: str, listing: bytes) -> Snapshot:
    """Return the snapshot that `ls-tree -r -z` lists; names that are no text keep their bytes as surrogates."""
    entries: dict[str, Entry] = {}
    for line in listing.split(b"\0"):
        if line:
            head, _, name = line.partition(b"\t")
            mode, _, blob = head.split(b" ")
            entries[name.decode("utf-8", "surrogateescape")] = Entry(mode.decode(), blob.decode())
    return of(commit, entries)


def blob_id(content: bytes) -> str:
    """Return the id that git gives a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
