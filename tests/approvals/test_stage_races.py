"""Stages at the same instant: one wins, the others are told so, and nobody counts twice."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from django.db import connection
from django.utils import timezone

from approvals import services
from approvals.deciding import approve_by_rule
from approvals.models import Decision, Request, RequestState
from approvals.stages import delegating
from approvals.stages.machine import machine
from endpoints.models import Endpoint
from portal.errors import GatehouseError
from projects.models import User
from tests.approvals.stage_kit import ENGINEERS, LEADS, by, lend, publish, states
from tests.conftest import Org
from tests.factories import make_request

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def together(*calls: Callable[[], object]) -> list[str]:
    """Run `calls` at the same instant, each on a connection of its own; return how each ended, sorted."""
    barrier = threading.Barrier(len(calls))

    def one(call: Callable[[], object]) -> str:
        try:
            barrier.wait(timeout=10)
            call()
        except GatehouseError as error:
            return error.code
        finally:
            connection.close()
        return "done"

    with ThreadPoolExecutor(len(calls)) as pool:
        return sorted(task.result(timeout=60) for task in [pool.submit(one, call) for call in calls])


def deciding(verb: str, person: User, made: Request) -> Callable[[], object]:
    return partial(services.DECISIONS[verb], by(person), Request.objects.get(pk=made.pk), reason="Now.")


def test_two_in_one_stage_of_two(org: Org) -> None:
    """Only one passes it; the next stage is open, nothing is started."""
    publish(ENGINEERS, LEADS)
    made = make_request(org.dana)
    found = together(deciding("approve", org.pat, made), deciding("approve", org.ravi, made))
    assert found == ["already_decided", "done"] and states(made) == ["passed", "open"]
    assert Decision.objects.count() == 1 and not Endpoint.objects.exists()


def test_the_last_yes_of_two_people_opens_one_endpoint(org: Org) -> None:
    """Both count, and what was asked for is done once."""
    publish(ENGINEERS | {"count": 2})
    made = make_request(org.dana)
    found = together(deciding("approve", org.pat, made), deciding("approve", org.ravi, made))
    assert found == ["done", "done"] and states(made) == ["passed"] and Endpoint.objects.count() == 1


def test_a_person_and_the_own_delegate(org: Org) -> None:
    """One authority says yes once, however it comes."""
    publish(ENGINEERS | {"count": 2})
    made = make_request(org.dana)
    lend(org.pat, org.cy)
    found = together(deciding("approve", org.pat, made), deciding("approve", org.cy, made))
    assert found.count("done") == 1 and states(made) == ["open"] and Decision.objects.count() == 1


def test_yes_no_rule_and_withdrawal(org: Org) -> None:
    """One of four ends it."""
    publish(ENGINEERS)
    made = make_request(org.dana)
    machine()
    found = together(
        deciding("approve", org.pat, made),
        deciding("reject", org.ravi, made),
        partial(services.withdraw, by(org.dana), made),
        partial(approve_by_rule, made, rule="auto-001", why="Small."),
    )
    made.refresh_from_db()
    assert found.count("done") == 1 and made.state in (
        RequestState.APPROVED, RequestState.REJECTED, RequestState.WITHDRAWN,
    )  # fmt: skip
    assert Endpoint.objects.count() == (made.state == RequestState.APPROVED) and states(made) != ["open"]


def test_two_delegations_that_would_be_a_circle(org: Org) -> None:
    """Made at the same instant, only one holds."""
    soon = timezone.now().date()
    calls = [
        partial(delegating.delegate, by(one), to=other.username, ends_on=soon, reason="Away.")
        for one, other in ((org.pat, org.ravi), (org.ravi, org.pat))
    ]
    assert together(*calls) == ["circular", "done"]
