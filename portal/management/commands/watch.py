"""`manage.py watch`: follow the registered clusters until SIGTERM. Several may run; each cluster is followed by one."""

import signal
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand

from endpoints.watching.supervising import Supervisor


class Command(BaseCommand):
    """Watch."""

    help = (
        "follow every registered cluster that has an API, so that changes there are seen at once. Start as many as you"
        " like: each cluster is followed by one of them, and taken over within seconds when that one dies."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or Ctrl-C, which end it at once and give the leases back."""
        supervisor = Supervisor()

        def stop(number: int, frame: FrameType | None) -> None:
            supervisor.stop()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        supervisor.run()
