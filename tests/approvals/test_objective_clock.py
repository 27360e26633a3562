"""The clock of a request: when it runs, when it stands still, and that a new calendar leaves the past alone."""

import datetime as dt
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone

from approvals import services
from approvals.models import Calendar, Request, RequestState
from approvals.objective import calendar, changing, clock
from approvals.objective.days import Days
from audit.models import Row
from endpoints.models import Endpoint, Phase
from portal.errors import Conflict, Forbidden, Invalid
from portal.states import move
from quotas.models import Outcome, UsageEvent
from tests.conftest import Org
from tests.factories import make_request

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
EVERY: dict[str, Any] = {"zone": "UTC", "workdays": range(7), "holidays": []}


@pytest.fixture
def org(org: Org) -> Org:
    """Every day counts, so that no test depends on the day on which it runs."""
    changing.change(org.principal(org.yasmine), **EVERY)
    cache.clear()
    return org


def back(request: Request, **age: float) -> Request:
    """Let the clock of `request` have begun so long ago."""
    ago = dt.timedelta(**age)
    since = timezone.now() - ago
    assert request.due_at is not None
    Request.objects.filter(pk=request.pk).update(clock_since=since, submitted_at=since, due_at=request.due_at - ago)
    request.refresh_from_db()
    return request


def begun(request: Request) -> dt.datetime:
    """Return since when the clock of `request` runs; it must run."""
    assert request.clock_since is not None
    return request.clock_since


def test_it_runs_from_submission_to_decision(org: Org) -> None:
    made = make_request(org.dana, state="draft")
    assert made.clock_since is None and clock.seconds(made, timezone.now()) == 0
    services.submit(org.principal(org.dana), made)
    made.refresh_from_db()
    assert made.due_at == begun(made) + 5 * DAY
    back(made, hours=30)
    assert clock.seconds(made, timezone.now()) == pytest.approx(30 * 3600, abs=5)
    services.reject(org.principal(org.pat), made, reason="No.")
    made.refresh_from_db()
    assert made.clock_since is made.due_at is None and made.clock_seconds == pytest.approx(30 * 3600, abs=5)


def test_it_stands_still_while_it_is_the_requesters_turn(org: Org) -> None:
    made = back(make_request(org.dana), hours=10)
    services.request_changes(org.principal(org.pat), made, reason="Smaller.")
    made.refresh_from_db()
    assert clock.seconds(made, timezone.now() + 9 * DAY) == made.clock_seconds == pytest.approx(36_000, abs=5)
    services.submit(org.principal(org.dana), made)
    made.refresh_from_db()
    assert made.due_at == begun(made) + 5 * DAY - dt.timedelta(seconds=made.clock_seconds)
    services.withdraw(org.principal(org.dana), made)
    made.refresh_from_db()
    assert made.clock_since is None and made.clock_seconds == pytest.approx(36_000, abs=5)


def test_an_endpoints_clock_goes_on_until_it_answers(org: Org) -> None:
    made = back(make_request(org.dana), hours=2)
    services.approve(org.principal(org.pat), made, reason="")
    made.refresh_from_db()
    assert made.endpoint_id is not None and clock.settle() == 0
    ready = begun(made) + 7 * HOUR
    Endpoint.objects.filter(pk=made.endpoint_id).update(ready_at=ready)
    assert clock.settle() == 1 and clock.settle() == 0
    made.refresh_from_db()
    assert made.clock_seconds == 7 * 3600 and made.clock_since is made.due_at is None


def test_an_endpoint_that_is_gone_keeps_nobody_waiting(org: Org) -> None:
    made = make_request(org.dana, state="approved")
    assert move(Endpoint.objects.filter(pk=made.endpoint_id), Phase.PENDING, Phase.DELETED, field="phase")
    assert clock.settle() == 1 and not clock.running().exists()


def test_the_first_call_is_noted_from_the_ledger(org: Org) -> None:
    def call(status: int, minutes: int) -> None:
        UsageEvent.objects.create(
            gateway="g", sequence=minutes, request_id="r", at=start + minutes * HOUR / 60, project_id=org.fraud.pk,
            endpoint_id=str(made.endpoint_id), endpoint="x", key_id="k", key="gth", person="dana", operation="chat",
            status=status, outcome=Outcome.OK,
        )  # fmt: skip

    made, start = make_request(org.dana, state="approved"), timezone.now()
    Endpoint.objects.filter(pk=made.endpoint_id).update(ready_at=start)
    call(503, 1)
    assert clock.first_calls() == 0
    call(200, 3)
    call(200, 2)
    assert clock.first_calls() == 1 and clock.first_calls() == 0
    made.refresh_from_db()
    assert made.first_token_at == start + dt.timedelta(minutes=2)


def test_triage_is_the_first_look_of_somebody_else(org: Org) -> None:
    made = make_request(org.dana)
    assert not clock.triaged(made, org.dana) and made.triaged_at is None
    assert clock.triaged(made, org.pat)
    first = made.triaged_at
    assert not clock.triaged(Request.objects.get(pk=made.pk), org.ravi)
    made.refresh_from_db()
    assert made.triaged_at == first


def test_a_new_calendar_does_not_rewrite_the_past(org: Org) -> None:
    made, other = back(make_request(org.dana), days=3), make_request(org.dana, state="draft")
    moved = changing.change(
        org.principal(org.pat),
        zone="UTC",
        workdays=[0, 1, 2, 3, 4],
        holidays=[{"on": "2026-12-25", "name": "Christmas"}],
    )
    made.refresh_from_db()
    other.refresh_from_db()
    assert made.clock_seconds == pytest.approx(3 * 86_400, abs=5) and other.clock_seconds == 0
    days = Days("UTC", frozenset(range(5)), frozenset({dt.date(2026, 12, 25)}))
    assert calendar.of(moved) == days and made.due_at == days.shift(begun(made), 5 * 86_400 - made.clock_seconds)
    row = Row.objects.filter(action="calendar.change").latest("id")
    assert '"requests": 1' in row.after.replace('":1', '": 1') and "Christmas" in row.after


def test_who_may_change_it_and_to_what(org: Org) -> None:
    lead = org.principal(org.yasmine)
    for person in (org.dana, org.omar, org.aud):
        with pytest.raises(Forbidden):
            changing.change(org.principal(person), **EVERY)
    for field, value in (
        ("zone", "Mars/Olympus"),
        ("zone", "../../etc/passwd"),
        ("workdays", []),
        ("workdays", [7]),
        ("holidays", [{"on": "2026-02-30", "name": "Never"}]),
        ("holidays", [{"on": "2026-02-20", "name": ""}]),
        ("holidays", [{"on": "1999-02-20", "name": "Old"}]),
        ("holidays", [{"on": "2026-02-20", "name": "One"}, {"on": "2026-02-20", "name": "Two"}]),
        ("holidays", [{"on": f"{2000 + n // 300}-01-01", "name": "x"} for n in range(501)]),
    ):
        with pytest.raises(Invalid) as caught:
            changing.change(lead, **(EVERY | {field: value}))
        assert field in caught.value.fields
    assert Calendar.objects.count() == 1 and Calendar.objects.get().workdays == list(range(7))


def test_two_who_change_it_at_once(org: Org) -> None:
    was = changing.seen(Calendar.objects.get())
    changing.change(org.principal(org.pat), zone="Europe/Paris", workdays=[0], holidays=[], was=was)
    with pytest.raises(Conflict) as caught:
        changing.change(org.principal(org.yasmine), zone="UTC", workdays=[1], holidays=[], was=was)
    assert caught.value.code == "changed_meanwhile" and Calendar.objects.get().zone == "Europe/Paris"


def test_many_clocks_are_recounted(org: Org, django_assert_max_num_queries: Any) -> None:
    made = make_request(org.dana)
    rows = [
        Request(
            kind="endpoint", project=org.fraud, requester=org.dana, state=RequestState.SUBMITTED, clock_seconds=n,
            clock_since=timezone.now(), submitted_at=timezone.now(), version=made.version,
        )
        for n in range(1_200)
    ]  # fmt: skip
    Request.objects.bulk_create(rows)
    old, new, now = calendar.current(), Days("Asia/Kolkata", frozenset({0, 1}), frozenset()), timezone.now() + HOUR
    with django_assert_max_num_queries(40):
        assert clock.recount(old, new, now) == 1_201
    assert set(clock.running().values_list("clock_since", flat=True)) == {now}
