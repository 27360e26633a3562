"""Pytest plugin: REQUIRE_ALL=1 turns a skip into a failure, and real-process tests share one xdist worker.

A suite that skips what its machine lacks is right for a laptop and wrong for CI, where a missing PostgreSQL or Chromium
would pass unseen. Loaded by `-p tests.require_all` in pyproject.toml. `xfail` is no skip and stays what it is.
"""

import os
from collections.abc import Generator

import pytest

SENTENCE = (
    "REQUIRE_ALL=1 counts a skip as a failure; install what is missing or mend the test. It was skipped because: "
)


def required() -> bool:
    """Return whether this run must not skip anything."""
    return os.environ.get("REQUIRE_ALL", "") not in {"", "0"}


def reason(longrepr: object) -> str:
    """Return why pytest skipped, from a report's (path, line, text) triple or whatever stands in its place."""
    text = longrepr[2] if isinstance(longrepr, tuple) and len(longrepr) == 3 else longrepr
    return str(text).removeprefix("Skipped: ")


def fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Change a skipped report into a failed one that says why it would have been skipped."""
    if required() and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = SENTENCE + reason(report.longrepr)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge each test's report after every other plugin has seen it."""
    report = yield
    fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module that skips itself while it is collected hides all its tests, so it counts too."""
    report = yield
    fail_if_skipped(report)
    return report


def pytest_itemcollected(item: pytest.Item) -> None:
    """Send tests that start real processes, and tests that drive a browser, to one xdist worker per kind.

    Two stacks starting at once on two cores would miss their deadlines for no fault of the code. Keycloak is a process
    too, and one worker means one Keycloak per run. So it does for the control plane of a cluster.
    """
    kinds = {"keycloak": "processes", "processes": "processes", "browser": "browser", "cluster": "cluster"}
    for kind, group in kinds.items():
        if item.get_closest_marker(kind) and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(group))
