"""Reading a source once, file by file; whoever takes over after a crash goes on after the last finished file."""

import datetime as dt
import time
from collections.abc import Callable, Sequence
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from catalog.hashing import AnotherFile, File, hash_file
from catalog.models import Pin
from catalog.sources.tree import Entry, SourceError, SourceMissing, SourceRefused, Tree

SAVE_SECONDS = 2.0
KEPT = dt.timedelta(days=1)  # what was hashed longer ago is hashed again


def read(pin: Pin, tree: Tree, renew: Callable[[], None], *, strict: bool) -> list[File]:
    """Return every file of `tree` with its SHA-256, by path; what `pin.progress` knows already is not read again.

    `renew` is called every few seconds: it prolongs the claim of the job, and may raise to end the work. Not `strict`:
    a file that is gone is left out, and one that is not what the source lists stands there without a digest. Raises
    SourceError, and SourceRefused for what no version may hold.
    """
    entries = list(tree.entries())
    if not entries:
        raise SourceRefused("The source holds no files.")
    known = _known(pin.progress, tree.revision, entries)
    total = sum(entry.bytes for entry in entries)
    keeper = _Keeper(pin, tree.revision, total, renew, begun=pin.progress["begun"] if known else "")
    for entry in entries:
        if entry.path in known:
            keeper.add(entry, known[entry.path], before=True)
    files: list[File] = []
    try:
        for entry in entries:
            if entry.path in known:
                files.append(known[entry.path])
            elif (file := _file(tree, entry, keeper.tick, strict)) is not None:
                files.append(file)
                keeper.add(entry, file)
        if strict and list(tree.entries()) != entries:
            raise SourceError("The files of the source changed while they were read.")
    except SourceError:
        keeper.save()
        raise
    return sorted(files, key=lambda file: str(file["path"]))


def _file(tree: Tree, entry: Entry, tick: Callable[[int], None], strict: bool) -> File | None:
    try:
        return hash_file(tree, entry, tick)
    except SourceMissing:
        if strict:
            raise
        return None
    except AnotherFile:
        if strict:
            raise
        return {"path": entry.path, "bytes": entry.bytes, "sha256": ""}


def _known(progress: dict[str, Any], revision: str, entries: Sequence[Entry]) -> dict[str, File]:
    """Return the files that were hashed a moment ago and are still the same, as far as one can tell without reading."""
    begun = parse_datetime(str(progress.get("begun", "")) or "-")
    if progress.get("revision") != revision or begun is None or timezone.now() - begun > KEPT:
        return {}
    done = {file["path"]: file for file in progress.get("files", [])}
    known = {}
    for entry in entries:
        file = done.get(entry.path)
        if file and _facts(entry) == [file["bytes"], file["claim"], file["mark"]]:
            known[entry.path] = {name: value for name, value in file.items() if name not in {"claim", "mark"}}
    return known


def _facts(entry: Entry) -> list[object]:
    return [entry.bytes, entry.sha256, entry.mark]


class _Keeper:
    """Writes down how far it is, every few seconds."""

    def __init__(self, pin: Pin, revision: str, total: int, renew: Callable[[], None], begun: str) -> None:
        self._pin, self._renew, self._total = pin, renew, total
        self._state = {"revision": revision, "begun": begun or timezone.now().isoformat(), "of": total}
        self._done: list[dict[str, object]] = []
        self._bytes, self._saved = 0, time.monotonic()

    def tick(self, count: int) -> None:
        """Count bytes that were just read."""
        self._bytes += count
        if time.monotonic() - self._saved >= SAVE_SECONDS:
            self.save()
            self._renew()

    def add(self, entry: Entry, file: File, *, before: bool = False) -> None:
        """Remember a finished file; one without a digest is no result to go on from. `before`: it was read earlier."""
        self._bytes += int(file["bytes"]) if before else 0
        if file["sha256"]:
            self._done.append({**file, "claim": entry.sha256, "mark": entry.mark})

    def save(self) -> None:
        """Write it down."""
        progress = {**self._state, "files": self._done, "bytes": min(self._bytes, self._total)}
        Pin.objects.filter(pk=self._pin.pk).update(progress=progress)
        self._saved = time.monotonic()
