"""Borrowed accelerators are asked back for whose they are: of whom, for how long, and what ends the question."""

import datetime as dt
import threading
import time
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from audit.models import Row
from audit.services import system
from endpoints import giving_back
from endpoints import reconcile as reconciling
from endpoints.giving_back import Held, choose
from endpoints.models import Endpoint
from endpoints.services import suspend
from portal.errors import Conflict
from projects import epoch
from projects.models import Notification, Project
from projects.principal import Principal
from quotas.models import GiveBack, Pool, Reservation
from quotas.pools import change_pool
from quotas.services import release, resize
from tests import factories
from tests.conftest import Org
from tests.endpoints.endpoint_kit import Script, open_demo, replica, work

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    made = Script(replicas=(replica(),))
    monkeypatch.setattr(reconciling, "driver_for", lambda cluster: made)
    return made


@pytest.fixture
def pool(org: Org, script: Script) -> Pool:
    """Eight accelerators, all of them held by four endpoints of one project, and another project asks for three."""
    pool = factories.make_pool(limit=8, slug="shared-gpu")
    for number, environment in enumerate(("dev", "dev", "staging", "prod")):
        row = open_demo(org.fraud, gpus=2, pool=pool)
        Endpoint.objects.filter(pk=row.pk).update(environment=environment, name=f"e{number}")
    wants = open_demo(org.search, gpus=3, pool=pool)
    Endpoint.objects.filter(pk=wants.pk).update(name="wants")
    return pool


def asked() -> list[str]:
    ids = GiveBack.objects.filter(ended_at=None).values_list("reservation__holder_id", flat=True)
    return sorted(Endpoint.objects.filter(pk__in=list(ids)).values_list("name", flat=True))


def endpoint(name: str) -> Endpoint:
    return Endpoint.objects.get(name=name)


def over(**delta: float) -> None:
    """Let the grace be over."""
    GiveBack.objects.filter(ended_at=None).update(due_at=timezone.now() - dt.timedelta(seconds=1))


def test_dev_is_asked_first_and_suspended_when_its_grace_is_over(org: Org, pool: Pool, script: Script) -> None:
    assert giving_back.settle() == 2 and asked() == ["e0", "e1"], "three of its share, and never prod"
    assert giving_back.settle() == 0 and GiveBack.objects.count() == 2, "asked once"
    told = Notification.objects.filter(kind="endpoint.give_back", person=org.omar)
    assert told.count() == 2 and "24" not in told[0].title
    row = Row.objects.filter(action="endpoints.ask_back").first()
    assert row is not None and row.actor == "system:capacity" and row.project == "fraud-detection"
    assert {endpoint(name).desired for name in ("e0", "e1")} == {"running"}, "nothing happens within the grace"

    over()
    assert giving_back.settle() == 2
    assert {endpoint(name).desired for name in ("e0", "e1")} == {"suspended"}
    assert {one.outcome for one in GiveBack.objects.all()} == {"suspended"}
    assert giving_back.settle() == 0 and GiveBack.objects.count() == 2, "what ends is on its way, nobody else is asked"
    for name in ("e0", "e1"):
        work(endpoint(name))
    wants = Reservation.objects.get(holder_id=str(endpoint("wants").pk))
    assert wants.state == "held", "the second project has its turn"
    pool.refresh_from_db()
    assert pool.held == 7
    assert {endpoint(name).desired for name in ("e2", "e3")} == {"running"}


def test_prod_is_asked_only_where_the_pool_says_so(org: Org, pool: Pool) -> None:
    Endpoint.objects.filter(name__in=["e0", "e1", "e2"]).update(environment="prod")
    assert giving_back.settle() == 0 and asked() == []
    Pool.objects.update(give_back="any")
    assert giving_back.settle() == 2
    Pool.objects.update(give_back="not-prod")
    over()
    giving_back.settle()
    assert not Endpoint.objects.exclude(desired="running").exists(), "the rule holds at the end of the grace, too"


def test_a_pool_may_ask_nothing_back(pool: Pool) -> None:
    Pool.objects.update(give_back="never")
    assert giving_back.settle() == 0 and asked() == []


def test_who_gives_back_by_themselves_ends_the_question(org: Org, pool: Pool, script: Script) -> None:
    giving_back.settle()
    for name in ("e0", "e1"):
        suspend(Principal.of(org.omar), endpoint(name))
        work(endpoint(name))
    over()
    assert giving_back.settle() == 0
    assert {one.outcome for one in GiveBack.objects.all()} == {"given"}
    assert endpoint("e2").desired == "running"


def test_what_is_not_needed_any_more_is_withdrawn(org: Org, pool: Pool, script: Script) -> None:
    giving_back.settle()
    suspend(Principal.of(factories.engineer().user or org.pat), endpoint("wants"))
    script.replicas = ()
    work(endpoint("wants"))
    over()
    assert giving_back.settle() == 0
    assert {one.outcome for one in GiveBack.objects.all()} == {"withdrawn"}
    assert endpoint("e0").desired == "running"
    assert Row.objects.filter(action="endpoints.withdraw_ask").count() == 2


def test_nothing_is_asked_for_while_nodes_are_lost_or_for_more_than_a_share(org: Org, pool: Pool) -> None:
    Pool.objects.update(observed=4)
    assert giving_back.settle() == 0
    Pool.objects.update(observed=8)
    Reservation.objects.filter(state="waiting").update(amount=5)
    assert giving_back.settle() == 0, "five of eight are not its own"


def held(project: int, amount: int, environment: str = "dev", *, idle: bool = False, minutes: int = 0) -> Held:
    at = timezone.now() - dt.timedelta(minutes=minutes)
    reservation = Reservation(pk=id(object()), project_id=project, amount=amount, held_at=at)
    return Held(reservation, Endpoint(environment=environment), idle)


def test_whom_to_ask() -> None:
    prod, staging, old, new, lazy = (
        held(1, 1, "prod"), held(1, 1, "staging"), held(1, 1, minutes=9), held(1, 1, minutes=1),
        held(1, 1, idle=True, minutes=20),
    )  # fmt: skip
    everybody = [prod, staging, old, new, lazy]
    assert choose(everybody, {1: 5}, 5) == [lazy, new, old, staging, prod]
    assert choose(everybody, {1: 2}, 5) == [lazy, new], "nobody is asked for their own share"
    large, small = held(1, 4), held(1, 2, "staging")
    assert choose([large, small], {1: 2}, 2) == [small], "what leaves the borrower its share comes first"
    assert choose([large], {1: 2}, 2) == [large], "where nothing else does"
    most, least = held(2, 1), held(1, 1)
    assert choose([least, most], {1: 1, 2: 3}, 1) == [most], "of the largest borrower"
    assert choose([large], {}, 3) == []
    more = held(1, 4, minutes=9)
    assert choose([small, large, more], {1: 7}, 7) == [large, more], "who is needless beside a larger one is spared"


def test_a_failure_in_one_pool_is_no_matter_of_the_others(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise Conflict("somebody was faster")

    monkeypatch.setattr(giving_back, "record", refuse)
    assert giving_back.settle() == 0 and not GiveBack.objects.exists()


def test_what_is_on_its_way_ends_no_other_question(org: Org, pool: Pool, script: Script) -> None:
    """Of two that were asked one is suspended by its people; its engines still run, and the other one is needed."""
    Reservation.objects.filter(state="waiting").update(amount=4)
    assert giving_back.settle() == 2 and asked() == ["e0", "e1"]
    suspend(Principal.of(org.omar), endpoint("e1"))
    assert giving_back.settle() == 0 and asked() == ["e0", "e1"]
    work(endpoint("e1"))
    assert giving_back.settle() == 0 and asked() == ["e0"]
    assert {one.outcome for one in GiveBack.objects.exclude(ended_at=None)} == {"given"}
    assert not Row.objects.filter(action="endpoints.withdraw_ask").exists()


def three(org: Org, pool: Pool, fraud: int) -> None:
    """A third project borrows with one endpoint, the first one with `fraud` endpoints; the second wants four."""
    Reservation.objects.filter(state="waiting").update(amount=8)
    for name in ("e0", "e1", "e2", "e3")[fraud:]:
        release(system("test"), ("endpoint", str(endpoint(name).pk)))
    project = Project.objects.create(slug="third", name="Third")
    for number in range(4 - fraud):
        row = open_demo(project, gpus=2, pool=pool)
        Endpoint.objects.filter(pk=row.pk).update(environment="staging", name=f"t{number}")
    Endpoint.objects.update(environment="dev")
    Reservation.objects.filter(state="waiting").update(amount=4)


def agree(org: Org, pool: Pool, **nominal: int) -> None:
    names = {"fraud": org.fraud.slug, "search": org.search.slug, "third": "third"}
    shares = [{"project": names[name], "nominal": count} for name, count in nominal.items()]
    change_pool(Principal.of(org.pat), pool, shares=shares)


def test_what_ends_anyway_is_not_asked_for_twice(org: Org, pool: Pool, script: Script) -> None:
    """Both borrowers have four, and two of each are theirs. The first one ends an endpoint: its other one stays."""
    three(org, pool, 2)
    agree(org, pool, fraud=2, third=2, search=4)
    Reservation.objects.filter(holder_id=str(endpoint("e1").pk)).update(held_at=timezone.now())  # the newest
    suspend(Principal.of(org.omar), endpoint("e0"))
    assert giving_back.settle() == 1 and asked() == ["t1"]


def test_nobody_is_suspended_below_their_share(org: Org, pool: Pool, script: Script) -> None:
    """Two endpoints are due, and by now one of them is what its project has borrowed; the other borrower is asked."""
    three(org, pool, 3)
    agree(org, pool, fraud=2, third=2, search=4)
    assert giving_back.settle() == 2 and asked() == ["e1", "e2"]
    over()
    agree(org, pool, fraud=4, third=0, search=4)
    assert giving_back.settle() == 2 and asked() == ["t0"]
    assert sorted(one.outcome for one in GiveBack.objects.exclude(ended_at=None)) == ["suspended", "withdrawn"]


def test_scaling_does_not_begin_the_grace_anew(org: Org, pool: Pool, script: Script) -> None:
    giving_back.settle()
    due = GiveBack.objects.get(reservation__holder_id=str(endpoint("e1").pk)).due_at
    resize(system("test"), ("endpoint", str(endpoint("e1").pk)), 1)
    giving_back.settle()
    again = GiveBack.objects.get(reservation__holder_id=str(endpoint("e1").pk))
    assert (again.due_at, again.ended_at, again.reservation.amount) == (due, None, 1)
    assert GiveBack.objects.filter(outcome="given").count() == 0


@pytest.mark.django_db(transaction=True)
def test_taking_and_resuming_never_wait_for_each_other(org: Org, pool: Pool, script: Script) -> None:
    """Whoever resumes something has the endpoint and the epoch, and then wants the pool; SQLite has one writer."""
    if connection.vendor != "postgresql":
        return  # one writer at a time
    giving_back.settle()
    over()
    asking, failed = threading.Event(), list[BaseException]()

    def resume() -> None:
        try:
            with transaction.atomic():
                epoch.bump()
                asking.set()
                _until_somebody_waits()
                Pool.objects.select_for_update().get(pk=pool.pk)
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=resume)
    thread.start()
    asking.wait(30)
    assert giving_back.settle() == 2
    thread.join(30)
    assert not failed and {endpoint(name).desired for name in ("e0", "e1")} == {"suspended"}


def _until_somebody_waits() -> None:
    """Look until another connection waits for a lock of this one."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))")
            if cursor.fetchone()[0]:
                return
    raise TimeoutError("nobody waits")


@pytest.mark.django_db(transaction=True)
def test_what_somebody_changes_now_is_asked_later(org: Org, pool: Pool, script: Script) -> None:
    if connection.vendor != "postgresql":
        return  # one writer at a time
    chosen, go, counts = threading.Event(), threading.Event(), list[int]()

    def change() -> None:
        with transaction.atomic():
            Endpoint.objects.select_for_update().get(name="e0")
            chosen.set()
            go.wait(30)
        connection.close()

    thread = threading.Thread(target=change)
    thread.start()
    chosen.wait(30)
    counts.append(giving_back.settle())
    go.set()
    thread.join(30)
    counts.append(giving_back.settle())
    assert counts == [1, 1] and asked() == ["e0", "e1"]
