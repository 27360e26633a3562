"""Worker processes of a test, and the broker between them: a pipe, so that a worker may be killed at any moment and
takes nothing along but the messages that it holds. What is lost is found by the sweep, as in the real stack.
"""

import contextlib
import datetime as dt
import heapq
import json
import logging
import multiprocessing
import os
import select
import time
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.process import BaseProcess
from typing import Any

from django.db import connections
from django.utils import timezone

from endpoints import tasks
from endpoints.models import Endpoint

SIZE = 256  # of one message; a pipe takes and gives such a piece as a whole
_fork = multiprocessing.get_context("fork")
log = logging.getLogger(__name__)
Message = tuple[float, str, list[Any]]  # when it is due, the task, its arguments


class Pipe:
    """Takes messages from any process and gives each to one that reads. A full one drops them."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def send_task(
        self, name: str, args: Sequence[Any], countdown: float | None = None, expires: float | None = None
    ) -> None:
        """Take a message, as Celery's app does."""
        text = json.dumps([time.time() + (countdown or 0), name, list(args)]).ljust(SIZE)
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, text.encode())

    def take(self, seconds: float) -> Message | None:
        """The next message; None when none comes in time."""
        if not select.select([self._reader], [], [], seconds)[0]:
            return None
        try:
            due, name, args = json.loads(os.read(self._reader, SIZE))
        except BlockingIOError:  # somebody else was faster
            return None
        return due, name, args

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._reader)
        os.close(self._writer)


class Crew:
    """Workers of a name each; they begin with a task of their own and then take messages until they are ended."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe, self.workers = pipe, dict[str, BaseProcess]()

    def start(self, name: str, first: Iterable[Callable[[], object]] = ()) -> None:
        """Start a worker."""
        connections.close_all()  # a connection must not be in two processes
        worker = _fork.Process(target=_work, args=(self.pipe, tuple(first)), daemon=True)
        worker.start()
        self.workers[name] = worker

    def kill(self, name: str) -> None:
        """kill -9, and the end of its leases: a quarter of a minute later."""
        worker = self.workers.pop(name)
        worker.kill()
        worker.join(20)
        past = timezone.now() - dt.timedelta(seconds=1)
        Endpoint.objects.filter(claimed_by__contains=f":{worker.pid}:").update(claimed_until=past)

    def stop(self) -> None:
        """End all of them."""
        for worker in self.workers.values():
            worker.terminate()
        for worker in self.workers.values():
            worker.join(20)
        self.workers.clear()


def _work(pipe: Pipe, first: Sequence[Callable[[], object]]) -> None:
    for task in first:
        task()
    held: list[Message] = []
    while True:
        wait = max(0.0, min(0.2, held[0][0] - time.time())) if held else 0.2
        if (found := pipe.take(wait)) is not None:
            heapq.heappush(held, found)
        while held and held[0][0] <= time.time():
            _, name, args = heapq.heappop(held)
            try:
                getattr(tasks, name.rpartition(".")[2])(*args)
            except Exception:  # as Celery does: the sweep finds it again
                log.exception("a task failed")
