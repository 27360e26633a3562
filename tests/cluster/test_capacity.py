"""64 approvals at once for 8 accelerators, on a real control plane with room for more, by two worker processes one of
which is killed: there are never pods for more than 8, both projects have their half, the others wait in their order,
and a lost node changes nothing of what is reserved.
"""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import requests

from approvals import services as approvals
from approvals.models import Request
from endpoints import services, sweep
from endpoints.clusters.kubernetes import owned
from endpoints.models import Cluster, Endpoint, Phase
from projects.models import User
from projects.principal import Principal
from quotas.models import Reservation, ReservationState
from quotas.services import positions
from tests import factories
from tests.cluster import portal_kit
from tests.cluster.api import Object
from tests.cluster.crew import Crew, Pipe
from tests.cluster.fault_kit import check_pool, with_image
from tests.cluster.kubelet import Kubelet
from tests.cluster.plane import Plane
from tests.conftest import Org

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
ASKED, ROOM = 64, 8
SECONDS = 600  # for a machine that does ten other things beside
SWEEP_SECONDS = 3.0


class Witness:
    """Sees every pod of a cluster's engines come and go; `most` is how many accelerators they had together at most."""

    def __init__(self, plane: Plane, cluster: Cluster) -> None:
        self._api = plane.as_token(plane.admin_token)
        self._label = f"{owned.INSTALLATION}={portal_kit.prefix(cluster)}"
        self._there: dict[str, int] = {}
        self.most, self.seen, self._ended = 0, set[str](), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Witness":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                for kind, pod in self._api.watch("/api/v1/pods", seconds=600, labelSelector=self._label):
                    self._see(kind, pod)
            except requests.RequestException:
                time.sleep(0.1)

    def _see(self, kind: str, pod: Object) -> None:
        if kind not in {"ADDED", "MODIFIED", "DELETED"}:
            return
        uid, over = pod["metadata"]["uid"], pod.get("status", {}).get("phase") in {"Failed", "Succeeded"}
        if kind == "DELETED" or over:
            self._there.pop(uid, None)
        else:
            limits = [one["resources"].get("limits", {}) for one in pod["spec"]["containers"]]
            self._there[uid] = sum(int(one.get(portal_kit.RESOURCE, 0)) for one in limits)
            self.seen.add(uid)
        self.most = max(self.most, sum(self._there.values()))


class Scene:
    """The portal with its workers."""

    def __init__(self, org: Org, plane: Plane, cluster: Cluster, crew: Crew) -> None:
        self.org, self.plane, self.cluster, self.crew = org, plane, cluster, crew
        self.pool, self.profile = portal_kit.pool_of(cluster, ROOM)

    def ask(self) -> list[Request]:
        """So many requests in two projects, whose namespaces would let twice the pool through."""
        version = with_image(factories.make_version())
        return [
            factories.make_request(
                (self.org.dana, self.org.cy)[number % 2], version=version, profile=self.profile,
                project=(self.org.fraud, self.org.search)[number % 2].slug,
            )
            for number in range(ASKED)
        ]  # fmt: skip

    def until(self, probe: Callable[[], Any], what: str) -> None:
        """Sweep now and then until it holds."""
        end, swept = time.monotonic() + SECONDS, 0.0
        while not probe():
            assert time.monotonic() < end, f"waited for {what}: {self.phases()}"
            if time.monotonic() - swept > SWEEP_SECONDS:
                sweep.sweep()
                swept = time.monotonic()
            time.sleep(0.2)

    def phases(self) -> dict[str, int]:
        """How many endpoints are in each phase."""
        found = list(Endpoint.objects.values_list("phase", flat=True))
        return {phase: found.count(phase) for phase in set(found)}

    def held(self) -> set[str]:
        """Who holds an accelerator."""
        rows = Reservation.objects.filter(state=ReservationState.HELD)
        return set(rows.values_list("holder_id", flat=True))

    def waiting(self) -> list[str]:
        """Who waits, in the order of the queue; the places have no gap, and a project's are in the order of coming."""
        rows = list(Reservation.objects.filter(state=ReservationState.WAITING).order_by("id"))
        places = positions(rows)
        assert sorted(places.values()) == list(range(1, len(rows) + 1))
        for project in {row.project_id for row in rows}:
            own = [places[row.pk] for row in rows if row.project_id == project]
            assert own == sorted(own)
        return [row.holder_id for row in sorted(rows, key=lambda row: places[row.pk])]

    def shares(self) -> list[int]:
        """How many accelerators each of the two projects holds."""
        held = Reservation.objects.filter(state=ReservationState.HELD)
        return [held.filter(project=project).count() for project in (self.org.fraud, self.org.search)]

    def ready(self, count: int = ROOM) -> bool:
        """Whether those who hold an accelerator answer calls, and everybody else says what it waits for."""
        found = Endpoint.objects.exclude(phase=Phase.DELETED)
        answers = {str(pk) for pk in found.filter(phase=Phase.READY).values_list("pk", flat=True)}
        waits = found.filter(phase=Phase.PENDING, reason_code="waiting_for_capacity")
        return answers == self.held() and len(answers) == count and waits.count() == found.count() - count


@pytest.fixture
def scene(plane: Plane, kubelet: Kubelet, org: Org, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Scene]:
    """The plane as the portal knows it, with a node of 64 accelerators, and no worker yet."""
    pipe, settings.SWEEP_SECONDS = Pipe(), 2
    monkeypatch.setattr("endpoints.nudge.current_app", pipe)
    cluster, crew = portal_kit.register(plane, org.pat), Crew(pipe)
    with portal_kit.machine(kubelet, ASKED):
        yield Scene(org, plane, cluster, crew)
        crew.stop()
        portal_kit.forget(plane, cluster)
    pipe.close()


def approve(user: User, request: Request) -> None:
    """One decision, in the process that calls it."""
    approvals.approve(Principal.of(user), Request.objects.get(pk=request.pk))


def test_eight_run_and_fifty_six_wait_whatever_happens(scene: Scene, kubelet: Kubelet) -> None:
    asked = scene.ask()
    with Witness(scene.plane, scene.cluster) as witness:
        for number, user in enumerate((scene.org.pat, scene.org.ravi)):
            scene.crew.start(f"worker-{number}", [partial(approve, user, one) for one in asked[number::2]])
        scene.until(lambda: Endpoint.objects.count() == ASKED and witness.seen, "all approvals, and a first pod")
        scene.crew.kill("worker-1")
        scene.crew.start("worker-2")
        scene.until(scene.ready, "eight that answer")
        assert len(scene.waiting()) == ASKED - ROOM
        told = Endpoint.objects.get(pk=scene.waiting()[4]).reason_sentence
        assert "at position 5 of the queue" in told and scene.pool.slug in told

        before, leaving, queue = scene.held(), sorted(scene.held())[:3], scene.waiting()
        for number, one in enumerate(leaving):
            verb = services.delete if number else services.suspend
            verb(Principal.of(scene.org.pat), Endpoint.objects.get(pk=one))
        scene.until(lambda: not scene.held() & set(leaving) and len(scene.held()) == ROOM, "three to leave")
        following = sorted(scene.held() - before, key=queue.index)
        projects = (scene.org.fraud, scene.org.search)
        for project, holds in zip(projects, scene.shares(), strict=True):
            ids = [str(pk) for pk in Endpoint.objects.filter(project=project).values_list("pk", flat=True)]
            own, waited = [one for one in following if one in ids], [one for one in queue if one in ids]
            assert set(own) == set(waited[: len(own)]), "the next ones of each, and nobody else"
            assert not own or holds <= ROOM // 2 + 1, "who has more than its half waits"
        scene.until(lambda: Endpoint.objects.filter(pk__in=following, phase=Phase.READY).count() == 3, "the next")

        before, queue = scene.held(), scene.waiting()
        kubelet.lose("npu-1")
        lost = Endpoint.objects.filter(pk__in=before).exclude(phase=Phase.READY)
        scene.until(lambda: lost.count() == ROOM, "the node to be missed")
        assert (scene.held(), scene.waiting()) == (before, queue)
        kubelet.find("npu-1")
        scene.until(lambda: Endpoint.objects.filter(pk__in=before, phase=Phase.READY).count() == ROOM, "it is back")
        assert (scene.held(), scene.waiting()) == (before, queue)
        check_pool(scene.pool)
        assert witness.most == ROOM, "never more than the pool has"
