"""The local cluster driver with real processes: they start once, tell the truth, outlive their starter and end."""

import errno
import fcntl
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from endpoints.clusters import (
    ClusterDriver,
    ClusterError,
    Replica,
    Workload,
    health,
    local,
    processes,
    replicas,
    spawn,
    starting,
)
from endpoints.clusters.local import LocalDriver, stop_all
from endpoints.clusters.processes import Process
from endpoints.clusters.replicas import ReplicaFiles
from endpoints.engines import COMMANDS

pytestmark = pytest.mark.processes
T = TypeVar("T")
SLEEPER = ("{python}", "-c", "import signal; signal.signal(15, lambda *_: None)\nwhile True: signal.pause()")


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[LocalDriver]:
    yield LocalDriver(tmp_path)
    assert stop_all(tmp_path, 20) == []


def until(probe: Callable[[], T | None], seconds: float = 30) -> T:
    """Return the first true answer; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (answer := probe()):
        assert time.monotonic() < deadline, f"still {answer!r} after {seconds} s"
        time.sleep(0.02)
    return answer


def demo(*arguments: str, **fields: Any) -> Workload:
    """A workload of the demo engine; the engine's further `arguments` end its command."""
    given: dict[str, Any] = {
        "endpoint_id": str(uuid.uuid4()),
        "revision": 1,
        "name": "scoring",
        "project": "fraud-detection",
        "replicas": 1,
        "command": (*COMMANDS["demo"], *arguments),
        "model": "granite",
        "demo": True,
    }
    return Workload(**{**given, **fields})


def one(driver: LocalDriver, workload: Workload) -> Replica:
    (replica,) = driver.observe(workload.endpoint_id).replicas
    return replica


def ready(driver: LocalDriver, workload: Workload) -> list[Replica]:
    """Reconcile until all replicas of this revision are ready."""

    def settled() -> list[Replica]:
        try:
            driver.apply(workload)
        except ClusterError as error:
            if error.code != "replica_locked":  # its engine has not ended yet
                raise
            return []
        seen = [replica for replica in driver.observe(workload.endpoint_id).replicas if replica.state != "absent"]
        good = [replica for replica in seen if replica.state == "ready" and replica.revision == workload.revision]
        return seen if len(good) == len(seen) == workload.replicas else []

    return until(settled)


def failed(driver: LocalDriver, workload: Workload) -> Replica:
    return until(
        lambda: next(iter([r for r in driver.observe(workload.endpoint_id).replicas if r.state == "failed"]), None)
    )


def engines(home: Path, workload: Workload) -> list[Process]:
    return processes.of_portal(home, workload.endpoint_id)


def test_the_driver_is_a_cluster_driver(tmp_path: Path) -> None:
    driver: ClusterDriver = LocalDriver(tmp_path)
    assert driver.list() == [] and driver.observe("nothing").replicas == () and driver.logs("nothing") == ""
    assert driver.remove("nothing") is True


def test_apply_starts_one_engine_that_knows_its_key_and_hides_it(driver: LocalDriver, tmp_path: Path) -> None:
    workload = demo(authorization_digest="sha256:abc")
    (replica,) = ready(driver, workload)
    assert (replica.index, replica.revision, replica.authorization_digest) == (0, 1, "sha256:abc")
    assert replica.url.startswith("http://127.0.0.1:") and replica.started_at is not None
    assert driver.list() == [workload.endpoint_id]
    assert len(engines(tmp_path, workload)) == 1
    assert len(replica.key) >= 32 and replica.key not in repr(replica)
    everything = "".join(
        Path(f"/proc/{pid}/cmdline").read_text() for pid in os.listdir("/proc") if pid.isdigit() and _mine(pid)
    )
    assert replica.key not in everything
    directory = tmp_path / "engines" / workload.endpoint_id / "0"
    assert (directory / "key").stat().st_mode & 0o777 == 0o600 and directory.stat().st_mode & 0o777 == 0o700
    assert replica.key not in driver.logs(workload.endpoint_id)
    assert "demo engine: ready" in driver.logs(workload.endpoint_id)


def _mine(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}").stat().st_uid == os.getuid()
    except OSError:
        return False


def test_the_engine_gets_none_of_the_portals_secrets(driver: LocalDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEHOUSE_SECRET_KEY", "portal-secret")
    monkeypatch.setenv("DATABASE_URL", "postgres://secret")
    (replica,) = ready(driver, demo(environment={"EXTRA": "yes"}))
    assert replica.pid is not None
    variables = processes.environment(replica.pid)
    assert variables["EXTRA"] == "yes" and variables["VLLM_API_KEY"] == replica.key
    assert not {"GATEHOUSE_SECRET_KEY", "DATABASE_URL"} & set(variables)


def test_apply_again_changes_nothing(driver: LocalDriver) -> None:
    workload = demo()
    (before,) = ready(driver, workload)
    for _ in range(3):
        driver.apply(workload)
    assert one(driver, workload) == before


def test_a_second_spawn_is_refused_by_the_lock(driver: LocalDriver, tmp_path: Path) -> None:
    workload = demo()
    (before,) = ready(driver, workload)
    directory = tmp_path / "engines" / workload.endpoint_id / "0"
    order = starting.order(workload, 0, home=tmp_path, port=1, python=sys.executable, cgroup_root=None)
    with pytest.raises(ClusterError) as caught:
        starting.launch(directory, order, sys.executable)
    assert caught.value.code == "replica_locked" and caught.value.retry
    assert one(driver, workload) == before and len(engines(tmp_path, workload)) == 1


def test_the_lock_is_free_exactly_when_the_engine_is_gone(driver: LocalDriver, tmp_path: Path) -> None:
    workload = demo()
    (replica,) = ready(driver, workload)
    with (tmp_path / "engines" / workload.endpoint_id / "0" / "lock").open() as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert replica.pid is not None
        os.kill(replica.pid, signal.SIGKILL)
        failed(driver, workload)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_kill_9_is_told_truly_and_apply_starts_again(driver: LocalDriver) -> None:
    workload = demo()
    (before,) = ready(driver, workload)
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)
    gone = failed(driver, workload)
    assert gone.reason_code == "crashed" and "signal 9 (SIGKILL)" in gone.sentence and gone.pid is None and not gone.key
    assert driver.observe(workload.endpoint_id).any_failed and not driver.observe(workload.endpoint_id).present
    (after,) = ready(driver, workload)
    assert after.pid != before.pid and after.key != before.key


@pytest.mark.parametrize(
    ("mode", "code", "words", "turn"),
    [
        ("crash", "crashed", "exit code 3. Its last line: demo engine: simulated crash", "platform"),
        ("oom", "out_of_memory", "simulated out of memory: needed", "you"),
    ],
)
def test_a_start_that_fails_names_its_reason(driver: LocalDriver, mode: str, code: str, words: str, turn: str) -> None:
    workload = demo("--fail", mode)
    driver.apply(workload)
    replica = failed(driver, workload)
    assert (replica.reason_code, replica.turn) == (code, turn) and words in replica.sentence


def test_loading_is_seen_before_ready(driver: LocalDriver) -> None:
    workload = demo("--load-seconds", "1.5")
    driver.apply(workload)
    seen: list[str] = []

    def done() -> bool:
        state = one(driver, workload).state
        seen.extend([state] if state not in seen[-1:] else [])
        return state == "ready"

    until(done)
    assert [state for state in seen if state != "starting"] == ["loading", "ready"]


def test_a_hung_start_times_out_and_is_replaced(driver: LocalDriver) -> None:
    workload = demo("--fail", "hang", start_timeout_seconds=1)
    driver.apply(workload)
    late = failed(driver, workload)
    assert late.reason_code == "start_timeout" and "within 1 s" in late.sentence and late.pid is not None
    driver.apply(workload)

    def replaced() -> bool:
        driver.apply(workload)
        return one(driver, workload).pid not in (None, late.pid)

    until(replaced)


def test_an_engine_that_stops_answering_is_told_and_replaced(
    driver: LocalDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(health, "GIVE_UP_SECONDS", 0.6)
    workload = demo("--fail", "hang", "--fail-after-seconds", "2")
    (before,) = ready(driver, workload)
    silent = failed(driver, workload)
    assert silent.reason_code == "not_answering" and silent.pid == before.pid

    def replaced() -> bool:
        driver.apply(workload)
        return one(driver, workload).pid not in (None, before.pid)

    until(replaced)


def test_one_missed_check_is_not_a_failure(driver: LocalDriver) -> None:
    workload = demo()
    (replica,) = ready(driver, workload)
    assert replica.pid is not None
    os.kill(replica.pid, signal.SIGSTOP)
    try:
        slow = one(driver, workload)
    finally:
        os.kill(replica.pid, signal.SIGCONT)
    assert (slow.state, slow.reason_code) == ("ready", "not_answering")
    assert until(lambda: one(driver, workload).reason_code == "")


def test_a_missing_engine_is_said_in_a_sentence(driver: LocalDriver) -> None:
    workload = demo(command=("vllm-is-not-here", "serve", "{model}"), demo=False)
    with pytest.raises(ClusterError) as caught:
        driver.apply(workload)
    assert caught.value.code == "engine_missing" and not caught.value.retry and caught.value.turn == "platform"
    assert caught.value.sentence == (
        "`vllm-is-not-here` is not installed on this machine. A platform engineer installs it, or choose a version "
        "with the demo engine."
    )
    assert driver.observe(workload.endpoint_id).replicas == ()


def test_an_engine_that_cannot_be_executed_is_missing_too(driver: LocalDriver, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/does/not/exist\n")
    broken.chmod(0o755)
    with pytest.raises(ClusterError) as caught:
        driver.apply(demo(command=(str(broken),)))
    assert caught.value.code == "engine_missing"


def test_a_taken_port_is_told_and_the_next_start_takes_another(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = iter([taken.getsockname()[1]])
        driver = LocalDriver(tmp_path, port=lambda: next(ports, 0) or starting.free_port())
        workload = demo()
        driver.apply(workload)
        replica = failed(driver, workload)
        assert replica.reason_code == "port_taken" and str(taken.getsockname()[1]) in replica.sentence
        (again,) = ready(driver, workload)
        assert not again.url.endswith(f":{taken.getsockname()[1]}")
    assert driver.stop_all(20) == []


def test_scaling_adds_and_removes_whole_replicas(driver: LocalDriver, tmp_path: Path) -> None:
    workload = demo(replicas=3)
    three = ready(driver, workload)
    assert len({replica.url for replica in three}) == len({replica.key for replica in three}) == 3
    assert "replica 2 | demo engine: ready" in driver.logs(workload.endpoint_id)
    (left,) = ready(driver, replace(workload, replicas=1))
    assert left == three[0] and len(engines(tmp_path, workload)) == 1
    driver.apply(replace(workload, replicas=1))
    assert driver.observe(workload.endpoint_id).replicas == (left,)


def test_a_new_revision_replaces_the_old_one(driver: LocalDriver, tmp_path: Path) -> None:
    workload = demo()
    (old,) = ready(driver, workload)
    driver.apply(replace(workload, revision=2))
    assert one(driver, workload).state in ("stopping", "absent")
    (new,) = ready(driver, replace(workload, revision=2))
    assert new.pid != old.pid and new.revision == 2 and len(engines(tmp_path, workload)) == 1


def test_a_kept_revision_runs_on_beside_the_next_one(driver: LocalDriver, tmp_path: Path) -> None:
    workload = demo(replicas=2)
    old = ready(driver, workload)
    following = replace(workload, revision=2, replicas=1, keep=(1,))

    def new() -> list[Replica] | None:
        driver.apply(following)
        found = [one for one in driver.observe(workload.endpoint_id).replicas if one.revision == 2]
        return found if found and found[0].state == "ready" else None

    [fresh] = until(new)
    assert fresh.index == 2 and len(engines(tmp_path, workload)) == 3
    assert [one for one in driver.observe(workload.endpoint_id).replicas if one.revision == 1] == old
    os.kill(old[0].pid or 0, signal.SIGKILL)
    until(lambda: len(engines(tmp_path, workload)) == 2)
    driver.apply(following)
    assert len(engines(tmp_path, workload)) == 2  # what is kept is not started again either
    (left,) = ready(driver, replace(following, keep=()))
    assert left == fresh and len(engines(tmp_path, workload)) == 1


def test_nothing_starts_before_the_other_revision_has_ended(driver: LocalDriver, tmp_path: Path) -> None:
    workload = demo(replicas=2)
    ready(driver, workload)
    driver.apply(replace(workload, revision=2, replicas=1))
    assert {process.token.split(":")[2] for process in engines(tmp_path, workload)} <= {"1"}
    (new,) = ready(driver, replace(workload, revision=2, replicas=1))
    assert new.revision == 2 and len(engines(tmp_path, workload)) == 1


def test_restart_gives_new_processes(driver: LocalDriver) -> None:
    workload = demo()
    (old,) = ready(driver, workload)
    driver.restart(workload.endpoint_id)
    (new,) = ready(driver, workload)
    assert new.pid != old.pid


def test_remove_ends_everything_but_the_log(driver: LocalDriver, tmp_path: Path) -> None:
    workload = demo(replicas=2)
    ready(driver, workload)
    assert driver.remove(workload.endpoint_id) is False
    until(lambda: driver.remove(workload.endpoint_id))
    assert driver.remove(workload.endpoint_id) is True
    assert driver.list() == [] and engines(tmp_path, workload) == []
    assert driver.observe(workload.endpoint_id).replicas == ()
    assert not list(tmp_path.rglob("key")) and "demo engine: stopped" in driver.logs(workload.endpoint_id)
    assert driver.prune_logs(timedelta(days=14)) == 0
    assert driver.prune_logs(timedelta(0)) == 1 and not list((tmp_path / "engines").iterdir())


def test_remove_kills_what_ignores_sigterm(
    driver: LocalDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = demo(command=SLEEPER)
    driver.apply(workload)
    replica = until(lambda: one(driver, workload))
    assert replica.pid is not None
    # SigCgt of proc(5): the handler for signal 15 is installed.
    until(lambda: int(Path(f"/proc/{replica.pid}/status").read_text().split("SigCgt:")[1].split()[0], 16) >> 14 & 1)
    assert driver.remove(workload.endpoint_id) is False
    assert one(driver, workload).state == "stopping"
    assert driver.remove(workload.endpoint_id) is False and engines(tmp_path, workload)
    monkeypatch.setattr(local, "KILL_AFTER_SECONDS", 0.0)
    until(lambda: driver.remove(workload.endpoint_id), 5)
    assert engines(tmp_path, workload) == []


def test_what_an_engine_leaves_behind_is_ended_with_it(driver: LocalDriver, tmp_path: Path) -> None:
    child = (
        "import os, signal\n"
        "reader, writer = os.pipe()\n"
        "if os.fork(): os.read(reader, 1); os._exit(3)\n"
        "os.setsid(); os.write(writer, b'x'); signal.pause()"
    )
    workload = demo(command=("{python}", "-c", child))
    driver.apply(workload)
    failed(driver, workload)
    assert len(engines(tmp_path, workload)) == 1
    assert driver.remove(workload.endpoint_id) is False
    until(lambda: driver.remove(workload.endpoint_id))
    assert engines(tmp_path, workload) == []


def test_a_stranger_with_the_same_pid_is_never_signalled(driver: LocalDriver, tmp_path: Path) -> None:
    workload = demo()
    (replica,) = ready(driver, workload)
    assert replica.pid is not None
    os.kill(replica.pid, signal.SIGKILL)
    failed(driver, workload)
    path = tmp_path / "engines" / workload.endpoint_id / "0" / "record.json"
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as stranger:
        try:
            # The worst case: pid *and* start time are the stranger's; only the token in its environment tells.
            record = json.loads(path.read_text()) | {"pid": stranger.pid, "start_time": spawn.start_time(stranger.pid)}
            path.write_text(json.dumps(record))
            driver.restart(workload.endpoint_id)
            driver.remove(workload.endpoint_id)
            driver.adopt({}, 1)
            driver.stop_all(1)
            assert stranger.poll() is None
            # Another start time: the process is not even taken for running.
            path.write_text(json.dumps(record | {"start_time": record["start_time"] - 1}))
            assert driver.remove(workload.endpoint_id) is True and stranger.poll() is None
        finally:
            stranger.kill()


def test_two_portals_on_one_machine_leave_each_other_alone(driver: LocalDriver, tmp_path: Path) -> None:
    workload = demo()
    ready(driver, workload)
    other = LocalDriver(tmp_path / "other")
    assert other.list() == [] and other.remove(workload.endpoint_id) is True and stop_all(tmp_path / "other", 1) == []
    assert one(driver, workload).state == "ready"


def test_engines_outlive_the_worker_that_started_them(driver: LocalDriver, tmp_path: Path) -> None:
    workload = demo()
    worker = multiprocessing.get_context("fork").Process(target=_apply_and_die, args=(tmp_path, workload))
    worker.start()
    worker.join(30)
    assert worker.exitcode == -signal.SIGKILL
    (replica,) = ready(driver, workload)
    assert replica.pid is not None
    os.kill(replica.pid, signal.SIGTERM)  # and how it ended is known although its starter is dead
    assert "exit code 0" in failed(driver, workload).sentence


def _apply_and_die(home: Path, workload: Workload) -> None:
    LocalDriver(home).apply(workload)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_may_be_killed_at_any_point_of_a_start(driver: LocalDriver, tmp_path: Path) -> None:
    workload = demo()
    fork = multiprocessing.get_context("fork")
    for milliseconds in range(0, 60, 4):
        worker = fork.Process(target=LocalDriver(tmp_path).apply, args=(workload,))
        worker.start()
        worker.join(milliseconds / 1000)
        worker.kill()
        worker.join()

    def applied() -> bool:
        try:
            driver.apply(workload)
        except ClusterError as error:
            if error.code != "replica_locked":
                raise
            return False  # the start of a killed worker is still under way
        return one(driver, workload).state == "ready"

    until(applied)
    assert len(engines(tmp_path, workload)) == 1 and driver.logs(workload.endpoint_id).count("serves") == 1


def test_a_killed_witness_takes_nothing_with_it(driver: LocalDriver, tmp_path: Path) -> None:
    workload = demo()
    (before,) = ready(driver, workload)
    record = ReplicaFiles(tmp_path / "engines" / workload.endpoint_id / "0").record()
    assert record is not None and before.pid is not None
    os.kill(record.witness, signal.SIGKILL)
    until(lambda: spawn.start_time(record.witness) is None)
    assert one(driver, workload) == before
    os.kill(before.pid, signal.SIGKILL)
    assert "exit status is unknown" in failed(driver, workload).sentence
    ready(driver, workload)


def test_eight_threads_and_four_processes_start_exactly_one(driver: LocalDriver, tmp_path: Path) -> None:
    workload = demo()
    fork = multiprocessing.get_context("fork")
    others = [fork.Process(target=LocalDriver(tmp_path).apply, args=(workload,)) for _ in range(4)]
    for other in others:
        other.start()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: LocalDriver(tmp_path).apply(workload), range(16)))
    for other in others:
        other.join(60)
    assert [other.exitcode for other in others] == [0, 0, 0, 0]
    ready(driver, workload)
    assert len(engines(tmp_path, workload)) == 1
    assert driver.logs(workload.endpoint_id).count("serves") == 1


def test_adopt_keeps_what_is_wanted_and_stops_the_rest(driver: LocalDriver, tmp_path: Path) -> None:
    kept, unwanted, outdated = demo(), demo(), demo()
    (before,) = ready(driver, kept)
    ready(driver, unwanted)
    ready(driver, outdated)
    wanted = {kept.endpoint_id: 1, outdated.endpoint_id: 2, str(uuid.uuid4()): 1}
    assert driver.adopt(wanted) == [kept.endpoint_id]
    assert one(driver, kept) == before
    assert [process.endpoint_id for process in processes.of_portal(tmp_path)] == [kept.endpoint_id]
    assert one(driver, outdated).reason_code == "stopped"


def test_stop_all_leaves_no_process(driver: LocalDriver, tmp_path: Path) -> None:
    workload, stubborn = demo(replicas=2), demo(command=SLEEPER)
    ready(driver, workload)
    driver.apply(stubborn)
    witnesses = [one.record() for one in replicas.on_disk(tmp_path / "engines" / workload.endpoint_id)]
    assert stop_all(tmp_path, 6) == []
    assert processes.of_portal(tmp_path) == []
    assert all(record is not None and spawn.start_time(record.witness) is None for record in witnesses)
    assert {replica.reason_code for replica in driver.observe(workload.endpoint_id).replicas} == {"stopped"}


def test_the_memory_limit_is_real_for_the_demo_engine(driver: LocalDriver) -> None:
    greedy = ("{python}", "-c", "print('start', flush=True); data = bytearray(2 * 1024 ** 3)")
    workload = demo(command=greedy, memory_bytes=512 * 1024**2)
    driver.apply(workload)
    replica = failed(driver, workload)
    assert replica.reason_code == "out_of_memory" and "512 MiB" in replica.sentence


def test_an_unenforced_memory_limit_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "writable_cgroup", lambda: None)
    driver = LocalDriver(tmp_path)
    workload = demo(demo=False, memory_bytes=2**30, environment={"PYTHONPATH": str(Path(__file__).parents[2])})
    (replica,) = ready(driver, workload)
    assert "not enforced" in replica.note
    assert driver.stop_all(20) == []


def test_a_control_group_is_entered_and_its_kill_is_out_of_memory(tmp_path: Path) -> None:
    group = tmp_path / "cgroup"
    driver = LocalDriver(tmp_path, cgroup_root=group)
    workload = demo(demo=False, command=SLEEPER, memory_bytes=2**30)
    driver.apply(workload)
    replica = until(lambda: one(driver, workload))
    (own,) = group.iterdir()
    assert (own / "memory.max").read_text() == str(2**30) and (own / "cgroup.procs").read_text() == str(replica.pid)
    (own / "memory.events").write_text("oom 1\noom_kill 1\n")  # what the kernel writes when it kills for memory.max
    assert replica.pid is not None and not replica.note
    os.kill(replica.pid, signal.SIGKILL)
    killed = failed(driver, workload)
    assert killed.reason_code == "out_of_memory" and "1.0 GiB" in killed.sentence


def test_a_full_disk_is_told_truly(driver: LocalDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(starting, "launch", full)
    with pytest.raises(ClusterError) as caught:
        driver.apply(demo())
    assert caught.value.code == "machine_disk_full" and "No space left on device" in caught.value.sentence


def test_an_engine_survives_a_log_on_a_full_disk_and_a_full_disk_never_keeps_it_alive(
    driver: LocalDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = demo()
    directory = tmp_path / "engines" / workload.endpoint_id / "0"
    directory.mkdir(parents=True, mode=0o700)
    (directory / "log").symlink_to("/dev/full")
    ready(driver, workload)

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(spawn, "write_atomically", full)
    assert one(driver, workload).state == "ready"
    until(lambda: driver.remove(workload.endpoint_id))
    assert engines(tmp_path, workload) == []


def test_the_log_is_kept_short(driver: LocalDriver, tmp_path: Path) -> None:
    writer = (
        "import time\n"
        "for n in range(120_000): print(f'line {n:06d} ' + 'x' * 60)\n"
        "while True: print('done', flush=True), time.sleep(0.1)\n"
    )
    workload = demo(command=("{python}", "-c", writer))
    driver.apply(workload)
    directory = tmp_path / "engines" / workload.endpoint_id / "0"

    def short() -> bool:
        """It was cut, once or twice, wherever the witness came by; a line that was written meanwhile may be missing."""
        names = [name for name in ("log", "log.1") if (directory / name).exists()]
        size = sum((directory / name).stat().st_size for name in names)
        ends = driver.logs(workload.endpoint_id, 2).splitlines()
        return len(names) == 2 and size <= 5_000_000 and ends == ["done", "done"]

    until(short)


def test_what_is_damaged_on_disk_is_not_an_error(driver: LocalDriver, tmp_path: Path) -> None:
    workload = demo()
    ready(driver, workload)
    path = tmp_path / "engines" / workload.endpoint_id / "0" / "record.json"
    path.write_text("{ torn")
    assert driver.observe(workload.endpoint_id).replicas == () and driver.list() == [workload.endpoint_id]
    (again,) = ready(driver, workload)  # ends the engine that nobody has a record of
    assert [process.pid for process in engines(tmp_path, workload)] == [again.pid]


def test_a_restarted_machine_is_told(driver: LocalDriver, tmp_path: Path) -> None:
    workload = demo()
    ready(driver, workload)
    path = tmp_path / "engines" / workload.endpoint_id / "0" / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"boot_id": "another"}))
    assert one(driver, workload).reason_code == "machine_restarted"


@pytest.mark.parametrize("endpoint_id", ["", "../etc", "a/b", "x" * 65, ".hidden"])
def test_an_endpoint_id_never_leaves_the_state_directory(tmp_path: Path, endpoint_id: str) -> None:
    driver = LocalDriver(tmp_path)
    for call in (driver.observe, driver.remove, driver.restart, driver.logs):
        with pytest.raises(ClusterError, match="letters, digits and dashes"):
            call(endpoint_id)
    assert list(tmp_path.iterdir()) == []


def test_a_workload_out_of_bounds_is_refused(tmp_path: Path) -> None:
    for wrong in (demo(replicas=65), demo(replicas=-1), demo(command=())):
        with pytest.raises(ClusterError) as caught:
            LocalDriver(tmp_path).apply(wrong)
        assert caught.value.code == "invalid_workload" and not caught.value.retry
    assert list(tmp_path.iterdir()) == []


def test_braces_that_are_not_ours_stay() -> None:
    workload = demo(command=("engine", "--buckets", '{"ttft": [1]}', "--at={host}:{port}", "{name}"), name="{port}")
    assert starting.command(workload, 80, "python") == [
        "engine",
        "--buckets",
        '{"ttft": [1]}',
        "--at=127.0.0.1:80",
        "{port}",
    ]
