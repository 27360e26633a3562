"""What people want of an endpoint: permission, state, audit row, event, nudge."""

import datetime as dt
import json
from pathlib import Path

import pytest
from django.utils import timezone

from audit.models import Row
from endpoints import services
from endpoints.models import Desired, Endpoint, Phase
from endpoints.services import Authorization, open_endpoint
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from projects import epoch
from projects.principal import Principal
from quotas.models import Reservation, ReservationState
from tests import factories
from tests.conftest import Org
from tests.endpoints.endpoint_kit import Broker, open_demo

pytestmark = pytest.mark.django_db


def opened(org: Org, name: str, **values: object) -> Endpoint:
    given = {"replicas": 1, "concurrency": 4, "context_tokens": 2048, "environment": "dev"} | values
    return open_endpoint(
        factories.engineer(),
        project=org.fraud,
        name=name,
        cluster=factories.make_cluster(),
        version=factories.make_version(),
        profile=factories.make_profile(),
        authorization=Authorization("R-7", "sha256:feed", dt.date(2027, 2, 1)),
        created_by=org.dana,
        **given,  # type: ignore[arg-type]
    )


def test_open_writes_rows_and_nudges_after_the_commit(
    org: Org, broker: Broker, django_capture_on_commit_callbacks: object
) -> None:
    before = epoch.current()
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        endpoint = opened(org, "scoring")
        assert broker.sent == []
    assert broker.ids() == [str(endpoint.pk)] and epoch.current() == before + 1
    revision = endpoint.revision
    assert revision is not None and revision.number == 1 and revision.runtime == revision.version.runtime
    assert (revision.authorization_reference, revision.authorization_digest) == ("R-7", "sha256:feed")
    assert (endpoint.phase, endpoint.desired, endpoint.reason_code) == (Phase.PENDING, Desired.RUNNING, "accepted")
    [row] = Row.objects.filter(action="endpoints.open")
    assert row.project == "fraud-detection" and json.loads(row.after)["authorization"] == "R-7"
    assert [event.code for event in endpoint.events.all()] == ["accepted"]


def test_a_name_is_unique_among_the_living_and_reserved_for_thirty_days(org: Org) -> None:
    endpoint = opened(org, "scoring")
    assert services.name_is_taken(org.fraud, "scoring") and not services.name_is_taken(org.search, "scoring")
    with pytest.raises(Conflict) as refused:
        opened(org, "scoring")
    assert refused.value.code == "name_taken"
    gone = Endpoint.objects.filter(pk=endpoint.pk)
    gone.update(phase=Phase.DELETED, deleted_at=timezone.now() - dt.timedelta(days=29))
    with pytest.raises(Conflict):
        opened(org, "scoring")
    gone.update(deleted_at=timezone.now() - dt.timedelta(days=31))
    assert opened(org, "scoring").pk != endpoint.pk


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": "Bad Name"}, "name"),
        ({"name": "x\n"}, "name"),
        ({"name": "a" * 41}, "name"),
        ({"replicas": 0}, "replicas"),
        ({"replicas": 65}, "replicas"),
        ({"environment": "moon"}, "environment"),
        ({"context_tokens": 0}, "context_tokens"),
    ],
)
def test_open_refuses_what_is_out_of_bounds(org: Org, values: dict[str, object], field: str) -> None:
    name = str(values.pop("name", "fine"))
    with pytest.raises(Invalid) as refused:
        opened(org, name, **values)
    assert list(refused.value.fields) == [field] and not Endpoint.objects.exists()


@pytest.mark.parametrize("verb", ["suspend", "resume", "retry", "delete"])
@pytest.mark.parametrize(
    ("person", "error"), [("vic", Forbidden), ("aud", Forbidden), ("yasmine", Forbidden), ("cy", NotFound)]
)
def test_who_may_not(org: Org, verb: str, person: str, error: type[Exception]) -> None:
    endpoint = open_demo(org.fraud)
    rows = Row.objects.count()
    with pytest.raises(error):
        getattr(services, verb)(Principal.of(getattr(org, person)), endpoint)
    endpoint.refresh_from_db()
    assert (endpoint.desired, Row.objects.count()) == (Desired.RUNNING, rows)


def test_suspend_and_resume_reserve_again_first(org: Org) -> None:
    pool, by = factories.make_pool(limit=1), Principal.of(org.dana)
    endpoint = open_demo(org.fraud, gpus=1, pool=pool)
    suspended = services.suspend(by, endpoint, reason="not needed this week")
    assert suspended.desired == Desired.SUSPENDED and suspended.upstreams == []
    assert Row.objects.get(action="endpoints.suspend").reason == "not needed this week"
    with pytest.raises(Conflict, match="cannot be suspended now"):
        services.suspend(by, endpoint)
    resumed = services.resume(by, endpoint)  # its engines had not ended yet: it keeps what it holds
    assert resumed.desired == Desired.RUNNING and Reservation.objects.count() == 1
    Endpoint.objects.filter(pk=endpoint.pk).update(desired=Desired.SUSPENDED, phase=Phase.SUSPENDED)
    Reservation.objects.update(state=ReservationState.RELEASED)
    type(pool).objects.update(held=0)
    resumed = services.resume(by, endpoint)
    assert resumed.phase == Phase.PENDING and resumed.attempts == 0
    assert Reservation.objects.filter(state=ReservationState.HELD).count() == 1


def test_resume_is_refused_on_hold_and_without_a_pool(org: Org) -> None:
    by, pool = Principal.of(org.dana), factories.make_pool(limit=1)
    endpoint = open_demo(org.fraud, gpus=1, pool=pool)
    at_rest = Endpoint.objects.filter(pk=endpoint.pk)
    at_rest.update(
        desired=Desired.SUSPENDED, phase=Phase.SUSPENDED, hold_reason="its data is under review", hold_by="governance"
    )
    endpoint.refresh_from_db()
    with pytest.raises(Conflict, match="on hold by governance: its data is under review") as refused:
        services.resume(by, endpoint)
    assert refused.value.code == "on_hold"
    at_rest.update(hold_reason="", hold_by="")
    pool.profiles.clear()
    endpoint.refresh_from_db()
    with pytest.raises(Conflict) as refused:
        services.resume(by, endpoint)
    endpoint.refresh_from_db()
    assert refused.value.code == "no_pool" and endpoint.desired == Desired.SUSPENDED


def test_retry_is_for_failed_ones_and_reserves_what_is_missing(org: Org) -> None:
    by, pool = Principal.of(org.dana), factories.make_pool(limit=1)
    endpoint = open_demo(org.fraud, gpus=1)
    with pytest.raises(Conflict, match="has not failed"):
        services.retry(by, endpoint)
    Endpoint.objects.filter(pk=endpoint.pk).update(phase=Phase.FAILED, attempts=5, reason_code="no_reservation")
    pool.profiles.add(endpoint.revision.profile)  # type: ignore[union-attr]
    retried = services.retry(by, endpoint)
    assert (retried.phase, retried.attempts, retried.reason_code) == (Phase.PENDING, 0, "retried")
    assert Reservation.objects.get().state == ReservationState.HELD


def test_delete_wants_the_name_of_a_person_and_is_final(org: Org, home: Path) -> None:
    by, endpoint = Principal.of(org.omar), open_demo(org.fraud)
    with pytest.raises(Invalid, match="exactly as it is written"):
        services.delete(by, endpoint, confirm="other")
    deleted = services.delete(by, endpoint, confirm=f" {endpoint.name} ")
    assert deleted.desired == Desired.DELETED
    for verb in (services.resume, services.suspend, services.delete):
        with pytest.raises(Conflict):
            verb(by, deleted)
