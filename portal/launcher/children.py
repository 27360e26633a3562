"""One child process: how it is started, tied to the launcher's life, logged, and judged when it dies."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from portal.launcher.record import start_time

LOG_BYTES = 10 * 1024 * 1024
LOG_COPIES = 3
FIRST_DELAY = 0.2  # seconds before the first restart; doubled up to LAST_DELAY
LAST_DELAY = 5.0
LOOP_DEATHS = 5  # this many deaths …
LOOP_SECONDS = 30.0  # … within this time mean that restarting does not help
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def tie_to(parent: int) -> Callable[[], None]:
    """Return what a child runs before exec so that the kernel kills it when process `parent` dies.

    SIGKILL, not SIGTERM: a server that drains or a worker that finishes its tasks would outlive the launcher and
    stand in the way of the next start. Where the kernel has no such call (macOS) the next start ends what is left.
    """

    def before_exec() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        # The parent may have died between fork and prctl; then no signal would ever come.
        if os.getppid() != parent:
            os._exit(1)

    return before_exec


def rotate(path: Path) -> None:
    """Move a log above LOG_BYTES aside: `name.log` → `name.log.1` … `name.log.3`; the oldest is dropped."""
    try:
        if path.stat().st_size <= LOG_BYTES:
            return
    except OSError:
        return
    for number in range(LOG_COPIES - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    path.replace(path.with_name(f"{path.name}.1"))


def tail(path: Path, lines: int = 15) -> list[str]:
    """Return the last `lines` non-empty lines of a log, reading at most its last 16 KiB."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]


def how_it_ended(code: int) -> str:
    """Return a return code of subprocess in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


@dataclass
class Child:
    """A process that the launcher keeps alive, or runs once.

    `stop_signal` asks it to end; after `stop_seconds` it is killed with its whole group. One that is not `vital` may
    die in a loop without taking the rest along.
    """

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str]
    folder: Path
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    keep_fds: Sequence[int] = ()
    vital: bool = True
    process: subprocess.Popen[bytes] | None = None
    group: int = 0
    restart_at: float | None = None
    started_at: float = 0.0
    deaths: deque[float] = field(default_factory=lambda: deque(maxlen=LOOP_DEATHS))
    failures: int = 0  # deaths since it last lived longer than LOOP_SECONDS

    def start(self) -> None:
        """Start the process in a session of its own, so that Ctrl-C at the terminal reaches the launcher alone."""
        rotate(self.log)
        with open(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                cwd=self.folder,
                pass_fds=self.keep_fds,
                start_new_session=True,
                preexec_fn=tie_to(os.getpid()),  # safe: the launcher has one thread
            )
        self.group = self.process.pid
        self.restart_at = None
        self.started_at = time.monotonic()

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    @property
    def identity(self) -> dict[str, int]:
        """Pid and start time, as run.json keeps them."""
        return {"pid": self.group, "start": start_time(self.group)}

    def ask_to_stop(self) -> None:
        """Send the stop signal to the process (not to its group: it stops its own children in order)."""
        if self.process is not None and self.running:
            self.process.send_signal(self.stop_signal)

    def kill_group(self) -> None:
        """Kill whatever is left of the process and of the processes that it started in its group."""
        if not self.group:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.group, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
        self.group = 0

    def died(self) -> tuple[str, bool]:
        """Note a death: clear its group, plan the restart; return how it ended and whether it dies in a loop."""
        code = self.process.returncode if self.process is not None else 0
        now = time.monotonic()
        self.kill_group()
        self.process = None
        if now - self.started_at > LOOP_SECONDS:
            self.deaths.clear()
            self.failures = 0
        self.deaths.append(now)
        looping = len(self.deaths) == LOOP_DEATHS and now - self.deaths[0] <= LOOP_SECONDS
        longest = LAST_DELAY if self.vital else LOOP_SECONDS
        self.restart_at = now + min(longest, FIRST_DELAY * 2 ** min(self.failures, 10))
        self.failures += 1
        return how_it_ended(code), looping and self.vital
