"""Answers that still run when their key has ended: they may come to their end, but do not run on for ever.

An ended key starts nothing new within a second. What runs at that moment is mostly an honest caller's, so it gets a
minute; an answer without an end would otherwise be a way to keep a leaked key in use.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from endpoints.gateways.builtin.directory import Directory
from endpoints.gateways.builtin.errors import Refusal, invalid_key
from endpoints.gateways.builtin.relay import Relay

LEFTOVER_SECONDS = 60.0  # how long an answer may run on after it was noticed that its key has ended
LOOK_SECONDS = 5.0  # how often that is looked for; shorter answers are never looked at

log = logging.getLogger(__name__)


class Leftovers:
    """The calls that run, by their key, and since when those keys are known to have ended."""

    def __init__(self, directory: Directory, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` counts seconds."""
        self._directory, self._clock = directory, clock
        self._relays: dict[Relay, tuple[str, float]] = {}  # SHA-256 of the key, and since when it runs
        self._ended: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        if self._task is None:
            self._task = asyncio.create_task(self._follow(), name="gateway-leftovers")

    def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()

    @contextmanager
    def watching(self, relay: Relay, digest: str) -> Iterator[None]:
        """Keep an eye on a call while it runs; `digest` is the SHA-256 of its key (hex)."""
        self._relays[relay] = (digest, self._clock())
        try:
            yield
        finally:
            del self._relays[relay]

    async def look(self) -> None:
        """Break off what has run on for too long. A key that nobody can judge at the moment changes nothing."""
        now = self._clock()
        old = {relay: digest for relay, (digest, since) in self._relays.items() if now - since >= LOOK_SECONDS}
        running = set(old.values())
        self._ended = {digest: since for digest, since in self._ended.items() if digest in running}
        for digest in running:
            try:
                why = await self._why_ended(digest)
            except Refusal:
                continue
            if not why:
                self._ended.pop(digest, None)
            elif now - self._ended.setdefault(digest, now) >= LEFTOVER_SECONDS:
                late = [relay for relay, of in old.items() if of == digest and relay in self._relays]
                log.warning("gateway.cut_off answers=%s reason=%s", len(late), why)
                for relay in late:
                    relay.cut(invalid_key(why))

    async def _why_ended(self, digest: str) -> str:
        key = await self._directory.key(digest)
        return key.why_not(time.time()) if key is not None else "The key of this call no longer exists."

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except Exception:
                log.exception("gateway.bug in=leftovers")
