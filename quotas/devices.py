"""Which accelerators of which nodes are a pool's: pure functions over what the clusters said last.

A pool is of the nodes of its cluster that have what its hardware profiles ask for: the resource, and the labels of the
profile's node selector. Of two pools that fit the same node, the one whose profile names more labels has it; where
that is the same they share it in the order of their slugs, each up to its limit, and the first has the rest.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from catalog.models import HardwareProfile
from quotas.models import Node, NodeCondition, Pool

DEFAULT_RESOURCE = "nvidia.com/gpu"
_SLICE = re.compile(r"nvidia\.com/mig-(\d)g\..+")
SLICES = 7  # of one accelerator that is split


@dataclass(frozen=True)
class Part:
    """The accelerators of a node from number `first` on that are one pool's. `usable`: healthy, and the node takes
    pods.
    """

    node: Node
    first: int
    count: int

    @property
    def usable(self) -> int:
        """How many can be held."""
        if self.node.condition != NodeCondition.READY:
            return 0
        return max(0, min(self.count, self.node.allocatable - self.first))


def resource_of(profile: HardwareProfile) -> str:
    """Return what a node calls the accelerator of a profile; "" for a profile without any."""
    return (profile.resource or DEFAULT_RESOURCE) if profile.accelerator_count else ""


def parts(pools: Iterable[Pool], nodes: Iterable[Node]) -> dict[int, list[Part]]:
    """Return the parts of nodes that are each pool's, by its id; the profiles of the pools are prefetched."""
    ordered = sorted(pools, key=lambda pool: pool.slug)
    wants = {pool.pk: [(resource_of(one), one.node_selector) for one in pool.profiles.all()] for pool in ordered}
    found: dict[int, list[Part]] = {pool.pk: [] for pool in ordered}
    taken = dict.fromkeys(found, 0)
    for node in nodes:
        best = _best([pool for pool in ordered if pool.cluster == node.cluster], wants, node)
        first = 0
        for pool in best:
            count = min(node.capacity - first, max(0, pool.limit - taken[pool.pk])) if len(best) > 1 else node.capacity
            if count:
                found[pool.pk].append(Part(node, first, count))
                taken[pool.pk] += count
                first += count
        if best and first < node.capacity:
            found[best[0].pk].append(Part(node, first, node.capacity - first))
    return found


def strangers(pools: Iterable[Pool], nodes: Iterable[Node]) -> list[Node]:
    """Return the nodes whose accelerators are no pool's."""
    known, there = parts(pools, nodes := list(nodes)), nodes
    ours = {part.node.pk for found in known.values() for part in found}
    return [node for node in there if node.pk not in ours and node.condition != NodeCondition.GONE]


def per_box(resource: str) -> int:
    """Return how many of a resource make one accelerator: slices of one that is split, else 1."""
    slice_ = _SLICE.fullmatch(resource)
    return max(1, SLICES // int(slice_[1])) if slice_ and int(slice_[1]) else 1


def _best(
    pools: Sequence[Pool], wants: Mapping[int, Sequence[tuple[str, Mapping[str, str]]]], node: Node
) -> list[Pool]:
    """Return the pools that fit a node best; several when they fit it equally."""
    fits = {
        pool.pk: max((len(labels) for resource, labels in wants[pool.pk] if _fits(resource, labels, node)), default=-1)
        for pool in pools
    }
    most = max(fits.values(), default=-1)
    return [pool for pool in pools if most >= 0 and fits[pool.pk] == most]


def _fits(resource: str, labels: Mapping[str, str], node: Node) -> bool:
    return bool(resource) and resource == node.resource and labels.items() <= node.labels.items()
