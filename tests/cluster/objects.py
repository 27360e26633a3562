"""Small objects that the tests of the control plane put onto it."""

from collections.abc import Mapping
from typing import Any

from tests.cluster.api import Object

IMAGE = "registry.local/vllm:1"


def deployment(
    name: str, *, gpus: int = 8, replicas: int = 1, mode: str = "", annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None, **spec: Any,
) -> Object:  # fmt: skip
    """A Deployment of an engine; `mode` is how its pods fare, `spec` is added to theirs."""
    notes = {**({"fake-kubelet/mode": mode} if mode else {}), **(annotations or {})}
    resources = {"cpu": "1", "memory": "1Gi"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
    container = {
        "name": "vllm", "image": IMAGE, "resources": {"limits": resources},
        "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}},
    }  # fmt: skip
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": dict(labels or {})},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}, "annotations": notes},
                "spec": {"containers": [container], **spec},
            },
        },
    }  # fmt: skip


def quota(gpus: int) -> Object:
    """A quota of GPUs."""
    hard = {"requests.nvidia.com/gpu": str(gpus)}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "gpu"}, "spec": {"hard": hard}}


def condition(thing: Object, kind: str) -> Object:
    """A condition of an object; empty when it has none of that type."""
    found = thing.get("status", {}).get("conditions", [])
    return next((condition for condition in found if condition["type"] == kind), {})
