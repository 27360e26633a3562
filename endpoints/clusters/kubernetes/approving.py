"""Writing into a namespace what was approved, before it runs, and taking it away afterwards: the cluster's own policies
compare with it (endpoints/clusters/admission/).

All revisions of all endpoints of a namespace stand in one object, which several workers write at once: each changes
only its own entries, by operations on their paths, and what is written twice is the same. A label for each endpoint
leads to them when nothing else of it is left.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from endpoints.clusters import ClusterError, Place, Workload
from endpoints.clusters.admission.terms import NAME
from endpoints.clusters.explaining.cases import refused
from endpoints.clusters.explaining.reading import at, number
from endpoints.clusters.kubernetes import kinds, owned
from endpoints.clusters.kubernetes.client import Client
from endpoints.clusters.kubernetes.kinds import kind_of

T = TypeVar("T")
Object = Mapping[str, Any]
Entries = dict[str, dict[str, Any]]
RUN = ("Deployment", "InferenceService", "LLMInferenceService")  # kinds that run pods
OPERATIONS = "application/json-patch+json"
LABEL = f"approved.{owned.DOMAIN}"  # label: its name is the stem of an endpoint
TRIES = 4  # at writing beside others
PAUSES = (0.05, 0.1, 0.2, 0.4)  # seconds until the API server that refuses has read what was approved
FRESH_SECONDS = 600.0  # for which a look believes what was last read
REFUSED = "policy_denied"
MISSING = frozenset({"not_found", "kind_missing", "namespace_missing"})


def wanted(place: Place) -> bool:
    """Whether the cluster is to know what was approved."""
    return place.settings.get("admission") in ("audit", "enforce")


def approve(client: Client, place: Place, workload: Workload, manifest: Object) -> bool:
    """Write the entry of `manifest`, the object that runs pods of `workload`, and drop those of revisions that are
    neither this one nor kept; whether anything was written. Raises ClusterError.

    Where the cluster has no such kind, or the portal no right to write it, nothing is written while policies only
    record; once they refuse it is an error, `approvals_missing` where there is no such kind.
    """
    return _bearing(place, lambda: _approve(client, place, workload, manifest), False)


def _approve(client: Client, place: Place, workload: Workload, manifest: Object) -> bool:
    space = manifest["metadata"]["namespace"]
    live = _live(client, place, workload, space)
    if live is None:
        return False
    own, stem = str(manifest["metadata"]["name"]), owned.stem(workload.endpoint_id)
    names = at(live, "spec", "approved") or {}
    kept = {own, *(f"{stem}-r{revision}" for revision in workload.keep)}
    stale = [name for name in names if name.startswith(f"{stem}-r") and name not in kept]
    mark = written(manifest)
    known = names.get(own) or {}
    operations: list[dict[str, Any]] = [{"op": "remove", "path": _path(name)} for name in stale]
    if (known.get("written"), known.get("replicas")) != (mark, workload.replicas):
        entry = _entry(client, manifest, workload, mark)
        operations.append({"op": "add", "path": _path(own), "value": entry})
    if operations and _label(stem) not in (at(live, "metadata", "labels") or {}):
        operations.append({"op": "add", "path": _label_path(stem), "value": "yes"})
    if operations:
        _write(client, space, operations)
    _remember(place, space, {*(set(names) - set(stale)), own})
    return bool(operations)


def keep_only(client: Client, place: Place, workload: Workload) -> None:
    """Take away the entries of revisions that are ended; raises ClusterError."""
    stem = owned.stem(workload.endpoint_id)
    kept = {f"{stem}-r{revision}" for revision in (workload.revision, *workload.keep)}
    for space, names in _entries(client, place, workload.endpoint_id).items():
        stale = [{"op": "remove", "path": _path(name)} for name in names if name not in kept]
        if stale:
            _write(client, space, stale)


def rest(client: Client, place: Place, endpoint_id: str) -> None:
    """Let no replica of an endpoint be approved any more while it is suspended; raises ClusterError."""
    for space, names in _entries(client, place, endpoint_id).items():
        awake = [name for name, entry in names.items() if number(at(entry, "replicas")) != 0]
        if awake:
            _write(client, space, [{"op": "replace", "path": f"{_path(name)}/replicas", "value": 0} for name in awake])


def forget(client: Client, place: Place, endpoint_id: str) -> None:
    """Take away every entry of an endpoint of which nothing is left; raises ClusterError."""
    label = _label_path(owned.stem(endpoint_id))
    for space, names in _entries(client, place, endpoint_id).items():
        gone = [{"op": "remove", "path": _path(name)} for name in names]
        _write(client, space, [*gone, {"op": "remove", "path": label}])


def drop(client: Client, space: str, name: str) -> None:
    """Take away the entry of an object that was adopted and is gone; raises ClusterError."""
    _write(client, space, [{"op": "remove", "path": _path(name)}])


def missing(client: Client, place: Place, running: Collection[Object]) -> bool:
    """Whether nothing of what runs of an endpoint has an entry, as after the mode was switched on; looked at every ten
    minutes. A rollout writes those of its own revision only.
    """
    spaces = {str(at(one, "metadata", "namespace")) for one in running}
    try:
        known = {space: _names(client, place, space) for space in spaces}
    except ClusterError as error:
        if error.code == "permission_missing":  # said when something is to be written
            return False
        raise
    if None in known.values():
        return False
    return bool(running) and not any(
        str(at(one, "metadata", "name")) in (known[str(at(one, "metadata", "namespace"))] or ()) for one in running
    )


def _names(client: Client, place: Place, space: str) -> set[str] | None:
    """Return the entries of a namespace; None where the cluster has no such kind."""
    names = _remembered(place, space)
    if names is None:
        live = _read(client, space)
        if live is None and not _served(client):
            return None
        names = _remember(place, space, set(at(live or {}, "spec", "approved") or {}))
    return names


def _bearing(place: Place, do: Callable[[], T], otherwise: T) -> T:
    """Return what `do` returns, or `otherwise` where the portal may not, as long as policies only record."""
    try:
        return do()
    except ClusterError as error:
        if error.code == "permission_missing" and place.settings.get("admission") != "enforce":
            return otherwise
        raise


def after(fresh: bool, write: Callable[[], None]) -> None:
    """Do `write`, and again for a moment while the cluster refuses it and what allows it was only just written. Raises
    ClusterError.
    """
    for pause in PAUSES if fresh else ():
        try:
            return write()
        except ClusterError as error:
            if error.code != REFUSED:
                raise
        time.sleep(pause)
    return write()


def written(manifest: Object) -> str:
    """Return the digest of what the portal writes, whatever the number of replicas."""
    spec = {key: value for key, value in manifest["spec"].items() if key != "replicas"}
    meta = manifest["metadata"]
    parts = [manifest["kind"], spec, meta.get("labels"), meta.get("annotations")]
    return "sha256:" + hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _live(client: Client, place: Place, workload: Workload, space: str) -> Object | None:
    """Return the object of a namespace, made when it is not there; None where the cluster has no such kind."""
    labels = owned.shared(place, workload.project, workload.environment_name)
    made = {
        "apiVersion": kinds.APPROVED.api,
        "kind": kinds.APPROVED.name,
        "metadata": {"name": NAME, "namespace": space, "labels": labels},
        "spec": {"approved": {}},
    }
    live = _read(client, space)
    if live is None:
        try:
            live = client.ask("POST", kinds.APPROVED.path(space), {"fieldManager": owned.MANAGER}, made)
        except ClusterError as error:
            if error.code in MISSING:
                _without(place, error)
                return None
            live = _read(client, space)
            if live is None:
                raise
    owned.require_ours(live, made)
    return live


def _without(place: Place, error: ClusterError) -> None:
    """Raise ClusterError for a cluster without the kind once it is to refuse."""
    if place.settings.get("admission") == "enforce":
        raise refused("approvals_missing") from error


def _entry(client: Client, manifest: Object, workload: Workload, mark: str) -> dict[str, Any]:
    """Return what the cluster would make of `manifest`: with its defaults, of whatever version, and what its webhooks
    add. Asked under another name, so that nothing comes along that somebody put into what runs.
    """
    meta = {key: value for key, value in manifest["metadata"].items() if key != "name"}
    asked = {**manifest, "metadata": {**meta, "generateName": f"{manifest['metadata']['name']}-"}}
    kind = kind_of(manifest)
    query = {"dryRun": "All", "fieldManager": owned.MANAGER, "fieldValidation": "Strict"}
    found: list[dict[str, Any]] = []
    after(True, lambda: found.append(client.ask("POST", kind.path(meta["namespace"]), query, asked)))
    spec = found[0]["spec"]
    marked = found[0]["metadata"]
    if kind == kinds.DEPLOYMENT:
        marked = spec["template"].pop("metadata", None) or {}
        spec["template"]["metadata"] = {}
    return {
        "kind": kind.name,
        "approval": workload.approval,
        "written": mark,
        "replicas": workload.replicas,
        "labels": marked.get("labels") or {},
        "annotations": marked.get("annotations") or {},
        "spec": spec,
    }


def _entries(client: Client, place: Place, endpoint_id: str) -> Entries:
    """Return the entries of an endpoint by namespace and name; none where the cluster has no such kind."""
    none: Entries = {}
    return _bearing(place, lambda: _listed(client, place, endpoint_id), none)


def _listed(client: Client, place: Place, endpoint_id: str) -> Entries:
    stem = owned.stem(endpoint_id)
    labels = f"{owned.INSTALLATION}={owned.installation(place.settings)},{_label(stem)}"
    try:
        listed = client.list(kinds.APPROVED, labels=labels)
    except ClusterError as error:
        if error.code in MISSING:
            return {}
        raise
    return {
        one["metadata"]["namespace"]: {
            name: entry for name, entry in (at(one, "spec", "approved") or {}).items() if name.startswith(f"{stem}-r")
        }
        for one in listed
    }


def _write(client: Client, space: str, operations: list[dict[str, Any]]) -> None:
    """Change entries; what another worker took away meanwhile is gone already."""
    for left in reversed(range(TRIES)):
        try:
            client.ask(
                "PATCH", kinds.APPROVED.path(space, NAME), {"fieldManager": owned.MANAGER}, operations, OPERATIONS
            )
            return
        except ClusterError as error:
            if error.code in MISSING and all(one["op"] != "add" for one in operations):
                return
            if error.code not in {"object_invalid", "changed_meanwhile", "field_conflict"} or not left:
                raise
            operations = _still(_read(client, space) or {}, operations)
            if not operations:
                return


def _still(live: Object, operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the operations whose place is still there."""
    names = {_path(name) for name in at(live, "spec", "approved") or {}}
    names |= {_label_path(key.partition("/")[2]) for key in at(live, "metadata", "labels") or {}}
    return [one for one in operations if one["op"] == "add" or one["path"].removesuffix("/replicas") in names]


def _read(client: Client, space: str) -> Object | None:
    try:
        return client.get(kinds.APPROVED, NAME, space)
    except ClusterError as error:
        if error.code in MISSING:
            return None
        raise


def _served(client: Client) -> bool:
    """Whether the cluster has the kind at all."""
    try:
        answer = client.found("GET", f"/apis/{kinds.APPROVED.api}") or {}
    except ClusterError as error:
        if error.code in MISSING:
            return False
        raise
    return any(one.get("name") == kinds.APPROVED.plural for one in answer.get("resources") or [])


def _path(name: str) -> str:
    return f"/spec/approved/{name}"


def _label(stem: str) -> str:
    return f"{LABEL}/{stem}"


def _label_path(stem: str) -> str:
    return f"/metadata/labels/{LABEL}~1{stem}"


_seen: dict[tuple[str, str], tuple[float, set[str]]] = {}
_lock = threading.Lock()


def _remember(place: Place, space: str, names: set[str]) -> set[str]:
    with _lock:
        if len(_seen) > 4096:
            _seen.clear()
        _seen[place.slug + str(place.settings.get("admission")), space] = (time.monotonic() + FRESH_SECONDS, names)
    return names


def _remembered(place: Place, space: str) -> set[str] | None:
    with _lock:
        ends, names = _seen.get((place.slug + str(place.settings.get("admission")), space), (0.0, set()))
    return names if time.monotonic() < ends else None
