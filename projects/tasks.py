"""Background work."""

from celery import shared_task

from projects import keys


@shared_task
def expire() -> None:
    """Mark keys whose end has passed."""
    keys.expire()
