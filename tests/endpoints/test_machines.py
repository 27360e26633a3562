"""Nodes and the pods on them as a driver tells of them: names of vendors, slices, lost nodes, odd objects."""

import datetime as dt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endpoints.clusters import Adopted
from endpoints.clusters.kubernetes import machines
from endpoints.clusters.machines import Machine

pytestmark = pytest.mark.slow
MARK = "gatehouse-1"
ENDPOINT = "00000000-0000-4000-8000-000000000001"
GPU, SLICE = "nvidia.com/gpu", "nvidia.com/mig-1g.10gb"


def node(name: str = "gpu-1", *, ready: str = "True", usable: dict[str, str] | None = None, has: Any = None) -> Any:
    amounts = has or {GPU: "8"}
    labels = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "nvidia.com/gpu.memory": "81559", "zone": "a"}
    condition = {"type": "Ready", "status": ready, "lastTransitionTime": "2026-11-29T10:00:00Z"}
    return {
        "metadata": {"name": name, "labels": labels}, "spec": {},
        "status": {"capacity": amounts, "allocatable": usable or amounts, "conditions": [condition]},
    }  # fmt: skip


def pod(name: str, *amounts: dict[str, Any], where: str = "gpu-1", ours: bool = True, **spec: Any) -> Any:
    labels = {
        "app.kubernetes.io/managed-by": "gatehouse", "gatehouse.example/installation": MARK if ours else "another",
        "gatehouse.example/endpoint": ENDPOINT,
    }  # fmt: skip
    born = f"2026-11-29T10:00:0{name}Z"
    return {
        "metadata": {"name": name, "namespace": "n", "labels": labels, "creationTimestamp": born},
        "spec": {"nodeName": where, "containers": [{"resources": {"limits": one}} for one in amounts], **spec},
    }  # fmt: skip


def read(nodes: list[Any], pods: list[Any], known: tuple[str, ...] = ()) -> tuple[Machine, ...]:
    kept = [found for one in pods if (found := machines.pod(one)) is not None]
    return machines.machines([machines.node(one) for one in nodes], kept, known=known, labels=("zone",), mark=MARK)


def test_a_node_with_what_holds_it() -> None:
    [found] = read(
        [node(usable={GPU: "7"})],
        [pod("2", {GPU: "1", "cpu": "4"}, {GPU: "1"}), pod("1", {GPU: 4}, ours=False), pod("3", {"cpu": "1"})],
    )
    assert (found.name, found.resource, found.capacity, found.allocatable) == ("gpu-1", GPU, 8, 7)
    assert (found.product, found.memory_mib, found.condition) == ("NVIDIA-H100-80GB-HBM3", 81559, "ready")
    assert found.labels == {"zone": "a"} and found.since == dt.datetime(2026, 11, 29, 10, tzinfo=dt.UTC)
    assert [(one.name, one.amount, one.endpoint) for one in found.occupants] == [("1", 4, ""), ("2", 2, ENDPOINT)]


def test_what_was_adopted_is_its_endpoints() -> None:
    owner = {"kind": "ReplicaSet", "name": "old-5f7d8"}
    there = pod("1", {GPU: "1"}, ours=False)
    there["metadata"]["ownerReferences"] = [owner]
    served = pod("2", {GPU: "1"}, ours=False)
    served["metadata"]["labels"]["serving.kserve.io/inferenceservice"] = "llama"
    other = pod("3", {GPU: "1"}, ours=False)
    adopted = {
        "e-1": {1: Adopted("apps/v1", "Deployment", "n", "old", "uid")},
        "e-2": {2: Adopted("serving.kserve.io/v1beta1", "InferenceService", "n", "llama", "uid")},
    }
    pods = [one for each in (there, served, other) if (one := machines.pod(each)) is not None]
    [found] = machines.machines([machines.node(node())], pods, known=(), labels=(), mark=MARK, adopted=adopted)
    assert [one.endpoint for one in found.occupants] == ["e-1", "e-2", ""]


def test_init_containers_and_sidecars_count_as_the_scheduler_counts_them() -> None:
    limits = [{"resources": {"limits": {GPU: "3"}}}, {"restartPolicy": "Always", "resources": {"limits": {GPU: "1"}}}]
    assert machines.asked(pod("1", {GPU: "1"}, initContainers=limits)) == {GPU: 3}
    assert machines.asked(pod("1", {GPU: "4"}, initContainers=limits)) == {GPU: 5}


def test_slices_stand_beside_whole_ones() -> None:
    found = read([node(has={GPU: "1", SLICE: "7"})], [pod("1", {SLICE: "1"})])
    assert [(one.resource, one.capacity, len(one.occupants)) for one in found] == [(GPU, 1, 0), (SLICE, 7, 1)]
    assert found[1].memory_mib is None, "the memory of the whole one is not the slice's"


@pytest.mark.parametrize(
    ("resource", "known"),
    [
        ("nvidia.com/gpu", True), ("nvidia.com/mig-3g.40gb", True), ("nvidia.com/gpu.shared", True),
        ("amd.com/gpu", True), ("intel.com/gpu", True), ("gpu.intel.com/i915", True), ("habana.ai/gaudi", True),
        ("aws.amazon.com/neuroncore", True), ("google.com/tpu", True), ("huawei.com/Ascend910", True),
        ("example.com/npu", True), ("rdma/hca_shared", False), ("smarter-devices/fuse", False),
        ("vpc.amazonaws.com/pod-eni", False), ("cpu", False), ("hugepages-2Mi", False),
    ],
)  # fmt: skip
def test_vendors_are_told_from_network_cards(resource: str, known: bool) -> None:
    assert machines.is_accelerator(resource, ()) is known
    assert machines.is_accelerator(resource, {resource})


@pytest.mark.parametrize(("ready", "closed", "expected"), [
    ("True", False, "ready"), ("True", True, "cordoned"), ("Unknown", False, "lost"), ("False", True, "lost"),
])  # fmt: skip
def test_a_node_is_ready_cordoned_or_lost(ready: str, closed: bool, expected: str) -> None:
    one = node(ready=ready)
    one["spec"]["unschedulable"] = closed
    assert read([one], [])[0].condition == expected


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["8", "1k", "-1", "9" * 40]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from([GPU, "cpu", "limits", "resources", "labels", "x/gpu"]), inner, max_size=3
    ),
    max_leaves=8,
)  # fmt: skip


@given(junk, junk, junk, junk)
@settings(max_examples=200, deadline=None)
def test_odd_objects_are_never_a_crash(one: Any, other: Any, third: Any, fourth: Any) -> None:
    odd = {"metadata": {"name": "n", "labels": one}, "spec": other, "status": {"capacity": third, "conditions": fourth}}
    whole = {"metadata": one, "spec": {"nodeName": other, "containers": third, "initContainers": fourth}}
    for found in read([odd, {"metadata": one, "status": other}, {}], [whole, {"spec": one}, {}]):
        assert 0 <= found.allocatable <= found.capacity <= machines.MOST
        assert found.condition in ("ready", "cordoned", "lost")
