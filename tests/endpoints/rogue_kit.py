"""Objects as an API server lists them, for the scan of what runs without approval."""

import itertools
from collections.abc import Mapping
from typing import Any

from endpoints.clusters import ClusterError
from tests.endpoints.kubernetes_double import Double

_uids = itertools.count(1)
Object = dict[str, Any]


def uid() -> str:
    """An identity that nothing else has."""
    return f"00000000-0000-4000-8000-{next(_uids):012}"


def meta(name: str, namespace: str, owner: Object | None = None, **more: Any) -> Object:
    """The head of an object; `owner` is what it belongs to."""
    found: Object = {"name": name, "namespace": namespace, "uid": uid(), **more}
    if owner is not None:
        ref = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "controller": True}
        found["ownerReferences"] = [{**ref, "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}]
    return found


def container(image: str, gpus: int = 0, *args: str, resource: str = "nvidia.com/gpu", **more: Any) -> Object:
    """One container."""
    limits = {resource: str(gpus)} if gpus else {}
    return {"name": "server", "image": image, "args": list(args), "resources": {"limits": limits}, **more}


def pod(
    name: str, namespace: str, containers: list[Object], owner: Object | None = None, *,
    start: str = "2026-11-29T10:00:00Z", placed: bool = True, status: Object | None = None, **more: Any,
) -> Object:  # fmt: skip
    """A pod that runs since `start`, or waits for a place."""
    condition = {"type": "PodScheduled", "status": "True", "lastTransitionTime": start}
    told: Object = (
        {"phase": "Running", "startTime": start, "conditions": [condition]} if placed else {"phase": "Pending"}
    )
    spec = {"containers": containers, **({"nodeName": "gpu-1"} if placed else {})}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": meta(name, namespace, owner, **more), "spec": spec,
        "status": {**told, **(status or {})},
    }  # fmt: skip


def deployment(
    name: str, namespace: str, image: str = "docker.io/vllm/vllm-openai:v0.9", gpus: int = 1, replicas: int = 1,
    **more: Any,
) -> list[Object]:  # fmt: skip
    """A Deployment with ReplicaSet and pods, as objects to be listed."""
    labels = {"app": name}
    one = container(image, gpus, "--model", "ibm-granite/granite-3.3-2b-instruct", "--port=8000")
    top = {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": meta(name, namespace, **more, generation=1, creationTimestamp="2026-11-29T09:59:00Z"),
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                 "template": {"metadata": {"labels": labels}, "spec": {"containers": [one]}}},
        "status": {"observedGeneration": 1, "replicas": replicas},
    }  # fmt: skip
    count = {"replicas": replicas}
    middle = {
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": count, "status": {"observedGeneration": 1, **count},
        "metadata": meta(f"{name}-7c9", namespace, top, labels=labels),
    }  # fmt: skip
    pods = [pod(f"{name}-7c9-{number}", namespace, [one], middle, labels=labels) for number in range(replicas)]
    return [top, middle, *pods]


def inference_service(name: str, namespace: str, gpus: int = 1, **more: Any) -> list[Object]:
    """An InferenceService with what KServe made of it, as objects to be listed."""
    model = {"modelFormat": {"name": "vLLM"}, "storageUri": "hf://ibm-granite/granite-3.3-2b-instruct",
             "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}  # fmt: skip
    top = {
        "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
        "metadata": meta(name, namespace, **more), "spec": {"predictor": {"minReplicas": 1, "model": model}},
    }  # fmt: skip
    label = {"serving.kserve.io/inferenceservice": name}
    made, middle, one = deployment(f"{name}-predictor", namespace, "kserve/vllm-cpu:latest", gpus, labels=label)
    made["metadata"]["ownerReferences"] = meta("", "", top)["ownerReferences"]
    one["metadata"]["labels"] |= label
    return [top, made, middle, one]


PLURALS = {
    "Pod": "pods", "ReplicaSet": "replicasets", "Deployment": "deployments", "StatefulSet": "statefulsets",
    "InferenceService": "inferenceservices", "LLMInferenceService": "llminferenceservices", "Namespace": "namespaces",
    "HardwareProfile": "hardwareprofiles",
}  # fmt: skip


class Still(Double):
    """A cluster whose controllers do nothing but what a test says, and that lists in pages."""

    lists: list[str]

    def __init__(self) -> None:
        super().__init__()
        self.lists = []
        self.absent = {"resourceclaims"}

    def put(self, *objects: Object) -> None:
        """Add objects as they are."""
        for one in objects:
            where = one["metadata"]
            self.objects[PLURALS[one["kind"]], where.get("namespace", ""), where["name"]] = one

    def exchange(self, method: str, path: str, query: Mapping[str, str], body: Any, kind: str) -> bytes:
        """Answer as a server does that lacks some kinds."""
        plural = path.rpartition("/")[2]
        if method == "GET" and "limit" in query:
            self.lists.append(plural)
        if plural in self.absent:
            raise ClusterError("kind_missing", "The cluster has no such kind.")
        return super().exchange(method, path, query, body, kind)

    def _control(self) -> None:
        """Nothing."""


def namespace(name: str, **more: Any) -> Object:
    """A namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "uid": uid(), **more}}
