"""What takes longer to make than most of the tests that want it is made once for those that follow each other: each
works in a savepoint of its own, on copies of the objects, so none sees what another one did.
"""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from tests.conftest import NoBroker, Org, people
from tests.world import World, furnish

# By the name of the fixture that hands out copies: what makes it, given a folder. A file of tests may add its own.
MAKERS: dict[str, Callable[[Path], Any]] = {"world": lambda folder: furnish(people())}


class Shared:
    """What one maker made, in an open transaction, or nothing."""

    def __init__(self) -> None:
        self.made: Any = None
        self.outer: Any = None
        self.blocker: DjangoDbBlocker | None = None

    def enter(self, name: str, blocker: DjangoDbBlocker, folders: pytest.TempPathFactory) -> None:
        """Make it where there is none."""
        if self.made is not None:
            return
        self.blocker, folder = blocker, folders.mktemp(name)
        with blocker.unblock(), pytest.MonkeyPatch.context() as patch, override_settings(STATE_DIR=folder):
            patch.setattr("endpoints.nudge.current_app", NoBroker)
            self.outer = transaction.atomic()
            self.outer._from_testcase = True  # as Django's own tests mark theirs: code may ask for the outermost one
            self.outer.__enter__()
            self.made = MAKERS[name](folder)

    def leave(self) -> None:
        """Undo it."""
        if self.blocker is None or self.outer is None:
            return
        with self.blocker.unblock():
            transaction.set_rollback(True)
            self.outer.__exit__(None, None, None)
        self.made = self.outer = None


SHARED = Shared()


def wants(item: Any) -> str:
    """The name of what a test shares with others, or ""."""
    return next((name for name in MAKERS if name in getattr(item, "fixturenames", ())), "")


def copied() -> Any:
    """What was made, for one test."""
    return copy.deepcopy(SHARED.made)


@pytest.fixture(autouse=True)
def _shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Stands before `db`: autouse fixtures come first. No other fixture may be called like one of the makers."""
    if name := wants(request.node):
        request.getfixturevalue("django_db_setup")
        SHARED.enter(name, request.getfixturevalue("django_db_blocker"), tmp_path_factory)


@pytest.fixture
def world(db: None, state_dir: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    """An object of every kind."""
    monkeypatch.setattr("endpoints.nudge.current_app", NoBroker)
    found: World = copied()
    return found


@pytest.fixture
def org(db: None, request: pytest.FixtureRequest) -> Org:
    """Personas and projects; those of what the test shares with others where it does."""
    if name := wants(request.node):
        found: Org = request.getfixturevalue(name).org
        return found
    return people()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: Any, nextitem: Any) -> Iterator[None]:
    """It goes with the last test of a row that wanted it."""
    yield
    if wants(nextitem) != wants(item):
        SHARED.leave()
