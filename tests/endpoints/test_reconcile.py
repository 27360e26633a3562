"""Claims, messages, and workers that die between any two lines, with a scripted cluster and with real engines."""

import datetime as dt
import threading
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from audit.models import Row
from catalog import services as catalog
from endpoints import decision, services, sweep
from endpoints import reconcile as reconciling
from endpoints.clusters import ClusterError
from endpoints.models import Desired, Endpoint, Event, Phase, Revision
from projects import epoch
from projects.models import Notification
from projects.principal import Principal
from quotas.models import Reservation, ReservationState
from tests import factories
from tests.conftest import Org
from tests.endpoints.endpoint_kit import (
    Broker,
    Script,
    die_once,
    is_in,
    next_demo,
    open_demo,
    pids,
    replica,
    until,
    work,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    made = Script()
    for module in (reconciling, sweep):
        monkeypatch.setattr(module, "driver_for", lambda cluster: made)
    return made


def loading(script: Script, workload: Any) -> None:
    script.replicas = (replica("loading"),)


def test_steps_are_written_once_with_event_audit_row_and_epoch(org: Org, script: Script) -> None:
    endpoint, script.on_apply = open_demo(org.fraud), loading
    before = epoch.current()
    work(endpoint)
    assert (endpoint.phase, endpoint.reason_code) == (Phase.PROVISIONING, "loading") and epoch.current() > before
    rows, events = Row.objects.count(), Event.objects.count()
    for _ in range(3):
        work(endpoint)
    assert (Row.objects.count(), Event.objects.count(), script.asked) == (rows, events, ["apply"])
    script.replicas = (replica(),)
    work(endpoint)
    assert endpoint.phase == Phase.READY and endpoint.claimed_by == "" and endpoint.due_at is None
    assert (
        "engine-key" not in str(endpoint.upstreams)
        and not Row.objects.filter(canonical__contains="engine-key").exists()
    )
    assert [event.code for event in endpoint.events.order_by("id")] == ["accepted", "scheduled", "loading", "ready"]


def told(kind: str) -> list[str]:
    rows = Notification.objects.filter(kind=kind).select_related("person").order_by("pk")
    return [f"{row.person.username}: {row.title}" for row in rows]


def test_people_hear_once_that_it_is_ready_and_once_per_series_that_it_failed(org: Org, script: Script) -> None:
    endpoint, name = open_demo(org.fraud), ""
    Endpoint.objects.filter(pk=endpoint.pk).update(contact=org.dana, created_by=org.omar)
    name, script.replicas = f"fraud-detection/{endpoint.name}", (replica(),)
    work(endpoint)
    assert told("endpoint.ready") == [f"{who}: {name} is ready and answers calls." for who in ("dana", "omar")]
    for series in (1, 2):
        script.replicas = (replica("failed", reason_code="crashed", sentence="It crashed."),)
        Endpoint.objects.filter(pk=endpoint.pk).update(attempts=decision.MAX_STARTS)
        for _ in range(3):
            work(endpoint)
        assert endpoint.phase == Phase.FAILED and told("endpoint.failed") == [f"dana: {name} has failed."] * series
        services.retry(Principal.of(org.dana), endpoint)
        script.replicas = (replica(),)
        assert work(endpoint).phase == Phase.READY
    assert len(told("endpoint.ready")) == 2


def test_who_waited_hears_that_the_place_has_come(org: Org, script: Script) -> None:
    pool, script.on_apply = factories.make_pool(limit=1), loading
    first = open_demo(org.search, gpus=1, pool=pool)
    endpoint = open_demo(org.fraud, gpus=1, pool=pool)
    Endpoint.objects.filter(pk=endpoint.pk).update(contact=org.dana)
    assert work(endpoint).reason_code == "waiting_for_capacity" and told("endpoint.promoted") == []
    services.suspend(factories.engineer(), first)
    work(first)
    for _ in range(2):
        work(endpoint)
    name = f"fraud-detection/{endpoint.name}"
    assert told("endpoint.promoted") == [f"dana: {name} has got its accelerators and starts now."]


def test_from_accelerators_to_none_all_go_back_when_the_engines_are_gone(org: Org, script: Script) -> None:
    pool = factories.make_pool(limit=1)
    endpoint, script.replicas = open_demo(org.fraud, gpus=1, pool=pool), (replica(pid=1),)
    work(endpoint)
    next_demo(endpoint)
    script.replicas = (replica(pid=1), replica(index=1, revision=2, pid=2))
    work(endpoint)
    pool.refresh_from_db()
    assert endpoint.revision.number == 2 and pool.held == 1  # type: ignore[union-attr]
    script.replicas = (replica(index=1, revision=2, pid=2),)
    Endpoint.objects.filter(pk=endpoint.pk).update(drain_until=timezone.now())
    work(endpoint)
    pool.refresh_from_db()
    assert endpoint.phase == Phase.READY and endpoint.drain_until is None and pool.held == 0


def test_a_return_goes_on_where_its_pool_has_gone(org: Org, script: Script) -> None:
    pool = factories.make_pool(limit=1)
    endpoint, script.replicas = open_demo(org.fraud, gpus=1, pool=pool), (replica(pid=1),)
    work(endpoint)
    next_demo(endpoint, gpus=1, pool=pool)
    pool.profiles.clear()
    Endpoint.objects.filter(pk=endpoint.pk).update(attempts=decision.MAX_STARTS)
    script.replicas = (replica("failed", revision=2, reason_code="crashed", sentence="It crashed."),)
    script.on_apply = lambda script, workload: setattr(script, "replicas", (replica(revision=workload.revision),))
    work(endpoint)
    work(endpoint)
    assert endpoint.revision.number == 1 and endpoint.phase == Phase.READY  # type: ignore[union-attr]
    assert endpoint.remark.startswith("Revision 2 did not work: It crashed.")


def test_a_ready_row_is_looked_at_without_a_write(org: Org, script: Script, django_assert_num_queries: Any) -> None:
    endpoint, script.replicas = open_demo(org.fraud), (replica(),)
    work(endpoint)
    with django_assert_num_queries(1):
        reconciling.reconcile(endpoint.pk, "w")


def test_a_new_address_of_the_engine_reaches_the_gateway(org: Org, script: Script) -> None:
    endpoint, script.replicas = open_demo(org.fraud), (replica(),)
    work(endpoint)
    before, script.replicas = epoch.current(), (replica(url="http://127.0.0.1:9999"),)
    work(endpoint)
    assert endpoint.upstreams[0]["url"].endswith(":9999") and epoch.current() == before + 1


def test_only_one_chain_of_messages_lives(
    org: Org, script: Script, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, script.on_apply = open_demo(org.fraud), loading
    work(endpoint)
    chained = [args for _, args, countdown in broker.sent if countdown is not None]
    assert chained[-1] == [str(endpoint.pk), endpoint.due_at.isoformat()] and all(  # type: ignore[union-attr]
        countdown is None or countdown <= 1 for _, _, countdown in broker.sent
    )
    broker.sent.clear()
    later = timezone.now() + dt.timedelta(hours=1)  # on a busy machine half a second is over before the nudges are
    Endpoint.objects.filter(pk=endpoint.pk).update(due_at=later)
    for _ in range(5):
        work(endpoint)  # nudges from elsewhere, while the chain's message is on its way
    reconciling.reconcile(
        endpoint.pk, "w", chained[0][1] if chained[0][1] != chained[-1][1] else "2020-01-01T00:00:00+00:00"
    )
    assert broker.sent == []
    monkeypatch.setattr(decision, "LOOK_SECONDS", 3600.0)
    Endpoint.objects.filter(pk=endpoint.pk).update(due_at=timezone.now())
    endpoint.refresh_from_db()
    reconciling.reconcile(endpoint.pk, "w", endpoint.due_at.isoformat())  # type: ignore[union-attr]
    reconciling.reconcile(endpoint.pk, "w")  # and a sweep at the same moment
    assert len(broker.sent) == 1


def test_a_claimed_row_is_left_alone_and_the_nudge_comes_back(org: Org, script: Script, broker: Broker) -> None:
    endpoint, script.on_apply = open_demo(org.fraud), loading
    assert reconciling.claim(endpoint.pk, "other")
    broker.sent.clear()
    work(endpoint)
    assert script.asked == [] and endpoint.claimed_by == "other" and broker.sent[0][2] == 1.0
    assert not reconciling.claim(endpoint.pk, "me") and reconciling.claim(endpoint.pk, "other")
    Endpoint.objects.filter(pk=endpoint.pk).update(claimed_until=timezone.now() - dt.timedelta(seconds=1))
    work(endpoint)  # its holder has died
    assert script.asked == ["apply"] and endpoint.claimed_by == ""


def test_two_workers_at_once_apply_once(org: Org, script: Script) -> None:
    endpoint, inside, leave = open_demo(org.fraud), threading.Event(), threading.Event()

    def slow(script: Script, workload: Any) -> None:
        inside.set()
        assert leave.wait(10)
        script.replicas = (replica("loading"),)

    script.on_apply = slow

    def run(name: str) -> None:
        try:
            reconciling.reconcile(endpoint.pk, name)
        finally:
            connection.close()

    first = threading.Thread(target=run, args=("one",))
    first.start()
    assert inside.wait(10)
    second = threading.Thread(target=run, args=("two",))
    second.start()
    second.join(10)
    leave.set()
    first.join(10)
    endpoint.refresh_from_db()
    assert script.asked == ["apply"] and endpoint.attempts == 1 and endpoint.claimed_by == ""


def test_a_change_of_mind_during_a_step_wins(org: Org, script: Script) -> None:
    endpoint = open_demo(org.fraud)

    def meanwhile(script: Script, workload: Any) -> None:
        script.replicas = (replica(),)
        services.suspend(Principal.of(org.dana), Endpoint.objects.get(pk=endpoint.pk))

    script.on_apply = meanwhile
    work(endpoint)
    assert (endpoint.desired, endpoint.phase, endpoint.upstreams) == (Desired.SUSPENDED, Phase.PENDING, [])
    work(endpoint)
    assert endpoint.phase == Phase.SUSPENDED


def test_a_lost_lease_writes_nothing(org: Org, script: Script) -> None:
    endpoint = open_demo(org.fraud)

    def steal(script: Script, workload: Any) -> None:
        Endpoint.objects.filter(pk=endpoint.pk).update(claimed_by="thief")

    script.on_apply = steal
    work(endpoint)
    assert (endpoint.phase, endpoint.claimed_by, endpoint.attempts) == (Phase.PENDING, "thief", 0)


def test_blocked_version_is_not_started_and_not_stopped(org: Org, script: Script) -> None:
    endpoint, script.replicas = open_demo(org.fraud), (replica(),)
    work(endpoint)
    version = endpoint.revision.version  # type: ignore[union-attr]
    catalog.block(factories.lead(), version, reason="a backdoor was found")
    assert work(endpoint).phase == Phase.READY and script.asked == []
    script.replicas = (replica("failed", reason_code="crashed", sentence="It crashed."),)
    work(endpoint)
    assert (endpoint.phase, endpoint.reason_code, script.asked) == (Phase.FAILED, "version_blocked", [])


def test_an_approval_that_has_ended_starts_nothing(org: Org, script: Script) -> None:
    endpoint = open_demo(org.fraud)
    yesterday = timezone.now().date() - dt.timedelta(days=1)
    Revision.objects.filter(endpoint=endpoint).update(authorization_valid_until=yesterday)
    work(endpoint)
    assert (endpoint.reason_code, endpoint.reason_turn, script.asked) == ("authorization_ended", "owner", [])
    assert "R-1" in endpoint.reason_sentence


@pytest.mark.parametrize("field", ["replicas", "concurrency", "context_tokens", "runtime", "authorization_digest"])
def test_what_was_altered_after_the_approval_is_not_started(org: Org, script: Script, field: str) -> None:
    endpoint = open_demo(org.fraud)
    altered = {"runtime": {"engine": "demo"}, "authorization_digest": "sha256:other"}.get(field, 7)
    Revision.objects.filter(endpoint=endpoint).update(**{field: altered})
    work(endpoint)
    assert (endpoint.reason_code, endpoint.reason_turn, script.asked) == ("revision_altered", "platform", [])
    assert "not what was approved as R-1" in endpoint.reason_sentence


def test_cluster_errors_become_the_reason(org: Org, script: Script) -> None:
    endpoint = open_demo(org.fraud)

    def full(script: Script, workload: Any) -> None:
        raise ClusterError("disk_full", "The disk is full; free some space.")

    script.on_apply = full
    work(endpoint)
    assert (endpoint.phase, endpoint.reason_code, endpoint.reason_turn) == (Phase.PENDING, "disk_full", "platform")
    script.on_apply = loading
    assert work(endpoint).reason_code == "loading"


def test_an_unknown_driver_fails_with_a_sentence(org: Org, home: Path) -> None:
    endpoint = open_demo(org.fraud)
    type(endpoint.cluster).objects.update(driver="mainframe")
    work(endpoint)
    assert (endpoint.phase, endpoint.reason_code) == (
        Phase.FAILED,
        "driver_missing",
    ) and "'mainframe'" in endpoint.reason_sentence


def test_sweep_nudges_what_is_not_at_rest(org: Org, script: Script, broker: Broker) -> None:
    rows = [open_demo(org.fraud) for _ in range(5)]
    for row, (desired, phase) in zip(
        rows,
        [
            ("running", "ready"),
            ("running", "failed"),
            ("suspended", "suspended"),
            ("suspended", "ready"),
            ("deleted", "deleted"),
        ],
        strict=True,
    ):
        Endpoint.objects.filter(pk=row.pk).update(desired=desired, phase=phase)
    broker.sent.clear()
    sweep.sweep()
    assert set(broker.ids()) == {str(rows[0].pk), str(rows[3].pk)}


def test_sweep_removes_engines_without_a_row_but_not_on_a_paused_cluster(org: Org, script: Script) -> None:
    kept, deleted = open_demo(org.fraud), open_demo(org.fraud)
    Endpoint.objects.filter(pk=deleted.pk).update(desired="deleted", phase="deleted")
    script.ids = [str(kept.pk), str(deleted.pk), "not-a-uuid"]
    kept.cluster.__class__.objects.update(paused=True)
    sweep.sweep()
    assert script.asked == []
    kept.cluster.__class__.objects.update(paused=False)
    sweep.sweep()
    assert script.asked == [f"remove {deleted.pk}", "remove not-a-uuid"]


def test_without_a_broker_nothing_fails_and_the_sweep_goes_on(org: Org, script: Script, broker: Broker) -> None:
    broker.down = True
    endpoint, script.on_apply = open_demo(org.fraud), loading
    work(endpoint)
    script.replicas = (replica(),)
    Endpoint.objects.filter(pk=endpoint.pk).update(due_at=timezone.now() - dt.timedelta(seconds=60))
    sweep.sweep()
    assert work(endpoint).phase == Phase.READY


# --- A worker that dies between any two effects
# ---------------------------------------------------------------------------


def is_deleted(endpoint: Endpoint) -> bool:
    """Whether the row says so; reconcile leaves deleted ones alone."""
    return Endpoint.objects.get(pk=endpoint.pk).phase == Phase.DELETED


@pytest.mark.slow
@pytest.mark.processes
def test_death_at_any_point_converges_to_one_engine_and_one_reservation(org: Org, home: Path) -> None:
    pool, deaths = factories.make_pool(limit=1), 0
    for at in range(1, 21):
        endpoint = open_demo(org.fraud, gpus=1, pool=pool)
        deaths += die_once(endpoint, at, is_in(Phase.READY))
        sweep.sweep()
        until(endpoint, is_in(Phase.READY))
        assert len(pids(home, endpoint)) == 1, f"death {at}"
        assert Reservation.objects.filter(state=ReservationState.HELD).count() == 1
        services.delete(factories.engineer(), endpoint)
        deaths += die_once(endpoint, at, is_deleted)
        sweep.sweep()
        until(endpoint, is_deleted)
        pool.refresh_from_db()
        assert pids(home, endpoint) == [] and pool.held == 0, f"death {at}"
        assert not Reservation.objects.exclude(state=ReservationState.RELEASED).exists()
    assert deaths > 25  # it really died at many places
