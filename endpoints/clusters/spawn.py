"""Start one engine process: `python -I -S spawn.py <status fd> <replica directory>`, with the order as JSON on
standard input.

It runs without site-packages and imports nothing of the portal, because a copy of it stays beside each engine and
should cost little.

Two processes per replica, of which one is the engine:

* The **engine** takes over the flock on `lock`, writes `key` and `record.json`, and then execs. The descriptor
  survives exec, so the kernel frees the lock exactly when the last process of the engine ends: a second engine can
  never run, whoever was killed meanwhile.
* The **witness** is its parent. A parent is the only one to whom the kernel tells how a process ended, and the worker
  that asked for the start may be dead by then. So the witness waits, writes `exit.json` (code, signal, killed for
  memory), keeps the log short, and ends with the engine. Nothing depends on it: killed, it takes no engine with it,
  and only the exit status is unknown. Roads not taken: the worker as parent (its death loses the status), the last
  line of the log alone (says nothing after SIGKILL), a supervisor for all engines (one more thing to keep alive).

The status descriptor carries one JSON object when the start failed; its end without a word means that exec succeeded.
"""

import contextlib
import errno
import fcntl
import json
import os
import resource
import select
import signal
import sys
import time
from typing import Any

LOG_HALF = 2_500_000  # bytes of `log` before it becomes `log.1`: at most 5 MB for both
OOM_SCORE = "500"  # under pressure the kernel should take an engine before the portal


def write_atomically(path: str, text: str) -> None:
    """Replace the file `path` (mode 600) by `text` in one step; raises OSError, and then the old content stands."""
    temporary = f"{path}.{os.getpid()}.{time.monotonic_ns()}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def start_time(pid: int) -> int | None:
    """Return when the process started, in clock ticks since boot, or None when it is gone or a zombie. Source:
    proc(5), field 22."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if not fields or fields[0] in b"ZXx" else int(fields[19])


def boot_id() -> str:
    """Return the identity of this boot of the machine: pids and start times mean nothing across two boots."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "unknown"


def trim_log(directory: str) -> None:
    """Keep the log within its cap: copy it to `log.1` and empty it. Engines append, so they go on at the new end; a
    full disk costs the copy."""
    path = os.path.join(directory, "log")
    with contextlib.suppress(OSError):
        if os.stat(path).st_size <= LOG_HALF:
            return
        with contextlib.suppress(OSError), open(path, "rb") as file:
            file.seek(-LOG_HALF, os.SEEK_END)
            write_atomically(os.path.join(directory, "log.1"), file.read().decode("utf-8", "replace"))
        os.truncate(path, 0)


def main() -> int:
    """Take the lock and become witness and engine; the process that was started ends as soon as they stand on their
    own."""
    status, directory = int(sys.argv[1]), sys.argv[2]
    os.set_inheritable(status, False)
    os.umask(0o077)
    try:
        order = json.load(sys.stdin)
        lock = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fork():
            os._exit(0)
    except OSError as error:
        report(
            status,
            error,
            "lock" if isinstance(error, BlockingIOError) and error.errno == errno.EWOULDBLOCK else "start",
        )
        return 1
    os.setsid()
    os.chdir("/")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends with the engine, so that it can say how the engine ended
    try:
        engine = os.fork()
    except OSError as error:
        report(status, error, "start")
        return 1
    if engine == 0:
        become_engine(status, lock, directory, order)
    os.close(status)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    return witness(engine, directory, order)


def report(status: int, error: OSError, step: str) -> None:
    """Tell the driver why the start failed."""
    with contextlib.suppress(OSError):
        os.write(
            status, json.dumps({"step": step, "errno": error.errno, "text": error.strerror or str(error)}).encode()
        )


def become_engine(status: int, lock: int, directory: str, order: dict[str, Any]) -> None:
    """Turn this process into the engine; never returns. The record is on disk before the engine runs a single
    instruction."""
    step = "start"
    try:
        os.setsid()
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            # A worker ignores some signals, and what is ignored or blocked stays so across exec.
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        null = os.open(os.devnull, os.O_RDONLY)
        log = os.open(os.path.join(directory, "log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.set_inheritable(lock, True)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(OOM_SCORE)
        record = dict(order["record"])
        try:
            limit_memory(order)
        except OSError:
            record["memory_limit"] = "none"  # shown with the replica; an engine without a limit is better than none
        record |= {
            "pid": os.getpid(),
            "start_time": start_time(os.getpid()),
            "boot_id": boot_id(),
            "started_at": time.time(),
        }
        record |= {"witness": os.getppid(), "witness_start_time": start_time(os.getppid())}
        write_atomically(os.path.join(directory, "key"), order["key"])
        write_atomically(os.path.join(directory, "record.json"), json.dumps(record))
        os.chdir(directory)
        if record["memory_limit"] == "rlimit":
            resource.setrlimit(resource.RLIMIT_AS, (record["memory_bytes"], record["memory_bytes"]))
        step = "exec"
        os.execvpe(order["command"][0], order["command"], order["environment"])  # noqa: S606 - a list, no shell
    except OSError as error:
        report(status, error, step)
    except BaseException as error:  # whatever it is, this copy of the witness must not go on
        report(status, OSError(errno.EINVAL, f"{type(error).__name__}: {error}"), step)
    finally:
        os._exit(127)


def limit_memory(order: dict[str, Any]) -> None:
    """Enter the engine's own control group when there is one; raises OSError when the kernel refuses."""
    group: str = order["cgroup"]
    if not group:
        return
    os.makedirs(group, mode=0o755, exist_ok=True)
    for name, value in (("memory.max", order["memory_bytes"]), ("memory.oom.group", 1), ("cgroup.procs", os.getpid())):
        with open(os.path.join(group, name), "w", encoding="ascii") as file:
            file.write(f"{value}")


def witness(engine: int, directory: str, order: dict[str, Any]) -> int:
    """Wait for the engine's end, end what it left behind, and write down how it ended."""
    poll = select.poll()
    poll.register(os.pidfd_open(engine), select.POLLIN)
    while not poll.poll(1000):
        trim_log(directory)
    # The engine is still a zombie here, so its process group cannot belong to anybody else yet.
    with contextlib.suppress(OSError):
        os.killpg(engine, signal.SIGKILL)
    _, status = os.waitpid(engine, 0)
    code = os.waitstatus_to_exitcode(status)
    ended = {
        "token": order["token"],
        "code": max(code, 0),
        "signal": max(-code, 0),
        "oom_kill": killed_for_memory(order),
        "at": time.time(),
    }
    with contextlib.suppress(OSError):  # a full disk: the driver then says that the status is unknown
        write_atomically(os.path.join(directory, "exit.json"), json.dumps(ended))
    trim_log(directory)
    return 0


def killed_for_memory(order: dict[str, Any]) -> bool:
    """Return whether the kernel killed inside the engine's control group, and remove the group."""
    group: str = order["cgroup"]
    if not group:
        return False
    killed = False
    with contextlib.suppress(OSError), open(os.path.join(group, "memory.events"), encoding="ascii") as file:
        killed = any(
            line.split()[0] == "oom_kill" and line.split()[1] != "0" for line in file if len(line.split()) == 2
        )
    with contextlib.suppress(OSError):
        os.rmdir(group)
    return killed


if __name__ == "__main__":
    sys.exit(main())
