"""Nodes, their accelerators and the pods that hold some, from two lists of a cluster. Pure functions; what is odd in an
object reads as not there.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from endpoints.clusters import Adopted
from endpoints.clusters.explaining.reading import at, condition, line, mapping, moment, number, objects
from endpoints.clusters.kubernetes import owned
from endpoints.clusters.machines import Condition, Machine, Occupant

Object = Mapping[str, Any]
# Pods that have a node and were not over when the list was made: only they hold something.
HOLDING = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"
MOST = 4096  # accelerators of one kind of one node, or of one pod; more is a mistake
MOST_PODS = 1000  # of one node that hold some
# What device plugins call accelerators. Other extended resources of a node are network cards, licences and the like.
VENDORS = re.compile(
    r"nvidia\.com/(?:gpu|mig-).*|amd\.com/gpu.*|intel\.com/.*gpu.*|gpu\.intel\.com/.*|habana\.ai/.*|google\.com/tpu"
    r"|aws\.amazon\.com/neuron.*|huawei\.com/ascend.*|.+/(?:[a-z]+-)?(?:gpu|npu|tpu|xpu)(?:[.-].*)?",
    re.IGNORECASE,
)
GPU = "nvidia.com/gpu"


def is_accelerator(resource: str, known: Collection[str]) -> bool:
    """Whether a node means an accelerator by `resource`: a profile says so, or a vendor does."""
    return resource in known or VENDORS.fullmatch(resource) is not None


def node(found: Object) -> dict[str, Any]:
    """Return what is kept of a node while the list is read: not, for example, its images."""
    return {
        "metadata": {name: at(found, "metadata", name) for name in ("name", "labels")},
        "spec": {"unschedulable": at(found, "spec", "unschedulable")},
        "status": {name: at(found, "status", name) for name in ("capacity", "allocatable", "conditions")},
    }


def pod(found: Object) -> dict[str, Any] | None:
    """Return what is kept of a pod while the list is read: nothing of one that asks for no extended resource."""
    amounts = asked(found)
    if not amounts:
        return None
    kept = ("name", "namespace", "labels", "creationTimestamp", "ownerReferences")
    meta = {name: at(found, "metadata", name) for name in kept}
    return {"node": line(at(found, "spec", "nodeName"), 253), "amounts": amounts, "metadata": meta}


def asked(found: Object) -> dict[str, int]:
    """Return how many of each extended resource a pod holds: its containers together with the sidecars, or its largest
    init container.
    """
    total, single = defaultdict[str, int](int), defaultdict[str, int](int)
    for one in objects(at(found, "spec", "containers")):
        for name, amount in _limits(one):
            total[name] += amount
    for one in objects(at(found, "spec", "initContainers")):
        for name, amount in _limits(one):
            if one.get("restartPolicy") == "Always":
                total[name] += amount
            single[name] = max(single[name], amount)
    return {name: max(total[name], single[name]) for name in {*total, *single}}


def machines(
    nodes: Iterable[Object], pods: Iterable[Object], *, known: Collection[str], labels: Collection[str], mark: str,
    adopted: Mapping[str, Mapping[int, Adopted]] | None = None,
) -> tuple[Machine, ...]:  # fmt: skip
    """Return the accelerators of `nodes` with what `pods` (made by `pod`) hold of them; `mark` tells the portal's own
    pods from those of another installation, `adopted` are the objects whose pods belong to endpoints all the same.
    """
    pins = {
        (pin.kind, pin.namespace, pin.name): endpoint
        for endpoint, revisions in (adopted or {}).items()
        for pin in revisions.values()
    }
    holders: dict[tuple[str, str], list[Occupant]] = defaultdict(list)
    for one in pods:
        for resource, amount in one["amounts"].items():
            holders[one["node"], resource].append(_occupant(one, amount, mark, pins))
    found = []
    for node in nodes:
        name = line(at(node, "metadata", "name"), 253)
        has = mapping(at(node, "status", "capacity"))
        for resource in sorted(key for key in has if isinstance(key, str) and is_accelerator(key[:317], known)):
            holding = sorted(holders[name, resource], key=lambda one: (str(one.since or ""), one.namespace, one.name))
            machine = _machine(node, name, resource, labels, tuple(holding[:MOST_PODS]))
            if machine.capacity or holding:
                found.append(machine)
    return tuple(found)


def _machine(
    node: Object, name: str, resource: str, labels: Collection[str], occupants: tuple[Occupant, ...]
) -> Machine:
    own = mapping(at(node, "metadata", "labels"))
    state, since = _condition(node)
    amount = _amount(at(node, "status", "capacity", resource))
    usable = at(node, "status", "allocatable", resource)
    product = own.get(f"{resource}.product") or own.get(f"{GPU}.product") or own.get("amd.com/gpu.product-name")
    memory = number(own.get(f"{resource}.memory") or (own.get(f"{GPU}.memory") if resource == GPU else None))
    return Machine(
        name=name, resource=resource[:317], capacity=amount, condition=state, occupants=occupants,
        allocatable=min(amount, _amount(usable)),
        product=line(product, 80), since=since,
        memory_mib=memory if memory is not None and 0 < memory < 2**31 else None,
        labels={key: line(own[key], 63) for key in labels if isinstance(own.get(key), str)},
    )  # fmt: skip


def _condition(node: Object) -> tuple[Condition, Any]:
    ready = condition(node, "Ready")
    if ready.get("status") != "True":
        return "lost", moment(ready.get("lastTransitionTime"))
    if at(node, "spec", "unschedulable") is True:
        return "cordoned", None  # nobody says since when
    return "ready", moment(ready.get("lastTransitionTime"))


def _owners(one: Object) -> list[tuple[str, str, str]]:
    """Return what a pod may be of, by kind, namespace and name: its controller, or KServe's object by its label."""
    namespace, found = line(at(one, "metadata", "namespace"), 63), []
    for owner in objects(at(one, "metadata", "ownerReferences")):
        kind, name = line(owner.get("kind"), 63), line(owner.get("name"), 253)
        found.append((kind, namespace, name))
        if kind == "ReplicaSet":
            found.append(("Deployment", namespace, name.rpartition("-")[0]))
    if name := owned.label(one, "serving.kserve.io/inferenceservice"):
        found.append(("InferenceService", namespace, name))
    if owned.label(one, "app.kubernetes.io/part-of") == "llminferenceservice":
        found.append(("LLMInferenceService", namespace, owned.label(one, "app.kubernetes.io/name")))
    return found


def _occupant(one: Object, amount: int, mark: str, pins: Mapping[tuple[str, str, str], str]) -> Occupant:
    ours = owned.label(one, owned.MANAGED_BY) == owned.MANAGER and owned.label(one, owned.INSTALLATION) == mark
    return Occupant(
        namespace=line(at(one, "metadata", "namespace"), 63),
        name=line(at(one, "metadata", "name"), 253),
        amount=amount,
        endpoint=owned.label(one, owned.ENDPOINT)[:36] if ours else next(filter(None, map(pins.get, _owners(one))), ""),
        since=moment(at(one, "metadata", "creationTimestamp")),
    )


def _limits(container: Object) -> list[tuple[str, int]]:
    limits = mapping(at(container, "resources", "limits"))
    found = [(name, _amount(value)) for name, value in limits.items() if isinstance(name, str) and "/" in name]
    return [(name, amount) for name, amount in found if amount]


def _amount(value: Any) -> int:
    """Return a whole number of devices; the API writes thousands with a k."""
    if isinstance(value, str) and value.endswith("k"):
        return min(MOST, (number(value[:-1]) or 0) * 1000)
    return min(MOST, max(0, number(value) or 0))
