"""From a workload to a running process: the command, the environment, the memory limit, and the handshake with
`spawn.py`."""

import errno
import json
import os
import re
import secrets
import select
import shutil
import socket
import subprocess
from pathlib import Path
from time import monotonic
from typing import Any

from endpoints.clusters import ClusterError, Workload, processes
from endpoints.clusters.explaining.cases import refused
from endpoints.engines import filled

HANDSHAKE_SECONDS = 20.0
# Everything else stays with the portal: an engine has no use for its database address, its keys or its broker.
_INHERITED = re.compile(
    r"PATH|HOME|USER|LANG|LC_[A-Z]+|TZ|TMPDIR|VIRTUAL_ENV|LD_LIBRARY_PATH"
    r"|(CUDA|NVIDIA|NCCL|ROCR|HIP|HF|VLLM|OMP|MKL)_[A-Z0-9_]+"
    r"|https?_proxy|no_proxy|HTTPS?_PROXY|NO_PROXY|SSL_CERT_(FILE|DIR)"
)
_ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """Return a loopback port that is free now. Another program may take it before the engine does; the engine's end
    then says so."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def writable_cgroup() -> Path | None:
    """Return this process's cgroup v2 directory when memory limits can be set below it, else None."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    own = next((line[3:].lstrip("/") for line in lines if line.startswith("0::")), None)
    for mount in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified") if own is not None else ():
        group = Path(mount, own or "")
        try:
            enabled = "memory" in (group / "cgroup.subtree_control").read_text(encoding="ascii").split()
        except OSError:
            continue
        if enabled and os.access(group, os.W_OK):
            return group
    return None


def check(workload: Workload) -> None:
    """Raise ClusterError when the workload cannot be started here, whatever is tried: out of bounds, or its engine is
    not installed."""
    if not workload.command or not 0 <= workload.replicas <= 64 or workload.revision < 0:
        raise refused("invalid_workload", detail="needs a command and 0 to 64 replicas")
    program = workload.command[0]
    path = workload.environment.get("PATH", os.environ.get("PATH", os.defpath))
    if program != "{python}" and workload.replicas and shutil.which(program, path=path) is None:
        raise refused("engine_missing", program=program, detail="is not installed")


def order(
    workload: Workload, index: int, *, home: Path, port: int, python: str, cgroup_root: Path | None
) -> dict[str, Any]:
    """Return what `spawn.py` is told for one replica. The key travels in it by pipe and in the environment, never on
    a command line."""
    token = f"{workload.endpoint_id}:{index}:{workload.revision}:{secrets.token_hex(8)}"
    key = secrets.token_urlsafe(32)
    limit, group = "none", ""
    if workload.memory_bytes is not None and cgroup_root is not None:
        limit, group = "cgroup", str(cgroup_root / f"gatehouse-{token.replace(':', '-')}")
    elif workload.memory_bytes is not None and workload.demo:
        limit = "rlimit"  # address space: an engine that maps weights or a GPU reserves far more than it uses
    record = {
        "endpoint_id": workload.endpoint_id,
        "index": index,
        "revision": workload.revision,
        "token": token,
        "port": port,
        "health_path": workload.health_path,
        "start_timeout_seconds": workload.start_timeout_seconds,
        "memory_limit": limit,
        "memory_bytes": workload.memory_bytes,
        "authorization_digest": workload.authorization_digest,
    }
    return {
        "token": token,
        "key": key,
        "command": command(workload, port, python),
        "environment": environment(workload, home, token, key),
        "memory_bytes": workload.memory_bytes,
        "cgroup": group,
        "record": record,
    }


def command(workload: Workload, port: int, python: str) -> list[str]:
    """Return the command with its holes filled."""
    return filled(
        workload.command, python=python, port=str(port), host="127.0.0.1", model=workload.model, name=workload.name,
        context=str(workload.context_tokens), concurrency=str(workload.concurrency),
    )  # fmt: skip


def environment(workload: Workload, home: Path, token: str, key: str) -> dict[str, str]:
    """Return the engine's environment: little of ours, the workload's, and the identity that nothing may override."""
    variables = {name: value for name, value in os.environ.items() if _INHERITED.fullmatch(name)}
    variables |= workload.environment
    if workload.demo:
        variables["PYTHONPATH"] = str(_ROOT)
    variables |= {processes.TOKEN: token, processes.HOME: str(home)}
    return variables | {"GATEHOUSE_ENGINE_KEY": key, "VLLM_API_KEY": key}


def launch(directory: Path, ordered: dict[str, Any], python: str) -> None:
    """Start `spawn.py` and wait until the engine runs; raises ClusterError with the true reason, or OSError."""
    reader, writer = os.pipe()
    try:
        script = str(Path(__file__).with_name("spawn.py"))
        child = subprocess.Popen(
            [python, "-I", "-S", script, str(writer), str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(writer,),
        )
    except OSError:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    try:
        child.communicate(json.dumps(ordered).encode(), timeout=HANDSHAKE_SECONDS)
        said = _read_all(reader, monotonic() + HANDSHAKE_SECONDS)
    except (subprocess.TimeoutExpired, TimeoutError):
        raise refused("start_unconfirmed", seconds=f"{HANDSHAKE_SECONDS:.0f}") from None
    finally:
        os.close(reader)
    if said:
        _refuse(json.loads(said), ordered["command"][0])


def explain(error: OSError) -> ClusterError:
    """Return the ClusterError that says in one sentence what the operating system refused."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return refused("machine_disk_full", detail=reason)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return refused("state_not_writable", detail=reason)
    if error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
        return refused("machine_exhausted", detail=reason)
    return refused("machine_error", detail=reason)


def _refuse(said: dict[str, Any], program: str) -> None:
    if said["step"] == "lock":
        raise refused("replica_locked")
    if said["step"] == "exec":
        raise refused("engine_missing", program=program, detail=f"cannot be started ({said['text']})")
    raise explain(OSError(said["errno"], said["text"]))


def _read_all(descriptor: int, deadline: float) -> bytes:
    """Return everything until the other side closes; raises TimeoutError when the deadline of the monotonic clock
    passes first."""
    chunks: list[bytes] = []
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while poll.poll(max(0.0, deadline - monotonic()) * 1000):
        chunk = os.read(descriptor, 4096)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
    raise TimeoutError
