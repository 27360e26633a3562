"""Nudging a worker after commit. Losing a nudge costs one sweep of `catalog.tasks.collect`, never a check."""

import logging

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

TASK = "catalog.tasks.collect"  # by name: the task calls the services, and the services nudge
EXPIRES_SECONDS = 60

log = logging.getLogger(__name__)


def nudge(*, countdown: float | None = None) -> None:
    """Ask a worker, once the current transaction commits, to empty the queue of checks; after `countdown` seconds.
    Never raises.
    """
    expires = EXPIRES_SECONDS + (countdown or 0)

    def send() -> None:
        try:
            current_app.send_task(TASK, countdown=countdown, expires=expires)
        except (OperationalError, OSError) as error:
            log.warning("catalog.nudge_failed error=%s", error)

    transaction.on_commit(send)
