"""Running a probe (catalog/probes/) out of process: nothing that a hostile file does to its parser reaches the worker.

The child gets no network where the kernel allows to take it away, no environment, no file to write, limits on memory
and time, and dies with its parent. A probe that crashes, runs too long or answers nonsense has found something wrong:
that is a verdict about the file, never an exception of the worker.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from django.conf import settings

PACKAGE = "catalog.probes"
ROOT = Path(__file__).resolve().parents[2]
CHILD = ROOT / "catalog" / "probes" / "child.py"
ANSWER_BYTES = 8 * 2**20
_CHUNK = 2**16
# Where an interpreter that was built elsewhere finds its own library: without it none starts.
_LOADER = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}


class ProbeFailed(Exception):
    """A probe came to no answer; the text is a clause that says why, after the name of a file and a colon."""


@dataclass(frozen=True)
class Limits:
    """What a probe may take."""

    seconds: int = 120  # by the clock
    cpu_seconds: int = 60
    memory_bytes: int = 1024 * 2**20  # of address space, the interpreter's own included


@dataclass(frozen=True)
class Answer:
    """What a probe said, and whether it ran without a network: “removed” or “shared”."""

    body: dict[str, Any]
    network: str


def scratch() -> IO[bytes]:
    """Return a nameless file on the disk of the portal's state: a temporary directory is often memory."""
    settings.STATE_DIR.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=settings.STATE_DIR)


def ask(probe: str, content: IO[bytes], question: Mapping[str, Any], limits: Limits = Limits()) -> Answer:
    """Run `probe` on `content`, a real file, and return its answer. Raises ProbeFailed."""
    content.flush()
    content.seek(0)
    bounds = {"memory_bytes": limits.memory_bytes, "cpu_seconds": limits.cpu_seconds, "parent": os.getpid()}
    asked = json.dumps({**question, "limits": bounds})
    process = subprocess.Popen(
        [sys.executable, "-I", "-B", str(CHILD), str(ROOT), PACKAGE, probe, asked],
        stdin=content,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"LANG": "C.UTF-8", "PATH": "", **_LOADER},
        start_new_session=True,
    )
    try:
        said = _listen(process, time.monotonic() + limits.seconds, limits.seconds)
        process.wait(timeout=5)
    except subprocess.TimeoutExpired as error:
        raise ProbeFailed("the check did not end") from error
    finally:
        _end(process)
    return _understood(said, process.returncode)


def _listen(process: "subprocess.Popen[bytes]", deadline: float, seconds: int) -> bytes:
    """Return what the child prints until it closes its output. Raises ProbeFailed for too much and too late."""
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise ProbeFailed(f"the check took longer than {seconds} seconds")
            part = os.read(process.stdout.fileno(), _CHUNK)
            if not part:
                return said
            said += part
            if len(said) > ANSWER_BYTES:
                raise ProbeFailed("the check answered more than it may")


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _understood(said: bytes, code: int) -> Answer:
    if code == -signal.SIGXCPU or code == -signal.SIGKILL:
        raise ProbeFailed("the check took more computing time or memory than it may use")
    if code != 0:
        raise ProbeFailed(f"the check crashed (exit {code})")
    try:
        heard = json.loads(said)
        network = str(heard["network"])
        if "problem" in heard:
            raise ProbeFailed(str(heard["problem"])[:300])
        body = heard["answer"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ProbeFailed("the check gave no answer that can be read") from error
    if not isinstance(body, dict):
        raise ProbeFailed("the check gave no answer that can be read")
    return Answer(_printable(body), network)


def _printable(value: Any) -> Any:
    """Return what a probe said without characters that no database keeps or that no person sees."""
    if isinstance(value, str):
        return (
            value
            if value.isprintable()
            else "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in value)
        )
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, dict):
        return {_printable(name): _printable(item) for name, item in value.items()}
    return value
