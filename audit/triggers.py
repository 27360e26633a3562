"""Triggers that make the audit tables append-only, on SQLite and PostgreSQL."""

from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

TABLES = ("audit_row", "audit_seal")
MESSAGE = "audit rows are append-only"


def _sqlite(table: str) -> list[str]:
    return [
        f"CREATE TRIGGER IF NOT EXISTS {table}_no_{verb} BEFORE {verb.upper()} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
        for verb in ("update", "delete")
    ]


def _postgresql(table: str) -> list[str]:
    return [
        "CREATE OR REPLACE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{MESSAGE}'; END $$",
        f"DROP TRIGGER IF EXISTS {table}_no_change ON {table}",
        f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION audit_append_only()",
        f"DROP TRIGGER IF EXISTS {table}_no_truncate ON {table}",
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()",
    ]


def create(connection: BaseDatabaseWrapper) -> None:
    """Create the triggers where they are missing."""
    make = _sqlite if connection.vendor == "sqlite" else _postgresql
    with connection.cursor() as cursor:
        for table in TABLES:
            for statement in make(table):
                cursor.execute(statement)


def drop(connection: BaseDatabaseWrapper) -> None:
    """Drop the triggers: only for emptying a test database."""
    verbs = ("update", "delete") if connection.vendor == "sqlite" else ("change", "truncate")
    with connection.cursor() as cursor:
        for table in TABLES:
            for verb in verbs:
                on = "" if connection.vendor == "sqlite" else f" ON {table}"
                cursor.execute(f"DROP TRIGGER IF EXISTS {table}_no_{verb}{on}")


def missing(connection: BaseDatabaseWrapper) -> list[str]:
    """Return the names of triggers that should exist and do not."""
    if connection.vendor == "sqlite":
        wanted = {f"{table}_no_{verb}" for table in TABLES for verb in ("update", "delete")}
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    else:
        wanted = {f"{table}_no_{verb}" for table in TABLES for verb in ("change", "truncate")}
        query = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
    with connection.cursor() as cursor:
        cursor.execute(query)
        return sorted(wanted - {row[0] for row in cursor.fetchall()})


def create_after_migrate(using: str, **_: Any) -> None:
    """Receiver of post_migrate."""
    create(connections[using])
