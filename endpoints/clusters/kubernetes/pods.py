"""The pod of an engine: what runs, with how much, and how the cluster tells that it is healthy. Pure functions."""

from math import ceil
from typing import Any

from endpoints.clusters import Place, Workload
from endpoints.clusters.kubernetes import owned
from endpoints.clusters.kubernetes.space import ACCOUNT, PORT
from endpoints.engines import filled

CONTAINER = "engine"
CONTAINERS = frozenset({CONTAINER, "kserve-container", "main"})  # KServe wants names of its own
PYTHON = "python3"
USER = 1000  # images of engines are often built for root; a registration with "run_as_user": "" leaves it to the image
DRAIN_SECONDS = 5  # between leaving the Service and SIGTERM: the gateway has heard of it by then
GRACE_SECONDS = 60
PROBE_SECONDS = 10
GIB = 2**30
MOST_SHARED = 16 * GIB


def template(place: Place, workload: Workload, key: str) -> dict[str, Any]:
    """Return the pod template of one revision; `key` is the fingerprint of the engines' key."""
    return {
        "metadata": {
            "labels": {**owned.labels(place, workload), **queue(place)},
            "annotations": {**owned.annotations(workload), KEY: key},
        },
        "spec": _pod(place, workload),
    }


KEY = f"{owned.DOMAIN}/key"


def queue(place: Place) -> dict[str, str]:
    """Return the label that hands a workload to Kueue, where the cluster has a queue."""
    name = place.settings.get("queue_name")
    return {"kueue.x-k8s.io/queue-name": str(name)} if name else {}


def quantity(amount: int) -> str:
    """Return bytes as the API server writes them: in the largest binary unit that divides them."""
    for unit, size in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if amount and amount % size == 0:
            return f"{amount // size}{unit}"
    return str(amount)


def cores(millis: int) -> str:
    """Return thousandths of a core as the API server writes them."""
    return str(millis // 1000) if millis % 1000 == 0 else f"{millis}m"


def _pod(place: Place, workload: Workload) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": _security(place),
        "containers": [_container(place, workload)],
        "volumes": [
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": quantity(_shared_memory(workload))}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "models", "emptyDir": {}},
        ],
    }
    if workload.node_selector:
        pod["nodeSelector"] = dict(workload.node_selector)
    tolerations = [{name: value for name, value in one.items() if value} for one in workload.tolerations]
    if workload.accelerators and not tolerations:  # nodes with accelerators are usually kept for them this way
        tolerations = [{"key": workload.resource, "operator": "Exists", "effect": "NoSchedule"}]
    if tolerations:
        pod["tolerations"] = tolerations
    if secret := place.settings.get("image_pull_secret"):
        pod["imagePullSecrets"] = [{"name": str(secret)}]
    return pod


def _security(place: Place) -> dict[str, Any]:
    found: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    user = place.settings.get("run_as_user", USER)
    return found | {"runAsUser": int(user), "fsGroup": int(user)} if str(user).isdecimal() else found


def _container(place: Place, workload: Workload) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": workload.image,
        "imagePullPolicy": "IfNotPresent",  # a digest never changes
        "command": command(workload),
        "env": _environment(place, workload),
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "resources": _resources(workload),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - a mount in a container
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            {"name": "models", "mountPath": "/models"},
        ],
        "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}},
        **_probes(workload),
    }


def command(workload: Workload) -> list[str]:
    """Return the command with its holes filled, and what the profile and the pinned source add to it."""
    return filled(
        (*workload.command, *workload.arguments),
        python=PYTHON, host="0.0.0.0", port=str(PORT), model=workload.model, name=workload.name,  # noqa: S104
        context=str(workload.context_tokens), concurrency=str(workload.concurrency),
    )  # fmt: skip


def _environment(place: Place, workload: Workload) -> list[dict[str, Any]]:
    """Return what the engine finds in its environment: little, and its key by reference only."""
    plain = {
        "HOME": "/tmp",  # noqa: S108 - the only place beside /models that can be written
        "HF_HOME": "/models",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        **workload.environment,
    }
    fields = {"POD_NAME": "metadata.name", "POD_IP": "status.podIP", "NODE_NAME": "spec.nodeName"}
    secret = owned.key_name(workload.endpoint_id)
    found: list[dict[str, Any]] = [{"name": name, "value": str(value)} for name, value in sorted(plain.items())]
    found += [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()]
    found += [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": "key"}}}
        for name in ("GATEHOUSE_ENGINE_KEY", "VLLM_API_KEY")
    ]
    if token := place.settings.get("model_secret"):
        reference = {"name": str(token), "key": "token", "optional": True}
        found.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}})
    return found


def _resources(workload: Workload) -> dict[str, Any]:
    """Return requests and limits: of accelerators and main memory both are the same; a core may be lent."""
    whole: dict[str, str] = {"memory": quantity(workload.host_memory_bytes)}
    if workload.accelerators:
        whole[workload.resource] = str(workload.accelerators)
    return {"requests": {"cpu": cores(workload.cpu_millis or 1000), **whole}, "limits": whole}


def _shared_memory(workload: Workload) -> int:
    """Return the size of /dev/shm in bytes: it counts as main memory of the pod."""
    return min(MOST_SHARED, max(2**26, workload.host_memory_bytes // 4 // 2**20 * 2**20))


def _probes(workload: Workload) -> dict[str, Any]:
    """Return the health checks: until the first healthy answer the start-up budget counts, large weights take long."""
    get = {"httpGet": {"path": workload.health_path, "port": "http"}}
    tries = max(1, ceil(workload.start_timeout_seconds / PROBE_SECONDS))
    return {
        "startupProbe": {**get, "periodSeconds": PROBE_SECONDS, "timeoutSeconds": 5, "failureThreshold": tries},
        "readinessProbe": {**get, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {**get, "periodSeconds": PROBE_SECONDS, "timeoutSeconds": 10, "failureThreshold": 6},
    }
