"""What the tests of quotas share."""

import datetime as dt
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections

from quotas.journal import Journal

NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)


@pytest.fixture
def file_database(transactional_db: None, tmp_path: Path) -> Iterator[None]:
    """The database as it is in production: SQLite in a file. In memory its locks do not wait, they fail.

    Ask for it after the fixtures that fill the database: what is there is copied. Nothing to do on PostgreSQL.
    """
    if connection.vendor != "sqlite":
        yield
        return
    memory = connections["default"]
    memory.ensure_connection()
    path = tmp_path / "test.sqlite3"
    with sqlite3.connect(path) as target:
        memory.connection.backup(target)
    target.close()
    name = memory.settings_dict["NAME"]
    file = memory.copy()
    file.settings_dict["NAME"] = connections.settings["default"]["NAME"] = str(path)
    connections["default"] = file
    try:
        yield
    finally:
        file.close()
        connections.settings["default"]["NAME"] = name
        connections["default"] = memory


@pytest.fixture
def in_threads() -> Callable[[int, Callable[[int], Any]], list[Any]]:
    """Run `work(number)` in `count` threads that start at the same moment; the results in the order of the numbers."""

    def start(count: int, work: Callable[[int], Any]) -> list[Any]:
        barrier = threading.Barrier(count)

        def run(number: int) -> Any:
            try:
                barrier.wait()
                return work(number)
            finally:
                connection.close()

        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(run, range(count)))

    return start


def started(**fields: Any) -> dict[str, Any]:
    """Fields of a start record."""
    return {
        "request_id": uuid.uuid4().hex, "at": NOON, "project_id": 1, "endpoint_id": "e1", "endpoint": "scoring",
        "key_id": "k1", "key": "gth_abcdefgh", "person": "dana", "purpose": "api", "operation": "chat", "stream": True,
        "estimated_input": 40,
    } | fields  # fmt: skip


def finished(**fields: Any) -> dict[str, Any]:
    """Fields of an end record."""
    return {
        "status": 200, "outcome": "ok", "input_tokens": 100, "output_tokens": 20, "cached_tokens": 10,
        "ttft_ms": 180.0, "latency_ms": 900.0,
    } | fields  # fmt: skip


def call(journal: Journal, *, start: dict[str, Any] | None = None, **end: Any) -> None:
    """Write one whole call."""
    journal.end(journal.start(**started(**(start or {}))), **finished(**end))
