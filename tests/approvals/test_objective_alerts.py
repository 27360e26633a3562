"""People are told before the objective is missed, and when it is: once each."""

import datetime as dt
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone

from approvals import services
from approvals.models import Request
from approvals.objective import alerts, changing, report
from endpoints.models import Endpoint
from projects.models import Notification
from tests.conftest import Org
from tests.factories import make_request

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


@pytest.fixture
def org(org: Org) -> Org:
    changing.change(org.principal(org.yasmine), zone="UTC", workdays=range(7), holidays=[])
    cache.clear()
    return org


def told(kind: str) -> list[str]:
    return sorted(Notification.objects.filter(kind=kind).values_list("person__username", flat=True))


def test_before_the_breach_and_at_it(org: Org) -> None:
    """Pat, ravi and yasmine may decide; dana asked. Each is told at 80 % and at 100 %, whatever beat does."""
    made = make_request(org.dana)
    start = made.clock_since
    assert alerts.watch(start + 4 * DAY - HOUR) == 0
    for hours in (0, 1, 2):
        alerts.watch(start + 4 * DAY + hours * HOUR)
    assert told("request.due") == ["pat", "ravi", "yasmine"] and told("request.overdue") == []
    title = Notification.objects.filter(kind="request.due").first().title  # type: ignore[union-attr]
    assert "96 h" in title or "4 d" in title
    assert "left" in title and made.number in title
    for hours in (0, 1, 30):
        alerts.watch(start + 5 * DAY + hours * HOUR)
    assert told("request.overdue") == ["pat", "ravi", "yasmine"] and told("request.due") == ["pat", "ravi", "yasmine"]
    assert "over" in Notification.objects.filter(kind="request.overdue")[0].title


def test_one_that_was_found_late_is_told_once(org: Org) -> None:
    make_request(org.dana)
    later = timezone.now() + 6 * DAY
    assert alerts.watch(later) == 1 and alerts.watch(later + HOUR) == 0
    assert told("request.due") == [] and len(told("request.overdue")) == 3


def test_nobody_is_told_of_an_own_request_or_of_one_that_stands_still(org: Org) -> None:
    org.fraud.memberships.create(user=org.pat, role="developer")
    make_request(org.pat)
    waits = make_request(org.dana)
    services.request_changes(org.principal(org.ravi), waits, reason="Smaller.")
    assert alerts.watch(timezone.now() + 9 * DAY) == 1
    assert told("request.overdue") == ["ravi", "yasmine"]


def test_an_approved_endpoint_that_does_not_come_up_is_told_to_engineers(org: Org) -> None:
    made = make_request(org.dana, state="approved")
    alerts.watch(made.clock_since + 4 * DAY + HOUR)
    row = Notification.objects.filter(kind="request.due", person=org.ravi).get()
    assert "has not been live" in row.title and row.url == f"/requests/{made.pk}/"
    Endpoint.objects.filter(pk=made.endpoint_id).update(ready_at=timezone.now())
    assert alerts.watch(made.clock_since + 6 * DAY) == 0


def test_the_share_is_a_setting(org: Org, settings: Any) -> None:
    settings.OBJECTIVE_ALERT_PERCENT = 50
    made = make_request(org.dana)
    assert alerts.watch(made.clock_since + 2.4 * DAY) == 0
    assert alerts.watch(made.clock_since + 2.6 * DAY) == 1


def test_ages_and_budget(org: Org) -> None:
    now = timezone.now()
    for days in (0.5, 2, 4, 6, 7):
        made = make_request(org.dana)
        Request.objects.filter(pk=made.pk).update(clock_since=now - days * DAY, due_at=now + (5 - days) * DAY)
    make_request(org.dana, state="changes_requested")
    found = report.ageing(Request.objects.all(), now)
    assert [(one.low, one.high, one.count) for one in found.buckets] == [(0, 1, 1), (1, 3, 1), (3, 5, 1), (5, None, 2)]
    assert (found.overdue, found.waiting, found.with_requester) == (2, 5, 1)
    budget = report.budget(40, 3)
    assert (budget.allowed, budget.left, budget.burn, budget.kept) == (4, 1, 0.75, 0.925)
    empty = report.budget(0, 0)
    assert (empty.allowed, empty.left, empty.burn, empty.kept) == (0, 0, None, None)
    assert report.budget(5, 1).left == -1
