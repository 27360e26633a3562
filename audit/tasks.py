"""Background work."""

from celery import shared_task

from audit import services


@shared_task
def seal() -> None:
    """Seal what has been written since the last time."""
    services.seal()
