"""The embedded stack with its real processes: start, crash, restart, stop, and nothing left behind."""

import http.client
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from portal.launcher import record
from portal.launcher.config import BASE_DIR

pytestmark = [pytest.mark.slow, pytest.mark.processes]

START_SECONDS = 180  # a machine that runs two test workers on two cores is slow
STOP_SECONDS = 60


def until(check: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def living(state: Path) -> dict[int, str]:
    """Every process of this machine with the state directory in its environment or on its command line.

    Both, because the broker writes its title over its environment.
    """
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        ours = f"GATEHOUSE_STATE_DIR={state}".encode() in environment or f"{state}/" in command
        if ours and record.start_time(int(folder.name)):
            found[int(folder.name)] = command
    return found


class Portal:
    """One state directory and the launcher that runs in it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.port = free_port()
        self.output = state.with_suffix(".out")
        self.process: subprocess.Popen[bytes] | None = None

    def environment(self, **extra: str) -> dict[str, str]:
        own = ("GATEHOUSE_", "DATABASE_URL", "REDIS_URL", "PORT", "PYTEST", "DJANGO_", "CELERY")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        return {**kept, "GATEHOUSE_STATE_DIR": str(self.state), "PORT": str(self.port), **extra}

    def spawn(self, **extra: str) -> subprocess.Popen[bytes]:
        with open(self.output, "wb") as output:
            command = [sys.executable, "-m", "portal.launcher"]
            self.process = subprocess.Popen(
                command, cwd=BASE_DIR, env=self.environment(**extra), stdout=output, stderr=subprocess.STDOUT
            )
        return self.process

    def start(self, **extra: str) -> None:
        process = self.spawn(**extra)
        until(lambda: process.poll() is not None or "Gatehouse is ready" in self.said, START_SECONDS, self.said)
        assert process.poll() is None, self.said

    @property
    def said(self) -> str:
        return self.output.read_text(encoding="utf-8")

    @property
    def run(self) -> record.Record:
        found = record.read(self.state / "run.json")
        assert found is not None
        return found

    def answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health/live")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


@pytest.fixture(scope="module")
def prepared() -> Iterator[Path]:
    """A state directory that one first start has prepared; its path is short, for the broker's socket lies in it."""
    folder = Path(tempfile.mkdtemp(prefix="gh-"))
    yield folder / "s"
    shutil.rmtree(folder)


@pytest.fixture
def portal(prepared: Path) -> Iterator[Portal]:
    portal = Portal(prepared)
    yield portal
    if portal.process is not None and portal.process.poll() is None:
        portal.process.terminate()
        portal.process.wait(STOP_SECONDS)


@pytest.fixture
def running(portal: Portal) -> Portal:
    portal.start()
    return portal


def test_it_works(portal):
    portal.start()
    assert portal.answers()
    assert stat.S_IMODE(portal.state.stat().st_mode) == 0o700
    assert f"http://127.0.0.1:{portal.port}" in portal.said
    assert "dana" in portal.said
    assert sorted(portal.run.children) == ["broker", "server", "worker"]
    assert stat.S_IMODE((portal.state / "broker.sock").stat().st_mode) == 0o700

    assert portal.stop() == 0
    assert living(portal.state) == {}
    assert not (portal.state / "run.json").exists()


def test_a_second_start_leaves_out_what_is_done(running):
    assert running.answers()
    for step in ("Preparing the database", "Collecting the static files", "Loading the demo organisation"):
        assert step not in running.said
    assert "dana" in running.said


@pytest.mark.parametrize("name", ["broker", "server", "worker"])
def test_a_killed_child_is_started_again(running, name):
    before = running.run.children[name]["pid"]
    os.kill(before, signal.SIGKILL)

    def again() -> bool:
        return bool(running.run.children.get(name, {}).get("pid", before) != before)

    until(again, 30, f"the {name} runs again: {running.said}")
    until(running.answers, 60, f"the page answers again: {running.said}")
    assert f"The {name} was ended by SIGKILL; it starts again" in running.said
    assert running.stop() == 0
    assert living(running.state) == {}


def test_a_worker_whose_beat_dies_is_started_again(running):
    worker = running.run.children["worker"]["pid"]
    children = Path(f"/proc/{worker}/task/{worker}/children")

    def processes() -> list[int]:
        return [int(pid) for pid in children.read_text(encoding="utf-8").split()]

    until(
        lambda: "ready." in (running.state / "logs" / "worker.log").read_text(encoding="utf-8"), 60, "worker is ready"
    )
    until(lambda: len(processes()) >= 3, 60, "two pool processes and beat")
    for pid in processes():  # beat is one of them, and looks like the others
        os.kill(pid, signal.SIGKILL)
    until(lambda: running.run.children.get("worker", {}).get("pid", worker) != worker, 30, running.said)
    assert running.stop() == 0
    assert living(running.state) == {}


def test_a_watcher_runs_while_a_cluster_with_an_api_is_registered(running):
    def clusters(statement: str) -> None:
        environment = running.environment()
        command = [sys.executable, "manage.py", "shell", "-c", f"from endpoints.models import Cluster; {statement}"]
        subprocess.run(command, cwd=BASE_DIR, env=environment, check=True, capture_output=True)

    clusters("Cluster.objects.create(slug='far', name='Far', driver='kubernetes', server='https://127.0.0.1:1')")
    until(lambda: "watcher" in running.run.children, 60, f"the watcher runs: {running.said}")
    before = running.run.children["watcher"]["pid"]
    os.kill(before, signal.SIGKILL)
    until(lambda: running.run.children.get("watcher", {}).get("pid", before) != before, 30, running.said)
    clusters("Cluster.objects.filter(slug='far').delete()")
    until(lambda: "watcher" not in running.run.children, 60, f"the watcher has ended: {running.said}")
    assert running.answers()
    assert running.stop() == 0
    assert living(running.state) == {}


def test_a_stop_during_the_first_start_leaves_nothing():
    folder = Path(tempfile.mkdtemp(prefix="gh-"))
    try:
        portal = Portal(folder / "s")
        process = portal.spawn()
        until(lambda: "Preparing the database" in portal.said, START_SECONDS, portal.said)
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0
        assert "Gatehouse is ready" not in portal.said
        assert living(portal.state) == {}
    finally:
        shutil.rmtree(folder)


def test_a_second_launcher_is_refused_in_one_sentence(running):
    command = [sys.executable, "-m", "portal.launcher"]
    done = subprocess.run(
        command, cwd=BASE_DIR, env=running.environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert f"process {running.process.pid} serves http://127.0.0.1:{running.port}" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert running.answers()


def test_nothing_survives_a_killed_launcher_and_the_next_start_works(running):
    # Launcher, broker, server, worker, two pool processes, beat.
    until(lambda: len(living(running.state)) >= 7, 60, f"the whole stack: {living(running.state)}")
    running.process.kill()
    running.process.wait()
    until(lambda: not living(running.state), 20, f"all gone: {living(running.state)}")
    running.start()
    assert running.answers()


def test_leftovers_of_a_killed_launcher_are_ended_at_the_next_start(portal):
    """What the kernel's tie did not end (another system has none) is found by run.json."""
    portal.start()
    assert portal.stop() == 0
    run = record.Record(url="http://127.0.0.1:1", port=1)
    environment = {**portal.environment(), record.RUN_VARIABLE: run.run_id}
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=environment) as left:
        run.children = {"server": {"pid": left.pid, "start": record.start_time(left.pid)}}
        run.write(portal.state / "run.json")
        portal.spawn()
        assert left.wait(30) == -signal.SIGKILL
    until(lambda: "Gatehouse is ready" in portal.said, START_SECONDS, portal.said)
    assert f"[{left.pid}]" in portal.said


def test_ctrl_c_stops_everything(running):
    assert running.stop(signal.SIGINT) == 0
    assert living(running.state) == {}
    assert running.said.rstrip().endswith("Stopped.")


def test_a_signal_that_arrives_twice_is_one_request(running):
    """`kill` on the process group of `make run` reaches the launcher directly and through make."""
    running.process.send_signal(signal.SIGTERM)
    assert running.stop() == 0
    assert "killed" not in running.said


def test_a_taken_port_stops_the_start_before_anything_runs(portal):
    with socket.create_server(("127.0.0.1", portal.port)):
        process = portal.spawn()
        assert process.wait(60) == 1
    assert f"Port {portal.port} on 127.0.0.1 cannot be used" in portal.said
    assert f"PORT={portal.port + 1} make run" in portal.said
    assert len(portal.said.strip().splitlines()) == 1
    assert living(portal.state) == {}


def test_a_setting_that_only_django_reads_stops_the_start_with_its_sentence(portal):
    process = portal.spawn(GATEHOUSE_GPU_MEMORY_UTILISATION="9000")
    assert process.wait(60) == 1
    assert "GATEHOUSE_GPU_MEMORY_UTILISATION is 9000" in portal.said
    assert "Traceback" not in portal.said
    assert living(portal.state) == {}


def test_a_server_that_cannot_start_says_why_and_stops_the_rest(portal, tmp_path):
    """A package that breaks the import of the application, found before the real one."""
    broken = tmp_path / "uvloop.py"
    broken.write_text("raise SystemExit('this machine has no event loop')\n", encoding="utf-8")
    process = portal.spawn(PYTHONPATH=str(tmp_path))
    assert process.wait(START_SECONDS) == 1
    assert "The server died 5 times within 30 s" in portal.said
    assert "this machine has no event loop" in portal.said
    assert living(portal.state) == {}
