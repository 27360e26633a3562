"""What is known of each pool: how much room, who holds, who waits. The page (endpoints/capacity.py) adds what runs."""

from dataclasses import dataclass, field

from django.db.models import BooleanField, Count, Exists, F, OuterRef, Q, Sum, Window
from django.db.models.functions import RowNumber

from projects.models import Project
from projects.permissions import visible
from projects.principal import Principal
from quotas.models import Pool, Reservation, ReservationState
from quotas.services import LIVING, Room

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
    """Return one panel per pool (three queries, however many reservations)."""
    pools = list(visible(principal, Pool.objects.prefetch_related("profiles")))
    found = {pool.pk: Panel(pool, _room(pool, 0)) for pool in pools}
    own = visible(principal, Project.objects.filter(pk=OuterRef("project_id")))
    queue = [F("pool_id"), F("state")]
    living = (
        Reservation.objects.filter(pool__in=pools, state__in=LIVING)
        .annotate(
            known=Exists(own, output_field=BooleanField()),
            position=Window(RowNumber(), partition_by=queue, order_by="id"),
            queued=Window(Count("pk"), partition_by=queue),
            asked=Window(Sum("amount"), partition_by=queue),
        )
        .filter(Q(state=ReservationState.HELD) | Q(position__lte=QUEUE))
    )
    for one in living.select_related("project", "pool").order_by("id"):
        panel = found[one.pool_id]
        if one.state == ReservationState.HELD:
            panel.held.append(Place(one, one.known))
            continue
        panel.waiting.append(Place(one, one.known, one.position))
        if one.position == 1:
            panel.queued, panel.room = one.queued, _room(panel.pool, one.asked)
    return list(found.values())


def _room(pool: Pool, waiting: int) -> Room:
    available = max(0, min(pool.limit, pool.observed) - pool.held)
    return Room(limit=pool.limit, observed=pool.observed, held=pool.held, waiting=waiting, available=available)
