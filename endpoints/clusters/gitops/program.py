"""Running the git program: nothing of the environment, no prompt, hook or helper, a deadline and bounded output.

Secrets travel in the environment of the child or by a descriptor, never in its arguments.
"""

import os
import selectors
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

MOST_OUTPUT = 64 * 2**20  # bytes
MOST_WORDS = 65_536  # of what it complains about
HERE_SECONDS = 20.0  # for what needs no network
CHUNK = 65_536

CONFIG: Mapping[str, str] = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "credential.helper": "",
    "fetch.recurseSubmodules": "false",
    "gc.autoDetach": "false",
    "gc.pruneExpire": "2.hours.ago",  # commits that a server refused, over and over
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "8",
    "http.proxy": "",
    "pack.threads": "1",
    "push.gpgSign": "false",
    "protocol.version": "2",
}


@dataclass(frozen=True)
class Ran:
    """How a run ended. `late`: it was ended by its deadline; `large`: because it said too much."""

    code: int
    out: bytes = b""
    words: str = ""
    late: bool = False
    large: bool = False

    @property
    def well(self) -> bool:
        """Whether it did what it was asked for."""
        return self.code == 0 and not self.late and not self.large


@dataclass(frozen=True)
class Way:
    """How git gets to a remote: its address, which protocol, and what only this run knows."""

    url: str = ""
    protocol: str = ""
    config: Mapping[str, str] = field(default_factory=dict, repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


NOWHERE = Way()


def environment(repository: Path, way: Way) -> dict[str, str]:
    """Return all that the child finds in its environment."""
    found = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(repository),
        "LC_ALL": "C",
        "GIT_DIR": str(repository),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "SSH_ASKPASS": "/bin/false",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_ALLOW_PROTOCOL": way.protocol or "none",
        **way.environment,
    }
    settings = {**CONFIG, **way.config}
    found["GIT_CONFIG_COUNT"] = str(len(settings))
    for index, (name, value) in enumerate(settings.items()):
        found |= {f"GIT_CONFIG_KEY_{index}": name, f"GIT_CONFIG_VALUE_{index}": value}
    return found


def run(
    repository: Path,
    arguments: Sequence[str],
    *,
    way: Way = NOWHERE,
    data: bytes = b"",
    seconds: float = HERE_SECONDS,
    inherit: Sequence[int] = (),
) -> Ran:
    """Run git on a bare repository and return how it ended; `inherit` are descriptors that stay open while it runs.

    After `seconds` it is killed with all that it started. Raises OSError where there is no git.
    """
    child = subprocess.Popen(
        ["git", *arguments],  # noqa: S607 - found by PATH, as the image has it
        env=environment(repository, way), cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True, pass_fds=tuple(inherit),
    )  # fmt: skip
    try:
        return _attended(child, data, monotonic() + seconds)
    finally:
        _end(child)


def _attended(child: "subprocess.Popen[bytes]", data: bytes, ends: float) -> Ran:
    """Feed and read a child until it has said everything, or has to end."""
    if child.stdin is None or child.stdout is None or child.stderr is None:
        raise OSError("git runs without pipes")
    out, words = bytearray(), bytearray()
    left = memoryview(data)
    with selectors.DefaultSelector() as chosen:
        chosen.register(child.stdout, selectors.EVENT_READ, out)
        chosen.register(child.stderr, selectors.EVENT_READ, words)
        if data:
            os.set_blocking(child.stdin.fileno(), False)
            chosen.register(child.stdin, selectors.EVENT_WRITE)
        else:
            child.stdin.close()
        while chosen.get_map():
            ready = chosen.select(max(0.0, ends - monotonic()))
            if monotonic() >= ends or len(out) > MOST_OUTPUT:
                return Ran(-1, words=_text(words), late=len(out) <= MOST_OUTPUT, large=len(out) > MOST_OUTPUT)
            for key, _ in ready:
                if key.data is None:
                    left = _fed(child.stdin.fileno(), left)
                    if not left:
                        chosen.unregister(child.stdin)
                        child.stdin.close()
                elif piece := os.read(key.fd, CHUNK):
                    room = MOST_WORDS - len(words) if key.data is words else len(piece)
                    key.data.extend(piece[: max(room, 0)])
                else:
                    chosen.unregister(key.fileobj)
    try:
        child.wait(max(0.05, ends - monotonic()))
    except subprocess.TimeoutExpired:
        return Ran(-1, words=_text(words), late=True)
    return Ran(child.returncode, bytes(out), _text(words))


def _fed(descriptor: int, left: memoryview) -> memoryview:
    """Return what is left after a write; nothing once the child reads no more."""
    try:
        return left[os.write(descriptor, left[:CHUNK]) :]
    except BlockingIOError:
        return left
    except BrokenPipeError:
        return left[len(left) :]


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Kill what still runs, the programs that git started too."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def _text(data: bytearray) -> str:
    return data.decode("utf-8", "replace")
