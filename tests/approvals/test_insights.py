"""The numbers behind the objective: stages, throughput, failures; on the page and in the API."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from approvals import insights, lead_time
from approvals.admission import admit
from approvals.models import Request, RequestKind, RequestState
from endpoints.models import Endpoint, Event, Phase
from portal.states import move
from quotas.models import Reservation
from tests.conftest import Org
from tests.factories import make_pool, make_request, make_version

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
ClientFor = Callable[[Any], Client]


def took(org: Org, *, decision: float, ready: float | None, sent: float = 20, **fields: Any) -> Request:
    """A request of dana's, sent `sent` days ago, decided after `decision` hours and ready `ready` hours later; of that
    time `counted` hours were business time, all of it without.
    """
    counted = fields.pop("counted", decision + (ready or 0))
    made: Request = make_request(fields.pop("by", org.dana), state="approved", **fields)
    start = timezone.now() - sent * DAY
    decided = start + decision * HOUR
    Request.objects.filter(pk=made.pk).update(submitted_at=start, triaged_at=start + HOUR / 2, decided_at=decided)
    if ready is not None:
        Endpoint.objects.filter(requests=made).update(ready_at=decided + ready * HOUR)
        clock = {"clock_seconds": counted * 3600, "clock_since": None, "due_at": None}
        Request.objects.filter(pk=made.pk).update(first_token_at=decided + (ready + 2) * HOUR, **clock)
    return made


def stage(found: list[insights.Stage], name: str, kind: str = RequestKind.ENDPOINT) -> tuple[Any, ...]:
    one = insights.samples_of(found, kind, name)
    return one.samples, one.p50, one.p90, one.within


def test_stages_by_hand(org: Org) -> None:
    for hours in (1, 2, 3, 4, 130):  # the last one is later than five days
        took(org, decision=hours, ready=0.5)
    took(org, decision=10, ready=None)  # decided, not ready yet
    make_request(org.dana, state="submitted")  # not decided: in no sample
    found = insights.lead_times(org.principal(org.pat))
    assert stage(found, "decision") == (6, 3 * 3600, 130 * 3600, round(5 / 6, 4))
    assert stage(found, "ready") == (5, 1800, 1800, 1.0)
    assert stage(found, "total") == (5, 3.5 * 3600, 130.5 * 3600, 0.8)
    assert stage(found, "triage") == (6, 1800, 1800, 1.0) and stage(found, "first_token") == (5, 7200, 7200, 1.0)


def test_the_business_clock_says_whether_the_objective_was_kept(org: Org) -> None:
    """Nine days on the wall, four of them the requester's turn or a weekend."""
    took(org, decision=9 * 24, ready=0, counted=4 * 24)
    took(org, decision=6 * 24, ready=0, counted=6 * 24)
    one = insights.samples_of(insights.lead_times(org.principal(org.pat)), RequestKind.ENDPOINT, "total")
    assert (one.p50, one.within) == (6 * 86_400, 0.5) and one.counted == (4 * 86_400, 6 * 86_400)
    assert lead_time.estimate()["share_within_objective"] == 0.5 and lead_time.estimate()["p90_seconds"] == 9 * 86_400


def test_the_estimate_of_an_environment_needs_ten(org: Org) -> None:
    for _ in range(9):
        took(org, decision=1, ready=0, environment="prod")
    took(org, decision=100, ready=0)
    cache.clear()  # each plan on the way has asked for the estimate
    assert (lead_time.cached(environment="prod")["samples"], lead_time.cached()["environment"]) == (10, None)
    took(org, decision=2, ready=0, environment="prod")
    cache.clear()
    found = lead_time.cached(environment="prod")
    assert (found["samples"], found["p90_seconds"], found["environment"]) == (10, 3600, "prod")
    assert found["sentence"] == "From 10 requests for prod in the last 90 days."
    assert lead_time.cached(environment="dev")["samples"] == lead_time.cached()["samples"] == 11


def test_the_error_budget(org: Org) -> None:
    """Nine in time, one late; one that is approved and overdue; one that is not decided and overdue."""
    for _ in range(9):
        took(org, decision=1, ready=0)
    took(org, decision=200, ready=0)
    slow = took(org, decision=1, ready=None)
    Request.objects.filter(pk=slow.pk).update(due_at=timezone.now() - HOUR)
    reader = org.principal(org.pat)
    found = insights.budget(insights.past(reader), overdue=1)
    assert (found.finished, found.late, found.allowed, found.left, found.burn) == (12, 3, 1, -2, 3.0)
    assert insights.budget(insights.past(org.principal(org.cy)), 0).finished == 0


def test_a_rejection_is_a_decision(org: Org) -> None:
    made = make_request(org.dana, state="rejected")
    Request.objects.filter(pk=made.pk).update(submitted_at=timezone.now() - 3 * HOUR, decided_at=timezone.now() - HOUR)
    found = insights.lead_times(org.principal(org.pat))
    assert stage(found, "decision")[0] == 1 and stage(found, "decision")[1] == pytest.approx(7200)
    assert stage(found, "ready") == stage(found, "total") == (0, None, None, None)


def test_only_the_last_90_days_and_only_what_is_visible(org: Org) -> None:
    took(org, decision=1, ready=1, sent=91)
    took(org, decision=2, ready=1, sent=89)
    took(org, decision=9, ready=1, by=org.cy, project="search-ranking")
    assert stage(insights.lead_times(org.principal(org.pat)), "decision")[0] == 2
    assert stage(insights.lead_times(org.principal(org.vic)), "decision")[:2] == (1, 7200)
    assert stage(insights.lead_times(org.principal(org.cy)), "decision")[:2] == (1, 9 * 3600)
    of_search = insights.lead_times(org.principal(org.pat), project=org.search)
    assert stage(of_search, "decision")[:2] == (1, 9 * 3600)


def test_another_kind_ends_with_its_decision(org: Org) -> None:
    made = took(org, decision=6, ready=1)
    Request.objects.filter(pk=made.pk).update(kind=RequestKind.RENEWAL)
    found = insights.lead_times(org.principal(org.pat))
    assert stage(found, "decision", RequestKind.RENEWAL) == stage(found, "total", RequestKind.RENEWAL)
    assert stage(found, "total", RequestKind.RENEWAL)[:2] == (1, 6 * 3600)
    with pytest.raises(LookupError, match="renewal has no stage ready"):
        insights.samples_of(found, RequestKind.RENEWAL, "ready")


def test_throughput_by_week(org: Org) -> None:
    now = timezone.now().astimezone(dt.UTC)
    monday = (now - now.weekday() * DAY).replace(hour=0, minute=0, second=0, microsecond=0)
    last = monday - 7 * DAY
    waits = make_request(org.dana, state="submitted")
    Request.objects.filter(pk=waits.pk).update(submitted_at=last + HOUR)
    quick = make_request(org.dana, state="rejected")
    Request.objects.filter(pk=quick.pk).update(submitted_at=last + 2 * HOUR, decided_at=last + 3 * HOUR)
    slow = make_request(org.dana, state="approved")
    Request.objects.filter(pk=slow.pk).update(submitted_at=last - 5 * DAY, decided_at=monday + dt.timedelta(seconds=1))
    gone = make_request(org.dana, state="withdrawn")
    Request.objects.filter(pk=gone.pk).update(submitted_at=last + 4 * HOUR)
    weeks = insights.throughput(org.principal(org.pat))
    assert len(weeks) == 12 and weeks[-1].start == monday
    assert [(week.sent, week.decided, week.open) for week in weeks[-4:]] == [(0, 0, 0), (1, 0, 1), (3, 1, 2), (0, 1, 1)]
    assert all(week.open == 0 for week in insights.throughput(org.principal(org.cy)))


def fail(org: Org, name: str, *codes: str) -> Endpoint:
    """An endpoint of dana's that failed once for each of `codes`."""
    made: Endpoint = make_request(org.dana, state="approved", name=name).endpoint
    assert move(Endpoint.objects.filter(pk=made.pk), Phase.PENDING, Phase.FAILED, field="phase")
    for code in codes:
        Event.objects.create(endpoint=made, code=code, phase=Phase.FAILED, sentence="It ended.")
    return made


def test_failures_by_reason(org: Org) -> None:
    fail(org, "one", "out_of_memory", "out_of_memory", "crashed")
    two = fail(org, "two", "out_of_memory")
    Event.objects.create(endpoint=two, code="ready", phase=Phase.READY, sentence="Fine.")
    old = Event.objects.create(endpoint=two, code="start_timeout", phase=Phase.FAILED, sentence="Slow.")
    Event.objects.filter(pk=old.pk).update(at=timezone.now() - 31 * DAY)
    found = insights.failures(org.principal(org.aud))
    assert [(one.code, one.times, one.endpoints) for one in found] == [("out_of_memory", 3, 2), ("crashed", 1, 1)]
    assert insights.failures(org.principal(org.cy)) == []


def test_the_page_without_data_says_so(org: Org, client_for: ClientFor) -> None:
    for person in (org.pat, org.dana, org.cy, org.aud):
        response = client_for(person).get("/insights/")
        text = response.content.decode()
        assert response.status_code == 200
        assert text.count("no data yet") >= 2 and "No data yet: nothing was sent" in text
        assert "No data yet: there is no pool." in text and "Nothing failed." in text


def test_the_page_shows_every_number_with_its_sample(org: Org, client_for: ClientFor) -> None:
    pool = make_pool(limit=8)
    took(org, decision=2, ready=1)
    took(org, decision=4, ready=1)
    fail(org, "broken", "out_of_memory", "strange_end")
    Reservation.objects.create(
        pool=pool, project=org.fraud, amount=3, state="held", holder_kind="endpoint", holder_id="x",
        held_at=timezone.now() - 2 * DAY,
    )  # fmt: skip
    response = client_for(org.pat).get("/insights/")
    text = response.content.decode()
    assert "100.0 %" in text and "0 of 2 late, 0 may be: none more may be late." in text
    assert "Request to first answer" in text and "of 2 requests" in text and "3 h" in text
    assert "The engine ran out of memory" in text and "Strange end" in text
    assert 'value="3"' in text and "Requests per week" in text
    plot = response.context["occupancy"]
    assert plot.slots[-2].cells[0]["text"].startswith("3.00") and plot.slots[0].cells[0]["text"].startswith("0.00")
    assert len(client_for(org.pat).get("/insights/?range=30d").context["occupancy"].slots) > 170
    assert client_for(org.pat).get("/insights/?range=nonsense").status_code == 200


def test_strangers_numbers_do_not_leak(org: Org, client_for: ClientFor) -> None:
    took(org, decision=2, ready=1)
    fail(org, "broken", "out_of_memory")
    text = client_for(org.cy).get("/insights/").content.decode()
    assert "fraud-detection" not in text and "out of memory" not in text and "Request to decision" not in text


def test_the_page_costs_the_same_for_many(org: Org, client_for: ClientFor, django_assert_max_num_queries: Any) -> None:
    version = make_version()
    for number in range(12):
        took(org, decision=number, ready=1, version=version)
        make_pool(slug=f"pool-x{number}")
    client = client_for(org.pat)
    client.get("/insights/")
    with django_assert_max_num_queries(15):
        assert client.get("/insights/").status_code == 200


def test_the_api(org: Org, api_for: Any) -> None:
    took(org, decision=2, ready=1)
    api = api_for(org.dana, "requests:read")
    body = api.get("/insights/lead-time").json()
    assert (body["days"], body["objective_seconds"], body["next"]) == (90, 432_000, None)
    by_stage = {item["stage"]: item for item in body["items"] if item["kind"] == "endpoint"}
    assert by_stage["total"] == {
        "kind": "endpoint", "stage": "total", "samples": 1, "p50_seconds": 10_800.0, "p90_seconds": 10_800.0,
        "share_within_objective": 1.0, "business_p50_seconds": 10_800, "business_p90_seconds": 10_800,
    }  # fmt: skip
    assert body["budget"] | {"share": 0.9, "late": 0, "finished": 1, "share_kept": 1.0} == body["budget"]
    assert body["open"]["by_age"][-1] == {"from_days": 5, "to_days": None, "requests": 0}
    assert body["calendar"] == {"zone": "UTC", "workdays": [0, 1, 2, 3, 4], "holidays": []}
    only = api.get("/insights/lead-time", {"kind": "admission", "project": "fraud-detection"}).json()["items"]
    assert {item["kind"] for item in only} == {"admission"} and {item["p50_seconds"] for item in only} == {None}
    assert api.get("/insights/lead-time", {"kind": "cheese"}).json()["errors"][0]["field"] == "kind"
    for slug in ("search-ranking", "no-such", "NO SUCH"):
        assert api.get("/insights/lead-time", {"project": slug}).status_code == 404
    assert api_for(org.cy, "requests:read").get("/insights/lead-time").json()["items"][0]["samples"] == 0


@pytest.mark.slow
def test_ten_thousand_requests_are_all_counted(org: Org) -> None:
    made, now = make_request(org.dana, state="rejected"), timezone.now()
    rows = [
        Request(
            kind=RequestKind.ENDPOINT, project=org.fraud, requester=org.dana, state=RequestState.REJECTED,
            version=made.version, submitted_at=now - (number % 80) * DAY, decided_at=now - (number % 80) * DAY + HOUR,
        )
        for number in range(10_000)
    ]  # fmt: skip
    Request.objects.bulk_create(rows, batch_size=500)
    found = insights.lead_times(org.principal(org.pat))
    assert stage(found, "decision")[:2] == (10_000, 3600)


def test_nobody_waits_for_what_the_loader_lets_in(org: Org) -> None:
    """It is decided as it is made: an estimate that counted it would promise milliseconds."""
    assert admit(org.principal(org.yasmine), make_version("draft"), reason="Loaded.")
    assert lead_time.samples(RequestKind.ADMISSION) == []
