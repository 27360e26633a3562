"""The worker child: Celery's worker with beat inside it; takes the arguments of `celery worker`."""

import logging
import os
import select
import signal
import sys
import threading
from typing import Any

from celery.signals import beat_embedded_init, worker_process_init, worker_ready, worker_shutting_down

from portal.celery import app
from portal.env import EnvError
from portal.launcher.children import tie_to

log = logging.getLogger(__name__)
_stopping = threading.Event()
_worker = os.getpid()


@beat_embedded_init.connect
@worker_process_init.connect
def die_with_worker(**_: Any) -> None:
    """Tie beat and the pool processes to the worker.

    The worker's pid was read before the fork: a process whose worker was killed in between sees another parent and
    ends.
    """
    tie_to(_worker)()


@worker_ready.connect
def worker_dies_with_beat(sender: Any, **_: Any) -> None:
    """Celery does not notice that its embedded beat has died, and without beat nothing is ever reconciled again.

    So the worker ends too, and the launcher starts both anew. Linux only: elsewhere there is no pidfd.
    """
    beat = getattr(sender.controller, "beat", None)
    if beat is not None and hasattr(os, "pidfd_open"):
        handle = os.pidfd_open(beat.pid)
        threading.Thread(target=_end_with, args=(handle,), name="beat-watch", daemon=True).start()


@worker_shutting_down.connect
def note_shutdown(**_: Any) -> None:
    """From here on beat is stopped on purpose."""
    _stopping.set()


def _end_with(handle: int) -> None:
    select.select([handle], [], [])
    if not _stopping.is_set():
        log.error("launcher.beat_died: the worker ends, so that both start again")
        os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Run the worker until SIGTERM; a wrong setting ends it with its sentence."""
    try:
        app.worker_main(["worker", *sys.argv[1:]])
    except EnvError as error:
        sys.exit(f"gatehouse: {error}")


if __name__ == "__main__":
    main()
