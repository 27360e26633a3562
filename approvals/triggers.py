"""The database keeps the requester's copy in each decision true, so that its CHECK really forbids to decide an own
request.
"""

from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

MESSAGE = "the requester of a decision must be the requester of its request"
CONSTRAINT = "decision_requester_is_the_requests"


def _sqlite(connection: BaseDatabaseWrapper) -> None:
    differs = "(SELECT requester_id FROM approvals_request WHERE id = NEW.request_id) <> NEW.requester_id"
    decided = "EXISTS (SELECT 1 FROM approvals_decision WHERE request_id = NEW.id AND requester_id <> NEW.requester_id)"
    with connection.cursor() as cursor:
        for name, event, condition in (
            ("insert", "BEFORE INSERT ON approvals_decision", differs),
            ("update", "BEFORE UPDATE ON approvals_decision", differs),
            ("request", "BEFORE UPDATE OF requester_id ON approvals_request", decided),
        ):
            cursor.execute(
                f"CREATE TRIGGER IF NOT EXISTS {CONSTRAINT}_{name} {event} WHEN {condition} "
                f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
            )


def _postgresql(connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_constraint WHERE conname = %s", [CONSTRAINT])
        if cursor.fetchone() is None:
            cursor.execute(
                f"ALTER TABLE approvals_decision ADD CONSTRAINT {CONSTRAINT} FOREIGN KEY (request_id, requester_id) "
                "REFERENCES approvals_request (id, requester_id) DEFERRABLE INITIALLY IMMEDIATE"
            )


def create_after_migrate(using: str, **_: Any) -> None:
    """Receiver of post_migrate."""
    connection = connections[using]
    (_sqlite if connection.vendor == "sqlite" else _postgresql)(connection)
