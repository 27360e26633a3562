"""Decisions at the same instant: exactly one counts, and the pool never holds more than it has."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from django.db import connection
from django.db.models import Sum

from approvals import services
from approvals.models import Decision, Request
from endpoints.models import Endpoint
from portal.errors import Conflict
from projects.models import User
from projects.principal import Principal
from quotas.models import Pool, Reservation, ReservationState
from quotas.services import positions
from tests.conftest import Org
from tests.factories import make_pool, make_profile, make_request, make_version

pytestmark = pytest.mark.django_db(transaction=True)


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
