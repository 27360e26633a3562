"""Processes by identity. A pid is reused, so a process is its pid, its start time and the token in its environment;
only then may it be signalled."""

import os
import select
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from endpoints.clusters import spawn

TOKEN = "GATEHOUSE_ENGINE_TOKEN"  # noqa: S105 - an identity, not a secret: <endpoint>:<index>:<revision>:<nonce>
HOME = "GATEHOUSE_ENGINE_HOME"  # the state directory: two portals on one machine never touch each other's engines


@dataclass(frozen=True)
class Process:
    """One process that carries an engine token; `start_time` in clock ticks since boot."""

    pid: int
    start_time: int
    token: str

    @property
    def endpoint_id(self) -> str:
        """The endpoint that it belongs to."""
        return self.token.partition(":")[0]

    @property
    def running(self) -> bool:
        """Whether it is still the same process and not a zombie."""
        return spawn.start_time(self.pid) == self.start_time


def environment(pid: int) -> dict[str, str]:
    """Return the environment that the process was started with; empty when it is gone or belongs to somebody else."""
    try:
        content = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.decode("utf-8", "replace").partition("=") for item in content.split(b"\0") if b"=" in item)
    return {name: value for name, _, value in pairs}


def age_seconds(start_time: int) -> float:
    """Return for how long a process runs, by the clock that also stamps processes, so that setting the wall clock
    changes nothing."""
    return uptime() - start_time / os.sysconf("SC_CLK_TCK")


def uptime() -> float:
    """Return the seconds since boot."""
    return float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])


def of_portal(home: Path, endpoint_id: str = "") -> list[Process]:
    """Return all living processes that carry a token of this state directory (and of this endpoint, when named),
    children of engines too."""
    found: list[Process] = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        started = spawn.start_time(int(entry))
        variables = environment(int(entry)) if started is not None else {}
        token = variables.get(TOKEN, "")
        if started is None or not token or variables.get(HOME) != str(home):
            continue
        if not endpoint_id or token.startswith(f"{endpoint_id}:"):
            found.append(Process(int(entry), started, token))
    return found


def send(process: Process, number: signal.Signals) -> bool:
    """Signal the process if it is still the one that is meant; return whether the signal was sent.

    The pidfd is opened before the identity is checked: from then on the number cannot come to mean somebody else.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        if not process.running or environment(process.pid).get(TOKEN) != process.token:
            return False
        signal.pidfd_send_signal(descriptor, number)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def wait_gone(processes: Sequence[Process], deadline: float) -> list[Process]:
    """Wait until all are gone or `deadline` (of the monotonic clock) has passed; return those that still run."""
    for process in processes:
        try:
            descriptor = os.pidfd_open(process.pid)
        except OSError:
            continue
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            if process.running:
                poll.poll(max(0.0, deadline - monotonic()) * 1000)
        finally:
            os.close(descriptor)
    return [process for process in processes if process.running]


def end(processes: Sequence[Process], timeout_seconds: float) -> list[Process]:
    """Stop all: SIGTERM, SIGKILL after two thirds of the time; return those that still run at the end."""
    now = monotonic()
    for process in processes:
        send(process, signal.SIGTERM)
    left = wait_gone(processes, now + timeout_seconds * 2 / 3)
    for process in left:
        send(process, signal.SIGKILL)
    return wait_gone(left, now + timeout_seconds)
