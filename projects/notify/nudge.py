"""Nudging a worker after commit. Losing one costs a sweep of `projects.tasks.deliver`, never a mail or a call."""

import logging

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

TASK = "projects.tasks.deliver"
EXPIRES_SECONDS = 15

log = logging.getLogger(__name__)


def nudge() -> None:
    """Ask a worker, once the current transaction commits, to empty the queue of deliveries. Never raises."""

    def send() -> None:
        try:
            current_app.send_task(TASK, expires=EXPIRES_SECONDS)
        except (OperationalError, OSError) as error:
            log.warning("notify.nudge_failed error=%s", error)

    transaction.on_commit(send)
