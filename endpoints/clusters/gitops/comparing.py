"""In what the repository differs from what the portal would commit now: file by file, field by field, with whoever
committed it. Nothing is written, and nothing is written again by itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from endpoints.clusters import Difference, Place, Workload
from endpoints.clusters.explaining.reading import line
from endpoints.clusters.gitops import layout, sealing
from endpoints.clusters.gitops.layout import SEAL
from endpoints.clusters.gitops.snapshot import Entry, Snapshot, blob_id
from endpoints.clusters.gitops.source import Source
from endpoints.clusters.kubernetes import differing
from endpoints.clusters.kubernetes.differing import Author
from endpoints.clusters.manifest_text import manifest_of

WHOLE = "the whole object"
Manifest = Mapping[str, Any]


def differences(source: Source, place: Place, workload: Workload, manifests: Sequence[Manifest]) -> list[Difference]:
    """Return in what the repository differs from `manifests`; raises ClusterError."""
    seen = source.seen()
    if seen is None:
        return []
    folder = layout.folder(place, workload)
    space = folder.rpartition("/")[0]
    there = {name: one for name, one in seen.below(folder).items() if "/" not in name}
    found = [*_files(source, seen, space, source.space_entries(seen, space), _by_file(manifests, 0))]
    return [*found, *_files(source, seen, folder, there, _by_file(manifests, workload.revision))]


def _by_file(manifests: Sequence[Manifest], revision: int) -> dict[str, Manifest]:
    """Return the manifests of an endpoint's revision, or with 0 what endpoints share, by the name of their file."""
    found: dict[str, Manifest] = {}
    for one in manifests:
        made = layout.own([one], revision) if revision else layout.shared([one])
        found |= dict.fromkeys(made, one)
    return found


def _files(
    source: Source, seen: Snapshot, folder: str, entries: Mapping[str, Entry], wanted: Mapping[str, Manifest]
) -> Iterator[Difference]:
    if not entries:
        yield _of_file(source, seen, folder, "no such directory")
        return
    sealed = source.sealed(folder, entries)
    edited = set(sealing.edited(entries, sealed))
    for name, manifest in sorted(wanted.items()):
        there = entries.get(name)
        if there is None or there != Entry("100644", blob_id(layout.text(manifest))):
            yield from _file(source, seen, f"{folder}/{name}", manifest, there, own=name not in edited)
    known = sealed.files if sealed else {}
    for name in sorted(edited - wanted.keys()):
        ours = name == SEAL or name in known
        words = ("changed" if name in entries else "no file") if ours else "a file that is not the portal's"
        yield _of_file(source, seen, f"{folder}/{name}", words)


def _of_file(source: Source, seen: Snapshot, path: str, words: str) -> Difference:
    by, at = _author(source, seen, path)
    return Difference(
        "File", line(path, 250), found=words, manager=by.manager, operation=by.operation, at=at, guarded=False
    )


def _file(
    source: Source, seen: Snapshot, path: str, manifest: Manifest, there: Entry | None, *, own: bool
) -> Iterator[Difference]:
    by, at = (Author(), None) if own else _author(source, seen, path)
    meta = manifest["metadata"]
    common: dict[str, Any] = {
        "kind": manifest["kind"], "name": meta["name"], "namespace": meta.get("namespace", ""), "manager": by.manager,
        "operation": by.operation, "at": at, "own": own, "guarded": False,
    }  # fmt: skip
    found = _read(source, there)
    if found is None:
        words = "no file" if there is None else "a file that is no such object"
        yield Difference(**common, wanted=WHOLE, found=words)
        return
    for change in differing.between(manifest, found, extra=True):
        yield Difference(
            **common, field=change.field, wanted=differing.shown(change, change.wanted),
            found=differing.shown(change, change.found),
        )  # fmt: skip


def _read(source: Source, there: Entry | None) -> dict[str, Any] | None:
    """Return the object that a file holds, None where it holds none."""
    content = source.repository.blobs([there.blob]).get(there.blob) if there is not None and there.plain else None
    return manifest_of(content) if content is not None else None


def _author(source: Source, seen: Snapshot, path: str) -> tuple[Author, datetime | None]:
    """Return who committed a file last, and when; empty where the copy does not reach so far."""
    by = source.repository.last(seen.commit, path, but=source.repository.address)
    if by is None:
        return Author(), None
    seconds = source.repository.moment(by[0])
    at = datetime.fromtimestamp(seconds, UTC) if seconds else None
    return Author(by[1][:120] or by[2][:120], f"commit {by[0][:12]}", at, sure=True), at
