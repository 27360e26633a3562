"""The directory: who may call what, kept in memory, so that a call costs no query.

Every entry carries the epoch it was read at. The epoch is read twice a second, and at once when the bus says so. When
it has moved, an entry is read again before its next use, once for all calls that wait for it. What admits a call lives
until the epoch moves, what refuses one a second. No call is judged by an epoch that was read more than a second before
it came: on a busy machine or a slow database it waits for a newer one. While the database is away, what is known goes
on for the grace period, then every call is refused; only the epoch, which has a thread of its own, tells that it is
away, so that no crowd of callers can make it look so.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from endpoints.gateways.builtin.errors import control_plane_unavailable
from endpoints.gateways.builtin.records import EndpointRecord, KeyRecord
from endpoints.gateways.builtin.source import Quotas, Source
from quotas.bounds import Bound
from quotas.spent import Spent

# A revocation must reach every gateway within a second; at one poll a second the read behind it would come too late.
PROMISE_SECONDS = 1.0
POLL_SECONDS = 0.5
DATABASE_SECONDS = 3.0  # a database that answers slower counts as away
REFUSAL_SECONDS = 1.0
MAX_AGE_SECONDS = 30.0  # heals a change made behind the services' back, which moved no epoch
MAX_ENTRIES = 20_000

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class Entry(Generic[V]):
    """A value, the epoch it was read at, and when (monotonic seconds)."""

    value: V
    epoch: int
    at: float


class Shelf(Generic[K, V]):
    """A bounded map of entries, least recently used out first, whose refreshes are coalesced."""

    def __init__(self, read: Callable[[K], Awaitable[Entry[V]]], limit: int = MAX_ENTRIES) -> None:
        """`read` fetches one entry, `limit` is how many are kept."""
        self._read, self._limit = read, limit
        self._entries: OrderedDict[K, Entry[V]] = OrderedDict()
        self._reading: dict[K, asyncio.Task[Entry[V]]] = {}

    def get(self, key: K) -> Entry[V] | None:
        """Return what is kept, however old."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    async def refresh(self, key: K) -> Entry[V]:
        """Read `key` again, together with everybody who waits for it; raises what `read` raises."""
        task = self._reading.get(key)
        if task is None:
            task = self._reading[key] = asyncio.ensure_future(self._run(key))
            task.add_done_callback(lambda done: self._finished(key, done))
        return await asyncio.shield(task)  # one caller who hangs up must not end the read of the others

    async def _run(self, key: K) -> Entry[V]:
        entry = await self._read(key)
        self._entries[key] = entry
        self._entries.move_to_end(key)
        while len(self._entries) > self._limit:
            self._entries.popitem(last=False)
        return entry

    def _finished(self, key: K, task: "asyncio.Task[Entry[V]]") -> None:
        self._reading.pop(key, None)
        if not task.cancelled():
            task.exception()  # seen, also when every caller has gone


class Directory:
    """Keys by SHA-256 and endpoints by project, each good for the current epoch."""

    def __init__(self, source: Source, *, grace_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`grace_seconds`: how long known keys go on while the database is away; 0 closes at once."""
        self._source, self._grace, self._clock = source, grace_seconds, clock
        # A checksum is easily made, so anybody can have keys read that do not exist. They wait among themselves.
        self._epoch_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gateway-epoch")
        self._strangers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="gateway-db-new")
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="gateway-db")
        self._keys: Shelf[str, KeyRecord | None] = Shelf(self._read_key)
        self._projects: Shelf[int, dict[str, EndpointRecord]] = Shelf(self._read_project)
        self._quotas: Shelf[int, Quotas] = Shelf(self._read_quotas)
        self._epoch, self._seen, self._failing = -1, clock(), False
        self._confirmed = clock()  # when the reading that brought the epoch had begun
        self._asking: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None

    # --- Questions ---------------------------------------------------------------------------------------------------

    def knows(self, digest: str) -> bool:
        """Whether the key was asked for lately, whatever came of it."""
        return self._keys.get(digest) is not None

    async def key(self, digest: str) -> KeyRecord | None:
        """Return the key whose secret has this SHA-256 (hex). Raises Refusal when nobody can tell."""
        needed = self._clock() - PROMISE_SECONDS
        while self._confirmed < needed and not self._failing:
            await self._ask()
        entry = self._keys.get(digest)
        admits = entry is not None and entry.value is not None and entry.value.admits
        if entry is None or not self._fresh(entry, admits=admits):
            entry = await self._renew(self._keys, digest, entry)
        return entry.value

    async def endpoint(self, key: KeyRecord, name: str) -> EndpointRecord | None:
        """Return the endpoint of the key's project by its name. Raises Refusal when nobody can tell."""
        entry = self._projects.get(key.project_id)
        found = entry.value.get(name) if entry is not None else None
        if entry is None or not self._fresh(entry, admits=found is not None and found.admits):
            entry = await self._renew(self._projects, key.project_id, entry)
        return entry.value.get(name)

    async def endpoints(self, key: KeyRecord) -> Mapping[str, EndpointRecord]:
        """Return the living endpoints of the key's project by name. Raises Refusal when nobody can tell."""
        entry = self._projects.get(key.project_id)
        if entry is None or not self._fresh(entry, admits=False):
            entry = await self._renew(self._projects, key.project_id, entry)
        return entry.value

    async def quotas(self, project_id: int) -> Quotas:
        """Return the token quotas of a project by what they limit. Raises Refusal when nobody can tell."""
        entry = self._quotas.get(project_id)
        if entry is None or not self._fresh(entry, admits=True):
            entry = await self._renew(self._quotas, project_id, entry)
        return entry.value

    async def spent(self, wanted: Sequence[Bound], journals: Sequence[str]) -> Spent:
        """Read what `wanted` used, never from memory. Raises Refusal while the database is away."""
        if self._failing:
            raise control_plane_unavailable()
        try:
            found = await self._in_thread(lambda: self._source.spent(wanted, journals))
        except Exception as error:
            self._lost(error)
            raise control_plane_unavailable() from error
        self._found()
        return found

    def reachable(self) -> bool:
        """Whether the database answers, or has answered within the grace period."""
        return not self._failing or self._clock() - self._seen < self._grace

    def nudge(self) -> None:
        """Read the epoch now: the bus says that something has changed."""
        self._wake.set()

    # --- Life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to follow the epoch."""
        if self._poller is None:
            self._poller = asyncio.create_task(self._follow(), name="gateway-epoch")

    async def stop(self) -> None:
        """End the background work."""
        if self._poller is not None:
            self._poller.cancel()
            with suppress(asyncio.CancelledError):
                await self._poller
        if self._asking is not None:
            self._asking.cancel()
        for threads in (self._epoch_thread, self._strangers, self._threads):
            threads.shutdown(wait=False, cancel_futures=True)

    # --- Inside ------------------------------------------------------------------------------------------------------

    def _fresh(self, entry: Entry[V], *, admits: bool) -> bool:
        if not self.reachable():
            raise control_plane_unavailable()
        age = self._clock() - entry.at
        return entry.epoch == self._epoch and age < (MAX_AGE_SECONDS if admits else REFUSAL_SECONDS)

    async def _renew(self, shelf: Shelf[K, V], key: K, old: Entry[V] | None) -> Entry[V]:
        """Read an entry again; while the database is away, what is known goes on for the grace period."""
        if self._failing:  # the poller finds out when the database is back; calls do not queue up behind it
            if old is not None and self.reachable():
                return old
            raise control_plane_unavailable()
        try:
            return await self._current(shelf, key)
        except Exception as error:
            log.warning("gateway.read_failed error=%s", type(error).__name__)
            if await self._ask():  # it was this reading alone: a connection that broke, or too many at once
                return await self._once_more(shelf, key)
            if old is not None and self.reachable():
                return old
            raise control_plane_unavailable() from error

    async def _current(self, shelf: Shelf[K, V], key: K) -> Entry[V]:
        entry = await shelf.refresh(key)
        if entry.epoch != self._epoch:  # it joined a read that had begun before the change
            entry = await shelf.refresh(key)
        return entry

    async def _once_more(self, shelf: Shelf[K, V], key: K) -> Entry[V]:
        """Read while the database answers others: what is known does not go on then, it may have ended."""
        try:
            return await self._current(shelf, key)
        except Exception as error:
            raise control_plane_unavailable() from error

    async def _read_key(self, digest: str) -> Entry[KeyRecord | None]:
        kept = self._keys.get(digest)
        threads = self._strangers if kept is None or kept.value is None else self._threads
        epoch, value = await self._in_thread(lambda: self._source.key(digest), threads)
        return self._entry(epoch, value)

    async def _read_project(self, project_id: int) -> Entry[dict[str, EndpointRecord]]:
        epoch, value = await self._in_thread(lambda: self._source.endpoints(project_id))
        return self._entry(epoch, value)

    async def _read_quotas(self, project_id: int) -> Entry[Quotas]:
        epoch, value = await self._in_thread(lambda: self._source.quotas(project_id))
        return self._entry(epoch, value)

    def _entry(self, epoch: int, value: V) -> Entry[V]:
        self._epoch = max(epoch, self._epoch)
        self._found()
        return Entry(value, epoch, self._clock())

    async def _in_thread(self, read: Callable[[], V], threads: ThreadPoolExecutor | None = None) -> V:
        async with asyncio.timeout(DATABASE_SECONDS):
            return await asyncio.get_running_loop().run_in_executor(threads or self._threads, read)

    async def _ask(self) -> bool:
        """Read the epoch, together with everybody who waits for it; return whether the database answered."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._read_epoch())
        await asyncio.shield(self._asking)
        return not self._failing

    async def _read_epoch(self) -> None:
        """Read the epoch; an answer that comes too late or not at all means that the database is away."""
        begun = self._clock()
        try:
            self._epoch = await self._in_thread(self._source.epoch, self._epoch_thread)
        except Exception as error:
            self._lost(error)
        else:
            self._confirmed = begun
            self._found()

    async def _follow(self) -> None:
        """Poll the epoch."""
        while True:
            await self._ask()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()
            self._wake.clear()

    def _found(self) -> None:
        if self._failing:
            log.warning("gateway.database_back")
        self._failing, self._seen = False, self._clock()

    def _lost(self, error: Exception) -> None:
        if not self._failing:
            log.error("gateway.database_away grace_seconds=%s error=%s", self._grace, type(error).__name__)
        self._failing = True
