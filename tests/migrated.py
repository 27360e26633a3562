"""Pytest plugin: migrations are applied to SQLite once. Later runs begin with a copy of the result, until a source or a
package changes, as the launcher does with its own database.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from portal.launcher.prepare import code_hash


@pytest.fixture(scope="session")
def migrated(request: pytest.FixtureRequest, django_db_modify_db_settings: None) -> Path | None:
    """Where the migrated database is kept; None with another database, and where an option says how to make it."""
    options = request.config.option
    cache = getattr(request.config, "cache", None)
    if connection.vendor != "sqlite" or cache is None or options.reuse_db or options.create_db or options.nomigrations:
        return None
    return Path(cache.mkdir("migrated")) / f"{code_hash()}.sqlite3"


@pytest.fixture(scope="session")
def django_db_keepdb(migrated: Path | None, django_db_keepdb: bool) -> bool:
    """Whether a database stands there already: the copy."""
    if migrated is None or not migrated.exists():
        return django_db_keepdb
    test = connection.settings_dict["TEST"]
    shutil.copyfile(migrated, test["NAME"])
    test["MIGRATE"] = False
    return True


@pytest.fixture(scope="session")
def django_db_setup(
    migrated: Path | None, django_db_keepdb: bool, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Keep what has just been migrated; take the copy away at the end."""
    if migrated is not None and not migrated.exists():
        for old in migrated.parent.glob("*.sqlite3"):
            old.unlink(missing_ok=True)
        fresh = migrated.with_suffix(f".{os.getpid()}")
        with django_db_blocker.unblock(), closing(sqlite3.connect(fresh)) as file:
            connection.ensure_connection()
            connection.connection.backup(file)
        fresh.replace(migrated)
    yield
    if migrated is not None and django_db_keepdb:
        for side in ("", "-wal", "-shm"):
            Path(f"{connection.settings_dict['TEST']['NAME']}{side}").unlink(missing_ok=True)
