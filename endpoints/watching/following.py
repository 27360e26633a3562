"""One cluster followed: a thread for each feed, and in memory a digest of each object, so that only what matters for an
endpoint asks for a look at it.
"""

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from time import monotonic
from uuid import UUID

from django.utils import timezone

from endpoints.clusters import ClusterError
from endpoints.clusters.feeds import Feed, Mark
from endpoints.watching.leases import State
from portal.http import uuid_or_none

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.5  # seconds before a feed goes on after a failure; doubled up to
LAST_PAUSE = 15.0
SETTLED_SECONDS = 30.0  # a stream that lasted so long was healthy: the pauses begin anew
SHORT_SECONDS = 1.0  # a stream that ended in order sooner is not opened again at once
EACH_SECONDS = 1.0  # between two looks at the same endpoint
MOST = 100  # endpoints of one batch
BATCH_SECONDS = 0.25  # between two batches


class Follower:
    """Follows one cluster until it is stopped. Implements `Told`; touches no database."""

    def __init__(self, slug: str, feeds: Sequence[Feed], wake: Callable[[], None]) -> None:
        """`wake` is called from other threads when there is something for `due`."""
        self._slug, self._feeds, self._wake = slug, feeds, wake
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._marks: dict[str, dict[str, Mark]] = {}
        self._pending: dict[str, float] = {}  # endpoint → when it may be looked at, by the monotonic clock
        self._told: dict[str, float] = {}
        self._next_batch = 0.0
        self._whole = False
        self._signs: dict[str, datetime] = {}
        self._problems: dict[str, str] = {feed.name: "" for feed in feeds}
        self._live_since: datetime | None = None

    def start(self) -> None:
        """Start the threads."""
        for feed in self._feeds:
            name = f"watch {self._slug} {feed.name}"
            threading.Thread(target=self._keep_following, args=(feed,), name=name, daemon=True).start()

    def stop(self) -> None:
        """End the threads soon; waits for none of them."""
        self._ended.set()
        for feed in self._feeds:
            feed.close()

    @property
    def state(self) -> State:
        """How well the cluster is followed now."""
        with self._lock:
            problem = next((one for one in self._problems.values() if one), "")
            sign = min(self._signs.values()) if len(self._signs) == len(self._feeds) else None
            return State(self._live_since, sign, problem)

    def due(self) -> tuple[list[UUID], bool]:
        """Take what wants a look now: endpoints, each at most once a second, and whether all of the cluster does."""
        now = monotonic()
        with self._lock:
            whole, self._whole = self._whole, False
            if now < self._next_batch:
                return [], whole
            ready = [one for one, at in self._pending.items() if at <= now][:MOST]
            for one in ready:
                del self._pending[one]
            self._told = {one: at for one, at in self._told.items() if now - at < EACH_SECONDS}
            self._told.update(dict.fromkeys(ready, now))
            if ready:
                self._next_batch = now + BATCH_SECONDS
        return [found for one in ready if (found := uuid_or_none(one))], whole

    def put_back(self, endpoints: Sequence[UUID], whole: bool) -> None:
        """Give back what `due` gave and nobody could be told."""
        with self._lock:
            self._whole = self._whole or whole
            for one in endpoints:
                self._pending.setdefault(str(one), monotonic() + EACH_SECONDS)

    def wait(self) -> float | None:
        """Return the seconds until `due` may have more to give; None when nothing is on its way."""
        with self._lock:
            if not self._pending:
                return None
            return max(0.0, max(min(self._pending.values()), self._next_batch) - monotonic())

    # What feeds tell

    def listed(self, feed: str, found: Mapping[str, Mark]) -> None:
        """Remember; what differs from what was known wants a look, and after the first lists all of the cluster."""
        with self._lock:
            old = self._marks.get(feed)
            self._marks[feed] = dict(found)
            if old is not None:
                for key in old.keys() | found.keys():
                    self._compare(old.get(key), found.get(key))
        self._wake()

    def changed(self, feed: str, key: str, mark: Mark | None) -> None:
        """Remember; a change that matters wants a look."""
        with self._lock:
            known = self._marks.setdefault(feed, {})
            old = known.pop(key, None)
            if mark is not None:
                known[key] = mark
            news = self._compare(old, mark)
        if news:
            self._wake()

    def sign(self, feed: str) -> None:
        """Remember when; with the last of the streams the cluster is followed again, and nobody knows what happened
        until then.
        """
        with self._lock:
            self._signs[feed] = timezone.now()
            self._problems[feed] = ""
            begins = self._live_since is None and self._open == len(self._feeds)
            if begins:
                self._live_since, self._whole = timezone.now(), True
        if begins:
            log.info("endpoints.watch cluster=%s live", self._slug)
            self._wake()

    @property
    def _open(self) -> int:
        return sum(feed.name in self._signs and not self._problems[feed.name] for feed in self._feeds)

    def _compare(self, old: Mark | None, new: Mark | None) -> bool:
        """Ask for a look at the endpoints of an object that changed; the caller holds the lock."""
        if old == new:
            return False
        for one in {mark.endpoint for mark in (old, new) if mark is not None}:
            self._pending.setdefault(one, max(monotonic(), self._told.get(one, 0.0) + EACH_SECONDS))
        return True

    def _down(self, feed: str, sentence: str) -> None:
        with self._lock:
            news = self._live_since is not None or not self._problems[feed]
            self._problems[feed], self._live_since = sentence, None
        if news:
            log.warning("endpoints.watch cluster=%s feed=%s down: %s", self._slug, feed, sentence)
            self._wake()

    # Threads

    def _keep_following(self, feed: Feed) -> None:
        failures = 0
        while not self._ended.is_set():
            begun, least = monotonic(), 0.0
            try:
                feed.follow(self)
            except ClusterError as error:
                failed, least = error.sentence, error.wait_seconds
            except Exception as problem:  # one broken answer must not end the watch
                log.exception("endpoints.watch_broken cluster=%s feed=%s", self._slug, feed.name)
                failed = f"The watch of {feed.name} is broken: {type(problem).__name__}."
            else:
                failed = ""
            lasted = monotonic() - begun
            if self._ended.is_set():
                return
            if not failed:
                failures = 0
                self._ended.wait(max(0.0, SHORT_SECONDS - lasted))
                continue
            self._down(feed.name, failed)
            failures = 1 if lasted > SETTLED_SECONDS else failures + 1
            self._ended.wait(max(least, pause(failures)))


def pause(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row: never the same for two that failed together."""
    longest = min(LAST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
