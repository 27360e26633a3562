"""Nudges: a message that says "look at this row now". The row is the queue, so a lost nudge costs one sweep and never
an endpoint.
"""

import logging
from typing import Any
from uuid import UUID

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

log = logging.getLogger(__name__)
TASK = "endpoints.tasks.reconcile"  # by name: the task calls the services, and the services nudge


def nudge(
    endpoint_id: UUID | str, *, due: str = "", countdown: float | None = None, expires: float | None = None
) -> None:
    """Ask a worker, after the current transaction commits, to look at an endpoint.

    `due` names the `due_at` that the message belongs to: it does nothing when the row is due at another time by then.
    `countdown` and `expires` are seconds. Never raises: without a broker the next sweep does the same work.
    """

    def after_commit() -> None:
        send(endpoint_id, due=due, countdown=countdown, expires=expires)

    transaction.on_commit(after_commit)


def send(
    endpoint_id: UUID | str, *, due: str = "", countdown: float | None = None, expires: float | None = None
) -> bool:
    """Nudge at once, whatever the transaction; False when there is no broker."""
    return post(TASK, [str(endpoint_id), due], countdown=countdown, expires=expires)


def post(task: str, args: list[Any], *, countdown: float | None = None, expires: float | None = None) -> bool:
    """Hand a message to the broker; False when there is none, which the next sweep makes up for."""
    try:
        current_app.send_task(task, args=args, countdown=countdown, expires=expires)
    except (OperationalError, OSError) as error:
        log.warning("endpoints.nudge_failed task=%s about=%s error=%s", task, args[0], error)
        return False
    return True
