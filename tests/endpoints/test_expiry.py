"""The end of an endpoint by the calendar: reminders, suspension under a hold, deletion, renewal; after downtime too."""

import datetime as dt
from typing import Any

import pytest
import time_machine

from audit.models import Row
from endpoints import services
from endpoints.expiry import due_reminder, expire
from endpoints.models import Desired, Endpoint, Event, Phase, Share
from endpoints.services import Authorization
from portal.errors import Conflict, Invalid
from projects.models import Notification
from projects.principal import Principal
from tests import factories
from tests.conftest import Org
from tests.endpoints.endpoint_kit import Script, open_demo, replica, work

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
START = dt.datetime(2026, 11, 21, 9, tzinfo=dt.UTC)
LAST = dt.date(2027, 1, 20)  # 60 days later


@pytest.fixture
def clock() -> Any:
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    made = Script((replica(),))
    monkeypatch.setattr("endpoints.reconcile.driver_for", lambda cluster: made)
    return made


@pytest.fixture
def endpoint(org: Org, clock: Any, script: Script) -> Endpoint:
    made = work(open_demo(org.fraud))
    Endpoint.objects.filter(pk=made.pk).update(ends_on=LAST, contact=org.dana)
    made.refresh_from_db()
    return made


def at(clock: Any, day: str) -> None:
    clock.move_to(dt.datetime.fromisoformat(f"{day}T10:00:00+00:00"))


def told(kind: str) -> list[str]:
    rows = Notification.objects.filter(kind=kind).order_by("pk").select_related("person")
    return [f"{row.person.username}: {row.title}" for row in rows]


def renewal(day: dt.date | None = None) -> dict[str, Any]:
    ends_on = day or dt.date(2027, 6, 1)
    return {"ends_on": ends_on, "authorization": Authorization("R-9", "sha256:new", ends_on)}


def test_the_whole_timeline(org: Org, endpoint: Endpoint, clock: Any, script: Script) -> None:
    name, said = f"fraud-detection/{endpoint.name}", []
    for day, sentence in (
        ("2026-12-20", ""),
        ("2026-12-21", "in 30 days, on 2027-01-20"),
        ("2027-01-05", ""),
        ("2027-01-06", "in 14 days, on 2027-01-20"),
        ("2027-01-17", "in 3 days, on 2027-01-20"),
        ("2027-01-20", ""),
    ):
        at(clock, day)
        expire()
        expire()
        said += [f"{name} ends {sentence}."] if sentence else []
        assert told("endpoint.expiring") == [f"{who}: {one}" for one in said for who in ("dana", "omar")], day
    endpoint.refresh_from_db()
    assert endpoint.desired == Desired.RUNNING and endpoint.upstreams  # the last day is a whole day
    at(clock, "2027-01-21")
    assert (expire(), expire()) == (1, 0)
    work(endpoint)
    assert (endpoint.desired, endpoint.phase, endpoint.hold_by) == (Desired.SUSPENDED, Phase.SUSPENDED, "expiry")
    assert told("endpoint.expired") == [f"{who}: {name} has ended and is suspended." for who in ("dana", "omar")]
    with pytest.raises(Conflict, match=r"without one it is deleted on 2027-02-04\.$") as held:
        services.resume(Principal.of(org.dana), endpoint)
    assert held.value.code == "on_hold"
    at(clock, "2027-02-03")
    assert expire() == 0
    at(clock, "2027-02-04")
    assert (expire(), expire()) == (1, 0)
    endpoint.refresh_from_db()
    assert endpoint.desired == Desired.DELETED
    assert told("endpoint.deleted") == [f"{w}: {name} was deleted: it ended on 2027-01-20." for w in ("dana", "omar")]
    actors = {row.actor for row in Row.objects.filter(action__in=["endpoints.expire", "endpoints.delete"])}
    assert actors == {"system:expiry"}
    assert Row.objects.filter(action="endpoints.remind").count() == 3


def test_after_weeks_of_downtime_only_what_is_most_urgent_is_said(endpoint: Endpoint, clock: Any) -> None:
    at(clock, "2027-01-18")
    expire()
    expire()
    assert len(told("endpoint.expiring")) == 2 and "in 2 days" in told("endpoint.expiring")[0]


def test_the_grace_begins_when_it_is_suspended_not_while_the_portal_was_away(endpoint: Endpoint, clock: Any) -> None:
    at(clock, "2027-06-01")
    expire()
    assert expire() == 0
    endpoint.refresh_from_db()
    assert endpoint.desired == Desired.SUSPENDED and told("endpoint.expiring") == []
    at(clock, "2027-06-15")
    assert expire() == 1


def test_renewal_lifts_the_hold_and_runs_it_again(org: Org, endpoint: Endpoint, clock: Any, script: Script) -> None:
    at(clock, "2027-01-21")
    expire()
    work(endpoint)
    renewed = services.renew(Principal.of(org.pat), endpoint, **renewal())
    assert (renewed.desired, renewed.phase, renewed.hold_by) == (Desired.RUNNING, Phase.PENDING, "")
    assert renewed.ends_on == dt.date(2027, 6, 1) and renewed.revision is not None
    assert renewed.revision.authorization_valid_until == dt.date(2027, 6, 1)
    assert renewed.revision.authorization_digest == "sha256:abc"  # what was provisioned stays what was approved
    script.replicas = (replica(),)
    assert work(endpoint).phase == Phase.READY and expire() == 0
    row = Row.objects.get(action="endpoints.renew")
    assert '"authorization":"R-9"' in row.after and '"ends_on":"2027-01-20"' in row.before
    at(clock, "2027-05-02")
    expire()
    assert "in 30 days, on 2027-06-01" in told("endpoint.expiring")[-1]


def test_what_its_owner_suspended_stays_suspended(org: Org, endpoint: Endpoint, clock: Any) -> None:
    services.suspend(Principal.of(org.dana), endpoint)
    work(endpoint)
    at(clock, "2027-01-21")
    assert expire() == 1
    endpoint.refresh_from_db()
    assert endpoint.hold_by == "expiry" and not endpoint.hold_resumes
    renewed = services.renew(Principal.of(org.pat), endpoint, **renewal())
    assert (renewed.desired, renewed.hold_by) == (Desired.SUSPENDED, "")
    assert services.resume(Principal.of(org.dana), renewed).desired == Desired.RUNNING


def test_another_hold_is_neither_lifted_nor_replaced(org: Org, endpoint: Endpoint, clock: Any) -> None:
    services.suspend(Principal.of(org.dana), endpoint)
    work(endpoint)
    Endpoint.objects.filter(pk=endpoint.pk).update(hold_by="governance", hold_reason="Under review.")
    at(clock, "2027-03-01")
    assert expire() == 0
    renewed = services.renew(Principal.of(org.pat), endpoint, **renewal())
    assert (renewed.hold_by, renewed.desired) == ("governance", Desired.SUSPENDED)


def test_renewal_has_bounds(org: Org, endpoint: Endpoint, clock: Any) -> None:
    by = Principal.of(org.pat)
    for day in (dt.date(2026, 1, 1), LAST, dt.date(2027, 1, 1)):
        with pytest.raises(Invalid, match="ends_on is"):
            services.renew(by, endpoint, **renewal(day))
    services.delete(by, endpoint)
    with pytest.raises(Conflict, match="is deleted"):
        services.renew(by, endpoint, **renewal())
    assert not Row.objects.filter(action="endpoints.renew").exists()


def test_who_chooses_a_near_end_is_not_reminded_of_it_at_once(org: Org, clock: Any, script: Script) -> None:
    days = {3: 3, 10: 14, 20: 30, 31: None}
    assert {left: due_reminder(START.date() + dt.timedelta(days=left)) for left in days} == days
    endpoint = factories.make_endpoint(org.dana, ends_on=(START.date() + dt.timedelta(days=10)).isoformat())
    assert endpoint.reminded_days == 14 and endpoint.contact == org.dana
    expire()
    assert told("endpoint.expiring") == []
    at(clock, "2026-11-28")
    expire()
    assert len(told("endpoint.expiring")) == 2


def test_many_that_have_nothing_due_cost_four_queries(
    org: Org, endpoint: Endpoint, clock: Any, django_assert_num_queries: Any
) -> None:
    at(clock, "2026-12-25")
    assert expire() == 1
    with django_assert_num_queries(4):
        assert expire() == 0


def test_a_share_ends_after_its_last_day(org: Org, endpoint: Endpoint, clock: Any) -> None:
    owner = Principal.of(org.omar)
    services.set_shareable(owner, endpoint, True)
    share = services.share(owner, endpoint, org.search, ends_on=dt.date(2026, 11, 25))
    at(clock, "2026-11-25")
    assert expire() == 0
    at(clock, "2026-11-26")
    assert (expire(), expire()) == (1, 0)
    share.refresh_from_db()
    assert share.ended_at is not None and Share.objects.count() == 1
    event = Event.objects.filter(endpoint=endpoint, code="unshared").get()
    assert event.sentence == "Its last day has passed. search-ranking may no longer call it."
