"""What the tests of endpoints share: a broker that only remembers, and engines that end with their test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from endpoints.clusters.local import stop_all
from tests.endpoints.endpoint_kit import Broker
from tests.endpoints.gitops_kit import make_writer, repository

__all__ = ["broker", "home", "make_writer", "repository"]


@pytest.fixture(autouse=True)
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """Every nudge of the test, in order; nothing is sent."""
    made = Broker()
    monkeypatch.setattr("endpoints.nudge.current_app", made)
    return made


@pytest.fixture
def home(state_dir: Path) -> Iterator[Path]:
    """A state directory whose engines are stopped at the end."""
    yield state_dir
    assert stop_all(state_dir, 8) == []
