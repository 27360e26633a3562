"""Does an object on the cluster still say what was written? Nothing is asked of anybody: what was written stands on the
object itself, sealed with a key of the portal, so that whoever changes the object cannot change that, too.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from endpoints.clusters.explaining.reading import at, number
from endpoints.clusters.kubernetes import differing, guarding, owned
from portal import crypto

PURPOSE = "what was written to a cluster"
_NOT_COPIED = "kubectl.kubernetes.io/last-applied-configuration"
# Where an object says how many replicas it wants.
_COUNTS = {"InferenceService": ("spec", "predictor", "minReplicas")}


def stamped(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return `manifest` with itself in an annotation: by it every look sees what somebody changed since, and the next
    write what is not wanted any more.
    """
    meta = manifest["metadata"]
    annotations = {**meta.get("annotations", {}), key(manifest): sealed(manifest)}
    return {**manifest, "metadata": {**meta, "annotations": annotations}}


def settled(live: Mapping[str, Any], manifest: Mapping[str, Any], *, show: bool = False) -> bool:
    """Whether writing `manifest` would change nothing, or with `show` only what may stay as somebody changed it."""
    written = applied(live)
    return written is not None and _compact(written) == _compact(manifest) and not drifted(live, show=show)


def shows(settings: Mapping[str, Any]) -> bool:
    """Whether the registration lets stay what may stay of what somebody changed."""
    return settings.get("drift") != "revert"


def changed(live: Mapping[str, Any]) -> bool:
    """Whether somebody changed what the portal wrote into `live`."""
    written = applied(live)
    return written is None or not holds(live, written)


def drifted(live: Mapping[str, Any], *, show: bool = False) -> bool:
    """Whether what the portal wrote into `live` has to be written again: it was changed, and with `show` in more than
    what may stay.
    """
    written = applied(live)
    if written is None:
        return True
    if holds(live, written):
        return False
    kind = str(live.get("kind"))
    changes = differing.between(written, live)
    return not (show and changes) or not all(guarding.stays(kind, one.field, one.wanted, one.found) for one in changes)


def lowered(live: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return how many replicas somebody left of how many that were written, where these are fewer."""
    path = _COUNTS.get(str(live.get("kind")), ("spec", "replicas"))
    now, then = number(at(live, *path)), number(at(applied(live), *path))
    return (now, then) if now is not None and then is not None and 1 <= now < then else None


def applied(live: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the manifest that was written last, None where what `stamped` noted is not there or not the portal's."""
    return _opened(owned.annotation(live, key(live)) or "null", tuple(crypto.derived(PURPOSE)))


@lru_cache(maxsize=64)  # one look asks several times, and the next object's note is another one
def _opened(note: str, keys: tuple[str, ...]) -> Mapping[str, Any] | None:
    try:
        written = json.loads(note)
        seal = written.pop("seal") if isinstance(written, dict) else None
    except (KeyError, ValueError, RecursionError):
        return None
    if not isinstance(seal, str) or not seal.isascii():
        return None
    text = _compact(written)
    return written if any(hmac.compare_digest(seal, _seal(text, one)) for one in keys) else None


def sealed(written: Mapping[str, Any]) -> str:
    """Return what `applied` reads: JSON, as kubectl expects it where it keeps a note of its own under that name."""
    text = _compact(written)
    return _compact({**written, "seal": _seal(text, crypto.derived(PURPOSE)[0])})


def _seal(text: str, key: str) -> str:
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


def note(live: Mapping[str, Any], *, show: bool) -> str:
    """Return what says of `live` the same as the manifest that was written, in little: for a look from afar."""
    if drifted(live, show=show):
        return "null"
    pair = lowered(live)
    if pair is None:
        return sealed({})
    *way, last = _COUNTS.get(str(live.get("kind")), ("spec", "replicas"))
    inner: Any = {last: pair[1]}
    for part in reversed(way):
        inner = {part: inner}
    return sealed(inner)


def holds(live: Any, wanted: Any) -> bool:
    """Whether all of `wanted` stands in `live`, which may hold more: defaults, and what others added."""
    if isinstance(wanted, Mapping):
        if not wanted:
            return live is None or isinstance(live, Mapping)
        return isinstance(live, Mapping) and all(_part(key, live.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list | tuple):
        return _list_holds(live or [], wanted)
    return bool(live == wanted) and isinstance(live, bool) == isinstance(wanted, bool)


def _part(name: str, live: Any, wanted: Any) -> bool:
    if name in differing.EXACT:
        return bool((live or {}) == (wanted or {}))
    return (live is not None or name not in differing.PRESENT) and holds(live, wanted)


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
