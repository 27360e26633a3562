"""Background work."""

from celery import shared_task

from catalog import audience


@shared_task
def expire() -> None:
    """Take away the grants whose end has passed; they stopped counting at that moment already."""
    audience.expire()
