"""What is known of each pool: how much room, who holds, who waits. The page (endpoints/capacity.py) adds what runs."""

import datetime as dt
from dataclasses import dataclass, field

from django.db.models import BooleanField, Exists, OuterRef, Q
from django.utils import timezone

from projects.models import Project
from projects.permissions import visible
from projects.principal import Principal
from quotas import fairness, lines
from quotas.fairness import Claim, Line
from quotas.models import Pool, Reservation, ReservationState
from quotas.services import Room

QUEUE = 50  # of more that wait, only the number is shown
STRANGER = "another project"


@dataclass(frozen=True)
class Place:
    """A reservation, and whether the reader may know whose it is. `position` is 0 unless it waits."""

    reservation: Reservation
    known: bool
    position: int = 0

    @property
    def project(self) -> str:
        """The project's slug, or words that say nothing of it."""
        return self.reservation.project.slug if self.known else STRANGER


@dataclass
class Panel:
    """A pool with its room; `queued` counts all that wait, `waiting` holds the first of them."""

    pool: Pool
    room: Room
    line: Line
    queue: list[Claim]  # all that wait, in the order of their turns
    held: list[Place] = field(default_factory=list)
    waiting: list[Place] = field(default_factory=list)
    queued: int = 0

    @property
    def more(self) -> int:
        """How many wait behind those that are shown."""
        return self.queued - len(self.waiting)

    @property
    def absent(self) -> int:
        """Accelerators that no node reports."""
        return max(0, self.room.limit - self.room.observed)


def panels(principal: Principal) -> list[Panel]:
    """Return one panel per pool (four queries, however many reservations)."""
    pools = list(visible(principal, Pool.objects.prefetch_related("profiles")))
    read, now = lines.read([pool.pk for pool in pools]), timezone.now()
    found = {pool.pk: _panel(pool, read.get(pool.pk), now) for pool in pools}
    places = {claim.id: place for panel in found.values() for place, claim in enumerate(panel.queue[:QUEUE], 1)}
    own = visible(principal, Project.objects.filter(pk=OuterRef("project_id")))
    shown = Reservation.objects.filter(
        Q(state=ReservationState.HELD, pool__in=pools) | Q(state=ReservationState.WAITING, pk__in=list(places))
    ).annotate(known=Exists(own, output_field=BooleanField()))
    for one in shown.select_related("project", "pool").order_by("id"):
        panel = found[one.pool_id]
        if one.state == ReservationState.HELD:
            panel.held.append(Place(one, one.known))
        else:
            panel.waiting.append(Place(one, one.known, places[one.pk]))
    for panel in found.values():
        panel.waiting.sort(key=lambda place: place.position)
    return list(found.values())


def _panel(pool: Pool, line: Line | None, now: dt.datetime) -> Panel:
    line = line or Line(pool.limit, pool.observed)
    queue = fairness.order(line, now, lines.patience())
    return Panel(pool, _room(pool, sum(one.amount for one in queue)), line, queue, queued=len(queue))


def _room(pool: Pool, waiting: int) -> Room:
    available = max(0, min(pool.limit, pool.observed) - pool.held)
    return Room(limit=pool.limit, observed=pool.observed, held=pool.held, waiting=waiting, available=available)
