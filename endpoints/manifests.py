"""What is, or is to be, written into its cluster for an endpoint: the objects of its revisions as people read them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from endpoints.clusters import Commit, Committing
from endpoints.clusters.manifest_text import manifest_text
from endpoints.drivers import driver_for, workload
from endpoints.models import Endpoint


@dataclass(frozen=True)
class Manifest:
    """One object of one revision, as YAML."""

    kind: str
    name: str
    namespace: str
    revision: int
    yaml: str


@dataclass(frozen=True)
class Manifests:
    """All objects of an endpoint, and where they stand in Git; both empty on this machine."""

    items: tuple[Manifest, ...] = ()
    commit: Commit | None = None


def of(row: Endpoint) -> Manifests:
    """Return the objects of the revision that runs and of the one that follows, secrets left out; wants what
    `reading.whole` selects. Asks no cluster. Raises ClusterError for what cannot run there.
    """
    driver, found, seen = driver_for(row.cluster), list[Manifest](), set[tuple[str, str, str]]()
    following = row.next_revision
    for revision, replicas in (
        (row.revision, row.wanted_replicas),
        (following, following.replicas if following else 0),
    ):
        if revision is None:
            continue
        for one in driver.manifests(workload(row, revision, replicas)):
            made = _manifest(one, revision.number)
            if (made.kind, made.namespace, made.name) not in seen:
                seen.add((made.kind, made.namespace, made.name))
                found.append(made)
    commit = driver.committed(str(row.pk)) if isinstance(driver, Committing) else None
    return Manifests(tuple(found), commit)


def document(found: Manifests) -> dict[str, Any]:
    """Return the manifests as the API shows them."""
    items = [
        {
            "kind": one.kind,
            "name": one.name,
            "namespace": one.namespace or None,
            "revision": one.revision,
            "yaml": one.yaml,
        }
        for one in found.items
    ]
    where = found.commit
    stands = where and {
        "url": where.repository, "branch": where.branch, "commit": where.commit, "path": where.path,
        "proposed": where.proposed or None,
    }  # fmt: skip
    return {"items": items, "next": None, "repository": stands}


def _manifest(one: Mapping[str, Any], revision: int) -> Manifest:
    meta = one["metadata"]
    return Manifest(str(one["kind"]), str(meta["name"]), str(meta.get("namespace", "")), revision, manifest_text(one))
