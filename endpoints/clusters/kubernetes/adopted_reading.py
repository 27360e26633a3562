"""An adopted object as the driver reads it: with the Deployments, ReplicaSets and pods that belong to it by what owns
what, never by labels alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from endpoints.clusters import Adopted, ClusterError
from endpoints.clusters.explaining.kserve import STOP
from endpoints.clusters.explaining.reading import at, mapping, number, objects, text
from endpoints.clusters.kubernetes import comparing, kinds, manifests, owned, pods, state
from endpoints.clusters.kubernetes.client import Client
from endpoints.clusters.kubernetes.kinds import Kind
from endpoints.clusters.kubernetes.state import Found, Object

KINDS: Mapping[str, Kind] = {
    one.name: one for one in (kinds.DEPLOYMENT, kinds.INFERENCE_SERVICE, kinds.LLM_INFERENCE_SERVICE)
}
NO_KEY = "none"  # stands for the key of engines that ask for none
RARELY = 300.0  # seconds between two looks at the autoscalers of a namespace
SERVICE_LABEL = "serving.kserve.io/inferenceservice"
LLM_LABEL = "app.kubernetes.io/name"
LLM_PART = "app.kubernetes.io/component=llminferenceservice-workload"


@dataclass(frozen=True)
class Seen:
    """An adopted object with what belongs to it; without `live` it is gone, or another one stands in its place."""

    pin: Adopted
    revision: int
    live: Object | None = None
    found: Found = field(default_factory=Found)
    pods: Sequence[Object] = ()  # as the cluster has them
    autoscaled: bool = False

    @property
    def asleep(self) -> bool:
        """Whether it wants no pod, and its controller has seen that."""
        if self.live is None:
            return True
        if self.pin.kind == "Deployment":
            return state.asleep(self.live)
        return owned.annotation(self.live, STOP) == "true" and not self.found.deployments


def read_one(client: Client, endpoint_id: str, revision: int, pin: Adopted) -> Seen:
    """Return an adopted object with what belongs to it. Raises ClusterError."""
    kind = KINDS[pin.kind]
    live = client.get(kind, pin.name, pin.namespace)
    if live is None or str(at(live, "metadata", "uid")) != pin.uid:
        return Seen(pin, revision)
    live = {"apiVersion": kind.api, "kind": kind.name, **live}
    made = [live] if kind == kinds.DEPLOYMENT else _made(client, pin)
    own, sets = list[Object](), list[Object]()
    for one in made:
        labels = _selector(mapping(at(one, "spec", "selector")))
        uid = str(at(one, "metadata", "uid"))
        if not labels:
            continue
        between = [each for each in client.list(kinds.REPLICA_SET, namespace=pin.namespace, labels=labels)
                   if _owner(each) == uid]  # fmt: skip
        sets += between
        owners = {str(at(each, "metadata", "uid")) for each in between}
        own += [each for each in client.list(kinds.POD, namespace=pin.namespace, labels=labels)
                if _owner(each) in owners]  # fmt: skip
    found = Found(
        deployments=[_labelled(one, endpoint_id, revision) for one in made],
        pods=[_labelled(_renamed(one, pin), endpoint_id, revision) for one in own],
        replica_sets=[_labelled(one, endpoint_id, revision) for one in sets],
    )
    return Seen(pin, revision, live, found, own, _autoscaled(client, pin, live))


def _made(client: Client, pin: Adopted) -> list[Object]:
    """Return the Deployments that KServe made of an object for its engines."""
    large = pin.kind == kinds.LLM_INFERENCE_SERVICE.name
    labels = f"{LLM_LABEL}={pin.name},{LLM_PART}" if large else f"{SERVICE_LABEL}={pin.name}"
    made = [one for one in client.list(kinds.DEPLOYMENT, namespace=pin.namespace, labels=labels)
            if _owner(one) == pin.uid]  # fmt: skip
    engines = [one for one in made if str(at(one, "metadata", "name")).endswith("-predictor")]
    return made if large or not engines else engines


def engine_container(pin: Adopted, pod: Object) -> str:
    """Return the name of the container that is the engine."""
    names = [text(one.get("name")) for one in objects(at(pod, "spec", "containers"))]
    if pin.container in names:
        return pin.container
    return next((name for name in names if name in pods.CONTAINERS), names[0] if names else pods.CONTAINER)


def _autoscaled(client: Client, pin: Adopted, live: Object) -> bool:
    """Whether the cluster chooses the number of replicas."""
    if pin.kind == kinds.INFERENCE_SERVICE.name:
        predictor = mapping(at(live, "spec", "predictor"))
        least = number(predictor.get("minReplicas")) or 1
        return (number(predictor.get("maxReplicas")) or least) != least
    if pin.kind != kinds.DEPLOYMENT.name:
        return bool(at(live, "spec", "scaling"))

    def targets() -> set[str]:
        try:
            found = client.list(kinds.AUTOSCALER, namespace=pin.namespace)
        except ClusterError as error:
            if error.code in {"permission_missing", "forbidden"}:
                return set()
            raise
        refs = (mapping(at(one, "spec", "scaleTargetRef")) for one in found)
        return {text(one.get("name")) for one in refs if one.get("kind") == "Deployment"}

    return pin.name in client.kept(f"scaled {pin.namespace}", RARELY, targets)


def _labelled(found: Object, endpoint_id: str, revision: int) -> dict[str, Any]:
    """Return an object as if it bore the portal's labels, for what reads by them; nothing of it is drifted."""
    meta = mapping(found.get("metadata"))
    labels = {**mapping(meta.get("labels")), owned.ENDPOINT: endpoint_id, owned.REVISION: str(revision)}
    annotations = {**mapping(meta.get("annotations")), comparing.key(found): comparing.sealed({})}
    return {**found, "metadata": {**meta, "labels": labels, "annotations": annotations}}


def _renamed(pod: Object, pin: Adopted) -> dict[str, Any]:
    """Return a pod whose engine is called as the portal calls its own."""
    name = engine_container(pin, pod)
    status = mapping(pod.get("status"))
    meta = mapping(pod.get("metadata"))
    annotations = {**mapping(meta.get("annotations")), pods.KEY: manifests.fingerprint(NO_KEY)}
    told = [{**one, "name": pods.CONTAINER} if one.get("name") == name else one
            for one in objects(status.get("containerStatuses"))]  # fmt: skip
    return {
        **pod,
        "metadata": {**meta, "annotations": annotations},
        "status": {**status, "containerStatuses": told},
    }


def _owner(found: Object) -> str:
    owners = objects(at(found, "metadata", "ownerReferences"))
    return next((text(one.get("uid")) for one in owners if one.get("controller") is True), "")


def _selector(selector: Mapping[str, Any]) -> str:
    """Return a selector of pods as a list takes it."""
    parts = [f"{key}={value}" for key, value in mapping(selector.get("matchLabels")).items()]
    for one in objects(selector.get("matchExpressions")):
        values = ",".join(str(value) for value in one.get("values") or ())
        written = {"In": f"{one.get('key')} in ({values})", "NotIn": f"{one.get('key')} notin ({values})",
                   "Exists": str(one.get("key")), "DoesNotExist": f"!{one.get('key')}"}  # fmt: skip
        parts.append(written.get(str(one.get("operator")), ""))
    return ",".join(part for part in parts if part)
