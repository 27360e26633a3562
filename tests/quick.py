"""Pytest plugin: `-m "not slow"` does not even read a file that is slow as a whole.

Importing all of them and naming their thousands of tests, in each worker, took longer than running the quick ones. A
file that is named on the command line is read all the same, as pytest does with everything that it is told to ignore.
"""

import re
from pathlib import Path

import pytest

ONLY_NOTS = re.compile(r"not \w+( and not \w+)*")
WHOLE_FILE = re.compile(r"^pytestmark = (\[[^\]]*\]|.*)$", re.MULTILINE)


def left_out(expression: str) -> set[str]:
    """Return the marks that `-m expression` leaves out; none of an expression that says more than that."""
    return set(re.findall(r"not (\w+)", expression)) if ONLY_NOTS.fullmatch(expression.strip()) else set()


def marks(source: str) -> set[str]:
    """Return the marks that a file of tests gives to all of them."""
    found = WHOLE_FILE.search(source)
    return set(re.findall(r"pytest\.mark\.(\w+)", found[1])) if found else set()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip a file none of whose tests would run."""
    unwanted = left_out(config.option.markexpr)
    if not unwanted or not collection_path.match("test_*.py"):
        return None
    return bool(unwanted & marks(collection_path.read_text(encoding="utf-8"))) or None
