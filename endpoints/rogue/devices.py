"""How many accelerators a pod asks for: by resources of its containers, and by claims. Pure functions."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from endpoints.clusters.explaining.reading import at, mapping, objects, text

# What nodes call accelerators; those of the hardware profiles are added by who scans.
RESOURCES = (
    "nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-*", "amd.com/gpu", "amd.com/cpx_*", "amd.com/spx_*",
    "intel.com/gpu", "gpu.intel.com/*", "habana.ai/gaudi", "aws.amazon.com/neuron*", "google.com/tpu",
)  # fmt: skip
DRIVERS = ("gpu.*", "*.gpu.*", "gaudi.*", "neuron.*", "tpu.*")  # of devices that are claimed (resource.k8s.io)
MOST = 4096  # accelerators of one pod: more is a mistake of who wrote it
MOST_KINDS = 16  # of them
Claims = Mapping[tuple[str, str], int]  # (namespace, name) → accelerators


def is_accelerator(resource: str, resources: Iterable[str] = RESOURCES) -> bool:
    """Whether a resource is an accelerator."""
    return any(fnmatchcase(resource, pattern) for pattern in resources)


def asked(spec: Mapping[str, Any], resources: Iterable[str] = RESOURCES) -> dict[str, int]:
    """Return the accelerators of a pod by resource: what its containers want together, or one that runs before them."""
    together: dict[str, int] = {}
    before: dict[str, int] = {}
    for one in objects(spec.get("containers")):
        _add(together, _of(one, resources))
    for one in objects(spec.get("initContainers")):
        wanted = _of(one, resources)
        if one.get("restartPolicy") == "Always":  # it goes on beside the others
            _add(together, wanted)
        for name, count in wanted.items():
            before[name] = max(before.get(name, 0), count)
    names = sorted({*together, *before})[:MOST_KINDS]
    return {name: min(max(together.get(name, 0), before.get(name, 0)), MOST) for name in names}


def claims_of(pod: Mapping[str, Any]) -> list[str]:
    """Return the names of the claims of a pod, those that were made for it, too."""
    made = {
        text(one.get("name")): text(one.get("resourceClaimName"))
        for one in objects(at(pod, "status", "resourceClaimStatuses"))
    }
    wanted = objects(at(pod, "spec", "resourceClaims"))
    found = [text(one.get("resourceClaimName")) or made.get(text(one.get("name")), "") for one in wanted]
    return [one for one in found if one]


def claimed(claim: Mapping[str, Any]) -> tuple[tuple[str, str], int]:
    """Return namespace and name of a ResourceClaim, and how many accelerators it was given."""
    devices = objects(at(claim, "status", "allocation", "devices", "results"))
    count = sum(any(fnmatchcase(text(one.get("driver")), each) for each in DRIVERS) for one in devices)
    return (text(at(claim, "metadata", "namespace")), text(at(claim, "metadata", "name"))), min(count, MOST)


def _of(container: Mapping[str, Any], resources: Iterable[str]) -> dict[str, int]:
    asks = {**mapping(at(container, "resources", "requests")), **mapping(at(container, "resources", "limits"))}
    counts = {str(name): _count(value) for name, value in asks.items() if is_accelerator(str(name), resources)}
    return {name: count for name, count in counts.items() if count}


def _count(value: Any) -> int:
    """Return a quantity of whole devices; 0 for what is none."""
    try:
        count = int(str(value)[:12])
    except ValueError:
        return 0
    return max(0, min(count, MOST))


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        total[name] = total.get(name, 0) + count
