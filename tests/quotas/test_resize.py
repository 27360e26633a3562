"""Making reservations smaller, joining them and handing them over: counters, history, queue."""

import pytest

from audit.models import Row
from audit.services import system
from portal.errors import Conflict, Invalid
from quotas import services
from quotas.models import Pool, Reservation, ReservationState
from tests import factories
from tests.conftest import Org

pytestmark = pytest.mark.django_db
BY = system("test")
A, B = ("endpoint", "a"), ("growth", "a")


@pytest.fixture
def pool(db: None) -> Pool:
    return factories.make_pool(limit=8)


def state(pool: Pool) -> tuple[int, list[tuple[str, str, int, str]]]:
    """The counter, which must be true, and all reservations."""
    pool.refresh_from_db()
    rows = Reservation.objects.order_by("id").values_list("holder_kind", "holder_id", "amount", "state")
    assert pool.held == sum(amount for _, _, amount, state in rows if state == ReservationState.HELD)
    return pool.held, [tuple(row) for row in rows]  # type: ignore[misc]


def test_smaller_gives_back_and_keeps_the_history(org: Org, pool: Pool) -> None:
    first = services.reserve(BY, pool, 6, holder=A, project=org.fraud)
    services.reserve(BY, pool, 4, holder=("endpoint", "b"), project=org.search)
    [promoted] = services.resize(BY, A, 2)
    assert promoted.holder_id == "b" and state(pool) == (
        6, [("endpoint", "a", 6, "released"), ("endpoint", "b", 4, "held"), ("endpoint", "a", 2, "held")],
    )  # fmt: skip
    first.refresh_from_db()
    now = Reservation.objects.get(holder_id="a", state=ReservationState.HELD)
    assert first.released_at is not None and now.held_at == first.released_at
    row = Row.objects.get(action="quotas.resize")
    assert '"amount":6' in row.before and row.after == '{"amount":2}'
    assert services.resize(BY, A, 2) == services.resize(BY, A, 5) == services.resize(BY, ("endpoint", "none"), 1) == []
    assert state(pool)[0] == 6


def test_what_waits_asks_for_less_and_keeps_its_place(org: Org, pool: Pool) -> None:
    services.reserve(BY, pool, 6, holder=("endpoint", "x"), project=org.fraud)
    waits = services.reserve(BY, pool, 4, holder=A, project=org.fraud)
    services.reserve(BY, pool, 3, holder=("endpoint", "b"), project=org.fraud)
    assert services.resize(BY, A, 3) == [] and services.position(waits) == 1
    assert [one.pk for one in services.resize(BY, A, 2)] == [waits.pk] and state(pool)[0] == 8


@pytest.mark.parametrize("amount", [0, -1, True])
def test_less_than_one_is_refused(org: Org, pool: Pool, amount: int) -> None:
    services.reserve(BY, pool, 6, holder=A, project=org.fraud)
    with pytest.raises(Invalid, match="at least 1"):
        services.resize(BY, A, amount)
    assert state(pool)[0] == 6


def test_what_was_added_joins_and_holds_the_same_number(org: Org, pool: Pool) -> None:
    services.reserve(BY, pool, 2, holder=A, project=org.fraud)
    assert not services.merge(BY, B, A)
    services.reserve(BY, pool, 3, holder=B, project=org.fraud)
    assert services.merge(BY, B, A) and not services.merge(BY, B, A)
    held, rows = state(pool)
    assert held == 5 and [row for row in rows if row[3] == "held"] == [("endpoint", "a", 5, "held")]


def test_what_waits_or_lies_elsewhere_does_not_join(org: Org, pool: Pool) -> None:
    services.reserve(BY, pool, 6, holder=A, project=org.fraud)
    services.reserve(BY, pool, 3, holder=B, project=org.fraud)
    assert not services.merge(BY, B, A)
    services.release(BY, B)
    services.reserve(BY, factories.make_pool(limit=4), 3, holder=B, project=org.fraud)
    assert not services.merge(BY, B, A)


def test_handing_over_changes_the_holder_and_nothing_else(org: Org, pool: Pool) -> None:
    services.reserve(BY, pool, 2, holder=A, project=org.fraud)
    services.reserve(BY, pool, 3, holder=B, project=org.fraud)
    with pytest.raises(Conflict, match="has a reservation already"):
        services.hand_over(BY, B, A)
    services.release(BY, A)
    given = services.hand_over(BY, B, A)
    assert given is not None and (given.holder_kind, given.amount) == ("endpoint", 3) and state(pool)[0] == 3
    assert services.hand_over(BY, B, A) is None
    assert Row.objects.filter(action="quotas.hand_over").count() == 1
