"""What is known of each pool, and how full it was."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from audit.services import system
from quotas import services
from quotas.capacity import QUEUE, STRANGER, Panel, panels
from quotas.models import Pool, Reservation
from quotas.occupancy import Row, average, occupancy
from tests.conftest import Org

START = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def pool(org: Org) -> Pool:
    """Eight accelerators: three reservations hold seven of them, two wait."""
    pool = Pool.objects.create(slug="shared-gpu", name="Shared", cluster="local", limit=8, observed=8, simulated=True)
    for number, (amount, project) in enumerate(((2, org.fraud), (4, org.search), (4, org.search), (1, org.fraud))):
        services.reserve(system("t"), pool, amount, holder=("endpoint", f"endpoint-{number}"), project=project)
    services.reserve(system("t"), pool, 5, holder=("endpoint", "endpoint-9"), project=org.fraud)
    return pool


def test_a_panel_is_the_pool_with_its_queue(org: Org, pool: Pool) -> None:
    [panel] = panels(org.principal(org.pat))
    assert (panel.room.held, panel.room.available, panel.room.waiting, panel.queued) == (7, 1, 9, 2)
    assert panel.room == services.room(pool)
    assert [(one.project, one.reservation.amount) for one in panel.held] == [
        ("fraud-detection", 2), ("search-ranking", 4), ("fraud-detection", 1),
    ]  # fmt: skip
    # fraud-detection holds 3 and search-ranking 4: it is the turn of who is further below its share
    assert [(one.position, one.reservation.amount) for one in panel.waiting] == [(1, 5), (2, 4)]


def test_strangers_are_another_project(org: Org, pool: Pool) -> None:
    [panel] = panels(org.principal(org.dana))
    assert [one.project for one in panel.held] == ["fraud-detection", STRANGER, "fraud-detection"]
    assert [one.project for one in panel.waiting] == ["fraud-detection", STRANGER]
    assert panel.room.held == 7 and panel.queued == 2


def test_missing_nodes_and_an_empty_pool(org: Org, pool: Pool) -> None:
    services.observe(system("t"), pool, 6)
    Pool.objects.create(slug="new", name="New", cluster="local", limit=4, observed=4)
    empty, short = panels(org.principal(org.pat))
    assert (short.room.observed, short.absent, short.room.available) == (6, 2, 0)
    assert (empty.held, empty.waiting, empty.queued, empty.room.available) == ([], [], 0, 4)


def test_a_long_queue_is_cut_and_counted_in_four_queries(
    org: Org, pool: Pool, django_assert_num_queries: Callable[..., Any]
) -> None:
    by = org.principal(org.pat)
    with django_assert_num_queries(4):
        panels(by)
    for number in range(QUEUE + 10):
        services.reserve(system("t"), pool, 8, holder=("endpoint", f"more-{number}"), project=org.search)
    with django_assert_num_queries(4):
        found: list[Panel] = panels(by)
    assert len(found[0].waiting) == QUEUE and found[0].more == 12 and found[0].queued == QUEUE + 12
    assert found[0].room.waiting == 9 + 8 * (QUEUE + 10)


def held(amount: int, begin: float, end: float | None) -> Row:
    """A reservation held from `begin` to `end` hours after START."""
    return (1, amount, START + begin * HOUR, None if end is None else START + end * HOUR)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], [0, 0, 0]),
        ([held(2, -5, None)], [2, 2, 2]),
        ([held(2, -5, -1)], [0, 0, 0]),
        ([held(4, 0.25, 0.75)], [2, 0, 0]),
        ([held(4, 0.5, 2.5)], [2, 4, 2]),
        ([held(1, 1, 2)], [0, 1, 0]),
        ([held(1, 0, 1), held(1, 1, None)], [1, 1, 1]),
        ([held(8, 2.5, None)], [0, 0, 4]),
        ([held(8, 3, None)], [0, 0, 0]),
    ],
)
def test_the_average_is_exact(rows: list[Row], expected: list[float]) -> None:
    assert average(rows, start=START, end=START + 3 * HOUR, step=HOUR) == pytest.approx(expected)


def test_the_last_slot_may_be_shorter() -> None:
    found = average([held(2, 0, None), held(2, 1.25, None)], start=START, end=START + 1.5 * HOUR, step=HOUR)
    assert found == pytest.approx([2, 3])


def test_occupancy_is_what_reservations_prove(
    org: Org, pool: Pool, django_assert_num_queries: Callable[..., Any]
) -> None:
    now = timezone.now()
    Reservation.objects.filter(holder_id="endpoint-0").update(held_at=now - 90 * HOUR)
    services.release(system("t"), ("endpoint", "endpoint-1"))  # four, held a moment ago; four others take their place
    Reservation.objects.filter(holder_id="endpoint-1").update(held_at=now - 3 * HOUR, released_at=now - 2 * HOUR)
    Reservation.objects.filter(state="held").exclude(holder_id="endpoint-0").update(held_at=now - HOUR)
    with django_assert_num_queries(1):
        found = occupancy([pool], start=now - 4 * HOUR, end=now, step=HOUR)
    assert found[pool.pk] == pytest.approx([2, 6, 2, 7], abs=0.01)
    with pytest.raises(ValueError, match="positive"):
        occupancy([pool], start=now, end=now, step=HOUR)
