"""One program of the control plane as a child process that dies with the tests."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

LEASH = Path(__file__).with_name("leash.py")
STOP_SECONDS = 20


class Component:
    """A program, its arguments and its log; start it from the main thread, since the leash is tied to the thread."""

    def __init__(self, program: Path, arguments: list[str], log: Path, environment: dict[str, str] | None = None):
        self.program, self.arguments, self.log = program, arguments, log
        self.environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(log.parent), **(environment or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; nothing happens when it runs."""
        if self.alive:
            return
        command = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), str(self.program), *self.arguments]
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C in a terminal reaches pytest alone, which then stops things in order.
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment, start_new_session=True
            )

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def stop(self, *, kill: bool = False) -> None:
        """End it, in order or at once, and wait for that."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def freeze(self) -> None:
        """Let it hang: connections are taken and nothing answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def complaint(self) -> str:
        """The end of its log."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return f"{self.program.name} ({'runs' if self.alive else 'ended'}):\n{text[-2000:]}"
