"""All endpoints of a cluster at one look: a few lists in pages, of which little is kept at a time."""

from collections.abc import Iterable, Mapping
from typing import Any

from endpoints.clusters.kubernetes import comparing, owned
from endpoints.clusters.kubernetes.state import Found, Object

PAGE = 250  # objects of one answer, which stands in memory as a whole
_KEPT = ("name", "namespace", "uid", "labels", "annotations", "generation", "creationTimestamp", "deletionTimestamp")


def pod(found: Object) -> dict[str, Any]:
    """Return of a pod what `state` reads of a healthy one."""
    return {**_head(found), "spec": {"nodeName": (found.get("spec") or {}).get("nodeName")}}


def written(found: Object, *, show: bool = False) -> dict[str, Any]:
    """Return of an object that the portal wrote what `state` reads: instead of what stands in it and what was written
    once, only whether both are the same, or differ with `show` in nothing but what may stay.
    """
    head, spec = _head(found), found.get("spec") or {}
    note = comparing.note(found, show=show)
    head["metadata"]["annotations"] = {**(head["metadata"].get("annotations") or {}), comparing.key(found): note}
    counts: dict[str, Any] = {"replicas": spec.get("replicas")}
    if isinstance(predictor := spec.get("predictor"), Mapping):
        counts["predictor"] = {"minReplicas": predictor.get("minReplicas")}
    if isinstance(router := spec.get("router"), Mapping):
        counts["router"] = {"route": router.get("route")}
    return {**head, "spec": {name: value for name, value in counts.items() if value is not None}}


def endpoint(found: Object) -> str:
    """Return the id of the endpoint that an object belongs to."""
    return owned.label(found, owned.ENDPOINT)


def _head(found: Object) -> dict[str, Any]:
    meta = found.get("metadata") or {}
    return {
        "apiVersion": found.get("apiVersion"), "kind": found.get("kind"), "status": found.get("status") or {},
        "metadata": {name: meta[name] for name in _KEPT if name in meta},
    }  # fmt: skip


def by_endpoint(objects: Iterable[Object]) -> dict[str, list[Object]]:
    """Return the objects of each endpoint, by its id as the label says it."""
    found: dict[str, list[Object]] = {}
    for one in objects:
        found.setdefault(endpoint(one), []).append(one)
    return found


def found_of(deployments: Iterable[Object], pods: Iterable[Object]) -> dict[str, Found]:
    """Return what there is of each endpoint."""
    ours, theirs = by_endpoint(deployments), by_endpoint(pods)
    return {one: Found(deployments=ours.get(one, ()), pods=theirs.get(one, ())) for one in {*ours, *theirs}}
