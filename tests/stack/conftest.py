"""The whole embedded stack as its users start it: real launcher, broker, server, worker and engines, on a state
directory of its own.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PASSWORD = "correct horse battery staple"
START_SECONDS = 120
# What the launcher does between the broker and the server.
PREPARE = """
import os
from portal.launcher import config, console, prepare
found = config.read(os.environ)
prepare.Preparation(found, os.environ, console.Console(found.logs / "launcher.log"), console.Signals()).run()
"""


def wait_for(probe: Callable[[], Any], seconds: float, what: str) -> Any:
    """Poll `probe` until it returns something true; fail with `what` after `seconds`."""
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            last = probe()
            if last:
                return last
        except (OSError, http.client.HTTPException, ValueError) as error:
            last = error
        time.sleep(0.1)
    pytest.fail(f"waited {seconds:.0f} s for {what}; last: {last!r}")


def free_port() -> int:
    """A loopback port that nobody uses at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Stack:
    """A running portal and the hands to hurt it."""

    def __init__(self, state: Path) -> None:
        self.state, self.port = state, free_port()
        self.launcher: subprocess.Popen[bytes] | None = None
        # An inherited DATABASE_URL is the test database of this run; the stack has its own SQLite.
        self.env = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}} | {
            "GATEHOUSE_STATE_DIR": str(state), "PORT": str(self.port), "GATEHOUSE_DEMO_PASSWORD": PASSWORD,
            "GATEHOUSE_SOURCE_DIRS": f"models={state / 'models'}",  # pvc://models/…
        }  # fmt: skip

    @property
    def url(self) -> str:
        """Address of the portal."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the launcher and wait until the portal answers. A new state directory is a copy of a prepared one: what
        a first start does takes most of a minute, and tests/portal/test_launcher.py looks at it.
        """
        if not (self.state / "prepared.json").exists():
            shutil.copytree(self.prepared(), self.state, dirs_exist_ok=True)
        log = (self.state / "launcher-output.log").open("ab")
        self.launcher = subprocess.Popen(
            [sys.executable, "-m", "portal.launcher"],
            cwd=ROOT,
            env=self.env,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        wait_for(lambda: self.status("/health/ready") == 200, START_SECONDS, f"the portal to answer; see {log.name}")

    def prepared(self) -> Path:
        """A state directory beside this one with keys, database, demo organisation and static files; made once."""
        state = self.state.parent / "prepared-state"
        if not (state / "prepared.json").exists():
            done = subprocess.run(
                [sys.executable, "-c", PREPARE], cwd=ROOT, env=Stack(state).env, capture_output=True, text=True,
                timeout=START_SECONDS, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
        return state

    def stop(self) -> int:
        """Stop in order and return the exit code."""
        assert self.launcher is not None
        self.launcher.send_signal(signal.SIGTERM)
        return self.launcher.wait(timeout=60)

    def status(self, path: str) -> int:
        """The status that GET `path` answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    def children(self) -> dict[str, int]:
        """Names and pids of the launcher's children."""
        data = json.loads((self.state / "run.json").read_text())
        return {name: int(child["pid"]) for name, child in data["children"].items()}

    def manage(self, *args: str) -> str:
        """Run a management command beside the portal and return what it prints."""
        done = subprocess.run(
            [sys.executable, "manage.py", *args],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def token(self, user: str, *scopes: str) -> str:
        """An API token."""
        flags = [part for scope in scopes for part in ("--scope", scope)]
        return self.manage("create_token", user, *flags, "--ttl", "1h").strip().splitlines()[-1]

    def call(self, method: str, path: str, token: str, body: Any = None, *, timeout: float = 30) -> tuple[int, Any]:
        """One REST call: status and JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            text = response.read()
            return response.status, json.loads(text) if text else None
        finally:
            connection.close()

    def processes(self, needle: str = "") -> list[int]:
        """Pids of living processes of this stack (by its state directory in their environment, or an open file in it)
        with `needle` in their command line.
        """
        mine = f"GATEHOUSE_STATE_DIR={self.state}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                environ = (entry / "environ").read_bytes()
                files = [os.readlink(link) for link in (entry / "fd").iterdir()]
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except (OSError, IndexError):
                continue
            ours = mine in environ.split(b"\0") or any(file.startswith(f"{self.state}/") for file in files)
            if state != "Z" and ours and needle.encode() in command:
                found.append(int(entry.name))
        return found


@pytest.fixture
def make_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Stack]]:
    """Start stacks; whatever is left of them at the end is killed."""
    made: list[Stack] = []

    def make() -> Stack:
        stack = Stack(tmp_path_factory.mktemp("state"))
        made.append(stack)
        stack.start()
        return stack

    yield make
    for stack in made:
        if stack.launcher and stack.launcher.poll() is None:
            stack.launcher.send_signal(signal.SIGTERM)
            try:
                stack.launcher.wait(timeout=60)
            except subprocess.TimeoutExpired:
                stack.launcher.kill()
        for pid in stack.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


@pytest.fixture
def stack(make_stack: Callable[[], Stack]) -> Stack:
    """A running portal with the demo organisation."""
    return make_stack()
