"""The whole life of an endpoint with real engine processes."""

from pathlib import Path

import pytest
from django.utils import timezone

from audit.models import Row
from endpoints import decision, services
from endpoints.clusters.local import LocalDriver
from endpoints.models import Endpoint, Event, Phase
from endpoints.sweep import sweep
from portal import crypto
from projects.principal import Principal
from quotas.models import Reservation, ReservationState
from tests import factories
from tests.conftest import Org
from tests.endpoints.endpoint_kit import is_in, kill, open_demo, pids, until, work

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.processes]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "BACKOFF_SECONDS", (0, 0.05, 0.05, 0.05, 0.05))


def codes(endpoint: Endpoint) -> list[str]:
    return list(Event.objects.filter(endpoint=endpoint).order_by("pk").values_list("code", flat=True))


def test_open_ready_killed_ready_suspended_resumed_deleted(org: Org, home: Path) -> None:
    endpoint = until(open_demo(org.fraud), is_in(Phase.READY))
    assert endpoint.ready_at is not None and endpoint.reason_sentence == "Answers calls on 1 of 1 replica."
    [route] = endpoint.upstreams
    assert route["url"].startswith("http://127.0.0.1:") and crypto.decrypt(route["key"])
    assert crypto.decrypt(route["key"]) not in str(route)
    assert codes(endpoint)[:2] == ["accepted", "scheduled"] and codes(endpoint)[-1] == "ready"
    first_ready = endpoint.ready_at

    [pid] = pids(home, endpoint)
    kill(pid)
    until(endpoint, lambda row: row.phase == Phase.READY and row.upstreams != [route])
    assert pids(home, endpoint) not in ([], [pid]) and endpoint.ready_at == first_ready

    by = Principal.of(org.dana)
    services.suspend(by, endpoint)
    endpoint.refresh_from_db()
    assert endpoint.upstreams == []  # no call is forwarded from this moment on
    until(endpoint, is_in(Phase.SUSPENDED))
    assert pids(home, endpoint) == []

    services.resume(by, endpoint)
    until(endpoint, is_in(Phase.READY))
    services.delete(by, endpoint, confirm=endpoint.name)
    until(endpoint, lambda row: Endpoint.objects.get(pk=row.pk).phase == Phase.DELETED)
    endpoint.refresh_from_db()
    assert endpoint.deleted_at is not None and LocalDriver(home).list() == []
    phases = Row.objects.filter(action="endpoints.observe", actor="system:reconcile").order_by("id")
    assert [row.after for row in phases][-1] == '{"phase":"deleted","reason":"deleted"}'


@pytest.mark.parametrize(
    ("flags", "code", "turn", "words", "starts"),
    [
        (("--fail", "crash"), "crashed", "platform", "simulated crash, as asked for by --fail crash", 5),
        (("--fail", "oom"), "out_of_memory", "owner", "ran out of memory", 2),
    ],
)
def test_engine_that_fails_each_time_ends_failed_with_its_own_words(
    org: Org, home: Path, flags: tuple[str, ...], code: str, turn: str, words: str, starts: int
) -> None:
    endpoint = until(open_demo(org.fraud, *flags), is_in(Phase.FAILED))
    assert (endpoint.reason_code, endpoint.reason_turn, endpoint.attempts) == (code, turn, starts)
    assert words in endpoint.reason_sentence and endpoint.ready_at is None
    assert codes(endpoint).count("scheduled") == starts
    assert pids(home, endpoint) == []
    before = Event.objects.count()
    work(endpoint)
    assert Event.objects.count() == before  # it rests until somebody acts

    services.retry(Principal.of(org.dana), endpoint)
    endpoint.refresh_from_db()
    assert (endpoint.phase, endpoint.attempts) == (Phase.PENDING, 0)


def test_engine_that_hangs_is_ended_and_the_reason_is_the_start_timeout(org: Org, home: Path) -> None:
    endpoint = until(open_demo(org.fraud, "--fail", "hang", start_timeout_seconds=1), is_in(Phase.FAILED), 40)
    assert endpoint.reason_code == "start_timeout" and "not healthy within 1 s" in endpoint.reason_sentence
    until(endpoint, lambda row: pids(home, row) == [])


def test_missing_engine_fails_at_once_and_says_which(org: Org, home: Path) -> None:
    endpoint = open_demo(org.fraud, command=["no-such-engine", "--port", "{port}"])
    work(endpoint)
    assert (endpoint.phase, endpoint.reason_code, endpoint.attempts) == (Phase.FAILED, "engine_missing", 0)
    assert "`no-such-engine` is not installed" in endpoint.reason_sentence


def test_two_replicas_degrade_and_recover(org: Org, home: Path) -> None:
    endpoint = until(open_demo(org.fraud, replicas=2), is_in(Phase.READY))
    assert len(endpoint.upstreams) == 2
    kill(pids(home, endpoint)[0])
    until(endpoint, is_in(Phase.DEGRADED))
    assert len(endpoint.upstreams) == 1 and endpoint.reason_sentence.startswith("Answers calls on 1 of 2 replicas.")
    until(endpoint, is_in(Phase.READY))
    assert len(pids(home, endpoint)) == 2


def test_suspending_releases_and_the_next_in_the_queue_starts(org: Org, home: Path, broker: object) -> None:
    pool = factories.make_pool(limit=2)
    first = until(open_demo(org.fraud, gpus=2, pool=pool), is_in(Phase.READY))
    second = work(open_demo(org.search, gpus=2, pool=pool))
    assert (second.phase, second.reason_code, second.reason_turn) == (Phase.PENDING, "waiting_for_capacity", "nobody")
    assert "at position 1" in second.reason_sentence and pids(home, second) == []
    broker.sent.clear()  # type: ignore[attr-defined]
    services.suspend(Principal.of(org.dana), first)
    until(first, is_in(Phase.SUSPENDED))
    assert str(second.pk) in broker.ids()  # type: ignore[attr-defined]
    until(second, is_in(Phase.READY))
    held = Reservation.objects.filter(state=ReservationState.HELD).values_list("holder_id", flat=True)
    assert list(held) == [str(second.pk)]
    services.resume(Principal.of(org.dana), first)
    assert work(first).reason_code == "waiting_for_capacity"


def test_sweep_removes_what_no_row_wants_and_keeps_the_rest(org: Org, home: Path, broker: object) -> None:
    kept = until(open_demo(org.fraud), is_in(Phase.READY))
    orphan = until(open_demo(org.fraud), is_in(Phase.READY))
    [pid] = pids(home, kept)
    Endpoint.objects.filter(pk=orphan.pk).update(revision=None)
    orphan.delete()
    until(kept, lambda _: sweep() >= 0 and LocalDriver(home).list() == [str(kept.pk)])
    assert pids(home, kept) == [pid] and str(kept.pk) in broker.ids()  # type: ignore[attr-defined]
    assert work(kept).phase_since < timezone.now() and kept.phase == Phase.READY
