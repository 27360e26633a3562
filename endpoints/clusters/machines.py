"""The nodes of a cluster with their accelerators, and what holds some of them: what a driver tells of them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

Condition = Literal["ready", "cordoned", "lost"]


@dataclass(frozen=True)
class Occupant:
    """A workload on a node that holds `amount` accelerators; `endpoint` is the id of the portal's endpoint it is of, ""
    for whatever the portal did not start.
    """

    namespace: str
    name: str
    amount: int
    endpoint: str = ""
    since: datetime | None = None


@dataclass(frozen=True)
class Machine:
    """One kind of accelerator of one node: `resource` as the cluster calls it, `memory_mib` of one of them (None: it
    does not say), `allocatable` of the `capacity` are healthy. `labels` are those that were asked for; `since` is when
    it became what `condition` says (None: it does not say).
    """

    name: str
    resource: str
    capacity: int
    allocatable: int
    condition: Condition
    product: str = ""
    memory_mib: int | None = None
    since: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    occupants: tuple[Occupant, ...] = ()


@runtime_checkable
class Surveyed(Protocol):
    """A driver of a cluster that has nodes."""

    def machines(self, resources: Collection[str], labels: Collection[str]) -> tuple[Machine, ...]:
        """Return every kind of accelerator of every node: what is called one of `resources`, or what vendors are known
        to call so; with those of its labels that have one of these names. Meant to cost a few calls for the whole
        cluster. Raises ClusterError."""
