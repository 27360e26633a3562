"""Building endpoints for tests, and being their worker."""

import datetime as dt
import itertools
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.utils import timezone

from endpoints import reconcile as reconciling
from endpoints import seats, turning
from endpoints.clusters import Notice, Observation, Replica
from endpoints.clusters.local import LocalDriver
from endpoints.models import Endpoint, Revision
from endpoints.services import Authorization, open_endpoint, open_revision
from projects.models import Project
from quotas.services import reserve
from tests import factories

_numbers = itertools.count(1)


@dataclass
class Broker:
    """Takes messages as Celery's app does and remembers them."""

    sent: list[tuple[str, list[str], float | None]] = field(default_factory=list)
    down: bool = False

    def send_task(
        self, name: str, args: Sequence[str], countdown: float | None = None, expires: float | None = None
    ) -> None:
        """Remember a message, or fail as a broker that is away does."""
        if self.down:
            raise ConnectionError("the broker is away")
        self.sent.append((name, list(args), countdown))

    def ids(self) -> list[str]:
        """The endpoints that were nudged, in order."""
        return [args[0] for _, args, _ in self.sent]


@dataclass
class Script:
    """A cluster driver that plays what the test says and remembers what it was asked."""

    replicas: tuple[Replica, ...] = ()
    on_apply: Callable[["Script", Any], None] | None = None
    asked: list[str] = field(default_factory=list)
    gone: bool = True
    ids: list[str] = field(default_factory=list)

    def apply(self, workload: Any) -> None:
        """Remember, and let the test change the scene."""
        self.asked.append("apply")
        if self.on_apply:
            self.on_apply(self, workload)

    def observe(self, endpoint_id: str) -> Observation:
        """What the test has put there."""
        return Observation(self.replicas)

    def observe_all(self) -> "dict[str, Observation]":
        """The same for every endpoint that is there."""
        return {one: Observation(self.replicas) for one in self.ids}

    def compare(self, workload: Any) -> tuple[()]:
        """Nothing differs."""
        return ()

    def restart(self, endpoint_id: str) -> None:
        """Remember."""
        self.asked.append("restart")

    def suspend(self, endpoint_id: str) -> bool:
        """Remember; empty the scene when it is to go."""
        self.asked.append(f"suspend {endpoint_id}")
        if self.gone:
            self.replicas = ()
        return self.gone

    def remove(self, endpoint_id: str) -> bool:
        """Remember; empty the scene when it is to go."""
        self.asked.append(f"remove {endpoint_id}")
        if self.gone:
            self.replicas = ()
        return self.gone

    def logs(self, endpoint_id: str, lines: int = 200, *, replica: int | None = None, previous: bool = False) -> str:
        """A line of log."""
        return "engine: a line of log"

    def notices(self, endpoint_id: str) -> "list[Notice]":
        """Nothing."""
        return []

    def list(self) -> "list[str]":
        """What the test says is there."""
        return self.ids


def replica(state: str = "ready", index: int = 0, **values: Any) -> Replica:
    """A replica of revision 1."""
    values = {"revision": 1, "url": f"http://127.0.0.1:{9000 + index}", "key": "engine-key"} | values
    return Replica(index=index, state=state, **values)  # type: ignore[arg-type]


def open_demo(
    project: Project,
    *flags: str,
    gpus: int = 0,
    pool: Any = None,
    replicas: int = 1,
    version: Any = None,
    **runtime: Any,
) -> Endpoint:
    """An endpoint of the demo engine with further flags, as an approval leaves it: pending, with its reservation."""
    profile = factories.make_profile(gpus=gpus, memory_gib=4)
    if pool is not None:
        pool.profiles.add(profile)
    version = version or factories.make_version(command=[*factories.DEMO_COMMAND, *flags])
    if runtime:
        type(version).objects.filter(pk=version.pk).update(runtime=version.runtime | runtime)
        version.refresh_from_db()
    by = factories.engineer()
    endpoint = open_endpoint(
        by,
        project=project,
        name=f"scoring-{next(_numbers)}",
        environment="dev",
        cluster=factories.make_cluster(),
        version=version,
        profile=profile,
        replicas=replicas,
        concurrency=8,
        context_tokens=4096,
        purpose="Score card payments.",
        data_classification="internal",
        authorization=Authorization("R-1", "sha256:abc"),
    )
    if pool is not None:
        reserve(by, pool, gpus * replicas, holder=("endpoint", str(endpoint.pk)), project=project)
    return endpoint


def next_demo(
    endpoint: Endpoint, *flags: str, gpus: int = 0, pool: Any = None, replicas: int = 1, **runtime: Any
) -> Revision:
    """The next revision of the demo engine with further flags, as an approval opens it."""
    profile = factories.make_profile(gpus=gpus, memory_gib=4)
    if pool is not None:
        pool.profiles.add(profile)
    version = factories.make_version(command=[*factories.DEMO_COMMAND, *flags])
    if runtime:
        type(version).objects.filter(pk=version.pk).update(runtime=version.runtime | runtime)
        version.refresh_from_db()
    made = open_revision(
        factories.engineer(),
        endpoint,
        version=version,
        profile=profile,
        replicas=replicas,
        concurrency=8,
        context_tokens=4096,
        authorization=Authorization("R-2", "sha256:def"),
    )
    endpoint.refresh_from_db()
    return made


def work(endpoint: Endpoint, worker: str = "") -> Endpoint:
    """Be a worker that got a nudge."""
    reconciling.reconcile(endpoint.pk, worker or f"test-{next(_numbers)}")
    endpoint.refresh_from_db()
    return endpoint


def until(endpoint: Endpoint, condition: Callable[[Endpoint], bool], seconds: float = 20) -> Endpoint:
    """Be the worker until `condition` holds; fails with the row's own words."""
    deadline = time.monotonic() + seconds
    while not condition(work(endpoint)):
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{endpoint.desired} {endpoint.phase} {endpoint.reason_code}: {endpoint.reason_sentence}"
            )
        time.sleep(0.02)
    return endpoint


def is_in(phase: str) -> Callable[[Endpoint], bool]:
    """Whether the endpoint is in `phase`."""
    return lambda endpoint: endpoint.phase == phase


def pids(home: Any, endpoint: Endpoint) -> list[int]:
    """The engine processes of an endpoint."""
    return [one.pid for one in LocalDriver(home).observe(str(endpoint.pk)).replicas if one.pid]


def kill(pid: int) -> None:
    """As an impatient operator does."""
    os.kill(pid, signal.SIGKILL)


# --- A worker that dies between any two effects
# ---------------------------------------------------------------------------


class Died(BaseException):
    """What kill -9 looks like from inside: no `except Exception` sees it, and here no `finally` writes."""


class Tripwire:
    """Lets the worker die before, or after, its n-th effect: each call to the cluster and each write to the database
    is one.
    """

    def __init__(self, at: int) -> None:
        self.left, self.dead = at, False

    def arm(self, patch: pytest.MonkeyPatch) -> None:
        """Stand before and behind every effect."""
        for owner, name in (
            (LocalDriver, "apply"), (LocalDriver, "remove"), (reconciling, "claim"), (reconciling, "_store"),
            (reconciling, "record"), (reconciling, "give_back"), (turning, "effects"), (seats, "hand_over"),
            (seats, "release"), (reconciling, "nudge"),
        ):  # fmt: skip
            patch.setattr(owner, name, self.around(getattr(owner, name)))

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Count before and after `function`."""

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            self.step()
            found = function(*args, **kwargs)
            self.step()
            return found

        return wrapper

    def step(self) -> None:
        """Die when it is time."""
        self.left -= 1
        if self.left == 0:
            self.dead = True
            raise Died


def die_once(endpoint: Endpoint, at: int, done: Callable[[Endpoint], bool]) -> bool:
    """Work until `done` or until the death at the `at`-th effect; whether it died. The dead worker's claim ends by
    time.
    """
    wire = Tripwire(at)
    with pytest.MonkeyPatch.context() as patch:
        wire.arm(patch)
        try:
            until(endpoint, done)
        except Died:
            later = timezone.now() - dt.timedelta(seconds=1)
            Endpoint.objects.filter(pk=endpoint.pk, claimed_until__isnull=False).update(claimed_until=later)
    endpoint.refresh_from_db()
    return wire.dead
