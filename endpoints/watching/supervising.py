"""The watcher process: takes leases of clusters, keeps a follower for each, and passes on what they find.

Only this thread talks to the database and the broker, in short statements; followers only talk to their cluster. So a
cluster that is away, slow or flapping holds up nobody.
"""

import logging
import os
import random
import secrets
import socket
import threading
from time import monotonic

from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from endpoints.clusters import ClusterError
from endpoints.clusters.feeds import Watchable
from endpoints.drivers import driver_for
from endpoints.models import Cluster
from endpoints.watching import leases, looking
from endpoints.watching.following import Follower
from endpoints.watching.leases import State
from endpoints.watching.pressing import press

log = logging.getLogger(__name__)

TEND_SECONDS = 1.0  # between two looks at registrations and leases
RENEW_SECONDS = 3.0
WRITE_SECONDS = 5.0  # between two writes of a state that is otherwise the same
AGAIN_SECONDS = 10.0  # before a registration is tried again that cannot be followed at all
Identity = tuple[object, ...]


class Supervisor:
    """Follows as many clusters as nobody else does."""

    def __init__(self, holder: str = "") -> None:
        """`holder` names this process in the leases; by default a name that no other process has."""
        self.holder = holder or f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"
        self._ended, self._wake = False, threading.Event()
        self._held: dict[int, _Held] = {}
        self._tend_at = self._renew_at = 0.0

    def stop(self) -> None:
        """End `run` at once; may be called by a signal handler."""
        self._ended = True
        self._wake.set()

    def run(self) -> None:
        """Follow clusters until `stop`; then give the leases back. A database that is away is waited for."""
        try:
            while not self._ended:
                self._wake.wait(self._pause())
                self._wake.clear()
                self._carefully()
        finally:
            for held in self._held.values():
                held.stop()
            try:
                leases.give_back(self.holder)
            except (DatabaseError, InterfaceError) as error:
                log.warning("endpoints.watch_not_given_back error=%s", error)  # they end by themselves
            connection.close()

    def round(self) -> None:
        """Do what is due now."""
        if monotonic() >= self._tend_at:
            self._tend_at = monotonic() + TEND_SECONDS
            self._tend()
        for held in self._held.values():
            held.pass_on(self.holder)

    def _carefully(self) -> None:
        if self._ended:
            return
        try:
            close_old_connections()
            self.round()
        except (DatabaseError, InterfaceError) as error:
            log.warning("endpoints.watch_database error=%s", error)
            connection.close()
            self._tend_at = monotonic() + TEND_SECONDS

    def _pause(self) -> float:
        """Return how long nothing is to be done, unless somebody wakes us."""
        waits = [wait for held in self._held.values() if (wait := held.wait()) is not None]
        return max(0.0, min([self._tend_at - monotonic(), *waits]))

    def _tend(self) -> None:
        """Renew what is held, let go what is no longer ours or no longer registered, take what is free."""
        clusters = {one.pk: one for one in leases.followed()}
        if monotonic() >= self._renew_at:
            self._renew_at = monotonic() + RENEW_SECONDS
            mine = leases.renew(self.holder)
            for pk in [pk for pk in self._held if pk not in mine]:
                self._held.pop(pk).stop()  # somebody else follows it by now
        gone = [pk for pk in self._held if pk not in clusters]
        for pk in gone:
            self._held.pop(pk).stop()
        if gone:
            leases.give_back(self.holder, gone)
        for pk in self._takeable([pk for pk in clusters if pk not in self._held]):
            if leases.take(pk, self.holder):
                self._held[pk] = _Held(self._wake)
        for pk, held in self._held.items():
            held.follow(clusters[pk])

    def _takeable(self, others: list[int]) -> list[int]:
        """Return half of the free leases, so that several watchers that start together share them."""
        if not others:
            return []
        leases.prepare(others)
        found = leases.free(others)
        random.shuffle(found)
        return found[: (len(found) + 1) // 2]


class _Held:
    """A cluster that this process follows, as its registration says now."""

    def __init__(self, wake: threading.Event) -> None:
        self._wake = wake
        self._pk, self._identity = 0, Identity()
        self._follower: Follower | None = None
        self._problem, self._again_at = "", 0.0
        self._written, self._write_at = State(), 0.0

    def follow(self, cluster: Cluster) -> None:
        """Follow `cluster`; anew when it is called otherwise, or with another credential, than before."""
        identity: Identity = (
            cluster.driver, cluster.server, cluster.ca, cluster.authentication, cluster.credential,
            sorted(cluster.options.items(), key=str),
        )  # fmt: skip
        failed = self._follower is None and monotonic() >= self._again_at
        if identity == self._identity and not failed:
            return
        self.stop()
        self._pk, self._identity, self._follower = cluster.pk, identity, None
        try:
            driver = driver_for(cluster)
            feeds = driver.feeds() if isinstance(driver, Watchable) else []
        except ClusterError as error:
            self._problem, self._again_at = error.sentence, monotonic() + AGAIN_SECONDS
            return
        self._problem, self._follower = "", Follower(cluster.slug, feeds, self._wake.set)
        self._follower.start()

    def stop(self) -> None:
        """Follow no longer."""
        if self._follower is not None:
            self._follower.stop()

    def wait(self) -> float | None:
        """Return the seconds until `pass_on` may have something to do."""
        return self._follower.wait() if self._follower is not None else None

    def pass_on(self, holder: str) -> None:
        """Have endpoints looked at that changed, and write how well the cluster is followed."""
        if self._follower is not None:
            endpoints, whole = self._follower.due()
            try:
                if endpoints:
                    press(self._pk, endpoints)
                if whole:
                    looking.want(self._pk)
            except (DatabaseError, InterfaceError):
                self._follower.put_back(endpoints, whole)
                raise
        self._write(holder)

    def _write(self, holder: str) -> None:
        state = self._follower.state if self._follower is not None else State(problem=self._problem)
        same = (state.live_since, state.problem) == (self._written.live_since, self._written.problem)
        if state == self._written or (same and monotonic() < self._write_at):
            return
        leases.write(self._pk, holder, state)
        self._written, self._write_at = state, monotonic() + WRITE_SECONDS
