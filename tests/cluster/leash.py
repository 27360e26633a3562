"""Runs a program that dies with its parent: `python leash.py PARENT PROGRAM ARGUMENT…`, on Linux."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):  # it ended before the line above
        sys.exit("the parent is gone")
    os.execv(sys.argv[2], sys.argv[2:])
