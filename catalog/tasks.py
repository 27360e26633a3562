"""Background work."""

import os
import secrets
import socket

from celery import shared_task

from catalog import audience, collecting, jobs, services, verification
from catalog.mcp import grants


@shared_task
def expire() -> None:
    """Take away the grants whose end has passed; they stopped counting at that moment already."""
    audience.expire()
    grants.expire()


@shared_task
def verify() -> None:
    """Have the content of versions compared with their pins again, where the last time is long ago."""
    verification.want_due()


@shared_task(time_limit=jobs.LONGEST_SECONDS, soft_time_limit=jobs.LONGEST_SECONDS - 60)
def collect() -> None:
    """Run the checks that are due. A download may take hours; what is ended in the middle goes on from there."""
    jobs.run_due(f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}")


@shared_task
def renew() -> None:
    """Have evidence collected again before it expires, and retire what was announced to end."""
    collecting.renew()
    services.retire_due()
