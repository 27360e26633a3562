"""Faults at the one place where calls to a cluster go out: each is counted, and one of them fails, loses its answer, or
is the last that its worker makes. With it: the life of an endpoint through the services, and a worker that lives it.
"""

import datetime as dt
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.utils import timezone

from catalog.models import Version
from endpoints import reconcile as reconciling
from endpoints import services
from endpoints.clusters import ClusterError
from endpoints.clusters.kubernetes import client as calling
from endpoints.clusters.kubernetes import owned
from endpoints.clusters.kubernetes.client import Client
from endpoints.models import Cluster, Desired, Endpoint, Phase
from projects.models import Project
from quotas.models import Pool, Reservation, ReservationState
from quotas.services import reserve
from tests import factories
from tests.endpoints.kubernetes_kit import IMAGE

HOWS = ("refused", "lost", "killed after", "killed before")
_NAMESPACE, _POD = re.compile(r"/namespaces/[^/]+"), re.compile(r"/ep(-r\d+)-[a-z0-9-]+")
_numbers = itertools.count(1)
Send = Callable[..., bytes]


class Died(BaseException):
    """What kill -9 looks like from inside: nothing catches it."""


@dataclass
class Line:
    """The calls that are made for one endpoint, and what happens to the one with the number `at`, or to the first one
    that is called `aim`.
    """

    at: int = -1
    aim: str = ""
    how: str = ""
    made: list[str] = field(default_factory=list)
    struck: bool = False
    claim: dict[str, Any] = field(default_factory=dict)  # of the worker that died, at that moment
    endpoint: Endpoint | None = None
    # Calls before which something was written to the row: only there it makes a difference for what is left behind
    # whether a worker dies before a call or after the one before it.
    after_writes: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    _row: Any = None

    @property
    def writes(self) -> int:
        """How many calls were to change something."""
        return sum(not one.startswith("GET ") for one in self.made)

    @property
    def different(self) -> list[str]:
        """The names of the calls, each once: how often something is looked at depends on how fast a cluster is."""
        return list(dict.fromkeys(self.names))

    def carry(self, send: Send, client: Client, call: tuple[Any, ...]) -> bytes:
        """Make a call, or do to it what is to be done to it."""
        how = self._fate(call)
        if how == "refused":
            raise ConnectionRefusedError("Connection refused")
        if how == "killed before":
            raise self._death()
        try:
            answer = send(client, *call)
        except ClusterError:
            if not how:
                raise
            answer = b""
        if how == "lost":
            raise ConnectionResetError("Connection reset by peer")
        if how == "killed after":
            raise self._death()
        return answer

    def _fate(self, call: tuple[Any, ...]) -> str:
        """Note a call; what is to become of it."""
        if self.how == "" and self.aim == "" and self.endpoint is not None:
            row = Endpoint.objects.filter(pk=self.endpoint.pk).values().get() | {"due_at": None}
            if row != self._row:
                self.after_writes.append(len(self.made))
            self._row = row
        name = f"{self.writes}: {call[0]} {self._anonymous(call[1])}"
        hit = len(self.made) == self.at or (name == self.aim and not self.struck)
        self.made.append(f"{call[0]} {call[1]}")
        self.names.append(name)
        self.struck = self.struck or hit
        return self.how if hit else ""

    def _anonymous(self, path: str) -> str:
        """The path of a call without what differs from one endpoint to the next."""
        if self.endpoint is None:
            return path
        path = path.replace(owned.stem(str(self.endpoint.pk)), "ep")
        return _POD.sub(r"/ep\1-pod", _NAMESPACE.sub("/namespaces/one", path))

    def _death(self) -> Died:
        if self.endpoint is not None:
            row = Endpoint.objects.filter(pk=self.endpoint.pk)
            self.claim = dict(row.values("claimed_by", "claimed_until").get())
        return Died()


class Wire:
    """All calls of all clusters; `line` is that of the endpoint that is worked on, and `patience` how many seconds its
    worker wanted to wait before the next look.
    """

    def __init__(self, patch: pytest.MonkeyPatch, send: Send | None = None) -> None:
        """`send` stands in for the connection to a server."""
        self.line = Line()
        self.patience = 0.0
        real = send or Client._exchange
        patch.setattr(Client, "_exchange", lambda client, *call: self.line.carry(real, client, call))
        # A server that does not answer is left alone for a while: the tests of the client say so, here it only costs.
        patch.setattr(calling, "REST_SECONDS", (0.0,))

    def work(self, endpoint: Endpoint, line: Line) -> bool:
        """Be a worker that looks at `endpoint` once, whatever becomes of it; whether it found nothing to do."""
        self.line, line.endpoint = line, endpoint
        before = line.writes
        try:
            reconciling.reconcile(endpoint.pk, f"worker-{next(_numbers)}")
        except Died:
            self._bury(endpoint, line)
        # A quarter of a minute later: engines that finish their calls have done so, and what was to wait is due.
        now, own = timezone.now(), Endpoint.objects.filter(pk=endpoint.pk)
        row = own.get()
        self.patience = (row.due_at - now).total_seconds() if row.due_at else 0.0
        for name in ("drain_until", "due_at"):
            at = getattr(row, name)
            if at is not None and at > now:
                own.filter(**{name: at}).update(**{name: now})
        held = row.claimed_until is not None and row.claimed_until > timezone.now()
        assert not held, "a worker that lives gives its claim back"
        return line.writes == before and row.drain_until is None

    def _bury(self, endpoint: Endpoint, line: Line) -> None:
        """The claim of the dead stays: nobody else changes anything, until the lease ends."""
        row = Endpoint.objects.filter(pk=endpoint.pk)
        if line.claim.get("claimed_by"):
            row.update(**line.claim)
            before = line.writes
            reconciling.reconcile(endpoint.pk, f"worker-{next(_numbers)}")
            assert line.writes == before, f"a claimed row was worked on: {line.made[before:]}"
            row.update(claimed_until=timezone.now() - dt.timedelta(seconds=1))


@dataclass
class Life:
    """What endpoints are made of, and what people do with them."""

    project: Project
    cluster: Cluster
    pool: Pool
    profile: Any
    versions: tuple[Version, Version]
    replicas: int = 1
    made: Endpoint | None = None

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint as its row is now; `create` comes first."""
        assert self.made is not None
        return Endpoint.objects.get(pk=self.made.pk)

    def create(self) -> None:
        """As an approval does: the rows, and the reservation."""
        by = factories.engineer()
        self.made = services.open_endpoint(
            by, project=self.project, name=f"faulty-{next(_numbers)}", environment="dev", cluster=self.cluster,
            version=self.versions[0], profile=self.profile, replicas=self.replicas, concurrency=8, context_tokens=4096,
            authorization=services.Authorization("R-1", "sha256:abc"),
        )  # fmt: skip
        amount = self.profile.accelerator_count * self.replicas
        reserve(by, self.pool, amount, holder=("endpoint", str(self.made.pk)), project=self.project)

    def update(self) -> None:
        """Another revision."""
        services.open_revision(
            factories.engineer(), self.endpoint, version=self.versions[1], profile=self.profile, replicas=self.replicas,
            concurrency=8, context_tokens=4096, authorization=services.Authorization("R-2", "sha256:def"),
        )  # fmt: skip

    def rollback(self) -> None:
        """Back to the first revision."""
        services.rollback(factories.engineer(), self.endpoint, 1)

    def suspend(self) -> None:
        """Nothing is to run."""
        services.suspend(factories.engineer(), self.endpoint)

    def resume(self) -> None:
        """It is to run again."""
        services.resume(factories.engineer(), self.endpoint)

    def delete(self) -> None:
        """Nothing of it is to be left."""
        services.delete(factories.engineer(), self.endpoint)


# In the order in which an endpoint lives: what is done, and the revision that runs afterwards (0: none).
LIFE = (("create", 1), ("update", 2), ("rollback", 1), ("suspend", 0), ("resume", 1), ("delete", 0))
PHASES = {"suspend": Phase.SUSPENDED, "delete": Phase.DELETED}


def rests(row: Endpoint, operation: str) -> bool:
    """Whether the row says that `operation` is done, and nothing of it is under way."""
    return row.phase == PHASES.get(operation, Phase.READY) and not row.rolling_out and row.drain_until is None


def reserved(endpoint: Endpoint) -> list[tuple[str, str, int]]:
    """What an endpoint holds or waits for: kind of the holder, state, amount."""
    rows = Reservation.objects.filter(holder_id=str(endpoint.pk)).exclude(state=ReservationState.RELEASED)
    return sorted(rows.values_list("holder_kind", "state", "amount"))


def check_reservations(endpoint: Endpoint, each: int) -> None:
    """One reservation of `each` for what is to run, and none for what is not."""
    wanted = [("endpoint", "held", each)] if endpoint.desired == Desired.RUNNING else []
    assert reserved(endpoint) == wanted


def check_pool(pool: Pool) -> None:
    """What the pool counts is what is held."""
    held = sum(Reservation.objects.filter(pool=pool, state=ReservationState.HELD).values_list("amount", flat=True))
    assert Pool.objects.get(pk=pool.pk).held == held <= pool.limit


def with_image(version: Version) -> Version:
    """Let a version name an image, as clusters of containers want it."""
    Version.objects.filter(pk=version.pk).update(runtime=version.runtime | {"image": IMAGE})
    version.refresh_from_db()
    return version
