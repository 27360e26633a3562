"""What could be given back: found from the ledger, suggested once a week, suspended by its owner."""

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone

from audit.models import Row
from endpoints import idle, services, sweep
from endpoints import reconcile as reconciling
from endpoints.models import Endpoint, Event, Phase
from portal.errors import Conflict, Forbidden, NotFound
from projects.models import Notification
from projects.principal import Principal
from quotas.ingest import ingest
from quotas.journal import Journal
from quotas.models import Pool, Reservation, ReservationState
from tests import factories
from tests.conftest import Org
from tests.endpoints.endpoint_kit import Script, open_demo, replica, work
from tests.quotas.conftest import call

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
NINE_DAYS = dt.timedelta(days=9)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """A cluster whose engines answer at once."""
    made = Script(replicas=(replica(),))
    for module in (reconciling, sweep):
        monkeypatch.setattr(module, "driver_for", lambda cluster: made)
    return made


@pytest.fixture
def pool(org: Org) -> Pool:
    return factories.make_pool(limit=1, slug="shared")


@pytest.fixture
def resting(org: Org, pool: Pool, script: Script) -> Endpoint:
    """An endpoint of dana's that holds the only accelerator and is ready."""
    made = open_demo(org.fraud, gpus=1, pool=pool)
    Endpoint.objects.filter(pk=made.pk).update(contact=org.dana)
    ready = work(made)
    assert ready.phase == Phase.READY and ready.ready_at is not None
    return ready


@pytest.fixture
def later(resting: Endpoint) -> Iterator[Any]:
    """Nine days later."""
    with time_machine.travel(timezone.now() + NINE_DAYS, tick=True) as traveller:
        yield traveller


def used(endpoint: Endpoint, folder: Path, at: dt.datetime, **end: Any) -> None:
    """One call of `endpoint` at `at`, as the gateway writes it down."""
    start = {"project_id": endpoint.project_id, "endpoint_id": str(endpoint.pk), "endpoint": endpoint.name, "at": at}
    with Journal(folder) as journal:
        call(journal, start=start, **end)
    assert ingest(folder) == 1


def found(org: Org, person: Any = None) -> list[str]:
    return [one.endpoint.name for one in idle.find(org.principal(person or org.pat))]


def test_never_called_counts_from_when_it_was_ready(org: Org, resting: Endpoint) -> None:
    assert found(org) == [] and resting.ready_at is not None
    with time_machine.travel(resting.ready_at + dt.timedelta(days=7, seconds=-60)):
        assert found(org) == [] and resting.ready_at is not None
    with time_machine.travel(resting.ready_at + dt.timedelta(days=7, seconds=60)):
        [one] = idle.find(org.principal(org.pat))
        assert (one.endpoint, one.never, one.days, one.reservation.amount) == (resting, True, 7, 1)
        assert one.sentence == "No token used in the 7 days since it was ready."


def test_the_day_of_the_last_token_counts_as_used(org: Org, resting: Endpoint, later: Any, tmp_path: Path) -> None:
    day = timezone.now().replace(hour=9, minute=0, second=0, microsecond=0) - dt.timedelta(days=7)
    used(resting, tmp_path / "a", day)  # in the morning: until midnight it counts as used
    assert found(org) == []
    later.move_to(day + dt.timedelta(days=7, hours=14, minutes=59))
    assert found(org) == []
    later.move_to(day + dt.timedelta(days=7, hours=15, minutes=1))
    [one] = idle.find(org.principal(org.pat))
    assert not one.never and one.days == 7 and f"since {day.day} {day:%b %Y}" in one.sentence


def test_calls_without_tokens_are_no_use(org: Org, resting: Endpoint, later: Any, tmp_path: Path) -> None:
    nothing = {"status": 502, "outcome": "error", "input_tokens": 0, "output_tokens": 0, "cached_tokens": 0}
    used(resting, tmp_path / "a", timezone.now(), **nothing)
    assert found(org) == [resting.name]
    used(resting, tmp_path / "b", timezone.now())
    assert found(org) == []


def test_only_what_runs_and_holds_is_idle(org: Org, resting: Endpoint, script: Script, later: Any) -> None:
    without = work(open_demo(org.fraud))  # holds no accelerator
    assert without.phase == Phase.READY and without.name not in found(org)
    script.replicas = (replica("failed", reason_code="crashed", sentence="It crashed."),)
    Endpoint.objects.filter(pk=resting.pk).update(attempts=50)
    assert work(resting).phase == Phase.FAILED
    assert found(org) == []


def test_a_resumed_endpoint_begins_anew(org: Org, resting: Endpoint, script: Script, later: Any) -> None:
    by = org.principal(org.dana)
    services.suspend(by, resting)
    assert work(resting).phase == Phase.SUSPENDED and found(org) == []
    services.resume(by, resting)
    script.replicas = (replica(),)
    assert work(resting).phase == Phase.READY and found(org) == []
    later.shift(dt.timedelta(days=8))
    assert found(org) == [resting.name]


def test_only_visible_ones_are_found(org: Org, resting: Endpoint, later: Any) -> None:
    assert found(org, org.cy) == []
    assert found(org, org.vic) == [resting.name] == found(org, org.aud)
    bound = Principal.of(org.pat, project_id=org.search.pk)
    assert idle.find(bound) == []


def test_a_suggestion_tells_contact_and_owners_once(org: Org, resting: Endpoint, later: Any) -> None:
    idle.suggest(org.principal(org.pat), resting)
    told = Notification.objects.filter(kind="endpoint.idle")
    assert {one.person for one in told} == {org.dana, org.omar}
    assert all(one.url == f"/endpoints/{resting.pk}/" and "pat asks" in one.text for one in told)
    event = Event.objects.get(endpoint=resting, code="suggested")
    assert event.sentence == "pat asks to suspend it: it holds 1 accelerator and used no token for 9 days."
    row = Row.objects.get(action="endpoints.suggest")
    assert row.object_id == str(resting.pk) and row.project == "fraud-detection" and '"suspend"' in row.after
    resting.refresh_from_db()
    assert resting.desired == "running"  # they decide
    [one] = idle.find(org.principal(org.pat))
    assert one.suggested_at is not None
    with pytest.raises(Conflict, match="is enough") as refused:
        idle.suggest(org.principal(org.ravi), resting)
    assert refused.value.code == "already_suggested" and told.all().count() == 2
    later.shift(dt.timedelta(days=7, minutes=1))
    idle.suggest(org.principal(org.ravi), resting)
    assert told.all().count() == 4


def test_who_may_suggest_and_when(org: Org, resting: Endpoint, later: Any, tmp_path: Path) -> None:
    for person in (org.dana, org.omar, org.vic, org.yasmine, org.aud):
        with pytest.raises(Forbidden, match="platform engineer"):
            idle.suggest(org.principal(person), resting)
    with pytest.raises(NotFound):
        idle.suggest(org.principal(org.cy), resting)
    used(resting, tmp_path / "a", timezone.now())
    with pytest.raises(Conflict) as refused:
        idle.suggest(org.principal(org.pat), resting)
    assert refused.value.code == "not_idle" and not Event.objects.filter(code="suggested").exists()


def test_nobody_to_ask_is_said(org: Org, resting: Endpoint, later: Any) -> None:
    for person in (org.dana, org.omar):
        person.is_active = False
        person.save()
    with pytest.raises(Conflict, match="Make somebody owner of fraud-detection") as refused:
        idle.suggest(org.principal(org.pat), resting)
    assert refused.value.code == "nobody_to_ask" and not Row.objects.filter(action="endpoints.suggest").exists()


def test_from_idle_to_the_next_in_the_queue(
    org: Org, pool: Pool, resting: Endpoint, script: Script, later: Any, client_for: Callable[[Any], Client]
) -> None:
    """Found, suggested, suspended by its owner; then the accelerator is with who waited, and the page says so."""
    waiter, script.replicas = open_demo(org.search, gpus=1, pool=pool), ()
    assert work(waiter).reason_code == "waiting_for_capacity"
    engineer, owner = client_for(org.pat), client_for(org.omar)
    before = engineer.get("/capacity/").context
    assert [one["name"] for one in before["could"]] == [f"fraud-detection/{resting.name}"]
    assert [one["name"] for one in before["pools"][0]["waiting"]] == [f"search-ranking/{waiter.name}"]
    assert numbers(before) == {"Held": "1 of 1", "Free now": 0, "Waiting": 1, "Could be given back": 1}

    answer = engineer.post(before["could"][0]["suggest_url"], follow=True)
    assert "are asked to suspend it" in str(next(iter(get_messages(answer.wsgi_request)), answer.content.decode()))
    assert answer.context["could"][0]["suggest_url"] == "" and answer.context["could"][0]["asked"] is not None
    told = Notification.objects.get(person=org.omar, kind="endpoint.idle")
    assert owner.get(told.url).status_code == 200
    assert owner.post(f"{told.url}suspend/").status_code == 302
    assert work(resting).phase == Phase.SUSPENDED
    held = Reservation.objects.get(state=ReservationState.HELD)
    assert held.holder_id == str(waiter.pk)
    script.replicas = (replica(),)
    sweep.sweep()
    assert work(waiter).phase == Phase.READY

    after = engineer.get("/capacity/").context
    assert after["could"] == [] and after["pools"][0]["waiting"] == []
    assert [box["name"] for box in after["pools"][0]["boxes"]] == [f"search-ranking/{waiter.name}"]
    assert numbers(after) == {"Held": "1 of 1", "Free now": 0, "Waiting": 0, "Could be given back": 0}


def numbers(context: Any) -> dict[str, Any]:
    return {stat["label"]: stat["value"] for stat in context["stats"][:4]}


def test_the_page_says_why_a_second_question_is_refused(
    org: Org, resting: Endpoint, later: Any, client_for: Callable[[Any], Client]
) -> None:
    client = client_for(org.pat)
    for said in ("are asked to suspend it", "is enough"):
        answer = client.post(f"/endpoints/{resting.pk}/suggest/", follow=True)
        assert answer.status_code == 200 and said in answer.content.decode()
    assert "Suggest to suspend" not in client_for(org.omar).get("/capacity/").content.decode()


def test_idle_costs_four_queries(org: Org, script: Script, later: Any, django_assert_max_num_queries: Any) -> None:
    by = org.principal(org.pat)
    wide = factories.make_pool(limit=40)
    for _ in range(12):
        work(open_demo(org.fraud, gpus=1, pool=wide))
    later.shift(NINE_DAYS)
    with django_assert_max_num_queries(4):
        assert len(idle.find(by)) == 13
