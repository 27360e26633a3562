"""2,000 endpoints on one cluster: a real API server, one watcher and one worker.

Watcher, worker and sweep run in this process, so that its processor time and memory are all that the fleet costs; the
broker is a queue in memory. Of the control plane API server and etcd run; what controllers and kubelets would write is
written directly (benchmarks/seed_fleet.py).
"""

import heapq
import itertools
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.contrib.auth.models import Group
from django.db import connection

from benchmarks import seed_fleet
from benchmarks.results import Result
from benchmarks.stores import repeated, scaled
from catalog.models import HardwareProfile, Version
from endpoints import nudge, reconcile, services, sweep
from endpoints.clusters import rbac
from endpoints.drivers import driver_for, place, workload
from endpoints.fleet.registering import create_cluster
from endpoints.models import Cluster, Endpoint, Phase, Watch
from endpoints.watching import looking
from endpoints.watching.pressing import press
from endpoints.watching.supervising import Supervisor
from projects.models import Project, User
from projects.principal import Principal
from tests.cluster.plane import NoPlane, Plane

ENDPOINTS, TRIES, IDLE_SECONDS, SWEEP_SECONDS = 2_000, 10, 60, 2.0
ACCOUNT = "system:serviceaccount:gatehouse:gatehouse"
IMAGE = f"registry.example.com/vllm@sha256:{'a' * 64}"
NOTE = "fleet: reference = the target; real API server and etcd; pods and status of Deployments are written directly"


class Worker:
    """One worker: takes the messages that the portal sends, one after the other, each when it is due."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, str, list[Any]]] = []
        self._numbers, self._wake, self._ended = itertools.count(), threading.Condition(), False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.done = 0

    def send_task(self, name: str, args: list[Any], countdown: float | None = None, expires: Any = None) -> None:
        """Take a message as Celery's app does."""
        with self._wake:
            entry = (time.monotonic() + (countdown or 0.0), next(self._numbers), name, args)
            heapq.heappush(self._due, entry)
            self._wake.notify()

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Work no more."""
        with self._wake:
            self._ended = True
            self._wake.notify()
        self._thread.join(30)

    @property
    def idle(self) -> bool:
        """Whether nothing is due now."""
        with self._wake:
            return not self._due or self._due[0][0] > time.monotonic()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._ended and (not self._due or self._due[0][0] > time.monotonic()):
                    self._wake.wait(self._due[0][0] - time.monotonic() if self._due else None)
                if self._ended:
                    break
                _, number, name, args = heapq.heappop(self._due)
            try:
                if name == looking.TASK:
                    looking.look_over(*args)
                elif name == nudge.TASK:
                    reconcile.reconcile(args[0], f"worker-{number}", *args[1:])
            except Exception as error:  # a worker goes on with the next message
                print(f"  {name} failed: {error!r}", file=sys.stderr, flush=True)
            self.done += 1
        connection.close()


def measure(store: str) -> list[Result]:
    """Fill a cluster and measure; nothing where no control plane is built."""
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
        try:
            with Plane(Path(folder)) as plane:
                return _measured(plane, store)
        except NoPlane as error:
            print(f"  the fleet is not measured: {error}", file=sys.stderr, flush=True)
            return []


def _measured(plane: Plane, store: str) -> list[Result]:
    for name in ("kube-scheduler", "kube-controller-manager"):
        plane.components[name].stop(kill=True)
    by, cluster, version, profile = registered(plane)
    _say("filling the cluster")
    fleet = seed_fleet.rows(cluster, version, profile, scaled(ENDPOINTS))
    seed_fleet.objects(plane.api, cluster, fleet)
    seed_fleet.routes(cluster, fleet)
    with _portal() as worker:
        _until(lambda: Watch.objects.filter(pk=cluster.pk, live_since__isnull=False, look_seconds__gt=0).exists())
        _until(lambda: worker.idle)
        results = _told(_idle(plane, cluster, len(fleet)))
        results += _told(_resync(worker, cluster, fleet))
        results += _told(_life(plane, cluster, by, version, profile))
    memory = int(next(line.split()[1] for line in _status() if line.startswith("VmHWM:"))) / 1024
    results.append(Result("memory at most: watcher, worker and seeding in one process", "MiB", 300, memory, NOTE))
    return [Result(f"{one.name}, {store}", one.unit, one.reference, one.measured, one.note) for one in results]


def _idle(plane: Plane, cluster: Cluster, amount: int) -> list[Result]:
    """Measure a minute in which nothing happens, and one look at all of the cluster, which comes every five minutes."""
    _say("idle")
    sweeps, mark, cpu, begun = (
        repeated(int(IDLE_SECONDS / SWEEP_SECONDS)),
        plane.mark(),
        time.process_time(),
        time.time(),
    )
    for number in range(sweeps):
        sweep.sweep()
        time.sleep(max(0.0, begun + (number + 1) * SWEEP_SECONDS - time.time()))
    minutes, idle = (time.time() - begun) / 60, time.process_time() - cpu
    calls = len(plane.audited(ACCOUNT, since=mark))
    mark, cpu = plane.mark(), time.process_time()
    looking.compare(cluster)
    look, looked = time.process_time() - cpu, len(plane.audited(ACCOUNT, since=mark))
    share = 100 * (idle / minutes / 60 + look / looking.RARELY.total_seconds())
    per_minute = (calls / minutes + looked / (looking.RARELY.total_seconds() / 60)) / amount
    return [
        Result(f"{amount:,} idle: watcher, sweep and worker together", "% of a core", 5, share, NOTE),
        Result("one look at all of the cluster, processor time", "s", 60, look, NOTE),
        Result("API calls per idle endpoint and minute", "calls", 0.2, per_minute, NOTE),
    ]


def _resync(worker: Worker, cluster: Cluster, fleet: Sequence[Endpoint]) -> list[Result]:
    """Have every endpoint looked at by itself, by one worker."""
    _say("looking at each endpoint")
    done, cpu, begun = worker.done, time.process_time(), time.monotonic()
    press(cluster.pk, [one.pk for one in fleet])
    _until(lambda: worker.done >= done + len(fleet), 600)
    took, used = time.monotonic() - begun, time.process_time() - cpu
    unchanged = Endpoint.objects.filter(cluster=cluster, phase=Phase.READY, due_at=None).count()
    if unchanged != len(fleet):
        raise RuntimeError(f"{len(fleet) - unchanged} endpoints are no longer at rest")
    return [
        Result(f"{len(fleet):,} endpoints looked at one by one, one worker", "s", 60, took, NOTE),
        Result("the same, processor time of the worker", "s", 60, used, NOTE),
    ]


def _life(
    plane: Plane, cluster: Cluster, by: Principal, version: Version, profile: HardwareProfile
) -> Iterator[Result]:
    """Open endpoints beside the fleet: how soon they are applied, and how soon a ready pod is a ready row."""
    _say("opening endpoints")
    where, project = place(cluster), Project.objects.order_by("pk")[0]
    applied, ready, same = [], [], []
    for number in range(repeated(TRIES)):
        begun = time.monotonic()
        one = services.open_endpoint(
            by, project=project, name=f"new-{number}", environment="prod", cluster=cluster, version=version,
            profile=profile, replicas=1, concurrency=8, context_tokens=4096,
            authorization=services.Authorization("R-1", "sha256:abc"),
        )  # fmt: skip
        revision = one.revisions.get()
        wanted = workload(one, revision, 1)
        path = f"{seed_fleet.path_of(where, wanted)}"
        _until(lambda path=path: plane.api.find(path))  # type: ignore[misc]
        applied.append(time.monotonic() - begun)
        seed_fleet.running(plane.api, where, wanted, ready=False)
        _until(lambda one=one: Endpoint.objects.get(pk=one.pk).phase == Phase.PROVISIONING)  # type: ignore[misc]
        time.sleep(1.0)
        begun = time.monotonic()
        seed_fleet.become_ready(plane.api, where, wanted)
        _until(lambda one=one: Endpoint.objects.get(pk=one.pk).phase == Phase.READY)  # type: ignore[misc]
        ready.append(time.monotonic() - begun)
        before = plane.api.get(path)["metadata"]["resourceVersion"]
        driver_for(cluster).apply(wanted)
        same.append(plane.api.get(path)["metadata"]["resourceVersion"] == before)
    yield Result("approval → manifests applied, median", "s", 1, statistics.median(applied), NOTE)
    yield Result("pod ready → row ready, median", "s", 2, statistics.median(ready), NOTE)
    yield Result("pod ready → row ready, longest", "s", 2, max(ready), NOTE)
    yield Result("no-op applies that left the resourceVersion", "of all", 1, same.count(True) / len(same), NOTE)


@contextmanager
def _portal() -> Iterator[Worker]:
    """A watcher and a worker in threads of their own."""
    worker, watcher = Worker(), Supervisor()
    nudge.current_app = worker  # type: ignore[attr-defined]
    worker.start()
    thread = threading.Thread(target=watcher.run, daemon=True)
    thread.start()
    try:
        yield worker
    finally:
        watcher.stop()
        thread.join(30)
        worker.stop()


def registered(plane: Plane) -> tuple[Principal, Cluster, Version, HardwareProfile]:
    """Register the plane, and return who did, the cluster, and what its endpoints run on what."""
    token = plane.token_for("gatehouse", "gatehouse", rbac.objects("kubernetes", {}))
    engineer = User.objects.create_user(username="engineer")
    engineer.groups.add(Group.objects.get_or_create(name="platform-engineers")[0])
    by = Principal.of(engineer)
    access = {"authentication": "token", "server": plane.server, "ca": plane.ca, "token": token}
    cluster = create_cluster(
        by, slug="fleet", name="Fleet", driver="kubernetes", environments=["prod"], access=access
    )  # fmt: skip
    version, profile = seed_fleet.catalog(IMAGE)
    return by, cluster, version, profile


def _until(probe: Callable[[], Any], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > deadline:
            raise TimeoutError("the fleet does not get where it should be")
        time.sleep(0.01)


def _status() -> list[str]:
    return Path("/proc/self/status").read_text(encoding="ascii").splitlines()


def _told(results: Iterable[Result]) -> list[Result]:
    """Say what was found as soon as it is: the rest takes minutes."""
    found = list(results)
    for one in found:
        _say(f"{one.name}: {one.measured:.3g} {one.unit}")
    return found


def _say(what: str) -> None:
    print(f"  {what}", file=sys.stderr, flush=True)
