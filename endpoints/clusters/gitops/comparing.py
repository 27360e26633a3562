"""In what the repository differs from what the portal would commit now: file by file, field by field, with whoever
committed it. Nothing is written, and nothing is written again by itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import yaml

from endpoints.clusters import Difference, Place, Workload
from endpoints.clusters.gitops import layout, sealing
from endpoints.clusters.gitops.layout import LIST, SEAL
from endpoints.clusters.gitops.snapshot import Entry, Snapshot, blob_id
from endpoints.clusters.gitops.source import Source
from endpoints.clusters.kubernetes import differing, owned
from endpoints.clusters.kubernetes.differing import Author

MOST_BYTES = 2**20  # of one file
WHOLE = "the whole object"
Manifest = Mapping[str, Any]


def differences(source: Source, place: Place, workload: Workload, manifests: Sequence[Manifest]) -> list[Difference]:
    """Return in what the repository differs from `manifests`; raises ClusterError."""
    seen = source.seen()
    if seen is None:
        return []
    folder = layout.folder(place, workload)
    found = [*_files(source, seen, folder.rpartition("/")[0], _by_file(manifests, 0))]
    return [*found, *_files(source, seen, folder, _by_file(manifests, workload.revision))]


def _by_file(manifests: Sequence[Manifest], revision: int) -> dict[str, Manifest]:
    """Return the manifests of an endpoint's revision, or with 0 what endpoints share, by the name of their file."""
    found: dict[str, Manifest] = {}
    for one in manifests:
        made = layout.own([one], revision) if revision else layout.shared([one])
        found |= dict.fromkeys(made, one)
    return found


def _files(source: Source, seen: Snapshot, folder: str, wanted: Mapping[str, Manifest]) -> Iterator[Difference]:
    entries = {name: one for name, one in seen.below(folder).items() if "/" not in name}
    sealed = source.sealed(folder, entries) if entries else None
    edited = (
        set(sealing.edited({name: one for name, one in entries.items() if name != LIST}, sealed)) if entries else set()
    )
    if not entries:
        return
    for name, manifest in sorted(wanted.items()):
        there = entries.get(name)
        if there is None or there != Entry("100644", blob_id(layout.text(manifest))):
            yield from _file(source, seen, f"{folder}/{name}", manifest, there, own=name not in edited)
    known = sealed.files if sealed else {}
    for name in sorted(edited - wanted.keys() - {SEAL, LIST}):
        if name not in known:
            by, at = _author(source, seen, f"{folder}/{name}")
            yield Difference(
                "File", f"{folder}/{name}"[:250], found="a file that is not the portal's", manager=by.manager,
                operation=by.operation, at=at, guarded=False,
            )  # fmt: skip


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


def _read(source: Source, there: Entry | None) -> Any:
    """Return the object that a file holds, None where it holds none."""
    content = source.repository.blobs([there.blob]).get(there.blob) if there is not None and there.plain else None
    if content is None or len(content) > MOST_BYTES:
        return None
    try:
        found = yaml.load(content, Loader=_Safe)  # noqa: S506 - a safe one
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and owned.label(found, owned.MANAGED_BY) is not None else None


class _Safe(yaml.SafeLoader):
    """Reads plain values, and no alias: a few lines of them could stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse an alias."""
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("it holds an alias")
        return super().compose_node(parent, index)


def _author(source: Source, seen: Snapshot, path: str) -> tuple[Author, datetime | None]:
    """Return who committed a file last, and when; empty where the copy does not reach so far."""
    by = source.repository.last(seen.commit, path, but=source.repository.address)
    if by is None:
        return Author(), None
    seconds = source.repository.moment(by[0])
    at = datetime.fromtimestamp(seconds, UTC) if seconds else None
    return Author(by[1][:120] or by[2][:120], f"commit {by[0][:12]}", at, sure=True), at
