"""From a workload to the objects that make it true, in the order in which they are written. Pure functions.

The Service comes first of an endpoint's objects and goes last: by it what is left is found after a crash in between.
The Deployment is written last: what is ready is not written again, so that nothing may be missing beside it.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from endpoints.clusters import Place, Workload
from endpoints.clusters.explaining.cases import refused
from endpoints.clusters.kubernetes import owned, pods, space
from endpoints.clusters.kubernetes.differing import HIDDEN
from endpoints.clusters.kubernetes.space import PORT

MOST_REPLICAS = 64
PATIENCE_SECONDS = 120  # beyond the start-up budget before the cluster calls a rollout stuck: scheduling, image
AUTOSCALERS = ("hpa", "keda")
AUTOSCALED = f"{owned.DOMAIN}/autoscaled"  # annotation of a Deployment whose replicas are the autoscaler's
WAITING = 5  # requests that wait per replica: more of them call for another replica
_PINNED = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
_RESOURCE = re.compile(r"[a-z0-9.-]{1,253}/[A-Za-z0-9._-]{1,63}")


def objects(place: Place, workload: Workload, key: str) -> list[dict[str, Any]]:
    """Return all objects of `workload`, whose engines ask for `key`; raises ClusterError for what cannot run there."""
    check(place, workload)
    found = [_service(place, workload), _secret(place, workload, key)]
    if workload.replicas > 1:
        found.append(_budget(place, workload))
    if autoscales(place, workload):
        found.append(_keda(place, workload) if place.settings["autoscaler"] == "keda" else _hpa(place, workload))
    found.append(_deployment(place, workload, key))
    return [*space.objects(place, workload), *found]


def check(place: Place, workload: Workload) -> None:
    """Raise ClusterError for a workload that cannot run in containers, whatever is tried."""
    if not workload.command or not 0 <= workload.replicas <= MOST_REPLICAS or workload.revision < 0:
        raise refused("invalid_workload", detail=f"needs a command and 0 to {MOST_REPLICAS} replicas")
    if not workload.environment_name:
        raise refused("invalid_workload", detail="names no environment")
    if not workload.image:
        raise refused("image_missing")
    if not _PINNED.fullmatch(workload.image):
        raise refused("image_not_pinned", image=workload.image)
    if workload.accelerators and not _RESOURCE.fullmatch(workload.resource):
        raise refused("resource_invalid", resource=workload.resource)
    if place.settings.get("autoscaler") == "keda" and not place.settings.get("prometheus"):
        raise refused("autoscaler_unset")


def fingerprint(key: str) -> str:
    """Return what tells one key of engines from another and says nothing about it."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def shown(made: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return objects as people may read them: without what is in a Secret."""
    return [{**one, "data": dict.fromkeys(one["data"], HIDDEN)} if one["kind"] == "Secret" else one for one in made]


def scaled_to_nothing(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of a Deployment with no replica, whoever chose how many there are."""
    return {**manifest, "spec": {**manifest["spec"], "replicas": 0}}


def autoscales(place: Place, workload: Workload) -> bool:
    """Whether the cluster chooses the number of replicas, between one and what was approved."""
    return place.settings.get("autoscaler") in AUTOSCALERS and workload.replicas > 1


def _object(api: str, kind: str, place: Place, workload: Workload, **rest: Any) -> dict[str, Any]:
    metadata = {
        "name": owned.name(workload),
        "namespace": owned.namespace(place, workload.project, workload.environment_name),
        "labels": owned.labels(place, workload),
        "annotations": owned.annotations(workload),
    }
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}


def chosen(workload: Workload) -> dict[str, str]:
    """Return the labels by which the pods of one revision are chosen."""
    return {owned.ENDPOINT: workload.endpoint_id, owned.REVISION: str(workload.revision)}


def _service(place: Place, workload: Workload) -> dict[str, Any]:
    port = {"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}
    spec = {"type": "ClusterIP", "selector": chosen(workload), "ports": [port]}
    return _object("v1", "Service", place, workload, spec=spec)


def _secret(place: Place, workload: Workload, key: str) -> dict[str, Any]:
    data = {"key": base64.b64encode(key.encode()).decode()}
    found = _object("v1", "Secret", place, workload, type="Opaque", data=data)
    found["metadata"]["name"] = owned.key_name(workload.endpoint_id)
    del found["metadata"]["labels"][owned.REVISION]  # all revisions share it
    del found["metadata"]["annotations"]
    return found


def _budget(place: Place, workload: Workload) -> dict[str, Any]:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": chosen(workload)}}
    return _object("policy/v1", "PodDisruptionBudget", place, workload, spec=spec)


def _deployment(place: Place, workload: Workload, key: str) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "replicas": workload.replicas,
        "revisionHistoryLimit": 1,
        "progressDeadlineSeconds": workload.start_timeout_seconds + PATIENCE_SECONDS,
        "strategy": {"type": "Recreate"},  # another revision is another Deployment: two of the same would need twice
        "selector": {"matchLabels": chosen(workload)},
        "template": pods.template(place, workload, fingerprint(key)),
    }
    if autoscales(place, workload):
        del spec["replicas"]  # a field that is not written is the autoscaler's
    found = _object("apps/v1", "Deployment", place, workload, spec=spec)
    found["metadata"]["labels"] |= pods.queue(place)
    if autoscales(place, workload):
        found["metadata"]["annotations"][AUTOSCALED] = "true"
    return found


def _hpa(place: Place, workload: Workload) -> dict[str, Any]:
    metric = {
        "type": "Pods",
        "pods": {
            "metric": {"name": str(place.settings.get("autoscaler_metric") or "vllm_num_requests_waiting")},
            "target": {"type": "AverageValue", "averageValue": str(WAITING)},
        },
    }
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": owned.name(workload)}
    spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": workload.replicas, "metrics": [metric]}
    return _object("autoscaling/v2", "HorizontalPodAutoscaler", place, workload, spec=spec)


def _keda(place: Place, workload: Workload) -> dict[str, Any]:
    name, namespace = owned.name(workload), owned.namespace(place, workload.project, workload.environment_name)
    query = f'sum(vllm:num_requests_waiting{{namespace="{namespace}",pod=~"{name}-.+"}})'
    metadata = {"serverAddress": str(place.settings["prometheus"]), "query": query, "threshold": str(WAITING)}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicaCount": 1,
        "maxReplicaCount": workload.replicas,
        "triggers": [{"type": "prometheus", "metadata": metadata}],
    }
    return _object("keda.sh/v1alpha1", "ScaledObject", place, workload, spec=spec)
