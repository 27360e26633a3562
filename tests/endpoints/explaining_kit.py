"""Objects of a cluster for tests of the explainer: recorded ones from tests/data/kubernetes, and small ones in the
shape that API server, controllers and kubelet write."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from endpoints.clusters.explaining import Explanation, Seen, explain, explain_error

RECORDED = Path(__file__).resolve().parents[1] / "data" / "kubernetes"
NOW = datetime(2026, 11, 20, 16, 0, tzinfo=UTC)
POD = "ep-1-7d9c-abcde"
IMAGE = "registry.example.com/vllm:1"

Json = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """One situation, what is to be said of it, and words that the sentence must hold."""

    code: str
    words: tuple[str, ...] = ()
    seen: Seen | None = None
    error: tuple[int, Any, Any] | None = None
    titled: str = field(default="", compare=False)

    def explained(self) -> Explanation | None:
        """Return what the explainer says."""
        if self.error is not None:
            return explain_error(*self.error)
        return explain(self.seen or Seen(), NOW)


def recorded(name: str) -> Any:
    """Return a recorded object by the name of its file, without `.json`."""
    return json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))


def answer(name: str) -> tuple[int, Any, None]:
    """Return a recorded error as status, body and no header."""
    content = recorded(name)
    return content["http_status"], content["body"], None


def deployment(status: Json | None = None, replicas: int = 1, **spec: Any) -> Json:
    """Return a Deployment of this status."""
    return {
        "metadata": {"name": "ep-1", "namespace": "gh-fraud-dev", "creationTimestamp": "2026-11-20T15:48:00Z"},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [container_spec()]}}, **spec},
        "status": status or {},
    }


def container_spec(**more: Any) -> Json:
    """Return the engine's container as a Deployment describes it."""
    amounts = {"cpu": "4", "memory": "32Gi", "nvidia.com/gpu": "2"}
    probe = {"periodSeconds": 10, "failureThreshold": 180}
    resources = {"limits": amounts, "requests": amounts}
    return {"name": "vllm", "image": IMAGE, "resources": resources, "startupProbe": probe, **more}


def pod(status: Json | None = None, *, node: str = "gpu-1", meta: Json | None = None, **spec: Any) -> Json:
    """Return a pod of this status; `node` "" has none yet."""
    spec = {"containers": [container_spec()], **({"nodeName": node} if node else {}), **spec}
    return {
        "metadata": {"name": POD, "creationTimestamp": "2026-11-20T15:49:00Z", **(meta or {})},
        "spec": spec,
        "status": status or {},
    }


def placed(*containers: Json, **status: Any) -> Json:
    """Return a pod on a node whose containers are in these states."""
    conditions = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-20T15:49:10Z"},
        {"type": "Ready", "status": "False", "reason": "ContainersNotReady"},
    ]
    return pod({"phase": "Pending", "conditions": conditions, "containerStatuses": list(containers), **status})


def waiting(reason: str, message: str = "", **more: Any) -> Json:
    """Return the status of a container that waits."""
    state = {"waiting": {"reason": reason, "message": message}}
    return {"name": "vllm", "image": IMAGE, "ready": False, "restartCount": 0, "state": state, **more}


def over(code: int, message: str = "", reason: str = "Error", restarts: int = 3) -> Json:
    """Return the status of a container that ended and waits for its next start."""
    ended = {"terminated": {"exitCode": code, "reason": reason, "message": message}}
    return waiting("CrashLoopBackOff", "back-off 40s", lastState=ended, restartCount=restarts)


def running(since: str = "2026-11-20T15:58:20Z", *, started: bool = False, **more: Any) -> Json:
    """Return the status of a container that runs and is not healthy."""
    state = {"running": {"startedAt": since}}
    return {
        "name": "vllm",
        "image": IMAGE,
        "ready": False,
        "started": started,
        "restartCount": 0,
        "state": state,
    } | more


def event(reason: str, message: str, kind: str = "Pod", name: str = POD, at: str = "2026-11-20T15:59:00Z") -> Json:
    """Return a warning about an object."""
    about = {"kind": kind, "name": name}
    return {"type": "Warning", "reason": reason, "message": message, "involvedObject": about, "lastTimestamp": at}


def unschedulable(message: str, reason: str = "Unschedulable") -> Seen:
    """Return a pod that no node takes."""
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return Seen(pods=[pod({"phase": "Pending", "conditions": [condition]}, node="", nodeSelector={"gpu": "l40s"})])


def refused(message: str, **more: Any) -> Seen:
    """Return a Deployment whose pods cannot be created."""
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    return Seen(deployment=deployment({"conditions": [failure]}), **more)


def service(conditions: dict[str, tuple[str, str, str]], **status: Any) -> Json:
    """Return an object of KServe with these conditions: type → (status, reason, message)."""
    listed = [
        {"type": kind, "status": state, "reason": reason, "message": message}
        for kind, (state, reason, message) in conditions.items()
    ]
    meta = {"name": "ep-1", "creationTimestamp": "2026-11-20T15:50:00Z"}
    model = {"modelFormat": {"name": "vLLM"}, "runtime": "our-vllm", "storageUri": "hf://org/model"}
    return {"metadata": meta, "spec": {"predictor": {"model": model}}, "status": {"conditions": listed, **status}}


def load_failure(reason: str, message: str = "", **more: Any) -> Seen:
    """Return an InferenceService whose model could not be loaded."""
    failure = {"reason": reason, "message": message, **more}
    return Seen(inference_service=service({}, modelStatus={"lastFailureInfo": failure}))


def status_object(code: int, message: str, reason: str = "", **details: Any) -> tuple[int, Json, None]:
    """Return an answer of the API server that is an error."""
    body = {"kind": "Status", "status": "Failure", "message": message, "reason": reason, "details": details}
    return code, body, None
