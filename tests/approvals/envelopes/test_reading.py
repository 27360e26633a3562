"""Agreement: what an envelope would have decided beside what people did, from real decisions."""

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone

from approvals import services
from approvals.envelopes import reading
from approvals.envelopes.reading import Standing
from approvals.models import Mode, Request, RequestState, Verdict
from tests.approvals.envelopes.kit import DEV, digest_of, publish, switch
from tests.conftest import Org
from tests.factories import engineer, make_request

pytestmark = pytest.mark.slow


def history(org: Org) -> dict[str, Request]:
    """Two that both approve, one too bold of each sort, one too careful, one agreed no, and two that nobody decided."""
    prod: dict[str, Any] = {"environment": "prod", "replicas": 2}
    return {
        "agreed": make_request(org.dana, state="approved"),
        "agreed again": make_request(org.dana, state="approved"),
        "bold": make_request(org.dana, state="rejected"),
        "sent back": make_request(org.dana, state="changes_requested"),
        "careful": make_request(org.dana, state="approved", **prod),
        "agreed no": make_request(org.dana, state="rejected", **prod),
        "waits": make_request(org.dana),
        "withdrawn": make_request(org.dana, state="withdrawn"),
    }


def standing(rule: str = "auto-dev") -> Standing:
    return reading.standings(only=rule)[0]


def test_the_table_is_made_of_real_decisions(org: Org) -> None:
    publish(DEV)
    made = history(org)
    found = standing()
    assert found.agreement.json() == {
        "decided": 6, "share": 0.5, "agreed": 3, "bold": 2, "careful": 1, "undecided": 2,
        "live": 0, "waiting": 0, "confirmed": 0, "objected": 0,
    }  # fmt: skip
    weeks = reading.weeks(found.envelope, timezone.now())
    assert [counted.json() for _, counted in weeks] == [found.agreement.json()]
    bold = {row.request for row in reading.differing(found.envelope, bold=True)}
    assert bold == {made["bold"], made["sent back"]}
    assert [row.request for row in reading.differing(found.envelope, bold=False)] == [made["careful"]]


def test_each_submission_counts_for_itself(org: Org) -> None:
    """Sent back, sent again smaller, approved: once too bold, once agreed."""
    publish(DEV)
    made = make_request(org.dana, state="changes_requested")
    by = org.principal(org.dana)
    services.approve(engineer(), services.submit(by, services.change(by, made, made.body | {"concurrency": 2})))
    counted = standing().agreement
    assert (counted.agreed, counted.bold, counted.decided) == (1, 1, 2)


def test_another_text_begins_with_nothing(org: Org) -> None:
    publish(DEV)
    make_request(org.dana, state="approved")
    publish(DEV | {"when": "request.replicas == 1"})
    assert standing().agreement.decided == 0
    publish(DEV)
    assert standing().agreement.decided == 1


def test_what_a_rule_approved_is_no_agreement(org: Org) -> None:
    publish(DEV, DEV | {"id": "auto-other"})
    switch("live")
    made = make_request(org.dana)
    assert made.state == RequestState.APPROVED
    assert (standing().agreement.live, standing().agreement.decided) == (1, 0)
    assert standing("auto-other").agreement.undecided == 1  # nobody but a rule said anything


def test_what_a_live_rule_left_to_people_is_compared(org: Org) -> None:
    publish(DEV)
    switch("live")
    make_request(org.dana, state="approved", environment="prod", replicas=2)
    assert standing().agreement.careful == 1


def test_weeks_begin_on_monday(org: Org) -> None:
    publish(DEV)
    for days in (0, 10, 400):
        made = make_request(org.dana, state="approved")
        Verdict.objects.filter(request=made).update(at=timezone.now() - dt.timedelta(days=days))
    found = standing()
    weeks = reading.weeks(found.envelope, timezone.now())
    assert len(weeks) == 2 and all(day.weekday() == 0 for day, _ in weeks) and weeks[0][0] > weeks[1][0]
    assert found.agreement.decided == 3  # the total is over everything


def test_modes_of_the_api(org: Org) -> None:
    publish(DEV)
    assert reading.modes()[0] | {"agreement": {}} == {
        "id": "auto-dev", "title": DEV["title"], "kinds": ["endpoint"], "when": DEV["when"], "digest": digest_of(),
        "mode": "shadow", "sample_percent": 10, "reason": "", "changed_by": None, "changed_at": None, "agreement": {},
    }  # fmt: skip
    switch("live", percent=35)
    now = reading.modes()[0]
    assert (now["mode"], now["sample_percent"], now["changed_by"], now["reason"]) == (
        "live", 35, "yasmine", "For a test.",
    )  # fmt: skip


def test_a_rule_whose_text_was_changed_says_so(org: Org) -> None:
    publish(DEV)
    switch("live")
    publish(DEV | {"when": "request.replicas == 1"})
    assert standing().mode == Mode.SHADOW and standing().fell_back


def test_numbers_cost_the_same_for_many(org: Org, django_assert_num_queries: object) -> None:
    publish(DEV, DEV | {"id": "auto-other"})
    history(org)
    with django_assert_num_queries(3):  # type: ignore[operator]
        reading.standings()
