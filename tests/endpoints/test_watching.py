"""Watchers: who follows which cluster, what a change leads to, what stays when one dies, is rotated or stopped."""

import datetime as dt
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.db import connection
from django.utils import timezone

from endpoints import sweep
from endpoints.fleet import maintenance, registering
from endpoints.models import Cluster, Endpoint, Watch
from endpoints.watching import following, leases
from endpoints.watching.supervising import Supervisor
from endpoints.watching.wanted import NAME
from endpoints.watching.words import words
from portal.launcher.stack import WATCHER_WANTED
from projects.principal import Principal
from tests.conftest import Org
from tests.endpoints.endpoint_kit import Broker, open_demo
from tests.endpoints.watch_kit import WatchServer, pod, wait_for
from tests.factories import make_place

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
LOOK = "endpoints.tasks.look_over_cluster"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WatchServer]:
    with WatchServer(tmp_path) as running:
        yield running


@pytest.fixture
def supervise() -> Iterator[Callable[..., Supervisor]]:
    """Makes watchers; their followers end with the test."""
    made: list[Supervisor] = []

    def make(holder: str = "") -> Supervisor:
        made.append(Supervisor(holder))
        return made[-1]

    yield make
    for one in made:
        for held in one._held.values():
            held.stop()


def register(org: Org, server: WatchServer, slug: str = "outpost") -> Cluster:
    return make_place(org.pat, slug=slug, server=server.url, ca=server.ca, token=server.token)


def settled(org: Org, cluster: Cluster) -> Endpoint:
    """An endpoint that is ready, as its row says."""
    made = open_demo(org.fraud)
    now = timezone.now()
    Endpoint.objects.filter(pk=made.pk).update(
        cluster=cluster, phase="ready", reason_code="ready", due_at=None, phase_since=now, attempts=0
    )
    made.refresh_from_db()
    return made


def turn(supervisor: Supervisor, probe: Callable[[], Any], what: str) -> Any:
    """Let a watcher work until `probe` answers something true."""

    def step() -> Any:
        supervisor.round()
        return probe()

    return wait_for(step, what)


def live(cluster: Cluster) -> bool:
    return leases.is_live(Watch.objects.filter(pk=cluster.pk).first(), timezone.now())


def test_a_change_nudges_its_endpoint_once_and_marks_its_row(
    org: Org, server: WatchServer, broker: Broker, supervise: Callable[..., Supervisor]
) -> None:
    cluster = register(org, server)
    mine, other = settled(org, cluster), settled(org, cluster)
    for one in (mine, other):
        server.put(pod(str(one.pk), ready=True))
    watcher = supervise()
    turn(watcher, lambda: live(cluster), "the watch")
    assert LOOK in [name for name, _, _ in broker.sent], "what happened before is for a look at all of the cluster"
    broker.sent.clear()
    for _ in range(20):  # a flood for one endpoint, and noise for another
        server.put(pod(str(mine.pk), ready=False, containerStatuses=[{"restartCount": server.version}]))
        server.put(pod(str(other.pk), ready=True))
    turn(watcher, lambda: broker.ids(), "the nudge")
    assert broker.ids() == [str(mine.pk)]
    mine.refresh_from_db()
    other.refresh_from_db()
    assert mine.due_at is not None and other.due_at is None
    told = time.monotonic()
    for _ in range(5):
        server.put(pod(str(mine.pk), ready=False, containerStatuses=[{"restartCount": server.version}]))
    turn(watcher, lambda: len(broker.ids()) == 2, "the nudge for what came after")
    assert set(broker.ids()) == {str(mine.pk)} and time.monotonic() - told > following.EACH_SECONDS / 2


def test_without_a_broker_the_mark_stays(
    org: Org, server: WatchServer, broker: Broker, supervise: Callable[..., Supervisor]
) -> None:
    cluster = register(org, server)
    mine, watcher = settled(org, cluster), supervise()
    turn(watcher, lambda: live(cluster), "the watch")
    broker.down = True
    server.put(pod(str(mine.pk)))
    turn(watcher, lambda: Endpoint.objects.filter(pk=mine.pk, due_at__isnull=False).exists(), "the mark")


def test_what_vanished_while_nobody_watched_is_nudged(
    org: Org, server: WatchServer, broker: Broker, supervise: Callable[..., Supervisor]
) -> None:
    cluster = register(org, server)
    kept, gone = settled(org, cluster), settled(org, cluster)
    for one in (kept, gone):
        server.put(pod(str(one.pk), ready=True))
    watcher = supervise()
    turn(watcher, lambda: live(cluster), "the watch")
    broker.sent.clear()
    with server._lock:  # gone, and forgotten, in the same moment
        del server.objects["pods"][f"{gone.pk}-one"]
    server.forget()
    server.end()
    turn(watcher, lambda: broker.ids(), "the nudge")
    assert broker.ids() == [str(gone.pk)] and len(server.lists()) == 2


def test_a_stranger_with_our_labels_nudges_nobody(
    org: Org, server: WatchServer, broker: Broker, supervise: Callable[..., Supervisor]
) -> None:
    cluster, other = register(org, server), make_place(org.pat, slug="elsewhere", driver="kserve")
    elsewhere, mine = settled(org, other), settled(org, cluster)
    watcher = supervise()
    turn(watcher, lambda: live(cluster), "the watch")
    broker.sent.clear()
    for name in ("not-a-uuid", "", str(elsewhere.pk), str(mine.pk)):
        server.put(pod(name))
    turn(watcher, lambda: broker.ids(), "the nudge")
    assert [one for one in broker.ids() if one != str(cluster.pk)] == [str(mine.pk)]


def test_a_cluster_that_is_away_says_so_and_delays_nobody(
    org: Org, server: WatchServer, broker: Broker, supervise: Callable[..., Supervisor]
) -> None:
    dead = make_place(org.pat, slug="dead", server="https://127.0.0.1:1")
    cluster = register(org, server)
    mine, watcher = settled(org, cluster), supervise()
    turn(watcher, lambda: live(cluster), "the watch")
    broker.sent.clear()
    begun = time.monotonic()
    server.put(pod(str(mine.pk)))
    turn(watcher, lambda: broker.ids(), "the nudge")
    assert time.monotonic() - begun < 5
    turn(watcher, lambda: Watch.objects.get(pk=dead.pk).problem, "the problem")
    assert not live(dead) and "nobody listens" in Watch.objects.get(pk=dead.pk).problem


def test_an_end_of_the_api_server_is_seen_and_its_return_too(
    org: Org, server: WatchServer, broker: Broker, supervise: Callable[..., Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LAST_PAUSE", 0.1)
    cluster, watcher = register(org, server), supervise()
    turn(watcher, lambda: live(cluster), "the watch")
    broker.sent.clear()
    server.token = "another"
    server.end()
    turn(watcher, lambda: Watch.objects.get(pk=cluster.pk).problem, "the problem")
    assert not live(cluster)
    server.token = "a-token"
    turn(watcher, lambda: live(cluster), "the watch again")
    assert LOOK in [name for name, _, _ in broker.sent], "nobody knows what happened meanwhile"


def test_a_new_credential_is_used_at_once(org: Org, server: WatchServer, supervise: Callable[..., Supervisor]) -> None:
    cluster, watcher = register(org, server), supervise()
    turn(watcher, lambda: live(cluster), "the watch")
    server.token = "new-token"
    access = {"authentication": "token", "token": "new-token", "server": server.url, "ca": server.ca}
    registering.rotate(Principal.of(org.pat), cluster, access=access)
    turn(watcher, lambda: server.watches() and server.watches()[-1].token == "new-token", "the new one")
    turn(watcher, lambda: live(cluster), "the watch")


def test_a_paused_cluster_is_watched_and_a_removed_one_is_not(
    org: Org, server: WatchServer, broker: Broker, supervise: Callable[..., Supervisor]
) -> None:
    cluster, watcher = register(org, server), supervise()
    mine = settled(org, cluster)
    maintenance.pause(Principal.of(org.pat), cluster)
    turn(watcher, lambda: live(cluster), "the watch")
    broker.sent.clear()
    server.put(pod(str(mine.pk)))
    turn(watcher, lambda: str(mine.pk) in broker.ids(), "the nudge")
    Endpoint.objects.filter(pk=mine.pk).update(phase="deleted", desired="deleted")
    registering.remove(Principal.of(org.pat), cluster)
    turn(watcher, lambda: not watcher._held, "the end")

    def ended() -> bool:
        server.bookmark()  # the server notices when it writes
        return not server.streams()

    wait_for(ended, "the end of the stream")
    assert Watch.objects.get(pk=cluster.pk).holder == ""


def test_two_watchers_share_and_a_dead_ones_clusters_are_taken_over(
    org: Org, server: WatchServer, supervise: Callable[..., Supervisor]
) -> None:
    clusters = [register(org, server, f"place-{number}") for number in range(4)]
    first, second = supervise("first"), supervise("second")
    for _ in range(8):
        for one in (first, second):
            one._tend_at = 0.0
            one.round()
    holders = list(Watch.objects.values_list("holder", flat=True))
    assert set(holders) == {"first", "second"} and len(first._held) + len(second._held) == len(clusters)
    # The first one dies: nobody renews its leases.
    Watch.objects.filter(holder="first").update(until=timezone.now() - dt.timedelta(seconds=1))
    turn(second, lambda: len(second._held) == len(clusters), "the others")
    assert set(Watch.objects.values_list("holder", flat=True)) == {"second"}
    # It was only slow: it lets go of what is no longer its own.
    first._tend_at = first._renew_at = 0.0
    first.round()
    assert not first._held and set(Watch.objects.values_list("holder", flat=True)) == {"second"}


def test_what_follows_slowly_writes_nothing_about_a_lease_that_it_lost(org: Org, server: WatchServer) -> None:
    cluster = register(org, server)
    leases.prepare([cluster.pk])
    assert leases.take(cluster.pk, "first") and not leases.take(cluster.pk, "second")
    Watch.objects.update(until=timezone.now())
    assert leases.take(cluster.pk, "second") and leases.renew("first") == set()
    leases.write(cluster.pk, "first", leases.State(problem="late"))
    leases.give_back("first")
    assert Watch.objects.get(pk=cluster.pk).holder == "second" and not Watch.objects.get(pk=cluster.pk).problem


@pytest.mark.django_db(transaction=True)
def test_of_many_that_want_a_lease_one_gets_it(org: Org, server: WatchServer) -> None:
    cluster = register(org, server)
    leases.prepare([cluster.pk])
    for _ in range(5):
        Watch.objects.update(holder="", until=None)
        start, won = threading.Barrier(6), list[str]()

        def run(name: str, start: threading.Barrier = start, won: list[str] = won) -> None:
            start.wait(30)
            leases.prepare([cluster.pk])
            if leases.take(cluster.pk, name):
                won.append(name)
            connection.close()

        threads = [threading.Thread(target=run, args=(f"w{number}",)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert [Watch.objects.get().holder] == won


@pytest.mark.django_db(transaction=True)
def test_the_process_follows_until_sigterm_and_gives_the_lease_back(
    org: Org, server: WatchServer, tmp_path: Path
) -> None:
    cluster = register(org, server)
    environment = {
        **os.environ, "DJANGO_SETTINGS_MODULE": "portal.settings", "GATEHOUSE_STATE_DIR": str(tmp_path / "state"),
        "DATABASE_URL": database_url(), "GATEHOUSE_ENCRYPTION_KEYS": ",".join(configured.GATEHOUSE_ENCRYPTION_KEYS),
        "REDIS_URL": "",
    }  # fmt: skip
    command = [sys.executable, str(Path(configured.BASE_DIR) / "manage.py"), "watch"]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_for(lambda: live(cluster) or process.poll() is not None, "the watch", 60)
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert Watch.objects.get(pk=cluster.pk).holder
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0 and time.monotonic() - begun < 10
        found = Watch.objects.get(pk=cluster.pk)
        assert (found.holder, found.until, found.live_since) == ("", None, None)
    finally:
        process.kill()
        process.wait()


def database_url() -> str:
    """The test's database, for another process."""
    found = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{found['NAME']}"
    return f"postgres://{found['USER']}:{found['PASSWORD']}@{found['HOST']}:{found['PORT']}/{found['NAME']}"


def test_the_page_of_a_cluster_says_how_it_is_followed(
    org: Org, server: WatchServer, supervise: Callable[..., Supervisor], client_for: Any
) -> None:
    cluster, page = register(org, server), client_for(org.pat)
    assert "no watcher runs" in page.get(f"/clusters/{cluster.slug}/").content.decode()
    watcher = supervise()
    turn(watcher, lambda: live(cluster), "the watch")
    assert "watched, last sign" in page.get(f"/clusters/{cluster.slug}/").content.decode()
    leases.write(cluster.pk, watcher.holder, leases.State(problem="Nobody listens there."))
    assert "Nobody listens there." in words(cluster, timezone.now())
    leases.give_back(watcher.holder)
    assert "no watcher runs" in words(cluster, timezone.now())


def test_the_launcher_is_told_whether_a_watcher_has_work(org: Org, server: WatchServer, settings: Any) -> None:
    wanted = Path(settings.STATE_DIR) / NAME
    sweep.sweep()
    assert not wanted.exists()
    cluster = register(org, server)
    sweep.sweep()
    assert wanted.exists() and NAME == WATCHER_WANTED
    registering.remove(Principal.of(org.pat), cluster)
    sweep.sweep()
    assert not wanted.exists()
