"""The furnished organisation is made once for tests that follow each other and want it, since that takes longer than
most of them: each works in a savepoint of its own, on copies of the objects, so none sees what another one did.
"""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from tests.conftest import NoBroker, Org, people
from tests.world import World, furnish


class Shared:
    """One furnished organisation in an open transaction, or none."""

    def __init__(self) -> None:
        self.world: World | None = None
        self.outer: Any = None
        self.blocker: DjangoDbBlocker | None = None

    def enter(self, blocker: DjangoDbBlocker, state: Any) -> None:
        """Make it where there is none."""
        if self.world is not None:
            return
        self.blocker = blocker
        with blocker.unblock(), pytest.MonkeyPatch.context() as patch, override_settings(STATE_DIR=state):
            patch.setattr("endpoints.nudge.current_app", NoBroker)
            self.outer = transaction.atomic()
            self.outer._from_testcase = True  # as Django's own tests mark theirs: code may ask for the outermost one
            self.outer.__enter__()
            self.world = furnish(people())

    def leave(self) -> None:
        """Undo it."""
        if self.blocker is None or self.outer is None:
            return
        with self.blocker.unblock():
            transaction.set_rollback(True)
            self.outer.__exit__(None, None, None)
        self.world = self.outer = None


SHARED = Shared()


def wants(item: Any) -> bool:
    """Whether a test works in the furnished organisation."""
    return "world" in getattr(item, "fixturenames", ())


@pytest.fixture(autouse=True)
def _shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Stands before `db`: autouse fixtures come first. No other fixture may be called `world`."""
    if wants(request.node):
        request.getfixturevalue("django_db_setup")
        SHARED.enter(request.getfixturevalue("django_db_blocker"), tmp_path_factory.getbasetemp())


@pytest.fixture
def world(db: None, state_dir: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    """An object of every kind."""
    monkeypatch.setattr("endpoints.nudge.current_app", NoBroker)
    return copy.deepcopy(SHARED.world)  # type: ignore[return-value]


@pytest.fixture
def org(db: None, request: pytest.FixtureRequest) -> Org:
    """Personas and projects; those of the furnished organisation where the test has it."""
    if wants(request.node):
        found: Org = request.getfixturevalue("world").org
        return found
    return people()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: Any) -> Iterator[None]:
    """The organisation goes with the last test of a row that wanted it."""
    yield
    if not wants(nextitem):
        SHARED.leave()
