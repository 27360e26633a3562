"""The database keeps two copies in each decision true: its requester, so that its CHECK really forbids to decide an own
request; and its stage, which must be one of its request.
"""

from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

MESSAGE = "the requester of a decision must be the requester of its request"
CONSTRAINT = "decision_requester_is_the_requests"
STAGE_MESSAGE = "the stage of a decision must be one of its request"
STAGE_CONSTRAINT = "decision_stage_is_the_requests"
KEYS = {  # constraint → the columns of a decision, and what they point to
    CONSTRAINT: ("request_id, requester_id", "approvals_request (id, requester_id)"),
    STAGE_CONSTRAINT: ("stage_id, request_id", "approvals_stage (id, request_id)"),
}
SQLITE = tuple(f"{CONSTRAINT}_{event}" for event in ("insert", "update", "request")) + tuple(
    f"{STAGE_CONSTRAINT}_{event}" for event in ("insert", "update", "stage")
)


def _sqlite(connection: BaseDatabaseWrapper) -> None:
    differs = "(SELECT requester_id FROM approvals_request WHERE id = NEW.request_id) <> NEW.requester_id"
    decided = "EXISTS (SELECT 1 FROM approvals_decision WHERE request_id = NEW.id AND requester_id <> NEW.requester_id)"
    strange = "(SELECT request_id FROM approvals_stage WHERE id = NEW.stage_id) <> NEW.request_id"
    moved = "EXISTS (SELECT 1 FROM approvals_decision WHERE stage_id = NEW.id AND request_id <> NEW.request_id)"
    insert, update = "BEFORE INSERT ON approvals_decision", "BEFORE UPDATE ON approvals_decision"
    with connection.cursor() as cursor:
        for name, event, condition, message in (
            (f"{CONSTRAINT}_insert", insert, differs, MESSAGE),
            (f"{CONSTRAINT}_update", update, differs, MESSAGE),
            (f"{CONSTRAINT}_request", "BEFORE UPDATE OF requester_id ON approvals_request", decided, MESSAGE),
            (f"{STAGE_CONSTRAINT}_insert", insert, strange, STAGE_MESSAGE),
            (f"{STAGE_CONSTRAINT}_update", update, strange, STAGE_MESSAGE),
            (f"{STAGE_CONSTRAINT}_stage", "BEFORE UPDATE OF request_id ON approvals_stage", moved, STAGE_MESSAGE),
        ):
            cursor.execute(
                f"CREATE TRIGGER IF NOT EXISTS {name} {event} WHEN {condition} "
                f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
            )


def _postgresql(connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        for name, (columns, target) in KEYS.items():
            cursor.execute("SELECT 1 FROM pg_constraint WHERE conname = %s", [name])
            if cursor.fetchone() is None:
                cursor.execute(
                    f"ALTER TABLE approvals_decision ADD CONSTRAINT {name} FOREIGN KEY ({columns}) "
                    f"REFERENCES {target} DEFERRABLE INITIALLY IMMEDIATE"
                )


def drop_before_migrate(using: str, plan: Sequence[Any], **_: Any) -> None:
    """Receiver of pre_migrate: SQLite remakes a table to change it, and refuses that while a trigger of another table
    names it. They stay where there is nothing to apply.
    """
    connection = connections[using]
    if plan and connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            for name in SQLITE:
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}")


def create_after_migrate(using: str, **_: Any) -> None:
    """Receiver of post_migrate."""
    connection = connections[using]
    (_sqlite if connection.vendor == "sqlite" else _postgresql)(connection)
