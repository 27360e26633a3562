"""Rollouts and rollbacks with real engines: under traffic, without room, failing, and with workers that die."""

import datetime as dt
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils import timezone

from audit.models import Row
from catalog import services as catalog
from endpoints import decision, facts, services, sweep
from endpoints.clusters.local import LocalDriver
from endpoints.models import Desired, Endpoint, Event, Phase, Revision, RevisionOutcome
from endpoints.services import Authorization
from portal.errors import Conflict, Forbidden, Invalid
from projects.models import Notification, Project
from projects.principal import Principal
from quotas.models import Pool, Quota, Reservation, ReservationState
from tests import factories
from tests.conftest import Org
from tests.endpoints.endpoint_kit import die_once, is_in, next_demo, open_demo, pids, until, work
from tests.endpoints.gateway_kit import Running, serving

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.processes]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "BACKOFF_SECONDS", (0, 0.05, 0.05, 0.05, 0.05))
    monkeypatch.setattr(facts, "DRAIN", dt.timedelta(seconds=0.2))


@pytest.fixture
def gateway(home: Path) -> Iterator[Running]:
    with serving(home / "journal") as running:
        yield running


def settled(endpoint: Endpoint) -> bool:
    """Whether nothing of a rollout is left."""
    return endpoint.phase == Phase.READY and not endpoint.rolling_out and endpoint.drain_until is None


def held(endpoint: Endpoint) -> dict[str, int]:
    rows = Reservation.objects.filter(holder_id=str(endpoint.pk), state=ReservationState.HELD)
    return dict(rows.values_list("holder_kind", "amount"))


def true_counter(pool: Pool) -> int:
    """The pool's counter, which must be the sum of what is held."""
    pool.refresh_from_db()
    rows = Reservation.objects.filter(pool=pool, state=ReservationState.HELD)
    assert pool.held == sum(row.amount for row in rows)
    return pool.held


def running_revisions(home: Path, endpoint: Endpoint) -> list[int]:
    return [one.revision for one in LocalDriver(home).observe(str(endpoint.pk)).replicas if one.pid]


def codes(endpoint: Endpoint) -> list[str]:
    return list(Event.objects.filter(endpoint=endpoint).order_by("pk").values_list("code", flat=True))


def test_a_rollout_under_traffic_fails_no_call(
    org: Org, home: Path, gateway: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "DRAIN", dt.timedelta(seconds=3))
    endpoint = until(open_demo(org.fraud, replicas=2), settled)
    _, secret = services.issue_key(Principal.of(org.dana), org.fraud, "load", [])
    chat = {"model": endpoint.name, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 20}
    stop, statuses, ends = threading.Event(), [], []

    def call(stream: bool) -> None:
        while not stop.is_set():
            answer = gateway.request(secret, chat | {"stream": stream})
            statuses.append(answer.status)
            ends.append(not stream or answer.body.rstrip().endswith(b"data: [DONE]"))

    threads = [threading.Thread(target=call, args=(number % 2 == 0,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        old = pids(home, endpoint)
        revision = next_demo(endpoint, replicas=2)
        before = len(statuses)
        until(endpoint, settled, 40)
    finally:
        stop.set()
        for thread in threads:
            thread.join(15)
    assert len(statuses) - before > 20 and set(statuses) == {200} and all(ends)
    assert endpoint.revision == revision and not set(pids(home, endpoint)) & set(old)
    assert running_revisions(home, endpoint) == [2, 2]
    revision.refresh_from_db()
    assert revision.outcome == RevisionOutcome.WORKED
    assert "rolled_out" in codes(endpoint) and "pending" not in endpoint.reason_sentence
    turned = Row.objects.get(action="endpoints.roll_out")
    assert (turned.before, turned.after) == ('{"revision":1}', '{"revision":2}')


def test_a_rollout_with_room_holds_both_and_gives_the_old_ones_back(org: Org, home: Path) -> None:
    pool = factories.make_pool(limit=4)
    endpoint = until(open_demo(org.fraud, gpus=1, pool=pool, replicas=2), settled)
    next_demo(endpoint, gpus=2, pool=pool)
    assert held(endpoint) == {"endpoint": 2, "surge": 2} and true_counter(pool) == 4
    assert endpoint.next_beside and endpoint.phase == Phase.READY
    until(endpoint, settled)
    assert held(endpoint) == {"endpoint": 2} and true_counter(pool) == 2
    assert running_revisions(home, endpoint) == [2]


def test_without_room_the_new_revision_takes_the_place_and_says_so(org: Org, home: Path) -> None:
    pool = factories.make_pool(limit=4)
    endpoint = until(open_demo(org.fraud, gpus=4, pool=pool), settled)
    revision = next_demo(endpoint, gpus=2, pool=pool)
    assert endpoint.revision == revision and endpoint.fallback is not None and endpoint.upstreams == []

    def watch(row: Endpoint) -> bool:
        assert len(running_revisions(home, row)) <= 1  # never both
        return settled(row)

    until(endpoint, watch)
    assert "replacing" in codes(endpoint)
    work(endpoint)
    assert running_revisions(home, endpoint) == [2] and held(endpoint) == {"endpoint": 2} and true_counter(pool) == 2


def test_what_needs_more_than_there_is_waits_while_the_old_one_answers(org: Org, home: Path) -> None:
    pool = factories.make_pool(limit=4)
    endpoint = until(open_demo(org.fraud, gpus=2, pool=pool), settled)
    other = until(open_demo(org.search, gpus=2, pool=pool), settled)
    revision = next_demo(endpoint, gpus=4, pool=pool)
    work(endpoint)
    assert endpoint.next_revision == revision and not endpoint.next_beside and endpoint.phase == Phase.READY
    assert "Revision 2 waits for 2 accelerators" in endpoint.reason_sentence and running_revisions(home, endpoint) == [
        1
    ]
    services.suspend(factories.engineer(), other)
    until(other, is_in(Phase.SUSPENDED))
    until(endpoint, settled)
    assert running_revisions(home, endpoint) == [2] and held(endpoint) == {"endpoint": 4} and true_counter(pool) == 4


def test_a_rollout_that_waits_can_be_cancelled(org: Org, home: Path) -> None:
    pool = factories.make_pool(limit=2)
    endpoint = until(open_demo(org.fraud, gpus=1, pool=pool), settled)
    until(open_demo(org.search, gpus=1, pool=pool), settled)
    revision = next_demo(endpoint, gpus=2, pool=pool)
    with pytest.raises(Conflict, match="is being rolled out") as refused:
        next_demo(endpoint)
    assert refused.value.code == "rollout_running"
    services.rollback(Principal.of(org.dana), endpoint, 1)
    until(endpoint, settled)
    revision.refresh_from_db()
    assert revision.outcome == RevisionOutcome.CANCELLED and held(endpoint) == {"endpoint": 1}
    assert not Reservation.objects.filter(state=ReservationState.WAITING).exists()
    event = Event.objects.filter(endpoint=endpoint, code="rolled_back").get()
    assert event.sentence == "dana cancelled the rollout of revision 2; revision 1 goes on."


@pytest.mark.parametrize(("limit", "kept"), [(2, True), (1, False)])
def test_a_revision_that_fails_its_starts_returns_to_the_one_that_worked(
    org: Org, home: Path, limit: int, kept: bool
) -> None:
    pool = factories.make_pool(limit=limit)
    endpoint = until(open_demo(org.fraud, gpus=1, pool=pool), settled)
    [pid] = pids(home, endpoint)
    revision = next_demo(endpoint, "--fail", "crash", gpus=1, pool=pool)
    until(endpoint, lambda row: settled(row) and row.remark != "", 40)
    revision.refresh_from_db()
    assert revision.outcome == RevisionOutcome.FAILED and "exit code" in revision.outcome_sentence
    assert endpoint.revision is not None and endpoint.revision.number == 1
    assert (pids(home, endpoint) == [pid]) is kept and running_revisions(home, endpoint) == [1]
    assert "Revision 2 did not work" in endpoint.reason_sentence and held(endpoint) == {"endpoint": 1}
    assert true_counter(pool) == 1 and list(endpoint.revisions.values_list("number", flat=True)) == [2, 1]
    told = Notification.objects.filter(kind="endpoint.failed", about_id=str(endpoint.pk))
    assert {row.person.username for row in told.select_related("person")} == {"omar"}


def test_rolling_back_needs_an_authorization_that_holds(org: Org, home: Path) -> None:
    by = Principal.of(org.dana)
    endpoint = until(open_demo(org.fraud), settled)
    next_demo(endpoint)
    until(endpoint, settled)
    yesterday = timezone.now().date() - dt.timedelta(days=1)
    first = endpoint.revisions.filter(number=1)
    first.update(authorization_valid_until=yesterday)
    with pytest.raises(Conflict, match="R-1 ended") as refused:
        services.rollback(by, endpoint, 1)
    assert refused.value.code == "authorization_ended"
    first.update(authorization_valid_until=None)
    catalog.block(factories.lead(), first.get().version, reason="a backdoor was found")
    with pytest.raises(Conflict, match="is blocked"):
        services.rollback(by, endpoint, 1)
    for number in (7, 10**30, -1):
        with pytest.raises(Invalid, match=r"never had\. It has 1, 2\."):
            services.rollback(by, endpoint, number)
    with pytest.raises(Conflict, match="is what runs"):
        services.rollback(by, endpoint, 2)
    with pytest.raises(Forbidden):
        services.rollback(Principal.of(org.vic), endpoint, 1)
    endpoint.refresh_from_db()
    assert endpoint.revision is not None and endpoint.revision.number == 2 and not endpoint.rolling_out


def test_rolling_back_runs_the_revision_before_again(org: Org, home: Path) -> None:
    endpoint = until(open_demo(org.fraud), settled)
    next_demo(endpoint, replicas=2)
    until(endpoint, settled)
    services.rollback(Principal.of(org.dana), endpoint, 1)
    until(endpoint, settled)
    assert running_revisions(home, endpoint) == [1] and "rolled_back" in codes(endpoint)
    row = Row.objects.get(action="endpoints.rollback")
    assert row.before == '{"revision":2}' and '"revision":1' in row.after and row.actor.startswith("user:")
    assert Revision.objects.filter(endpoint=endpoint).count() == 2


def test_a_failed_endpoint_takes_the_new_revision_at_once(org: Org, home: Path) -> None:
    endpoint = until(open_demo(org.fraud, "--fail", "oom"), is_in(Phase.FAILED))
    next_demo(endpoint)
    assert endpoint.phase == Phase.PENDING and endpoint.fallback is None  # the first one never worked
    until(endpoint, settled)
    assert running_revisions(home, endpoint) == [2]


def test_a_suspended_endpoint_runs_the_new_revision_when_it_is_resumed(org: Org, home: Path) -> None:
    pool = factories.make_pool(limit=2)
    endpoint = until(open_demo(org.fraud, gpus=1, pool=pool), settled)
    services.suspend(Principal.of(org.dana), endpoint)
    until(endpoint, is_in(Phase.SUSPENDED))
    next_demo(endpoint, gpus=2, pool=pool)
    assert held(endpoint) == {} and endpoint.phase == Phase.SUSPENDED
    services.resume(Principal.of(org.dana), endpoint)
    until(endpoint, settled)
    assert running_revisions(home, endpoint) == [2] and held(endpoint) == {"endpoint": 2}


def test_suspended_during_a_rollout_nothing_is_left_and_resuming_goes_on_with_it(org: Org, home: Path) -> None:
    pool = factories.make_pool(limit=2)
    endpoint = until(open_demo(org.fraud, gpus=1, pool=pool), settled)
    next_demo(endpoint, "--load-seconds", "30", gpus=1, pool=pool)
    until(endpoint, lambda row: len(running_revisions(home, row)) == 2)
    services.suspend(Principal.of(org.dana), endpoint)
    until(endpoint, is_in(Phase.SUSPENDED))
    assert pids(home, endpoint) == [] and held(endpoint) == {} and true_counter(pool) == 0
    services.resume(Principal.of(org.dana), endpoint)
    until(endpoint, lambda row: running_revisions(home, row) == [2])
    assert endpoint.fallback is not None and held(endpoint) == {"endpoint": 1}


def test_the_projects_quota_counts_both_and_then_one_takes_the_place(org: Org, home: Path) -> None:
    pool = factories.make_pool(limit=4)
    Quota.objects.create(project=org.fraud, kind="gpus", hard=2)
    endpoint = until(open_demo(org.fraud, gpus=2, pool=pool), settled)
    next_demo(endpoint, gpus=2, pool=pool)
    assert endpoint.fallback is not None  # in place: the quota has no room for both
    until(endpoint, settled)
    with pytest.raises(Conflict) as refused:
        next_demo(endpoint, gpus=3, pool=pool)
    assert refused.value.code == "gpu_quota"
    endpoint.refresh_from_db()
    assert endpoint.revisions.count() == 2 and settled(endpoint)


@pytest.mark.parametrize(("limit", "flags"), [(2, ()), (1, ()), (2, ("--fail", "oom")), (1, ("--fail", "oom"))])
def test_a_worker_that_dies_anywhere_leaves_one_revision_and_one_reservation(
    org: Org, home: Path, limit: int, flags: tuple[str, ...]
) -> None:
    pool, deaths = factories.make_pool(limit=limit), 0
    expected = 1 if flags else 2
    for at in range(1, 37, 7):
        endpoint = until(open_demo(org.fraud, gpus=1, pool=pool), settled)
        next_demo(endpoint, *flags, gpus=1, pool=pool)

        def done(row: Endpoint) -> bool:
            return settled(row) and (row.remark != "" or not flags)

        deaths += die_once(endpoint, at, done)
        sweep.sweep()
        until(endpoint, done, 40)
        work(endpoint)
        assert running_revisions(home, endpoint) == [expected], f"death {at}"
        assert held(endpoint) == {"endpoint": 1} and true_counter(pool) == 1, f"death {at}"
        assert not Reservation.objects.filter(state=ReservationState.WAITING).exists()
        services.delete(factories.engineer(), endpoint)
        until(endpoint, lambda row: Endpoint.objects.get(pk=row.pk).phase == Phase.DELETED)
        assert true_counter(pool) == 0 and pids(home, endpoint) == []
    assert deaths > 3


def test_numbers_out_of_bounds_and_deleted_endpoints(org: Org, home: Path) -> None:
    endpoint = until(open_demo(org.fraud), settled)
    assert endpoint.revision is not None
    body = {"version": endpoint.revision.version, "profile": endpoint.revision.profile, "replicas": 1,
            "concurrency": 8, "context_tokens": 4096, "authorization": Authorization("R-2", "sha256:x")}  # fmt: skip
    for field, value in (("replicas", 0), ("replicas", 65), ("concurrency", -1), ("context_tokens", 10**30)):
        with pytest.raises(Invalid, match=f"{field} is"):
            services.open_revision(factories.engineer(), endpoint, **(body | {field: value}))  # type: ignore[arg-type]
    services.delete(factories.engineer(), endpoint)
    with pytest.raises(Conflict, match="is deleted"):
        services.open_revision(factories.engineer(), endpoint, **body)  # type: ignore[arg-type]
    assert Endpoint.objects.get(pk=endpoint.pk).desired == Desired.DELETED and Project.objects.count() == 2
