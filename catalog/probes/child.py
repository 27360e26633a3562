"""The first code of a probe's process: it takes away what a parser does not need, and only then loads the parser.

python -I -B child.py ROOT PACKAGE PROBE QUESTION      content on standard input, one JSON object on standard output
"""

import ctypes
import importlib
import json
import os
import resource
import signal
import sys
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWUSER, _CLONE_NEWNET, _CLONE_NEWIPC = 0x10000000, 0x40000000, 0x08000000


def fence(limits: dict[str, int]) -> str:
    """Limit this process for good and return whether it still has a network: “removed” or “shared”."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != limits["parent"]:  # it died before the line above
        os._exit(1)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # Some kernels and containers forbid it; the parent says so in the report.
    alone = libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC) == 0
    for kind, value in (
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_CPU, limits["cpu_seconds"]),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_FSIZE, 0),  # writes no file
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (value, value))
    return "removed" if alone else "shared"


def main(root: str, package: str, probe: str, asked: str) -> None:
    """Run one probe and print its answer, or why there is none."""
    question = json.loads(asked)
    network = fence(question.pop("limits"))
    speak = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no part of the answer
    sys.path.insert(0, root)
    said: dict[str, Any]
    try:
        module = importlib.import_module(f"{package}.{probe}")
        said = {"answer": module.answer(sys.stdin.buffer, question)}
    except MemoryError:
        said = {"problem": "it takes more memory than a check may use"}
    except RecursionError:
        said = {"problem": "it is nested too deeply"}
    except Exception as error:
        said = {"problem": f"the parser gave up: {type(error).__name__}: {str(error)[:200]}"}
    speak.write(json.dumps({**said, "network": network}))
    speak.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:5])
