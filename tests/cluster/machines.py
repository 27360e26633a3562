"""Nodes of a cluster without machines: what they are called, what they have, and what their kubelet says of them."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.cluster.api import Object

GPU = "nvidia.com/gpu"
NODE_INFO = (
    "machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion", "kubeletVersion",
    "kubeProxyVersion", "operatingSystem", "architecture",
)  # fmt: skip


def now(*, micro: bool = False) -> str:
    return f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%S{'.%f' if micro else ''}Z}"


@dataclass(frozen=True)
class Machine:
    """A node: what it is called, and what it has."""

    name: str
    gpus: int = 8
    product: str = "NVIDIA-H100-80GB-HBM3"
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[
        Mapping[str, str], ...
    ] = ()  # e.g. {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    resources: Mapping[str, str] = field(default_factory=dict)  # e.g. {"nvidia.com/mig-1g.10gb": "7"}
    cpu: str = "64"
    memory: str = "512Gi"

    def spec(self) -> Object:
        """The Node that somebody would register."""
        gpu = {"nvidia.com/gpu.present": "true", "nvidia.com/gpu.product": self.product} if self.gpus else {}
        known = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        return {
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": self.name, "labels": {**known, **gpu, "fake-kubelet": "true", **self.labels}},
            "spec": {"taints": [dict(taint) for taint in self.taints]},
        }  # fmt: skip

    def status(self, port: int) -> Object:
        """What its kubelet says of it."""
        has = {"cpu": self.cpu, "memory": self.memory, "ephemeral-storage": "1Ti", "pods": "250", **self.resources}
        if self.gpus:
            has[GPU] = str(self.gpus)
        quiet = ("MemoryPressure", "DiskPressure", "PIDPressure")
        told = {"lastHeartbeatTime": now(), "lastTransitionTime": now()}
        conditions = [{"type": kind, "status": "False", "reason": "KubeletHasEnough", **told} for kind in quiet]
        conditions.append({"type": "Ready", "status": "True", "reason": "KubeletReady", **told})
        return {
            "capacity": has, "allocatable": has, "conditions": conditions,
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": self.name}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "nodeInfo": dict.fromkeys(NODE_INFO, "fake"),
        }  # fmt: skip


TWO_NODES = (Machine("gpu-1"), Machine("gpu-2"))
