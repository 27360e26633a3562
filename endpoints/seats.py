"""What an endpoint asks of the accelerator pools. The holder of a reservation is ("endpoint", id)."""

from audit.services import Actor
from endpoints.decision import Seat
from endpoints.models import Endpoint, Revision
from portal.errors import Conflict
from quotas.models import Reservation, ReservationState
from quotas.services import positions, reserve

HOLDER_KIND = "endpoint"


def accelerators(revision: Revision) -> int:
    """Return how many accelerators all replicas of `revision` take together; 0 for a profile without any."""
    return revision.profile.accelerator_count * revision.replicas


def seat_of(endpoint: Endpoint) -> Seat:
    """Return the reservation of an endpoint that needs accelerators, with its place in the queue (one or two
    queries).
    """
    found = (
        Reservation.objects.select_related("pool")
        .filter(holder_kind=HOLDER_KIND, holder_id=str(endpoint.pk))
        .exclude(state=ReservationState.RELEASED)
        .first()
    )
    if found is None:
        amount = accelerators(endpoint.revision) if endpoint.revision else 0
        return Seat("", amount)
    place = positions([found])[found.pk] if found.state == ReservationState.WAITING else 0
    return Seat(found.state, found.amount, place, found.pool.slug)


def take_seat(by: Actor, endpoint: Endpoint, revision: Revision) -> Reservation | None:
    """Reserve what `revision` needs, or return the reservation that the endpoint has; None when it needs no
    accelerator.

    Held when there is room, else waiting. Raises Conflict when no pool of the cluster offers the profile, and Invalid
    when it can never fit.
    """
    amount = accelerators(revision)
    if not amount:
        return None
    pool = revision.profile.pools.filter(cluster=endpoint.cluster.slug).order_by("slug").first()
    if pool is None:
        raise Conflict(
            f"No pool of the cluster {endpoint.cluster.slug} offers the hardware profile {revision.profile.slug}. "
            "A platform engineer can add the profile to a pool.",
            code="no_pool",
        )
    return reserve(by, pool, amount, holder=(HOLDER_KIND, str(endpoint.pk)), project=endpoint.project)
