"""Similar past decisions: which requests are alike, how many were approved, and that nobody learns of hidden ones."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from approvals.models import Decision, Mode, Verdict
from approvals.similar import compare
from tests.conftest import Org
from tests.factories import make_asset, make_profile, make_request, make_version

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
Clients = Callable[..., Client]


def numbers(org: Org, by: Any, request: Any) -> tuple[set[str], str]:
    _, found = compare(org.principal(by), request)
    return {row.request.name for row in found.rows}, found.sentence


def test_alike_is_the_same_model_or_the_same_shape(org: Org) -> None:
    asset, profile, other = make_asset("granite"), make_profile(), make_profile()
    version = make_version(asset=asset)
    asked = make_request(org.dana, version=version, profile=profile, environment="staging", name="asked")
    make_request(
        org.dana, version=make_version(asset=asset, version="2.0"), profile=other, state="approved", name="model"
    )
    make_request(org.dana, profile=profile, environment="staging", state="rejected", name="shape")
    make_request(org.dana, profile=profile, environment="dev", state="approved", name="other-environment")
    make_request(
        org.dana, profile=profile, environment="staging", data_classification="public", state="approved", name="public"
    )
    make_request(org.dana, version=version, state="submitted", name="waits")
    assert numbers(org, org.pat, asked) == ({"model", "shape"}, "1 of 2 similar requests in 90 days were approved.")


def test_only_the_last_90_days_and_one_line_per_request(org: Org) -> None:
    version = make_version()
    asked = make_request(org.dana, version=version)
    old = make_request(org.dana, version=version, state="approved", name="old")
    Decision.objects.filter(request=old).update(at=timezone.now() - dt.timedelta(days=91))
    make_request(org.dana, version=version, state="changes_requested", name="open")
    assert numbers(org, org.pat, asked) == ({"open"}, "")


def test_hidden_ones_are_neither_shown_nor_counted(org: Org) -> None:
    """Cy decides over access to an endpoint of search-ranking, and sees nothing of fraud-detection."""
    version = make_version()
    mine = make_request(org.cy, version=version, project="search-ranking", name="mine")
    make_request(org.dana, version=version, state="approved", name="theirs")
    assert numbers(org, org.cy, mine) == (set(), "")
    assert numbers(org, org.pat, mine)[0] == {"theirs"}


def test_the_open_row_says_it_with_what_rules_in_shadow_would_have_said(org: Org, client_for: Clients) -> None:
    version = make_version()
    make_request(org.dana, version=version, state="approved", name="before")
    asked = make_request(org.dana, version=version, name="asked")
    Verdict.objects.filter(request=asked).delete()
    for rule, mode, approves in (("auto-003", Mode.SHADOW, True), ("auto-004", Mode.SHADOW, False)):
        Verdict.objects.create(
            request=asked, submission=1, rule=rule, digest="sha256:0", mode=mode, approves=approves, why="Because."
        )
    html = client_for(org.pat).get(f"/approvals/{asked.pk}/").content.decode()
    assert "1 of 1 similar request in 90 days was approved. In shadow, auto-003 would have approved this one." in html
    assert "before" in html and "for a test" in html


def test_one_query_for_both(org: Org, django_assert_num_queries: Any) -> None:
    version = make_version()
    asked = make_request(org.dana, version=version)
    for _ in range(5):
        make_request(org.dana, version=version, state="approved")
    by = org.principal(org.pat)
    assert asked.version is not None  # the queue has it selected
    with django_assert_num_queries(1):
        own, found = compare(by, asked)
        assert own == [] and len(found.rows) == 3 and found.decided == 5
        assert {row.reviewer.username for row in found.rows} == {"pat"}
        assert all(row.request.name and row.reason for row in found.rows)
