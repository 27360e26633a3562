"""Reservations: never more than there is, in the order of the queue, under concurrency too."""

import pytest
from django.db import IntegrityError, transaction
from django.db.models import F

from audit.models import Row
from audit.services import system
from portal.errors import Conflict, Invalid
from projects.models import Project
from quotas import services
from quotas.models import Pool, Reservation, ReservationState

pytestmark = pytest.mark.slow

BY = system("test")


@pytest.fixture
def project(db):
    return Project.objects.create(slug="fraud-detection", name="Fraud detection")


@pytest.fixture
def pool(db):
    return Pool.objects.create(slug="shared-gpu", name="Shared", cluster="local", limit=8, observed=8)


def reserve(pool: Pool, amount: int, name: str, project: Project) -> Reservation:
    return services.reserve(BY, pool, amount, holder=("endpoint", name), project=project)


def release(name: str) -> list[str]:
    return [item.holder_id for item in services.release(BY, ("endpoint", name))]


def check(pool: Pool, held: int) -> None:
    pool.refresh_from_db()
    assert pool.held == held
    assert held == sum(pool.reservations.filter(state="held").values_list("amount", flat=True))


def test_reserve_holds_while_there_is_room_and_then_waits(pool, project):
    assert reserve(pool, 6, "a", project).state == ReservationState.HELD
    assert reserve(pool, 2, "b", project).state == ReservationState.HELD
    waiting = reserve(pool, 1, "c", project)
    assert waiting.state == ReservationState.WAITING
    assert services.position(waiting) == 1
    check(pool, 8)
    assert services.room(pool) == services.Room(limit=8, observed=8, held=8, waiting=1, available=0)


def test_reserve_again_changes_nothing(pool, project):
    first = reserve(pool, 2, "a", project)
    assert reserve(pool, 2, "a", project).pk == first.pk
    with pytest.raises(Conflict, match="Release it first"):
        reserve(pool, 3, "a", project)
    check(pool, 2)


@pytest.mark.parametrize(
    ("amount", "says"), [(9, "never fit"), (0, "at least 1"), (-1, "at least 1"), (True, "at least")]
)
def test_reserve_refuses_what_never_fits(pool, project, amount, says):
    with pytest.raises(Invalid, match=says) as caught:
        reserve(pool, amount, "a", project)
    assert "amount" in caught.value.fields
    assert not Reservation.objects.exists()
    check(pool, 0)


def test_release_promotes_the_first_that_fits(pool, project):
    reserve(pool, 4, "a", project)
    reserve(pool, 4, "b", project)
    big, small, smaller = (reserve(pool, n, name, project) for n, name in ((6, "big"), (3, "small"), (2, "smaller")))
    assert services.positions([big, small, smaller]) == {big.pk: 1, small.pk: 2, smaller.pk: 3}
    assert release("a") == ["small"]  # 4 free: not big (6), then small (3); 1 is left for nobody
    check(pool, 7)
    assert services.positions([big, small, smaller]) == {big.pk: 1, small.pk: 0, smaller.pk: 2}
    assert release("b") == ["smaller"]
    check(pool, 5)
    assert release("small") == ["big"]
    check(pool, 8)


def test_release_of_a_waiting_one_gives_nothing_back(pool, project):
    reserve(pool, 8, "a", project)
    reserve(pool, 1, "b", project)
    assert release("b") == []
    check(pool, 8)
    assert release("b") == []  # a retry is success
    assert release("nobody") == []
    assert Row.objects.filter(action="quotas.release").count() == 1


def test_a_newcomer_does_not_overtake_who_would_fit(pool, project):
    reserve(pool, 8, "a", project)
    first = reserve(pool, 4, "first", project)
    Pool.objects.filter(pk=pool.pk).update(limit=12, observed=12)  # room nobody was told of
    newcomer = reserve(pool, 4, "newcomer", project)
    first.refresh_from_db()
    assert (first.state, newcomer.state) == ("held", "waiting")


def test_a_small_newcomer_may_pass_a_large_one_that_does_not_fit(pool, project):
    reserve(pool, 6, "a", project)
    large = reserve(pool, 4, "large", project)
    assert reserve(pool, 2, "small", project).state == "held"
    large.refresh_from_db()
    assert large.state == "waiting"


def test_a_released_holder_may_reserve_again(pool, project):
    first = reserve(pool, 2, "a", project)
    release("a")
    again = reserve(pool, 5, "a", project)
    assert again.pk != first.pk and again.state == "held"


def test_observed_below_held_takes_nothing_and_gives_nothing(pool, project):
    reserve(pool, 6, "a", project)
    assert services.observe(BY, pool, 4) == []
    assert reserve(pool, 1, "b", project).state == "waiting"
    check(pool, 6)
    assert services.room(pool).available == 0
    assert [item.holder_id for item in services.observe(BY, pool, 8)] == ["b"]
    check(pool, 7)
    for wrong in (-1, 100_001, True):
        with pytest.raises(Invalid, match="observed"):
            services.observe(BY, pool, wrong)


def test_promote_serves_what_changed_in_another_way(pool, project):
    reserve(pool, 8, "a", project)
    reserve(pool, 2, "b", project)
    Pool.objects.filter(pk=pool.pk).update(limit=10, observed=10)
    assert [item.holder_id for item in services.promote_all()] == ["b"]
    assert services.promote(pool) == []


def test_every_change_is_audited_with_its_project(pool, project):
    reserve(pool, 8, "a", project)
    reserve(pool, 1, "b", project)
    release("a")
    rows = list(Row.objects.order_by("id").values_list("action", "project", "actor"))
    assert [row[0] for row in rows] == [
        "quotas.reserve", "quotas.promote", "quotas.reserve", "quotas.release", "quotas.promote",
    ]  # fmt: skip
    assert {row[1:] for row in rows} == {("fraud-detection", "system:test")}


def test_the_caller_rolls_all_of_it_back(pool, project):
    with transaction.atomic():
        assert reserve(pool, 3, "a", project).state == "held"
        transaction.set_rollback(True)
    check(pool, 0)
    assert not Row.objects.exists()


@pytest.mark.parametrize("held", [9, -1])
def test_the_database_forbids_what_the_code_forbids(pool, held):
    with pytest.raises(IntegrityError), transaction.atomic():
        Pool.objects.filter(pk=pool.pk).update(held=F("limit") + held - 8)


def test_the_database_forbids_two_living_reservations_of_a_holder(pool, project):
    Reservation.objects.create(pool=pool, project=project, amount=1, holder_kind="endpoint", holder_id="a")
    with pytest.raises(IntegrityError), transaction.atomic():
        Reservation.objects.create(pool=pool, project=project, amount=1, holder_kind="endpoint", holder_id="a")


def test_reading_costs_the_same_for_many(pool, project, django_assert_num_queries):
    made = [reserve(pool, 1, str(number), project) for number in range(30)]
    with django_assert_num_queries(1):
        places = services.positions(made)
    assert sorted(places.values())[8:] == list(range(1, 23))
    with django_assert_num_queries(1):
        services.rooms([pool])


@pytest.mark.django_db(transaction=True)
def test_64_at_once_get_8_and_a_queue_without_gaps(org, file_database, in_threads):
    pool = Pool.objects.create(slug="shared-gpu", name="Shared", cluster="local", limit=8, observed=8)
    made = in_threads(64, lambda number: reserve(pool, 1, f"e{number}", org.fraud))
    check(pool, 8)
    states = [item.state for item in Reservation.objects.filter(pk__in=[one.pk for one in made])]
    assert (states.count("held"), states.count("waiting")) == (8, 56)
    assert sorted(services.positions(made).values()) == [0] * 8 + list(range(1, 57))

    holders = list(Reservation.objects.filter(state="held").values_list("holder_id", flat=True))
    head = Reservation.objects.filter(state="waiting").order_by("id").first()
    assert head is not None
    assert release(holders[0]) == [head.holder_id]
    check(pool, 8)

    promoted = in_threads(7, lambda number: release(holders[number + 1]))
    assert sorted(len(names) for names in promoted) == [1] * 7
    check(pool, 8)
    assert Reservation.objects.filter(state="waiting").count() == 48


@pytest.mark.django_db(transaction=True)
def test_two_releases_of_one_holder_give_back_once(org, file_database, in_threads):
    pool = Pool.objects.create(slug="shared-gpu", name="Shared", cluster="local", limit=8, observed=8)
    reserve(pool, 8, "a", org.fraud)
    for name in ("b", "c"):
        reserve(pool, 8, name, org.fraud)
    promoted = in_threads(6, lambda number: release("a"))
    assert sorted(promoted) == [[], [], [], [], [], ["b"]]
    check(pool, 8)
