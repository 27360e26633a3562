"""Which endpoints of a model belong together across environments, and in what they differ. Pure functions.

A strand holds at most one endpoint of each environment: those that were promoted from each other, else those of one
name, else whatever runs the same model in the same project.
"""

import datetime as dt
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from endpoints.promoting import ORDER, base_of

ENVIRONMENTS = tuple(str(one) for one in ORDER)
FACETS = {
    "revision": "version", "image": "image", "arguments": "arguments", "quota": "quota", "bundle": "policies",
}  # fmt: skip


@dataclass(frozen=True)
class Spot:
    """One endpoint as the matrix shows it. `facets` hold what is compared, by the names of FACETS."""

    pk: UUID
    name: str
    project: str
    asset: int
    environment: str
    cluster: str
    phase: str
    number: int
    version: str
    facets: Mapping[str, Any] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)  # the facets as people read them
    replicas: int = 0
    source: UUID | None = None  # promoted from
    drift: int = 0  # fields that somebody changed in the cluster
    drift_since: dt.datetime | None = None
    planned: int = 0  # id of a request for a revision that waits
    away: str = ""  # why its cluster is not to be seen now


@dataclass(frozen=True)
class Strand:
    """What belongs together, by environment."""

    project: str
    name: str
    spots: Mapping[str, Spot]
    _known: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict, compare=False, repr=False)

    def differs(self, against: str) -> dict[str, tuple[str, ...]]:
        """Return the facets in which each spot differs, by environment: from the environment `against` where there is
        one, else from the last; with "left" from the neighbour to its left.
        """
        if against not in self._known:
            self._known[against] = self._compared(against)
        return self._known[against]

    def _compared(self, against: str) -> dict[str, tuple[str, ...]]:
        there = [one for one in ENVIRONMENTS if one in self.spots]
        found: dict[str, tuple[str, ...]] = {}
        for place, one in enumerate(there):
            if against == "left":
                other = there[place - 1] if place else one
            else:
                other = against if against in self.spots else there[-1]
            found[one] = differing(self.spots[one], self.spots[other])
        return found

    def out_of_step(self, against: str) -> bool:
        """Whether anything of it differs, or was changed in a cluster."""
        return any(self.differs(against).values()) or any(spot.drift for spot in self.spots.values())


def differing(one: Spot, other: Spot) -> tuple[str, ...]:
    """Return the facets in which two spots differ."""
    return tuple(name for name in FACETS if one.facets.get(name) != other.facets.get(name))


def strands(spots: Iterable[Spot]) -> list[Strand]:
    """Return the strands of the endpoints of one model, by project and name."""
    by_project: dict[str, list[Spot]] = {}
    for spot in spots:
        by_project.setdefault(spot.project, []).append(spot)
    return [
        Strand(project, _name(group), {spot.environment: spot for spot in group})
        for project, found in sorted(by_project.items())
        for group in sorted(_grouped(found), key=_name)
    ]


def _grouped(spots: Sequence[Spot]) -> list[list[Spot]]:
    """Put the spots of one project together: by promotion, by name, then whatever lacks an environment."""
    ordered = sorted(spots, key=lambda one: (ENVIRONMENTS.index(one.environment), one.name))
    by_pk = {spot.pk: spot for spot in ordered}
    groups = _joined([[spot] for spot in ordered], lambda group: _root(group[0], by_pk))
    return _joined(_joined(groups, _name), lambda group: None)


def _joined(groups: Iterable[list[Spot]], key: Callable[[list[Spot]], Hashable]) -> list[list[Spot]]:
    """Join groups of one `key` that have no environment in common, the first that fit; in little more than one walk."""
    waiting: dict[Hashable, dict[frozenset[str], deque[list[Spot]]]] = {}
    for group in groups:
        slots, own = waiting.setdefault(key(group), {}), frozenset(spot.environment for spot in group)
        fitting = next((there for there, found in slots.items() if found and not there & own), None)
        if fitting is not None:
            home = slots[fitting].popleft()
            home.extend(group)
            group, own = home, own | fitting
        slots.setdefault(own, deque()).append(group)
    return [group for slots in waiting.values() for found in slots.values() for group in found]


def _root(spot: Spot, known: Mapping[UUID, Spot]) -> UUID:
    """Return from which spot a promotion began."""
    seen = {spot.pk}
    while spot.source is not None and spot.source in known and spot.source not in seen:
        spot = known[spot.source]
        seen.add(spot.pk)
    return spot.pk


def _name(group: Sequence[Spot]) -> str:
    first = min(group, key=lambda one: ENVIRONMENTS.index(one.environment))
    return base_of(first.name, first.environment)
