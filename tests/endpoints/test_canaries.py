"""A canary with real engines and a real gateway: its share of the calls, what is decided about it, and what ends it."""

import datetime as dt
import math
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from audit.models import Row
from catalog import services as catalog
from endpoints import canaries, decision, facts, services, trials
from endpoints.clusters.local import LocalDriver
from endpoints.models import Desired, Endpoint, Event, Phase, Revision, RevisionOutcome
from portal.errors import Conflict, Forbidden, GatehouseError, Invalid, NotFound
from projects.principal import Principal
from quotas.ingest import ingest
from quotas.models import Pool, Reservation, ReservationState, UsageEvent
from quotas.services import promote_all
from tests import factories
from tests.conftest import Org
from tests.endpoints.endpoint_kit import is_in, kill, next_demo, open_demo, until, work
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


def on_trial(endpoint: Endpoint) -> bool:
    """Whether the canary answers beside what runs."""
    return endpoint.reason_code == "canary"


def running(home: Path, endpoint: Endpoint) -> list[int]:
    replicas = LocalDriver(home).observe(str(endpoint.pk)).replicas
    return sorted(one.revision for one in replicas if one.pid)


def held(endpoint: Endpoint) -> dict[str, int]:
    rows = Reservation.objects.filter(holder_id=str(endpoint.pk), state=ReservationState.HELD)
    return dict(rows.values_list("holder_kind", "amount"))


def canary(org: Org, percent: int = 20, *flags: str, pool: Pool | None = None) -> Endpoint:
    """A ready endpoint whose second revision is on its way as a canary."""
    gpus = 1 if pool else 0
    endpoint = until(open_demo(org.fraud, gpus=gpus, pool=pool), settled)
    next_demo(endpoint, *flags, gpus=gpus, pool=pool)
    return canaries.set_share(Principal.of(org.dana), endpoint, percent)


def within(count: int, calls: int, percent: int) -> bool:
    """Whether `count` of `calls` is a share that chance gives: further off than seven standard deviations is less
    likely than one in 10^11.
    """
    share = percent / 100
    return abs(count - calls * share) <= 7 * math.sqrt(calls * share * (1 - share))


def test_a_canary_gets_its_share_is_raised_and_promoted(org: Org, home: Path, gateway: Running) -> None:
    pool = factories.make_pool(limit=2)
    endpoint = until(canary(org, 20, pool=pool), on_trial)
    dana = Principal.of(org.dana)
    assert running(home, endpoint) == [1, 2] and held(endpoint) == {"endpoint": 1, "surge": 1}
    assert endpoint.phase == Phase.READY and endpoint.revision and endpoint.revision.number == 1
    assert "revision 2 gets 20 % of the calls" in endpoint.reason_sentence
    _, secret = services.issue_key(dana, org.fraud, "load", [])
    chat = {"model": endpoint.name, "messages": [{"role": "user", "content": "Hi."}], "max_tokens": 2, "stream": True}
    assert {gateway.request(secret, chat).status for _ in range(150)} == {200}
    ingest(home / "journal")
    since, found = trials.compared(endpoint)
    assert [(one.revision, one.percent) for one in found] == [(1, 80), (2, 20)] and since is not None
    of_canary = UsageEvent.objects.filter(revision=2).count()
    assert UsageEvent.objects.filter(revision=1).count() + of_canary == 150 and within(of_canary, 150, 20)
    assert found[1].requests == of_canary and found[1].errors == 0 and found[1].ttft_p50 is not None
    assert found[0].requests <= 150 - of_canary  # only those since the canary's first call

    raised = canaries.set_share(dana, endpoint, 50)
    assert (
        raised.canary_percent == 50
        and "50 %" in until(raised, lambda row: "50 %" in row.reason_sentence).reason_sentence
    )
    promoted = canaries.promote(dana, endpoint)
    assert promoted.canary_percent is None and running(home, promoted) == [1, 2]  # a worker makes it true
    until(endpoint, settled)
    assert running(home, endpoint) == [2] and endpoint.revision.number == 2 and held(endpoint) == {"endpoint": 1}
    assert endpoint.revision.outcome == RevisionOutcome.WORKED and endpoint.canary_percent is None
    actions = list(Row.objects.filter(action__contains="canary").order_by("pk").values_list("action", "after"))
    assert actions == [
        ("endpoints.set_canary_share", '{"canary_percent":20,"revision":2}'),
        ("endpoints.set_canary_share", '{"canary_percent":50,"revision":2}'),
        ("endpoints.promote_canary", '{"revision":2}'),
    ]


def test_an_aborted_canary_gets_no_call_and_its_accelerators_go_back_when_it_is_gone(
    org: Org, home: Path, gateway: Running
) -> None:
    pool = factories.make_pool(limit=2)
    endpoint = until(canary(org, 50, pool=pool), on_trial)
    dana = Principal.of(org.dana)
    _, secret = services.issue_key(dana, org.fraud, "load", [])
    aborted = canaries.abort(dana, endpoint, reason="Slower.")
    assert [one["revision"] for one in aborted.upstreams] == [1] and held(aborted) == {"endpoint": 1, "retiring": 1}
    chat = {"model": endpoint.name, "messages": [{"role": "user", "content": "Hi."}], "max_tokens": 2}
    assert {gateway.request(secret, chat).status for _ in range(20)} == {200}
    until(endpoint, settled)
    assert running(home, endpoint) == [1] and held(endpoint) == {"endpoint": 1}
    ingest(home / "journal")
    assert set(UsageEvent.objects.values_list("revision", flat=True)) == {1}
    tried = Revision.objects.get(endpoint=endpoint, number=2)
    assert tried.outcome == RevisionOutcome.CANCELLED
    assert Row.objects.get(action="endpoints.abort_canary").reason == "Slower."
    again = services.rollback(dana, endpoint, 2, canary_percent=5)  # it was approved: it may be tried again
    assert (again.canary_percent, again.next_revision) == (5, tried)
    until(endpoint, on_trial)
    canaries.promote(dana, endpoint)
    assert until(endpoint, settled).revision == tried


def test_a_canary_that_dies_starts_again_and_one_that_fails_aborts_itself_and_says_why(
    org: Org, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = until(canary(org), on_trial)
    pid = next(one.pid for one in LocalDriver(home).observe(str(endpoint.pk)).replicas if one.revision == 2 and one.pid)
    kill(pid)
    until(endpoint, lambda row: [one["revision"] for one in row.upstreams] == [1])  # no call goes there meanwhile
    until(endpoint, on_trial)
    monkeypatch.setattr(decision, "MAX_STARTS", endpoint.next_attempts)
    pid = next(one.pid for one in LocalDriver(home).observe(str(endpoint.pk)).replicas if one.revision == 2 and one.pid)
    kill(pid)
    until(endpoint, settled)
    assert endpoint.revision and endpoint.revision.number == 1 and endpoint.canary_percent is None
    assert "Revision 2 did not work" in endpoint.remark and running(home, endpoint) == [1]
    assert Event.objects.filter(endpoint=endpoint, code="rollout_failed").exists()
    assert Revision.objects.get(endpoint=endpoint, number=2).outcome == RevisionOutcome.FAILED


def test_what_runs_is_looked_after_beside_its_canary(org: Org, home: Path) -> None:
    endpoint = until(canary(org), on_trial)
    pid = next(one.pid for one in LocalDriver(home).observe(str(endpoint.pk)).replicas if one.revision == 1 and one.pid)
    kill(pid)
    until(endpoint, lambda row: row.phase == Phase.DEGRADED)
    assert [one["revision"] for one in endpoint.upstreams] == [2]  # the canary takes the calls in between
    until(endpoint, on_trial)
    assert running(home, endpoint) == [1, 2] and endpoint.canary_percent == 20


def test_a_canary_does_not_outlive_a_suspension(org: Org, home: Path) -> None:
    endpoint = until(canary(org), on_trial)
    dana = Principal.of(org.dana)
    services.suspend(dana, endpoint)
    with pytest.raises(Conflict, match="no canary"):
        canaries.promote(dana, endpoint)
    until(endpoint, is_in(Phase.SUSPENDED))
    services.resume(dana, endpoint)
    until(endpoint, settled)
    assert running(home, endpoint) == [1] and endpoint.canary_percent is None
    assert Revision.objects.get(endpoint=endpoint, number=2).outcome == RevisionOutcome.CANCELLED
    assert "nobody had promoted" in Row.objects.get(action="endpoints.abort_canary").reason
    services.rollback(dana, endpoint, 2)  # its approval stands
    assert until(endpoint, settled).revision == Revision.objects.get(endpoint=endpoint, number=2)


def test_a_canary_waits_for_room_and_never_takes_the_place(org: Org, home: Path) -> None:
    pool = factories.make_pool(limit=1)
    endpoint = until(open_demo(org.fraud, gpus=1, pool=pool), settled)
    first = next_demo(endpoint, gpus=1, pool=pool)  # rolling, it takes the place
    until(endpoint, settled)
    services.rollback(Principal.of(org.dana), endpoint, 1, canary_percent=10)
    for _ in range(3):
        work(endpoint)
    assert (
        endpoint.revision == first and endpoint.next_revision and "waits for 1 accelerator" in endpoint.reason_sentence
    )
    assert running(home, endpoint) == [2] and endpoint.phase == Phase.READY
    Pool.objects.filter(pk=pool.pk).update(limit=2, observed=2)
    assert str(endpoint.pk) in {one.holder_id for one in promote_all()}
    until(endpoint, on_trial)
    assert running(home, endpoint) == [1, 2] and held(endpoint) == {"endpoint": 1, "surge": 1}


def test_a_canary_whose_version_is_blocked_is_not_promoted_and_aborts_itself(org: Org, home: Path) -> None:
    endpoint = until(canary(org), on_trial)
    assert endpoint.next_revision is not None
    catalog.block(Principal.of(org.yasmine), endpoint.next_revision.version, "It leaks.")
    with pytest.raises(Conflict) as refused:
        canaries.promote(Principal.of(org.dana), endpoint)
    assert refused.value.code == "version_blocked"
    until(endpoint, settled)
    assert running(home, endpoint) == [1] and "is blocked in the catalog" in endpoint.remark


def test_what_is_refused(org: Org, home: Path) -> None:
    endpoint = until(open_demo(org.fraud), settled)
    dana = Principal.of(org.dana)
    for act in (partial(canaries.set_share, percent=10), canaries.promote, canaries.abort):
        with pytest.raises(Conflict) as refused:
            act(dana, endpoint)
        assert refused.value.code in ("no_rollout", "no_canary")
    next_demo(endpoint)
    for percent in (0, 51, -1, True):
        with pytest.raises(Invalid, match="1 to 50 %"):
            canaries.set_share(dana, endpoint, percent)
        with pytest.raises(Invalid, match="1 to 50 %"):
            services.rollback(dana, endpoint, 1, canary_percent=percent)
    with pytest.raises(Conflict, match="is what runs"):
        services.rollback(dana, endpoint, 1, canary_percent=10)
    with pytest.raises(Conflict) as busy:
        services.rollback(dana, endpoint, 2, canary_percent=10)
    assert busy.value.code == "rollout_running"
    canaries.set_share(dana, endpoint, 10)
    with pytest.raises(Conflict, match="10 % of the calls already"):
        canaries.set_share(dana, endpoint, 10)
    for act in (partial(canaries.set_share, percent=20), canaries.promote, canaries.abort):
        with pytest.raises(Forbidden):
            act(Principal.of(org.vic), endpoint)
        with pytest.raises(NotFound):
            act(Principal.of(org.cy), endpoint)
    services.suspend(dana, endpoint)
    until(endpoint, is_in(Phase.SUSPENDED))
    services.rollback(dana, endpoint, 2)  # without a canary it runs when it is resumed
    with pytest.raises(Conflict) as nothing:
        services.rollback(dana, endpoint, 1, canary_percent=10)
    assert nothing.value.code == "nothing_to_compare"


def together(*calls: Callable[[], Any]) -> list[str]:
    """What each call said that began at the same moment as the others."""
    said, start = [""] * len(calls), threading.Barrier(len(calls))

    def run(index: int, call: Callable[[], Any]) -> None:
        try:
            start.wait(30)
            call()
            said[index] = "done"
        except GatehouseError as error:
            said[index] = error.code
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(index, call)) for index, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return said


@pytest.mark.parametrize("third", ["suspend", "delete", "share", "work"])
def test_two_owners_and_a_worker_at_once(org: Org, home: Path, third: str) -> None:
    dana, omar = Principal.of(org.dana), Principal.of(org.omar)
    endpoint = until(canary(org), on_trial)
    others = {
        "suspend": lambda: services.suspend(omar, endpoint),
        "delete": lambda: services.delete(omar, endpoint),
        "share": lambda: canaries.set_share(omar, endpoint, 33),
        "work": lambda: work(Endpoint.objects.get(pk=endpoint.pk)),
    }
    said = together(lambda: canaries.promote(dana, endpoint), lambda: canaries.abort(omar, endpoint), others[third])
    assert set(said) <= {"done", "no_canary", "no_rollout"}
    # Both owners had their way only where a share in between made a canary of what was promoted.
    assert said[:2] != ["done", "done"] or third == "share"
    endpoint.refresh_from_db()
    if third == "suspend":
        until(endpoint, is_in(Phase.SUSPENDED))
        assert running(home, endpoint) == []
        services.resume(dana, endpoint)
    if third == "delete":
        until(endpoint, is_in(Phase.DELETED))
        assert running(home, endpoint) == [] and endpoint.desired == Desired.DELETED
        return
    if said[:2] == ["no_canary", "no_canary"]:  # the suspension came first
        assert third == "suspend"
    until(endpoint, lambda row: settled(row) or on_trial(row))
    if endpoint.canary_percent is not None:  # the other owner made a canary of what was promoted
        assert third == "share"
        canaries.abort(dana, endpoint)
        until(endpoint, settled)
    assert len(running(home, endpoint)) == 1
