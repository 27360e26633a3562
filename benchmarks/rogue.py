"""The scan for what runs without approval: 10,000 pods on a real API server, of which one in ten holds accelerators.

Of the control plane API server and etcd run; pods are written directly, with a node, as the scheduler would leave them.
"""

import re
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.fleet import ACCOUNT, registered
from benchmarks.results import Result
from benchmarks.stores import scaled
from endpoints.models import Cluster
from endpoints.rogue import scanning
from endpoints.rogue.models import RogueScan, RogueWorkload
from tests.cluster.api import Object
from tests.cluster.plane import NoPlane, Plane

PODS, IN_TEN, EACH, SPACES, THREADS = 10_000, 10, 2, 20, 8
NOTE = "rogue: reference = the target; real API server and etcd, one worker, 1 pod in 10 with an accelerator"
CONTINUED = re.compile(r"[?&]continue=")


def measure(store: str) -> list[Result]:
    """Measure where a control plane is built: the first scan, which writes all rows, and one that changes nothing."""
    with tempfile.TemporaryDirectory(prefix="rogue-") as folder:
        try:
            with Plane(Path(folder)) as plane:
                return [
                    Result(f"{one.name}, {store}", one.unit, one.reference, one.measured, one.note)
                    for one in _measured(plane)
                ]
        except NoPlane as error:
            print(f"  the scan is not measured: {error}", file=sys.stderr, flush=True)
    return []


def _measured(plane: Plane) -> list[Result]:
    for name in ("kube-scheduler", "kube-controller-manager"):
        plane.components[name].stop(kill=True)
    _, cluster, _, _ = registered(plane)
    amount = scaled(PODS)
    wanted = _seed(plane, amount)
    first = _scan(plane, cluster, amount, wanted, "first scan")
    return [*first, *_scan(plane, cluster, amount, wanted, "next scan")]


def _scan(plane: Plane, cluster: Cluster, amount: int, wanted: int, what: str) -> list[Result]:
    scanning.prepare([cluster.pk])
    RogueScan.objects.filter(pk=cluster.pk).update(scanned_at=None)
    mark, cpu, begun = plane.mark(), time.process_time(), time.monotonic()
    if not scanning.scan(cluster.pk):
        raise RuntimeError(RogueScan.objects.get(pk=cluster.pk).problem)
    took, used = time.monotonic() - begun, time.process_time() - cpu
    entries = plane.audited(ACCOUNT, since=mark)
    answered = [one for one in entries if one["responseStatus"]["code"] == 200]  # some kinds are not installed
    begins = Counter(one["objectRef"]["resource"] for one in answered if not CONTINUED.search(one["requestURI"]))
    found = RogueWorkload.objects.filter(cluster=cluster).count()
    if found != wanted:
        raise RuntimeError(f"{found} workloads are found and not {wanted}")
    name = f"rogue scan of {amount:,} pods, {what}"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        Result(name, "s", 10, took, NOTE),
        Result(f"{name}, processor time of the worker", "s", 10, used, NOTE),
        Result(f"{name}, lists per kind", "lists", 1, max(begins.values()), NOTE),
        Result(f"{name}, API calls", "calls", 60, len(entries), NOTE),
        Result(f"{name}, most memory of the worker", "MiB", 400, memory, NOTE),
    ]


def _seed(plane: Plane, amount: int) -> int:
    """Write namespaces, Deployments with their ReplicaSets, and pods; return how many workloads hold accelerators."""
    spaces = [f"bench-{number}" for number in range(SPACES)]
    for name in spaces:
        plane.api.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        plane.api.post(f"/api/v1/namespaces/{name}/serviceaccounts", account)
    rogue = max(1, amount // IN_TEN)
    owners = _each(range((rogue + EACH - 1) // EACH), lambda number: _owner(plane, spaces[number % SPACES], number))

    def write(number: int) -> None:
        owner = owners[number // EACH] if number < rogue else None
        space = owner["metadata"]["namespace"] if owner else spaces[number % SPACES]
        plane.api.post(f"/api/v1/namespaces/{space}/pods", _pod(number, owner))

    _each(range(amount), write)
    return len(owners)


def _owner(plane: Plane, space: str, number: int) -> Object:
    """Write a Deployment with its ReplicaSet; return that."""
    name, path = f"engine-{number}", f"/apis/apps/v1/namespaces/{space}"
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": _pod(number, None)["spec"]}}  # fmt: skip
    top = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
    made = plane.api.post(f"{path}/deployments", top)
    below = {
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": spec,
        "metadata": {"name": f"{name}-1", "ownerReferences": [_ref(made, "Deployment")]},
    }  # fmt: skip
    return plane.api.post(f"{path}/replicasets", below)


def _pod(number: int, owner: Object | None) -> Object:
    image = "docker.io/vllm/vllm-openai:v0.9" if owner else "registry.example.com/web:1"
    limits = {"cpu": "1", "memory": "1Gi", **({"nvidia.com/gpu": "1"} if owner else {})}
    container = {
        "name": "main", "image": image, "args": ["--model", "lab/model", "--port=8000"],
        "resources": {"limits": limits},
        "env": [{"name": f"SETTING_{index}", "value": "x" * 40} for index in range(20)],
    }  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": f"pod-{number}", **({"ownerReferences": [_ref(owner, "ReplicaSet")]} if owner else {})},
        "spec": {"nodeName": "node-1", "automountServiceAccountToken": False, "containers": [container]},
    }  # fmt: skip


def _ref(owner: Object, kind: str) -> Object:
    meta = owner["metadata"]
    return {"apiVersion": "apps/v1", "kind": kind, "name": meta["name"], "uid": meta["uid"], "controller": True}


def _each(numbers: Sequence[int], do: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(do, numbers))
