"""How often each rule spoke: counted from what was sent, in few queries, and kept for a minute."""

import datetime as dt
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone

from approvals.models import Finding, Request
from approvals.policies import hits
from tests.approvals.policies.kit import publish, rule
from tests.conftest import Org
from tests.factories import make_endpoint, make_request

pytestmark = pytest.mark.slow


def test_counted_works(org: Org, django_assert_num_queries: Any) -> None:
    """Two requests that were warned, one that was not; drafts and passed rules count nothing."""
    publish(org, rule(days=30), rule("life-901", days=90))
    for _ in range(2):
        make_request(org.dana)  # 60 days
    make_request(org.dana, ends_on=(timezone.now().date() + dt.timedelta(days=10)).isoformat())
    make_request(org.dana, state="draft")
    with django_assert_num_queries(2):
        found = hits.counted()
    assert found.sample == 3
    assert found.of("life-900") == hits.Hits(warned=2) and found.of("life-900").requests == 2
    assert found.of("life-901") == hits.Hits() == found.of("no-such-rule")
    with django_assert_num_queries(0):
        assert hits.counted().of("life-900").warned == 2


def test_old_requests_and_closed_findings_are_left_out(org: Org) -> None:
    """Thirty days, and what is open now."""
    publish(org, rule(days=30))
    old = make_request(org.dana)
    Request.objects.filter(pk=old.pk).update(submitted_at=timezone.now() - dt.timedelta(days=31))
    now, endpoint = timezone.now(), make_endpoint(org.dana)
    for check, closed in (("life-900", None), ("life-901", now)):
        Finding.objects.create(
            endpoint=endpoint, check_id=check, title="Late", verdict="warn", reason="Late.", seen_at=now,
            closed_at=closed,
        )  # fmt: skip
    found = hits.counted()
    assert (found.sample, found.of("life-900")) == (1, hits.Hits(warned=1, endpoints=1))
    assert found.of("life-901").endpoints == 0


def test_a_minute_later_it_is_counted_again(org: Org) -> None:
    """What is kept goes with the cache."""
    publish(org, rule(days=30))
    assert hits.counted().sample == 0
    make_request(org.dana)
    assert hits.counted().sample == 0
    cache.clear()
    assert hits.counted().of("life-900").warned == 1
