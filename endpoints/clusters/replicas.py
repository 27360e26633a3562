"""What is on disk of one replica of the `local` driver, and what it means.

`engines/<endpoint>/<index>/` holds `lock`, `record.json`, `key`, `log`, `log.1`, `exit.json`, `stop.json` and
`health.json`. Each of the last three carries the token of the start it speaks of, so nothing has to be cleaned up
before the next start and a crash between two writes cannot mix two lives.
"""

import contextlib
import json
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from endpoints.clusters import Turn, processes, spawn
from endpoints.clusters.processes import Process

TAIL_BYTES = 262_144
_MEMORY = re.compile(
    r"out of memory|OutOfMemoryError|\bMemoryError\b|std::bad_alloc|cannot allocate memory", re.IGNORECASE
)
_PORT = re.compile(r"address already in use", re.IGNORECASE)
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Record:
    """One start of a replica, as the engine wrote it down before its first instruction."""

    endpoint_id: str
    index: int
    revision: int
    token: str
    port: int
    pid: int
    start_time: int
    boot_id: str
    started_at: float
    witness: int
    witness_start_time: int
    health_path: str
    start_timeout_seconds: int
    memory_limit: str
    memory_bytes: int | None
    authorization_digest: str

    @property
    def process(self) -> Process:
        """The engine's identity."""
        return Process(self.pid, self.start_time, self.token)

    @property
    def running(self) -> bool:
        """Whether the engine process lives."""
        return self.boot_id == spawn.boot_id() and self.process.running

    @property
    def ending(self) -> bool:
        """Whether the engine is gone but its end is still being written down."""
        same_boot = self.boot_id == spawn.boot_id()
        return same_boot and not self.process.running and spawn.start_time(self.witness) == self.witness_start_time

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Outcome:
    """Why a replica is not there any more."""

    code: str
    sentence: str
    turn: Turn


class ReplicaFiles:
    """The files of one replica. Reading never fails: what is missing or damaged reads as empty."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def record(self) -> Record | None:
        """Return the latest start, or None."""
        values = self._read("record.json")
        try:
            return Record(**{name: values[name] for name in Record.__dataclass_fields__})
        except KeyError:
            return None

    def key(self) -> str:
        """Return the bearer key of the running engine."""
        try:
            return (self.directory / "key").read_text(encoding="ascii")
        except (OSError, ValueError):
            return ""

    def note(self, name: str, record: Record) -> dict[str, Any]:
        """Return exit, stop or health facts, if they speak of this start."""
        values = self._read(f"{name}.json")
        return values if values.get("token") == record.token else {}

    def write_note(self, name: str, record: Record, **values: object) -> None:
        """Replace exit, stop or health facts of this start; raises OSError."""
        spawn.write_atomically(str(self.directory / f"{name}.json"), json.dumps({"token": record.token, **values}))

    def forget(self) -> None:
        """Remove everything but the log and the lock (removing a lock file would let two hold it)."""
        for name in ("record.json", "key", "exit.json", "stop.json", "health.json"):
            (self.directory / name).unlink(missing_ok=True)
        for leftover in self.directory.glob("*.json.*"):
            leftover.unlink(missing_ok=True)  # of a writer that was killed

    def tail(self, lines: int) -> list[str]:
        """Return the last lines of the log, without control characters."""
        text = "".join(self._end_of(name) for name in ("log.1", "log"))
        return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).splitlines()[-lines:]

    def outcome(self, record: Record) -> Outcome:
        """Return why the engine of this start ended, from its exit status, the kernel's memory events and its own
        last words."""
        if record.boot_id != spawn.boot_id():
            return Outcome("machine_restarted", "The machine was restarted and the engine with it.", "nobody")
        ended = self.note("exit", record)
        lines = [line.strip() for line in self.tail(60) if line.strip()]
        said = f" Its last line: {lines[-1][:200]}" if lines else ""
        recent = "\n".join(lines[-40:])
        if not ended:
            return Outcome("crashed", f"The engine ended and its exit status is unknown.{said}", "platform")
        number, code = int(ended["signal"]), int(ended["code"])
        if ended["oom_kill"] or code == 137 or (_MEMORY.search(recent) and (code or number)):
            limit = f" of {_size(record.memory_bytes)}" if record.memory_bytes and record.memory_limit != "none" else ""
            return Outcome("out_of_memory", f"The engine ran out of memory{limit}.{said}", "you")
        if _PORT.search(recent) and code:
            return Outcome(
                "port_taken",
                f"Port {record.port} was taken by another program; the next start uses another port.",
                "nobody",
            )
        if number:
            hint = " If nobody killed it by hand, the machine ran out of memory." if number == signal.SIGKILL else ""
            return Outcome("crashed", f"The engine was killed by {_signal(number)}.{hint}{said}", "platform")
        return Outcome("crashed", f"The engine ended with exit code {code}.{said}", "platform")

    def _read(self, name: str) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            values = json.loads((self.directory / name).read_text(encoding="utf-8"))
            if isinstance(values, dict):
                return values
        return {}

    def _end_of(self, name: str) -> str:
        try:
            with (self.directory / name).open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - TAIL_BYTES))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""


def endpoints(home: Path) -> list[Path]:
    """Return the directories of all endpoints of this state directory."""
    engines = home / "engines"
    return sorted(path for path in engines.iterdir() if path.is_dir()) if engines.is_dir() else []


def on_disk(directory: Path) -> list[ReplicaFiles]:
    """Return the replicas of one endpoint, in the order of their index."""
    names = (
        sorted((path.name for path in directory.iterdir() if path.name.isdecimal()), key=int)
        if directory.is_dir()
        else []
    )
    return [ReplicaFiles(directory / name) for name in names]


def running(home: Path, endpoint_id: str = "") -> list[tuple[ReplicaFiles, Record]]:
    """Return every running engine with its files, of all endpoints or of one."""
    directories = [home / "engines" / endpoint_id] if endpoint_id else endpoints(home)
    pairs = [(files, files.record()) for directory in directories for files in on_disk(directory)]
    return [(files, record) for files, record in pairs if record is not None and record.running]


def age_seconds(record: Record) -> float:
    """Return for how long the engine of this start runs."""
    return processes.age_seconds(record.start_time)


def _signal(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
