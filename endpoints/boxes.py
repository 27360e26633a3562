"""A pool accelerator by accelerator: what its nodes have and what the pods on them hold, beside what is reserved.

The API server says on which node a pod is and how many accelerators it holds, not which: they are numbered in the order
in which pods were made, without gaps. Pure functions over rows.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import Any

from quotas.capacity import Place
from quotas.devices import Part, per_box
from quotas.models import Node, NodeCondition

MOST_TAKEN = 256  # accelerators that pods of one node are shown with, where it says that it has fewer
HELD, OVER, OTHER, RESERVED, FREE, ABSENT = "held", "over", "other", "reserved", "free", "absent"


@dataclass(frozen=True)
class Seat:
    """One accelerator. `kind`: held = by a pod that has a reservation; over = by a pod of the portal that has none, or
    a smaller one; other = by a pod that is not the portal's; reserved = its pod is not there yet; free; absent = it
    takes no pod. `number` counts those of one pod.
    """

    kind: str
    node: Node | None = None
    index: int = 0
    pod: Mapping[str, Any] = field(default_factory=dict)
    place: Place | None = None
    number: int = 0

    @property
    def lost(self) -> bool:
        """Whether its node does not answer, though something is said to run there."""
        return self.node is not None and self.node.condition in (NodeCondition.LOST, NodeCondition.GONE)


def seats(parts: Iterable[Part], held: Sequence[Place], elsewhere: Collection[str] = ()) -> list[Seat]:
    """Return the accelerators of a pool's nodes in order, and behind them what is reserved and has none. `elsewhere`:
    who holds something of another pool, which may share a node with this one.
    """
    left = {place.reservation.pk: place.reservation.amount for place in held}
    by_holder: dict[str, list[Place]] = {}
    for place in held:
        by_holder.setdefault(place.reservation.holder_id, []).append(place)
    others = {one for one in elsewhere if one not in by_holder}
    found = [seat for part in parts for seat in _of(part, by_holder, left, others)]
    waiting = [place for place in held for _ in range(left[place.reservation.pk])]
    for number, seat in enumerate(found):
        if seat.kind == FREE and waiting:
            found[number] = replace(seat, kind=RESERVED, place=waiting.pop(0))
    return [*found, *(Seat(RESERVED, place=place) for place in waiting)]


def _of(
    part: Part, by_holder: Mapping[str, Sequence[Place]], left: dict[int, int], others: Collection[str]
) -> list[Seat]:  # fmt: skip
    node, found = part.node, list[Seat]()
    pods = node.pods
    if part.count < node.capacity:  # another pool has the rest of it, with those pods that are reserved there
        pods = [
            pod for pod in pods if pod["endpoint"] in by_holder or (part.first == 0 and pod["endpoint"] not in others)
        ]
    # More than a node has can be asked for by pods that name it and never run there.
    every = ((pod, number) for pod in pods for number in range(int(pod["amount"])))
    taken = list(islice(every, max(part.count, MOST_TAKEN)))
    for index in range(part.first, part.first + max(part.count, len(taken))):
        if index - part.first < len(taken):
            pod, number = taken[index - part.first]
            place = _reserved(pod, by_holder, left)
            kind = HELD if place is not None else OVER if pod["endpoint"] else OTHER
            found.append(Seat(kind, node, index, pod, place or _any(pod, by_holder), number))
        else:
            usable = node.condition == NodeCondition.READY and index < node.allocatable
            found.append(Seat(FREE if usable else ABSENT, node, index))
    return found


def _reserved(pod: Mapping[str, Any], by_holder: Mapping[str, Sequence[Place]], left: dict[int, int]) -> Place | None:
    """Take one accelerator of what the pod's endpoint has reserved, where something of that is left."""
    for place in by_holder.get(pod["endpoint"], ()) if pod["endpoint"] else ():
        if left[place.reservation.pk]:
            left[place.reservation.pk] -= 1
            return place
    return None


def _any(pod: Mapping[str, Any], by_holder: Mapping[str, Sequence[Place]]) -> Place | None:
    known = by_holder.get(pod["endpoint"], ()) if pod["endpoint"] else ()
    return known[0] if known else None


@dataclass(frozen=True)
class Split:
    """The slices of one accelerator."""

    node: Node
    index: int
    slices: Sequence[Seat]


def boxes(found: Sequence[Seat]) -> list[Seat | Split]:
    """Return the seats, with the slices of one accelerator as one."""
    made: list[Seat | Split] = []
    for node, own in groupby(found, key=lambda seat: seat.node):
        several = list(own)
        size = per_box(node.resource) if node is not None else 1
        if node is None or size == 1:
            made += several
            continue
        made += [Split(node, at // size, several[at : at + size]) for at in range(0, len(several), size)]
    return made


def differences(found: Sequence[Seat]) -> dict[str, int]:
    """Return how many accelerators are held without a reservation (`over` by the portal's pods, `other` by others), and
    how many are reserved without a pod.
    """
    return {kind: sum(seat.kind == kind for seat in found) for kind in (OVER, OTHER, RESERVED)}
