"""What the launcher says and hears: lines on the console, signals from it."""

import contextlib
import select
import signal
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType


class Console:
    """Prints each line and keeps it, with its time, in launcher.log."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def say(self, text: str, *, keep: bool = True) -> None:
        """Print `text`; `keep=False` leaves it out of the log, for what must be shown once and stored nowhere."""
        with contextlib.suppress(OSError):  # the terminal may be gone; the stack goes on and the log still tells
            print(text, flush=True)
        if keep:
            stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
            with contextlib.suppress(OSError), open(self.log, "a", encoding="utf-8") as file:  # a full disk
                file.write("".join(f"{stamp} {line}\n" for line in text.splitlines()))


class Stopped(Exception):
    """Ctrl-C, SIGTERM or a closed terminal asked the stack to stop."""


REPEAT_SECONDS = 1.0  # a second request within this time is the first one arriving twice


class Signals:
    """Turns signals into wake-ups, so that the launcher waits without polling and handlers do nothing risky."""

    def __init__(self) -> None:
        self.stops = 0
        self._stopped_at = 0.0
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGTERM, self._stop)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup asked to survive the terminal
            signal.signal(signal.SIGHUP, self._stop)
        signal.signal(signal.SIGCHLD, self._note)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Count a request to stop. One to the whole process group comes twice: `make` forwards it too."""
        now = time.monotonic()
        if not self.stops or now - self._stopped_at > REPEAT_SECONDS:
            self.stops += 1
            self._stopped_at = now

    def _note(self, number: int, frame: FrameType | None) -> None:
        """Only the wake-up matters: without a Python handler the wake-up descriptor is not written to."""

    def wait(self, seconds: float | None) -> None:
        """Sleep until a signal arrives or `seconds` have passed; None waits for a signal."""
        ready, _, _ = select.select([self._reader], [], [], None if seconds is None else max(0.0, seconds))
        if ready:
            self._reader.recv(4096)

    def raise_if_stopped(self) -> None:
        """Raise Stopped when the stack has been asked to stop."""
        if self.stops:
            raise Stopped


class Deadline:
    """Seconds that are left of a span."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether the span is over."""
        return self.left == 0.0
