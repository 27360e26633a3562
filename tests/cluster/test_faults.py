"""Each call that the portal makes to a real control plane fails, loses its answer, or is the last one of its worker:
one endpoint for each call, and all of them live the whole life. It always comes about, once, with one reservation.

Every way for every call is in test_faults_everywhere.py; here each call is struck once, in ways that take turns.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from endpoints.clusters.kubernetes import owned
from endpoints.models import Cluster
from projects.models import Project
from tests import factories
from tests.cluster import portal_kit
from tests.cluster.fault_kit import HOWS, LIFE, Life, Line, Wire, check_pool, check_reservations, rests, with_image
from tests.cluster.kubelet import Kubelet
from tests.cluster.plane import Plane
from tests.conftest import Org
from tests.endpoints.endpoint_kit import Broker

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.django_db]
SECONDS = 600  # for a machine that does ten other things beside
ROOM = 400


@dataclass
class Ground:
    """A registered cluster, and what endpoints are made of there."""

    plane: Plane
    cluster: Cluster
    lives: list[Life] = field(default_factory=list)

    def settle(self, wire: Wire, operation: str, lines: list[Line]) -> None:
        """Do it to all of them and be their workers until all rest."""
        for one in self.lives:
            getattr(one, operation)()
        left = list(zip(self.lives, lines, strict=True))
        end = time.monotonic() + SECONDS
        while left:
            left = [
                (one, line)
                for one, line in left
                if not (wire.work(one.endpoint, line) and rests(one.endpoint, operation))
            ]
            words = [f"{one.endpoint.phase} {one.endpoint.reason_sentence} {line.how} {line.at}" for one, line in left]
            assert time.monotonic() < end, f"{operation} of {len(left)} does not stand: {words[:5]}"
            time.sleep(0.1 if len(left) < 5 else 0)  # the cluster needs a moment for pods

    def check(self, revision: int) -> None:
        """What the server has is what is wanted, once."""
        there = portal_kit.present(self.plane, self.cluster)
        for one in self.lives:
            row = one.endpoint
            ours = there[str(row.pk)]
            count = {kind: len(found) for kind, found in ours.items() if found}
            if row.desired == "running":
                assert count == {"deployments": 1, "pods": 1, "services": 1, "secrets": 1}, (row.pk, count)
                revisions = {owned.label(found, owned.REVISION) for kind in count for found in ours[kind]} - {""}
                assert revisions == {str(revision)} and row.revision is not None and row.revision.number == revision
            else:
                assert "pods" not in count and set(count.values()) <= {1}, (row.pk, count)
            check_reservations(row, 1)
        check_pool(self.lives[0].pool)

    def strangers(self, *, make: bool = False) -> dict[str, str]:
        """What somebody else has in the portal's namespaces, under the portal's label even: uid and version."""
        found = {}
        for one in self.lives[:3]:
            namespace = f"{portal_kit.prefix(self.cluster)}-{one.project.slug}-dev"
            meta = {"name": "theirs", "labels": {owned.ENDPOINT: str(one.endpoint.pk), owned.REVISION: "1"}}
            if make:
                spec = {"ports": [{"port": 80}], "selector": {"app": "theirs"}}
                stranger = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
                self.plane.api.apply(stranger, namespace, by="somebody")
            live = self.plane.api.get(f"/api/v1/namespaces/{namespace}/services/theirs")["metadata"]
            found[namespace] = f"{live['uid']} {live['resourceVersion']}"
        return found


@pytest.fixture
def ground(plane: Plane, kubelet: Kubelet, org: Org, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    """The plane as the portal knows it, empty."""
    monkeypatch.setattr("endpoints.nudge.current_app", Broker())
    cluster = portal_kit.register(plane, org.pat)
    with portal_kit.machine(kubelet, ROOM):
        yield Ground(plane, cluster)
        portal_kit.forget(plane, cluster)


def populate(ground: Ground, count: int) -> None:
    """So many lives that are to begin, each in a project and so a namespace of its own."""
    pool, profile = portal_kit.pool_of(ground.cluster, ROOM)
    versions = (with_image(factories.make_version()), with_image(factories.make_version()))
    names = [f"faults-{pool.pk}-{number}" for number in range(count)]
    projects = [Project.objects.create(slug=name, name=name, cost_centre="CC-1", owner_team="Tests") for name in names]
    ground.lives = [Life(project, ground.cluster, pool, profile, versions) for project in projects]


def needed(aims: list[str]) -> set[str]:
    """Those of the calls that are made however fast a cluster is: what changes something, the first time."""
    first: dict[str, str] = {}
    for aim in aims:
        first.setdefault(aim.partition(": ")[2], aim)
    return {aim for call, aim in first.items() if not call.startswith("GET ")}


def test_whatever_becomes_of_a_call_it_comes_about(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    wire, calls = Wire(monkeypatch), dict[str, list[str]]()
    populate(ground, 1)
    for operation, revision in LIFE:
        line = Line()
        ground.settle(wire, operation, [line])
        calls[operation] = line.different
        ground.check(revision)
    populate(ground, max(len(found) for found in calls.values()))
    theirs: dict[str, str] = {}
    for turn, (operation, revision) in enumerate(LIFE):
        aims = calls[operation]
        lines = [
            Line(aim=aims[number], how=HOWS[(number + turn) % len(HOWS)]) if number < len(aims) else Line(aim="none")
            for number in range(len(ground.lives))
        ]
        ground.settle(wire, operation, lines)
        ground.check(revision)
        # Whether something is looked at or written once more depends on how soon the cluster had pods.
        sure = needed(aims)
        missed = [line.aim for line in lines if line.how and not line.struck and line.aim in sure]
        assert missed == [], f"{operation}: these calls were not made"
        theirs = theirs or ground.strangers(make=True)
    assert ground.strangers() == theirs
    mine = [name for name in portal_kit.left_over(ground.plane, ground.cluster) if name != "services theirs"]
    assert mine == []
