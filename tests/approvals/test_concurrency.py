"""Decisions at the same instant: exactly one counts, and the pool never holds more than it has."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.db.models import Sum

from approvals import services
from approvals.models import Decision, Request
from audit.models import Row
from endpoints import services as endpoint_services
from endpoints.models import Endpoint
from portal.errors import Conflict, GatehouseError
from portal.states import move
from projects.models import User
from projects.principal import Principal
from quotas.models import Pool, Reservation, ReservationState
from quotas.services import positions
from tests.conftest import Org
from tests.factories import living_body, make_endpoint, make_pool, make_profile, make_request, make_version

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def in_thread(work: Callable[[], str]) -> str:
    """Run `work` on a database connection of the thread's own, and close it."""
    try:
        return work()
    finally:
        connection.close()


def test_two_approvals_at_the_same_instant(org: Org) -> None:
    """One decides; the other one is told so, and leaves nothing behind."""
    made = make_request(org.dana)
    barrier = threading.Barrier(2)

    def decide(user: User) -> str:
        by, request = Principal.of(user), Request.objects.get(pk=made.pk)
        barrier.wait(timeout=10)
        try:
            services.approve(by, request)
        except Conflict as error:
            return error.code
        return "approved"

    with ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(in_thread, partial(decide, user)) for user in (org.pat, org.ravi)]
        results = sorted(task.result(timeout=60) for task in tasks)
    assert results == ["already_decided", "approved"]
    assert Decision.objects.count() == 1 and Endpoint.objects.count() == 1


@pytest.mark.slow
def test_sixty_four_approvals_for_eight_gpus(org: Org) -> None:
    """All are approved: 8 hold a GPU, 56 wait in places 1 to 56."""
    profile = make_profile(gpus=1)
    gpus = make_pool(limit=8, profiles=[profile])
    version = make_version()
    requests = [make_request(org.dana, version=version, profile=profile) for _ in range(64)]
    reviewers = [org.pat, org.ravi, org.yasmine]

    def decide(index: int) -> str:
        return services.approve(Principal.of(reviewers[index % 3]), requests[index]).state

    with ThreadPoolExecutor(12) as pool:
        tasks = [pool.submit(in_thread, partial(decide, index)) for index in range(64)]
        results = [task.result(timeout=300) for task in tasks]
    assert results == ["approved"] * 64
    held = Reservation.objects.filter(state=ReservationState.HELD)
    waiting = list(Reservation.objects.filter(state=ReservationState.WAITING))
    assert held.aggregate(total=Sum("amount"))["total"] == 8 == Pool.objects.get(pk=gpus.pk).held
    assert sorted(positions(waiting).values()) == list(range(1, 57))
    assert Endpoint.objects.count() == 64 == Decision.objects.count()


def at_once(*works: Callable[[], str]) -> list[str]:
    """Run all of `works` at the same instant, each on a connection of its own; the outcomes, sorted."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], str]) -> str:
        barrier.wait(timeout=10)
        try:
            return work()
        except GatehouseError as error:
            return error.code

    with ThreadPoolExecutor(len(works)) as pool:
        tasks = [pool.submit(in_thread, partial(run, work)) for work in works]
        return sorted(task.result(timeout=60) for task in tasks)


def approving(user: User, made: Request) -> Callable[[], str]:
    return lambda: str(services.approve(Principal.of(user), Request.objects.get(pk=made.pk)).state)


@pytest.mark.parametrize("kind", ["revision", "renewal", "access"])
def test_two_approvals_of_the_other_kinds(org: Org, kind: str) -> None:
    """What is asked for is done once."""
    made = asked(org, kind)
    assert at_once(approving(org.pat, made), approving(org.ravi, made)) == ["already_decided", "approved"]
    actions = {"revision": "endpoints.open_revision", "renewal": "endpoints.renew", "access": "endpoints.share"}
    assert Row.objects.filter(action=actions[kind]).count() == 1
    assert Decision.objects.filter(request=made).count() == 1


@pytest.mark.parametrize("kind", ["revision", "renewal", "access"])
def test_approved_while_the_endpoint_is_deleted(org: Org, kind: str) -> None:
    """Whoever comes first: a deleted endpoint is neither renewed, shared nor rolled out."""
    made = asked(org, kind)
    endpoint = made.endpoint
    assert endpoint is not None
    owner = Principal.of(org.cy if kind == "access" else org.dana)

    def deleting() -> str:
        return str(endpoint_services.delete(owner, Endpoint.objects.get(pk=endpoint.pk)).desired)

    outcomes = at_once(approving(org.pat, made), deleting)
    assert outcomes in (["approved", "deleted"], ["deleted", "plan_stale"], ["deleted", "wrong_state"])
    made.refresh_from_db()
    assert made.state == ("approved" if "approved" in outcomes else "submitted")
    assert Endpoint.objects.get(pk=endpoint.pk).desired == "deleted"


def test_the_same_renewal_sent_twice_at_the_same_instant(org: Org) -> None:
    """One waits, the other one is told so, and nothing is left of it."""
    body = living_body("renewal", endpoint=make_endpoint(org.dana))

    def sending(user: User) -> Callable[[], str]:
        return lambda: str(services.send(Principal.of(user), body).state)

    assert at_once(sending(org.dana), sending(org.omar)) == ["already_asked", "submitted"]
    assert Request.objects.filter(kind="renewal").count() == 1


def test_the_database_refuses_a_second_open_request(org: Org) -> None:
    """Also when the code above is passed by."""
    made = asked(org, "renewal")
    again = services.draft(Principal.of(org.omar), made.body)
    with pytest.raises(IntegrityError):
        move(Request.objects.filter(pk=again.pk), "draft", "submitted")


def asked(org: Org, kind: str) -> Request:
    """A request that waits, about an endpoint that is there."""
    if kind == "access":
        endpoint = make_endpoint(org.cy, project="search-ranking")
        endpoint_services.set_shareable(Principal.of(org.cy), endpoint, True)
        made: Request = make_request(org.dana, kind=kind, endpoint=endpoint)
        return made
    fields: dict[str, Any] = {"replicas": 2} if kind == "revision" else {}
    made = make_request(org.dana, kind=kind, endpoint=make_endpoint(org.dana), **fields)
    return made
