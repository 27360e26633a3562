"""The `local` cluster: real engine processes on this machine, without root, containers or a daemon of its own.

The files of a replica are the truth (`replicas.py`), and `spawn.py` says how an engine is started. A guard lock per
endpoint lets one caller at a time change something; an engine lives on when that caller is killed, and the next call
finds it by its record.
"""

import builtins
import contextlib
import fcntl
import functools
import itertools
import os
import re
import sys
from collections.abc import Callable, Container, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from shutil import rmtree
from signal import SIGKILL, SIGTERM
from time import monotonic, time
from typing import ParamSpec, TypeVar

from endpoints.clusters import (
    Difference,
    Notice,
    Observation,
    Place,
    Workload,
    health,
    processes,
    replicas,
    starting,
)
from endpoints.clusters.explaining.cases import refused
from endpoints.clusters.processes import Process
from endpoints.clusters.replicas import Record, ReplicaFiles

KILL_AFTER_SECONDS = 5.0
STOP_SECONDS = 10.0
_ENDPOINT = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_P = ParamSpec("_P")
_R = TypeVar("_R")


def _told(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Turn what the operating system refuses into a ClusterError: a full disk must not look like a bug of ours."""

    @functools.wraps(function)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except OSError as error:
            raise starting.explain(error) from error

    return wrapper


class LocalDriver:
    """Implements `ClusterDriver` with processes below one state directory. Instances hold no state and may be many."""

    def __init__(
        self,
        state_dir: Path,
        *,
        python: str = sys.executable,
        port: Callable[[], int] = starting.free_port,
        cgroup_root: Path | None = None,
    ) -> None:
        """`python` runs the demo engine, `port` proposes a loopback port, `cgroup_root` is a delegated cgroup v2
        directory (default: found)."""
        self._home = Path(state_dir).resolve()
        self._python = python
        self._port = port
        self._cgroup_root = cgroup_root or starting.writable_cgroup()

    @_told
    def apply(self, workload: Workload) -> None:
        """Start what is missing, stop what is too much, of another revision, asked to restart, or not healthy for too
        long.

        An engine that has to stop is asked to; its successor starts in a later call, when it is gone. Revisions that
        are to be kept are not touched. Raises ClusterError with the code `engine_missing`, `invalid_workload`,
        `replica_locked`, `machine_disk_full`, `state_not_writable`, `machine_exhausted` or `start_unconfirmed`.
        """
        starting.check(workload)
        with self._guard(workload.endpoint_id) as directory:
            ours, others = _sorted(workload, directory)
            in_the_way = False
            for files, record in others:
                if record.running or record.ending:
                    self._stop(files, record)
                    in_the_way |= record.revision != workload.revision
                else:
                    files.forget()  # a replica that nobody wants cannot have failed
            if in_the_way:
                return
            for place in ours:
                self._converge(workload, place, directory)

    @_told
    def observe(self, endpoint_id: str) -> Observation:
        """Return every replica with its health, asked in parallel; takes at most the time of one check. Raises
        ClusterError."""
        found = [
            (files, record) for files in replicas.on_disk(self._directory(endpoint_id)) if (record := files.record())
        ]
        if len(found) < 2:
            return Observation(tuple(health.observe(files, record) for files, record in found))
        with ThreadPoolExecutor(min(len(found), 16), thread_name_prefix="health") as pool:
            return Observation(tuple(pool.map(lambda pair: health.observe(*pair), found)))

    def observe_all(self) -> Mapping[str, Observation]:
        """Return what `observe` returns of every endpoint that has something here, by its id. Raises ClusterError."""
        return {one: self.observe(one) for one in self.list()}

    def compare(self, workload: Workload) -> tuple[Difference, ...]:
        """Return nothing: a process is started as it was approved, and nothing describes it that could be edited."""
        return ()

    def manifests(self, workload: Workload) -> tuple[()]:
        """Return nothing: a process of this machine has no manifest."""
        return ()

    @_told
    def restart(self, endpoint_id: str) -> None:
        """Ask every running replica to stop; the next `apply` starts it again. Raises ClusterError."""
        with self._guard(endpoint_id) as directory:
            for files in replicas.on_disk(directory):
                record = files.record()
                if record is not None:
                    self._stop(files, record)

    def suspend(self, endpoint_id: str) -> bool:
        """End every engine as `remove` does: a process is described by nothing that could stay but its log. Raises
        ClusterError."""
        return self.remove(endpoint_id)

    @_told
    def remove(self, endpoint_id: str) -> bool:
        """Ask what runs to stop, kill what was asked 5 s ago, and return True when nothing is left but the log.
        Raises ClusterError."""
        directory = self._directory(endpoint_id)
        if not directory.exists():
            return not self._end_strays(endpoint_id)
        with self._guard(endpoint_id):
            left = False
            for files in replicas.on_disk(directory):
                record = files.record()
                if record is not None and (record.running or record.ending):
                    self._stop(files, record)
                    left = True
            if left or self._end_strays(endpoint_id):
                return False
            for files in replicas.on_disk(directory):
                files.forget()
        return True

    @_told
    def logs(self, endpoint_id: str, lines: int = 200, *, replica: int | None = None, previous: bool = False) -> str:
        """Return the last `lines` lines (1 to 5000) of each replica or of one, marked by replica when there are
        several. All runs of a replica write one log, so `previous` changes nothing. Raises ClusterError."""
        found = replicas.on_disk(self._directory(endpoint_id))
        wanted = max(1, min(lines, 5000))
        parts = [
            f"{f'replica {files.directory.name} | ' if len(found) > 1 else ''}{line}"
            for files in found
            if replica is None or files.directory.name == str(replica)
            for line in files.tail(wanted)
        ]
        return "\n".join(parts)

    def notices(self, endpoint_id: str) -> builtins.list[Notice]:
        """Return nothing: this machine keeps no record beside the portal's own."""
        return []

    @_told
    def list(self) -> builtins.list[str]:
        """Return the endpoints that have a record or a process here, wanted or not. Raises ClusterError."""
        found = {
            directory.name
            for directory in replicas.endpoints(self._home)
            for files in replicas.on_disk(directory)
            if files.record()
        }
        return sorted(found | {process.endpoint_id for process in processes.of_portal(self._home)})

    @_told
    def adopt(self, wanted: Mapping[str, int], timeout_seconds: float = STOP_SECONDS) -> builtins.list[str]:
        """Keep the running engines whose endpoint wants this revision, stop all others, and return the endpoints that
        were kept.

        For the start of the portal after its launcher was killed, before any worker runs. Waits up to
        `timeout_seconds`. Raises ClusterError.
        """
        kept = {
            record.token: record.endpoint_id
            for files, record in replicas.running(self._home)
            if wanted.get(record.endpoint_id) == record.revision and not files.note("stop", record)
        }
        _end_all(self._home, timeout_seconds, keep=kept)
        return sorted(set(kept.values()))

    def stop_all(self, timeout_seconds: float = STOP_SECONDS) -> builtins.list[int]:
        """Stop every engine of this state directory; see the function of the same name."""
        return stop_all(self._home, timeout_seconds)

    @_told
    def prune_logs(self, older_than: timedelta) -> int:
        """Delete what removed endpoints left (their logs), if it has not changed for `older_than`; return how many.
        Raises ClusterError."""
        count = 0
        for directory in replicas.endpoints(self._home):
            with self._guard(directory.name):
                files = replicas.on_disk(directory)
                newest = max((path.stat().st_mtime for path in directory.rglob("*") if path.is_file()), default=0.0)
                if any(one.record() for one in files) or time() - newest < older_than.total_seconds():
                    continue
                rmtree(directory)
                count += 1
        return count

    def _directory(self, endpoint_id: str) -> Path:
        if not _ENDPOINT.fullmatch(endpoint_id):
            raise refused("invalid_endpoint", detail="may hold letters, digits and dashes, at most 64")
        return self._home / "engines" / endpoint_id

    @contextlib.contextmanager
    def _guard(self, endpoint_id: str) -> Iterator[Path]:
        """Let one caller at a time, of all processes and threads, change this endpoint; its holder never waits for an
        engine."""
        directory = self._directory(endpoint_id)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / "guard", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield directory
        finally:
            os.close(descriptor)

    def _converge(self, workload: Workload, index: int, directory: Path) -> None:
        files = ReplicaFiles(directory / str(index))
        record = files.record()
        if record is not None and record.running:
            stale = record.revision != workload.revision or files.note("stop", record)
            if stale or health.overdue(files, record):
                self._stop(files, record)
            return
        if record is not None and record.ending:
            return
        if self._end_strays(workload.endpoint_id, index):
            return  # what an engine left behind holds its lock; the next call starts
        files.directory.mkdir(mode=0o700, exist_ok=True)
        ordered = starting.order(
            workload, index, home=self._home, port=self._port(), python=self._python, cgroup_root=self._cgroup_root
        )
        starting.launch(files.directory, ordered, self._python)

    def _stop(self, files: ReplicaFiles, record: Record) -> None:
        """Ask the engine to stop, or kill it when it was asked long enough ago. The order of note and signal matters:
        see `_note_stop`."""
        if not record.running:
            return
        asked = files.note("stop", record)
        if asked and processes.uptime() - asked["at"] > KILL_AFTER_SECONDS:
            processes.send(record.process, SIGKILL)
            return
        if not asked:
            _note_stop(files, record)
        processes.send(record.process, SIGTERM)

    def _end_strays(self, endpoint_id: str, index: int | None = None) -> builtins.list[Process]:
        """Kill what carries a token of the endpoint (or of one replica) but belongs to no running engine; return what
        was found."""
        alive = {record.token for _, record in replicas.running(self._home, endpoint_id)}
        mark = f"{endpoint_id}:" if index is None else f"{endpoint_id}:{index}:"
        found = processes.of_portal(self._home, endpoint_id)
        strays = [process for process in found if process.token.startswith(mark) and process.token not in alive]
        for process in strays:
            processes.send(process, SIGKILL)
        return strays


def driver(place: Place) -> LocalDriver:
    """Return the driver of `place`: all that it needs is the state directory."""
    return LocalDriver(place.state_dir)


def _sorted(
    workload: Workload, directory: Path
) -> tuple[builtins.list[int], builtins.list[tuple[ReplicaFiles, Record]]]:
    """Return the places in which `workload` has its replicas (what lives first, then what failed, then free places),
    and what is neither wanted nor to be kept.
    """
    known = [(files, record) for files in replicas.on_disk(directory) if (record := files.record())]
    alive = {files.directory for files, record in known if record.running or record.ending}
    own = [pair for pair in known if pair[1].revision == workload.revision]
    own.sort(key=lambda pair: (pair[0].directory not in alive, int(pair[0].directory.name)))
    wanted = own[: workload.replicas]
    places = [int(files.directory.name) for files, _ in wanted]
    kept = [pair for pair in known if pair[1].revision in workload.keep and pair[1].revision != workload.revision]
    others = [pair for pair in known if pair not in wanted and pair not in kept]
    taken = {*places, *(int(files.directory.name) for files, _ in kept)}
    taken |= {int(files.directory.name) for files, _ in others if files.directory in alive}
    free = (place for place in itertools.count() if place not in taken)
    return [*places, *itertools.islice(free, workload.replicas - len(places))], others


def stop_all(state_dir: Path, timeout_seconds: float = STOP_SECONDS) -> builtins.list[int]:
    """Stop every engine of this state directory in order, kill what is left after two thirds of the time, and return
    the pids that still run.

    Needs no Django and no database: the launcher calls it when its workers are gone. What is wanted stays wanted.
    """
    return _end_all(Path(state_dir).resolve(), timeout_seconds)


def _end_all(home: Path, timeout_seconds: float, keep: Container[str] = ()) -> builtins.list[int]:
    """End every process of this state directory whose token is not to be kept; return the pids that still run."""
    deadline = monotonic() + timeout_seconds
    witnesses = []
    for files, record in replicas.running(home):
        if record.token not in keep:
            _note_stop(files, record)
            witnesses.append(Process(record.witness, record.witness_start_time, ""))
    while True:
        found = [process for process in processes.of_portal(home) if process.token not in keep]
        if not found or monotonic() > deadline:
            break
        processes.end(found, max(0.1, deadline - monotonic()))
    processes.wait_gone(witnesses, deadline)
    return [process.pid for process in found]


def _note_stop(files: ReplicaFiles, record: Record) -> None:
    """Write down that the stop is meant, before the signal, so that nobody reads it as a crash. A full disk must not
    keep an engine alive."""
    with contextlib.suppress(OSError):
        files.write_note("stop", record, at=processes.uptime())
