"""More and fewer replicas: engines first finish, then go, then their accelerators; and the other way round."""

import datetime as dt
from pathlib import Path

import pytest

from audit.models import Row
from endpoints import facts, services
from endpoints.models import Event, Phase
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from projects.principal import Principal
from quotas.models import Quota, Reservation, ReservationState
from tests import factories
from tests.conftest import Org
from tests.endpoints.endpoint_kit import Script, is_in, open_demo, pids, replica, until, work

pytestmark = pytest.mark.django_db(transaction=True)
real = [pytest.mark.slow, pytest.mark.processes]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "DRAIN", dt.timedelta(seconds=0.2))


def amounts(state: str = ReservationState.HELD) -> dict[str, int]:
    return dict(Reservation.objects.filter(state=state).values_list("holder_kind", "amount"))


@pytest.mark.slow
@pytest.mark.processes
def test_down_gives_back_what_has_ended_and_up_reserves_again(org: Org, home: Path) -> None:
    by, pool = Principal.of(org.dana), factories.make_pool(limit=4)
    endpoint = until(open_demo(org.fraud, gpus=1, pool=pool, replicas=3), is_in(Phase.READY))
    other = work(open_demo(org.search, gpus=2, pool=pool))
    assert other.reason_code == "waiting_for_capacity"
    services.scale(by, endpoint, 1)
    assert amounts() == {"endpoint": 3}  # the engines still run
    until(endpoint, lambda row: len(pids(home, row)) == 1 and row.drain_until is None)
    work(endpoint)
    assert len(endpoint.upstreams) == 1 and endpoint.phase == Phase.READY
    pool.refresh_from_db()
    assert pool.held == 3  # 1 here, 2 of the one that waited
    until(other, is_in(Phase.READY))
    services.scale(by, endpoint, 3)
    work(endpoint)
    assert endpoint.phase == Phase.READY and endpoint.reason_sentence == (
        f"Answers calls on 1 of 1 replica. 2 more wait for 2 accelerators of the pool {pool.slug}, "
        "at position 1 of the queue."
    )
    assert amounts(ReservationState.WAITING) == {"growth": 2}
    services.suspend(factories.engineer(), other)
    until(other, is_in(Phase.SUSPENDED))
    until(endpoint, lambda row: len(row.upstreams) == 3)
    assert amounts() == {"endpoint": 3} and len(pids(home, endpoint)) == 3
    sentences = Event.objects.filter(endpoint=endpoint, code="scaled").order_by("pk").values_list("sentence", flat=True)
    assert list(sentences) == ["dana scaled it from 3 to 1 replica.", "dana scaled it from 1 to 3 replicas."]
    row = Row.objects.filter(action="endpoints.scale").order_by("id").first()
    assert row is not None and (row.before, row.after) == ('{"replicas":3}', '{"replicas":1}')


@pytest.mark.slow
@pytest.mark.processes
def test_a_suspended_one_remembers_its_number_and_reserves_only_that(org: Org, home: Path) -> None:
    by, pool = Principal.of(org.dana), factories.make_pool(limit=4)
    endpoint = until(open_demo(org.fraud, gpus=2, pool=pool, replicas=2), is_in(Phase.READY))
    services.suspend(by, endpoint)
    until(endpoint, is_in(Phase.SUSPENDED))
    services.scale(by, endpoint, 1)
    assert amounts() == {}
    services.resume(by, endpoint)
    until(endpoint, is_in(Phase.READY))
    assert amounts() == {"endpoint": 2} and len(pids(home, endpoint)) == 1


def test_what_waits_keeps_its_place_when_it_asks_for_less(org: Org, home: Path) -> None:
    by, pool = Principal.of(org.dana), factories.make_pool(limit=4)
    factories_reserve(org, pool, 3)
    first = work(open_demo(org.fraud, gpus=1, pool=pool, replicas=3))
    work(open_demo(org.search, gpus=2, pool=pool))
    services.scale(by, first, 2)
    assert "Waits for 2 accelerators" in work(first).reason_sentence and "position 1" in first.reason_sentence
    services.scale(by, first, 1)
    assert amounts() == {"test": 3, "endpoint": 1}  # it fits now, at once


def factories_reserve(org: Org, pool: object, amount: int) -> None:
    from quotas.services import reserve

    reserve(factories.engineer(), pool, amount, holder=("test", "x"), project=org.search)  # type: ignore[arg-type]


def test_bounds_roles_and_states(org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script((replica(),))
    monkeypatch.setattr("endpoints.reconcile.driver_for", lambda cluster: script)
    endpoint = open_demo(org.fraud, replicas=2)
    by = Principal.of(org.dana)
    for number in (0, -1, True):
        with pytest.raises(Invalid, match="replicas is"):
            services.scale(by, endpoint, number)
    for number in (3, 10**30):
        with pytest.raises(Conflict, match="was approved for 2 replicas") as refused:
            services.scale(by, endpoint, number)
        assert refused.value.code == "needs_request"
    with pytest.raises(Forbidden, match="scale this endpoint"):
        services.scale(Principal.of(org.vic), endpoint, 1)
    with pytest.raises(NotFound):
        services.scale(Principal.of(org.cy), endpoint, 1)
    before = Row.objects.count()
    assert services.scale(by, endpoint, 2).scale is None and Row.objects.count() == before
    assert services.scale(Principal.of(org.pat), endpoint, 1).wanted_replicas == 1
    assert services.scale(by, endpoint, 2).scale is None
    services.delete(by, endpoint)
    with pytest.raises(Conflict, match="is deleted"):
        services.scale(by, endpoint, 1)


def test_more_than_the_projects_quota_changes_nothing(org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script((replica(),))
    monkeypatch.setattr("endpoints.reconcile.driver_for", lambda cluster: script)
    pool, by = factories.make_pool(limit=8), Principal.of(org.dana)
    endpoint = work(open_demo(org.fraud, gpus=2, pool=pool, replicas=2))
    services.scale(by, endpoint, 1)
    work(endpoint)
    assert amounts() == {"endpoint": 2}
    Quota.objects.create(project=org.fraud, kind="gpus", hard=3)
    with pytest.raises(Conflict) as refused:
        services.scale(by, endpoint, 2)
    endpoint.refresh_from_db()
    assert (refused.value.code, endpoint.scale, amounts()) == ("gpu_quota", 1, {"endpoint": 2})
