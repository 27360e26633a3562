"""Start-up checks of the audit tables."""

from collections.abc import Sequence
from typing import Any

from django.apps.config import AppConfig
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections
from django.db.utils import DatabaseError

from audit import triggers


@register(Tags.database)
def append_only(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """audit.E001: the triggers that forbid to change audit rows are missing."""
    found: list[CheckMessage] = []
    for alias in databases or []:
        connection = connections[alias]
        try:
            if "audit_row" not in connection.introspection.table_names():
                continue
            absent = triggers.missing(connection)
        except DatabaseError:
            continue  # no database yet: migrate comes first
        if absent:
            found.append(
                Error(
                    f"The audit tables are not append-only: {', '.join(absent)} missing.",
                    hint="Run ./manage.py migrate, which creates the triggers again.",
                    id="audit.E001",
                )
            )
    return found
