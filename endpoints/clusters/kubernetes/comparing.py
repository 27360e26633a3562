"""Does an object on the cluster still say what was written? Pure functions."""

import json
from collections.abc import Mapping
from typing import Any

from endpoints.clusters.kubernetes import owned

_NOT_COPIED = "kubectl.kubernetes.io/last-applied-configuration"


def stamped(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return `manifest` with itself in an annotation: by it every look sees what somebody changed since, and the next
    write what is not wanted any more.
    """
    meta = manifest["metadata"]
    annotations = {**meta.get("annotations", {}), key(manifest): _compact(manifest)}
    return {**manifest, "metadata": {**meta, "annotations": annotations}}


def settled(live: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    """Whether writing `manifest` would change nothing."""
    return owned.annotation(live, key(manifest)) == _compact(manifest) and holds(live, manifest)


def drifted(live: Mapping[str, Any]) -> bool:
    """Whether somebody changed what the portal wrote into `live`."""
    written = applied(live)
    return written is None or not holds(live, written)


def applied(live: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the manifest that was written last, None when somebody has spoilt what `stamped` noted."""
    try:
        written = json.loads(owned.annotation(live, key(live)) or "null")
    except (ValueError, RecursionError):
        return None
    return written if isinstance(written, dict) else None


def holds(live: Any, wanted: Any) -> bool:
    """Whether all of `wanted` stands in `live`, which may hold more: defaults, and what others added."""
    if isinstance(wanted, Mapping):
        if not wanted:
            return live is None or isinstance(live, Mapping)
        return isinstance(live, Mapping) and all(holds(live.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list | tuple):
        return _list_holds(live or [], wanted)
    return bool(live == wanted) and isinstance(live, bool) == isinstance(wanted, bool)


def _list_holds(live: Any, wanted: Any) -> bool:
    if not isinstance(live, list):
        return False
    if wanted and all(isinstance(one, Mapping) and "name" in one for one in [*live, *wanted]):
        by_name = {one["name"]: one for one in live}
        return all(holds(by_name.get(one["name"]), one) for one in wanted)
    return len(live) == len(wanted) and all(holds(*pair) for pair in zip(live, wanted, strict=True))


def key(found: Mapping[str, Any]) -> str:
    """Return the annotation that holds what was written. KServe copies those of an InferenceService into its pods,
    which would start anew with every change of the number of replicas; this one it leaves out.
    """
    return _NOT_COPIED if found.get("kind") == "InferenceService" else owned.APPLIED


def _compact(manifest: Mapping[str, Any]) -> str:
    return json.dumps(manifest, sort_keys=True, separators=(",", ":"))
