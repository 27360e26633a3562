"""What an endpoint asks of the accelerator pools. The holder of a reservation is (kind, id of the endpoint): `endpoint`
for what runs, `growth` for more of it, `surge` for a revision that starts beside it, `retiring` for engines that end.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from audit.services import Actor
from endpoints.facts import Seat
from endpoints.models import Endpoint, Revision
from endpoints.nudge import nudge
from portal.errors import Conflict
from quotas.costs import unit_price
from quotas.models import Pool, Reservation, ReservationState
from quotas.services import hand_over, merge, positions, release, reserve, resize

HOLDER_KIND = "endpoint"
GROWTH, SURGE, RETIRING = "growth", "surge", "retiring"
HOLDER_KINDS = (HOLDER_KIND, GROWTH, SURGE, RETIRING)


@dataclass(frozen=True)
class Seats:
    """All reservations of one endpoint; None where there is none."""

    own: Seat | None = None
    growth: Seat | None = None
    surge: Seat | None = None
    retiring: Seat | None = None


def accelerators(revision: Revision, replicas: int | None = None) -> int:
    """Return how many accelerators `replicas` of `revision` (default: all) take together; 0 for a profile without
    any.
    """
    return revision.profile.accelerator_count * (revision.replicas if replicas is None else replicas)


def seats_of(endpoint: Endpoint) -> Seats:
    """Return the reservations of an endpoint with their places in the queue (one or two queries)."""
    rows = Reservation.objects.select_related("pool").filter(holder_kind__in=HOLDER_KINDS, holder_id=str(endpoint.pk))
    found = {row.holder_kind: row for row in rows.exclude(state=ReservationState.RELEASED)}
    waiting = [row for row in found.values() if row.state == ReservationState.WAITING]
    places = positions(waiting) if waiting else {}
    made = {kind: Seat(row.state, row.amount, places.get(row.pk, 0), row.pool.slug) for kind, row in found.items()}
    return Seats(made.get(HOLDER_KIND), made.get(GROWTH), made.get(SURGE), made.get(RETIRING))


def seat_of(endpoint: Endpoint) -> Seat:
    """Return the reservation of what runs; its state is "" where there is none (one or two queries)."""
    amount = accelerators(endpoint.revision, endpoint.wanted_replicas) if endpoint.revision else 0
    return seats_of(endpoint).own or Seat("", amount)


def pool_of(endpoint: Endpoint, revision: Revision) -> Pool:
    """Return the pool whose accelerators `revision` takes; raises Conflict `no_pool` where no pool of the cluster
    offers its profile.
    """
    pool = revision.profile.pools.filter(cluster=endpoint.cluster.slug).order_by("slug").first()
    if pool is None:
        raise Conflict(
            f"No pool of the cluster {endpoint.cluster.slug} offers the hardware profile {revision.profile.slug}. "
            "A platform engineer can add the profile to a pool.",
            code="no_pool",
        )
    return pool


def take_seat(by: Actor, endpoint: Endpoint, revision: Revision, replicas: int | None = None) -> Reservation | None:
    """Reserve what `replicas` of `revision` (default: those wanted) need, or return the reservation that the endpoint
    has; None when they need no accelerator.

    Held when there is room, else waiting. Raises Conflict when no pool of the cluster offers the profile or the
    project's quota is used up, and Invalid when it can never fit.
    """
    count = min(endpoint.scale or revision.replicas, revision.replicas) if replicas is None else replicas
    return take(by, endpoint, revision, HOLDER_KIND, accelerators(revision, count))


def take(by: Actor, endpoint: Endpoint, revision: Revision, kind: str, amount: int) -> Reservation | None:
    """Reserve `amount` accelerators for what `kind` says, of the pool of `revision`; None for no amount. Raises as
    `take_seat` does.
    """
    if not amount:
        return None
    pool = pool_of(endpoint, revision)
    profile = revision.profile
    return reserve(
        by, pool, amount, holder=(kind, str(endpoint.pk)), project=endpoint.project, price=unit_price(profile),
        currency=profile.currency,
    )  # fmt: skip


def reseat(by: Actor, endpoint: Endpoint, revision: Revision, replicas: int) -> None:
    """Make the reservation of what runs right for `replicas` of `revision`, before engines of `revision` start.

    What is held for engines that may still run is given back when they are gone. Raises as `take_seat` does.
    """
    amount = accelerators(revision, replicas)
    own, holder = seats_of(endpoint).own, (HOLDER_KIND, str(endpoint.pk))
    give_back(by, endpoint, GROWTH, SURGE)
    if own is None:
        take(by, endpoint, revision, HOLDER_KIND, amount)
    elif own.state == ReservationState.HELD and amount and own.pool == pool_of(endpoint, revision).slug:
        if amount > own.amount:
            grow(by, endpoint, revision, amount - own.amount)
    else:
        if own.state == ReservationState.HELD:
            retire(by, endpoint, HOLDER_KIND)
        elif own.amount >= amount > 0 and own.pool == pool_of(endpoint, revision).slug:
            nudge_all(resize(by, holder, amount))  # it keeps its place in the queue
            return
        else:
            give_back(by, endpoint, HOLDER_KIND)
        take(by, endpoint, revision, HOLDER_KIND, amount)


def grow(by: Actor, endpoint: Endpoint, revision: Revision, amount: int) -> bool:
    """Ask for `amount` accelerators more than are held, of the same pool; whether they are held at once. Raises as
    `take_seat` does.
    """
    more = take(by, endpoint, revision, GROWTH, amount)
    return more is not None and more.state == ReservationState.HELD and join(by, endpoint)


def join(by: Actor, endpoint: Endpoint) -> bool:
    """Add what was asked for in addition to what is held; whether it was held."""
    return merge(by, (GROWTH, str(endpoint.pk)), (HOLDER_KIND, str(endpoint.pk)))


def shrink(by: Actor, endpoint: Endpoint, amount: int) -> None:
    """Keep only `amount` accelerators for what runs; the engines of the others are gone."""
    nudge_all(resize(by, (HOLDER_KIND, str(endpoint.pk)), amount))


def retire(by: Actor, endpoint: Endpoint, kind: str) -> None:
    """Keep what `kind` holds until the engines are gone, apart from what others will need; what waits is given back."""
    identifier = str(endpoint.pk)
    give_back(by, endpoint, RETIRING)  # of engines before those: they were waited for
    given = hand_over(by, (kind, identifier), (RETIRING, identifier))
    if given is not None and given.state == ReservationState.WAITING:
        give_back(by, endpoint, RETIRING)


def succeed(by: Actor, endpoint: Endpoint) -> None:
    """Let what the next revision holds be what runs; what ran keeps its accelerators until its engines are gone."""
    retire(by, endpoint, HOLDER_KIND)
    hand_over(by, (SURGE, str(endpoint.pk)), (HOLDER_KIND, str(endpoint.pk)))


def give_back(by: Actor, endpoint: Endpoint, *kinds: str) -> None:
    """Release what the endpoint holds or waits for (default: everything), and nudge those who get it."""
    for kind in kinds or HOLDER_KINDS:
        nudge_all(release(by, (kind, str(endpoint.pk))))


def nudge_all(promoted: Iterable[Reservation]) -> None:
    """Nudge the endpoints whose reservations are held now."""
    for one in promoted:
        if one.holder_kind in HOLDER_KINDS:
            nudge(one.holder_id)
