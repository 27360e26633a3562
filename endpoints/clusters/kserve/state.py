"""From the objects of one endpoint to its replicas, where KServe stands in between. Pure functions.

KServe's own objects tell little of what is wrong: the Deployment that it made and its pods are read as the `kubernetes`
driver reads them, and its conditions only where those have nothing to say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from endpoints.clusters import Observation, Replica
from endpoints.clusters.explaining import Explanation, Seen, explain
from endpoints.clusters.explaining.kserve import STOP
from endpoints.clusters.explaining.reading import at, is_true, number, text
from endpoints.clusters.kubernetes import kinds, owned, state
from endpoints.clusters.kubernetes.state import Found, Object

WORKLOAD = "app.kubernetes.io/component=llminferenceservice-workload"
_SAYS_NOTHING = frozenset({"", "starting"})


def adopted(deployment: Object, service: Object) -> dict[str, Any]:
    """Return the Deployment of an LLMInferenceService with the labels of its owner, which KServe does not copy."""
    meta = deployment["metadata"]
    labels = {**(meta.get("labels") or {}), **(at(service, "metadata", "labels") or {})}
    return {**deployment, "metadata": {**meta, "labels": labels}}


def observation(
    found: Found, services: Sequence[Object], keys: Sequence[str], now: datetime, *, show: bool = False
) -> Observation:
    """Return the replicas, oldest first; `services` are KServe's objects of the endpoint, one for each revision. With
    `show` what may stay of what somebody changed is no drift.
    """
    base = state.observation(found, keys, now)
    by_revision = {state.revision(one): one for one in services}
    replicas = [_told(one, by_revision.get(one.revision), found, now) for one in base.replicas]
    with_children = {state.revision(one) for one in found.deployments}
    for revision, service in sorted(by_revision.items()):
        if revision not in with_children and not _ending(service):
            one = replace(Replica(index=0, state="starting"), revision=revision)
            replicas += [_told(one, service, found, now)] * wanted(service)
    numbered = tuple(replace(one, index=index) for index, one in enumerate(replicas))
    # KServe's object is there before its Deployment: the first step begins with it.
    progress = {number_: state.progress_of(found, number_, one) for number_, one in by_revision.items()}
    routes = {state.revision(one): at(one, "spec", "router", "route") for one in services if not _ending(one)}
    weights = {number_: number(at(route, "weight")) for number_, route in routes.items() if route is not None}
    # What KServe made of its objects is its own business.
    return state.edited(Observation(numbered, progress=progress, weights=weights), services, found.pods, show=show)


def healthy(found: Found, services: Sequence[Object]) -> bool:
    """Whether nothing has to be explained: all pods are ready, and KServe leads to them."""
    services = [one for one in services if not stopped(one)]
    there = {state.revision(one) for one in found.deployments} == {state.revision(one) for one in services}
    return there and found.healthy and all(is_true(one, "Ready") for one in services)


def stopped(service: Object) -> bool:
    """Whether nothing of an object of KServe's is to run."""
    return owned.annotation(service, STOP) == "true"


def wanted(service: Object) -> int:
    """Return how many replicas an object of KServe asks for."""
    if stopped(service):
        return 0
    for path in (("spec", "replicas"), ("spec", "predictor", "minReplicas")):
        if (count := number(at(service, *path))) is not None:
            return min(count, 64)
    return 1


def _told(replica: Replica, service: Object | None, found: Found, now: datetime) -> Replica:
    """Return a replica with KServe's own words, where nothing else tells why it is not ready."""
    if service is None:
        return replica
    if replica.state == "ready":
        return _routed(replica, service)
    if replica.state not in ("starting", "loading") or replica.reason_code not in _SAYS_NOTHING:
        return replica
    if not replica.identity and _blocked(service) and (before := _explained(service, found, now)) is not None:
        # There is no pod that could tell it: it is why the engine before went, and no word on the one that comes.
        return state.saying(replica, replace(before, sentence=f"No engine runs now. {before.sentence}"))
    explained = _explained(_without_loads(service), found, now)
    if explained is None:
        return replica
    said = state.saying(replica, explained)
    return replace(said, state="failed", occupies=True) if explained.failed else said


def _blocked(service: Object) -> bool:
    """Whether KServe says that an engine failed to load, and no other has loaded since."""
    return text(at(service, "status", "modelStatus", "transitionStatus")) == "BlockedByFailedLoad"


def _without_loads(service: Object) -> Object:
    """Return KServe's object without its word on how an engine failed to load: the pods tell that themselves, and
    KServe repeats it while the next one loads already.
    """
    if not _blocked(service):
        return service
    return {**service, "status": {**service["status"], "modelStatus": {}}}


def _explained(service: Object, found: Found, now: datetime) -> Explanation | None:
    large = service.get("kind") == kinds.LLM_INFERENCE_SERVICE.name
    seen = Seen(
        inference_service=None if large else service, llm_inference_service=service if large else None,
        events=found.events, quota=found.quota, namespace=found.namespace,
    )  # fmt: skip
    return explain(seen, now)


def _routed(replica: Replica, service: Object) -> Replica:
    """Return a ready replica under the address by which it is called: engines behind a router speak TLS with a
    certificate that only the router trusts.
    """
    if service.get("kind") != kinds.LLM_INFERENCE_SERVICE.name:
        return replica
    url = text(at(service, "status", "url"))
    if url and is_true(service, "Ready"):
        return replace(replica, url=url.rstrip("/"))
    sentence = "The engine is ready, and KServe has not made its address yet."
    return replace(replica, state="loading", url="", reason_code="address_not_ready", sentence=sentence)


def _ending(found: Mapping[str, Any]) -> bool:
    return at(found, "metadata", "deletionTimestamp") is not None
