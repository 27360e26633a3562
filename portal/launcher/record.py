"""Who runs in a state directory: the lock, run.json, and the end of what an earlier launcher left behind."""

import fcntl
import json
import os
import signal
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from portal.launcher.config import LauncherError

RUN_VARIABLE = "GATEHOUSE_RUN_ID"


def start_time(pid: int) -> int:
    """Return when process `pid` started, in clock ticks since boot, or 0 when it is gone or cannot be read.

    Pid and start time together name one process for ever; the pid alone is used again. A zombie counts as gone.
    """
    try:
        # The command's name, in parentheses, may itself hold spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return 0 if fields[0] in {"Z", "X"} else int(fields[19])
    except (OSError, IndexError, ValueError):
        return 0


def boot_id() -> str:
    """Return what names this boot of the machine: after a restart a recorded pid and start time mean nothing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _pids() -> Iterator[int]:
    try:
        names = os.listdir("/proc")
    except OSError:
        return
    for name in names:
        if name.isdigit():
            yield int(name)


def _of_run(pid: int, run_id: str) -> bool:
    try:
        return f"{RUN_VARIABLE}={run_id}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


@dataclass
class Record:
    """The content of run.json: enough to find, and safely end, every process of one run."""

    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    pid: int = 0
    started: int = 0
    url: str = ""
    port: int = 0
    state: str = "starting"
    boot: str = field(default_factory=boot_id)
    children: dict[str, dict[str, int]] = field(default_factory=dict)

    def members(self) -> list[int]:
        """Return the living processes of this run: recorded children, and whoever shares their process group.

        A group's number stays taken as long as one member lives, but may be another program's once all have died; so a
        group member also has to carry the run's id in its environment.
        """
        if self.boot != boot_id():
            return []
        groups = {child["pid"]: child["start"] for child in self.children.values()}
        found = {pid for pid, start in groups.items() if start and start_time(pid) == start}
        for pid in _pids():
            try:
                mine = pid not in found and os.getpgid(pid) in groups
            except OSError:
                continue
            if mine and start_time(pid) and _of_run(pid, self.run_id):
                found.add(pid)
        return sorted(found)

    def kill_members(self) -> list[int]:
        """Send SIGKILL to every living process of this run; return their pids."""
        members = self.members()
        for pid in members:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return members

    def write(self, path: Path) -> None:
        """Store the record under `path` so that a reader sees the old one or the new one, never half of it."""
        temporary = path.with_suffix(".tmp")
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(self.__dict__, file, indent=2)
        temporary.replace(path)


def read(path: Path) -> Record | None:
    """Return the record at `path`, or None when there is none that can be read."""
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        children = {
            str(name): {"pid": int(child["pid"]), "start": int(child["start"])}
            for name, child in data["children"].items()
        }
        return Record(
            run_id=str(data["run_id"]),
            pid=int(data["pid"]),
            started=int(data["started"]),
            url=str(data["url"]),
            port=int(data["port"]),
            state=str(data["state"]),
            boot=str(data["boot"]),
            children=children,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def lock(state: Path) -> TextIO:
    """Return the locked launcher.lock of `state`; raises LauncherError when another launcher holds it.

    The kernel drops the lock with its holder, however that dies, so it can never be stale.
    """
    file = open(state / "launcher.lock", "a", encoding="utf-8")  # noqa: SIM115 - held until the process ends
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        other = read(state / "run.json")
        who = f"process {other.pid} serves {other.url} from there" if other else "another launcher uses it"
        raise LauncherError(
            f"The portal already runs in {state}: {who}. Stop that one first, "
            "or start a second one beside it: GATEHOUSE_STATE_DIR=/path/to/another PORT=8001 make run"
        ) from error
    return file
