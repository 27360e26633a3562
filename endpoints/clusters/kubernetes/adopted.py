"""What ran before the portal came, and is an endpoint now: found by its uid, its pods by what it owns.

The portal writes the number of replicas, and labels on the object itself, never on its pods: they would start anew.
KServe copies labels of an InferenceService into its pods, so that one gets none. What another object under the same
name does is not the adopted one's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from endpoints.clusters import Adopted, ClusterError, Observation, Place, Replica, Workload
from endpoints.clusters.explaining.cases import refused
from endpoints.clusters.explaining.kserve import STOP
from endpoints.clusters.explaining.reading import at, is_true, mapping, number, text
from endpoints.clusters.kubernetes import approving, kinds, owned, state
from endpoints.clusters.kubernetes.adopted_reading import KINDS, NO_KEY, Seen, read_one
from endpoints.clusters.kubernetes.client import MERGE, Client
from endpoints.clusters.kubernetes.state import Object

MARK = f"{owned.DOMAIN}/adopted"  # label


def pins(place: Place, endpoint_id: str) -> dict[str, tuple[int, Adopted]]:
    """Return what an endpoint has adopted, by uid, with the newest revision that is it."""
    known = place.adopted.get(endpoint_id) or {}
    return {pin.uid: (revision, pin) for revision, pin in sorted(known.items())}


def read(client: Client, place: Place, endpoint_id: str) -> list[Seen]:
    """Return the adopted objects of an endpoint; no call where it has none. Raises ClusterError."""
    return [read_one(client, endpoint_id, revision, pin) for revision, pin in pins(place, endpoint_id).values()]


def beside(client: Client, place: Place, endpoint_id: str, seen: Observation) -> Observation:
    """Return an observation with the engines of what was adopted before the others. Raises ClusterError."""
    there = read(client, place, endpoint_id)
    if not there:
        return seen
    if not seen.replicas and all(one.live is None for one in there):
        return replace(seen, replicas=(_missing(there[-1]),))
    told = merged([_observed(client, one) for one in there if one.live is not None], seen)
    return replace(told, drifted=told.drifted or any(_unmarked(one, endpoint_id) for one in there))


def merged(parts: Sequence[Observation], seen: Observation) -> Observation:
    """Return several observations as one."""
    everything = [*parts, seen]
    replicas = [one for part in everything for one in part.replicas]
    return replace(
        seen,
        replicas=tuple(replace(one, index=index) for index, one in enumerate(replicas)),
        scaled={key: value for part in everything for key, value in part.scaled.items()},
        progress={key: value for part in everything for key, value in part.progress.items()},
        weights={key: value for part in everything for key, value in part.weights.items()},
    )


def apply(client: Client, place: Place, workload: Workload) -> None:
    """Let the adopted object of `workload` run with so many replicas. Raises ClusterError `adopted_gone` when it is
    not there any more, and what the API refuses.
    """
    pin = _pin(workload)
    seen = read_one(client, workload.endpoint_id, workload.revision, pin)
    if seen.live is None:
        raise gone(pin)
    patch = _marks(seen.live, place, workload)
    if approving.wanted(place) and pin.namespace == owned.namespace(place, workload.project, workload.environment_name):
        approving.approve(client, place, workload, _wanted(seen.live, patch, workload.replicas))
    patch = _merged(patch, _size(seen, workload.replicas))
    if patch:
        _write(client, pin, patch)


def end_others(client: Client, place: Place, workload: Workload) -> bool:
    """Put to sleep what was adopted and is neither wanted nor kept, so that one can go back to it; whether some of it
    still runs. Raises ClusterError.
    """
    kept = {workload.revision, *workload.keep}
    uid = workload.adopted.uid if workload.adopted else ""
    others = [
        (revision, pin)
        for revision, pin in pins(place, workload.endpoint_id).values()
        if revision not in kept and pin.uid != uid
    ]
    runs = [_put_to_sleep(client, read_one(client, workload.endpoint_id, *one)) for one in others]
    return not all(runs)


def suspend(client: Client, place: Place, endpoint_id: str) -> bool:
    """Take the next step towards no pod; True when there is none. Raises ClusterError."""
    asleep = [_put_to_sleep(client, one) for one in read(client, place, endpoint_id)]  # each of them, not the first
    return all(asleep)


def remove(client: Client, place: Place, endpoint_id: str) -> bool:
    """Delete what was adopted, with what belongs to it; True when nothing is left. Raises ClusterError."""
    left = False
    for one in read(client, place, endpoint_id):
        if one.live is not None:
            left = True
            if not state.ending(one.live):
                client.delete(one.live)
        elif approving.wanted(place):
            approving.drop(client, one.pin.namespace, one.pin.name)
        left = left or bool(state.living(one.found.pods, client.now()))
    return not left


def gone(pin: Adopted) -> ClusterError:
    """Return the error for an object that is not there any more."""
    return refused("adopted_gone", thing=f"{pin.kind} {pin.name} in {pin.namespace}")


def _pin(workload: Workload) -> Adopted:
    if workload.adopted is None:
        raise LookupError("only workloads that were adopted come here")
    return workload.adopted


def _missing(seen: Seen) -> Replica:
    """Return what stands for an object that is gone: nothing can be started in its place."""
    told = gone(seen.pin)
    return Replica(
        index=0, state="starting", revision=seen.revision, reason_code=told.code, sentence=told.sentence, turn="you",
        next=told.next,
    )  # fmt: skip


def _unmarked(seen: Seen, endpoint_id: str) -> bool:
    """Whether an object does not say yet, or any more, which endpoint it is."""
    live = seen.live
    if live is None or state.ending(live) or seen.pin.kind == kinds.INFERENCE_SERVICE.name:
        return False
    return owned.label(live, owned.ENDPOINT) != endpoint_id and not seen.asleep


def _observed(client: Client, seen: Seen) -> Observation:
    found = seen.found
    if not found.healthy:
        events = _allowed_events(client, seen.pin.namespace)
        found = replace(found, events=events)
    told = state.observation(found, (NO_KEY,), client.now())
    return replace(
        told,
        replicas=tuple(_called(one, seen) for one in told.replicas),
        scaled=_scaled(seen) if seen.autoscaled else {},
        drifted=False,
    )


def _called(replica: Replica, seen: Seen) -> Replica:
    """Return a replica at its own port. The cluster starts what fails again by itself: nobody else touches a pod."""
    one = replace(replica, restarts_itself=True, key="")
    if replica.state != "ready":
        return one
    if seen.pin.kind == kinds.LLM_INFERENCE_SERVICE.name:
        url = text(at(seen.live, "status", "url"))
        if url and is_true(seen.live, "Ready"):
            return replace(one, url=url.rstrip("/"))
        sentence = "The engine is ready, and KServe has not made its address yet."
        return replace(one, state="loading", url="", reason_code="address_not_ready", sentence=sentence)
    head, _, _ = one.url.rpartition(":")
    return replace(one, url=f"{head}:{seen.pin.port}" if head else "")


def _allowed_events(client: Client, namespace: str) -> Sequence[Object]:
    try:
        return client.list(kinds.EVENT, namespace=namespace)
    except ClusterError as error:
        if error.code in {"permission_missing", "forbidden"}:
            return ()
        raise


def _scaled(seen: Seen) -> dict[int, int]:
    counts = [number(at(one, "spec", "replicas")) or 0 for one in seen.found.deployments]
    return {seen.revision: sum(counts)} if counts else {}


def _put_to_sleep(client: Client, seen: Seen) -> bool:
    """Ask for no replica; True when nothing runs and nothing can come."""
    if seen.live is None:
        return True
    if not state.ending(seen.live):
        patch = _size(seen, 0)
        if patch:
            _write(client, seen.pin, patch)
            return False
    return seen.asleep and not state.living(seen.found.pods, client.now())


def _size(seen: Seen, replicas: int) -> dict[str, Any]:
    """Return what has to be written so that so many replicas run; empty: nothing. Where the cluster scales by itself
    only the most counts, and nothing or something.
    """
    live = seen.live or {}
    if seen.pin.kind == kinds.DEPLOYMENT.name:
        now = number(at(live, "spec", "replicas"))
        now = 1 if now is None else now
        fits = now <= replicas and bool(now) == bool(replicas) if seen.autoscaled else now == replicas
        return {} if fits else {"spec": {"replicas": replicas}}
    stopped = owned.annotation(live, STOP) == "true"
    if not replicas:
        return {} if stopped else {"metadata": {"annotations": {STOP: "true"}}}
    patch: dict[str, Any] = {"metadata": {"annotations": {STOP: None}}} if stopped else {}
    if seen.pin.kind == kinds.LLM_INFERENCE_SERVICE.name:
        same = seen.autoscaled or (number(at(live, "spec", "replicas")) or 1) == replicas
        return patch if same else _merged(patch, {"spec": {"replicas": replicas}})
    predictor = mapping(at(live, "spec", "predictor"))
    least = number(predictor.get("minReplicas")) or 1
    most = number(predictor.get("maxReplicas")) or least
    if most == replicas or (most <= replicas and seen.autoscaled):
        return patch
    size = {"minReplicas": min(least, replicas) if seen.autoscaled else replicas, "maxReplicas": replicas}
    return _merged(patch, {"spec": {"predictor": size}})


def _marks(live: Object, place: Place, workload: Workload) -> dict[str, Any]:
    """Return the labels and annotations that are missing on an object."""
    if live.get("kind") == kinds.INFERENCE_SERVICE.name:
        return {}
    labels = owned.labels(place, workload)
    del labels[owned.MANAGED_BY]  # Helm and others know their objects by it
    labels[MARK] = "true"
    annotations = owned.annotations(workload)
    missing = {
        "labels": {key: value for key, value in labels.items() if owned.label(live, key) != value},
        "annotations": {key: value for key, value in annotations.items() if owned.annotation(live, key) != value},
    }
    found = {name: values for name, values in missing.items() if values}
    return {"metadata": found} if found else {}


def _wanted(live: Object, patch: Mapping[str, Any], replicas: int) -> dict[str, Any]:
    """Return the manifest of an object as it will be, for what the cluster compares with."""
    meta = live["metadata"]
    more = patch.get("metadata", {})
    head = {
        "name": meta["name"],
        "namespace": meta["namespace"],
        "labels": {**(meta.get("labels") or {}), **more.get("labels", {})},
        "annotations": {**(meta.get("annotations") or {}), **more.get("annotations", {})},
    }
    spec = {**live["spec"], "replicas": replicas} if live["kind"] == kinds.DEPLOYMENT.name else live["spec"]
    return {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": head, "spec": spec}


def _write(client: Client, pin: Adopted, patch: Mapping[str, Any]) -> None:
    """Merge `patch` into the object, unless another one stands there by now."""
    meta = {**patch.get("metadata", {}), "uid": pin.uid}
    query = {"fieldManager": owned.MANAGER}
    path = KINDS[pin.kind].path(pin.namespace, pin.name)
    if client.found("PATCH", path, query, {**patch, "metadata": meta}, MERGE) is None:
        raise gone(pin)


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(first)
    for key, value in second.items():
        old = found.get(key)
        found[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return found
