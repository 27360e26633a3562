"""A portal that exists is upgraded in place: an older database becomes what a new one is, and keeps all it holds."""

import gzip
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from django.conf import settings

DUMP = Path(__file__).parent.parent / "data" / "database-2026-11-21.sql.gz"  # before issues 4 to 6, with demo content
KEPT = ("projects_user", "projects_project", "projects_membership", "catalog_version", "approvals_request", "audit_row")

pytestmark = pytest.mark.slow


def manage(database: Path, *command: str) -> str:
    """Run manage.py on a SQLite file and return what it printed."""
    env = os.environ | {"DATABASE_URL": f"sqlite:///{database}", "GATEHOUSE_STATE_DIR": str(database.parent)}
    done = subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=settings.BASE_DIR, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def shape(database: Path) -> dict[str, object]:
    """What a SQLite file is made of: columns and keys of each table in any order, the words of all else."""
    found: dict[str, object] = {}
    with closing(sqlite3.connect(database)) as connection:
        for kind, name, table, sql in connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"):
            if kind != "table":
                found[f"{kind} {name}"] = (table, sql)
            elif not name.startswith("sqlite_"):
                columns = sorted(row[1:] for row in connection.execute(f"PRAGMA table_info('{name}')"))
                keys = sorted(row[2:7] for row in connection.execute(f"PRAGMA foreign_key_list('{name}')"))
                found[f"table {name}"] = (columns, keys, sorted(re.findall(r'CONSTRAINT "(\w+)"', sql)))
    return found


def counts(database: Path) -> dict[str, int]:
    """How many rows the tables have that must lose none."""
    with closing(sqlite3.connect(database)) as connection:
        return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in KEPT}


def test_an_old_database_becomes_what_a_new_one_is(tmp_path: Path) -> None:
    old, new = tmp_path / "old.sqlite3", tmp_path / "new.sqlite3"
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript(gzip.decompress(DUMP.read_bytes()).decode())
    before = counts(old)
    assert min(before.values()) > 0
    manage(new, "migrate", "--verbosity", "0")
    assert shape(old) != shape(new)
    manage(old, "migrate", "--verbosity", "0")
    assert shape(old) == shape(new)
    assert counts(old) == before
    assert "No migrations to apply" in manage(old, "migrate")
    manage(old, "audit", "verify")
    manage(old, "check")
