"""The eight boxes on a real control plane: at each moment that is looked at they are what the API server and the
reservations say, while pods come and go, a stranger takes one, and a node is lost and found; and the second project
gets its turn.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.test import Client

from approvals.models import Request
from endpoints import services, survey
from endpoints.clusters.kubernetes import owned
from endpoints.models import Endpoint, Phase
from projects.principal import Principal
from quotas.models import Node, Pool, Reservation, ReservationState
from tests import factories
from tests.cluster import portal_kit
from tests.cluster.api import Object
from tests.cluster.crew import Crew, Pipe
from tests.cluster.fault_kit import check_pool, with_image
from tests.cluster.kubelet import Kubelet
from tests.cluster.plane import Plane
from tests.cluster.test_capacity import Scene, approve
from tests.conftest import Org

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
ClientFor = Callable[[Any], Client]
LABEL = owned.ENDPOINT
EACH, ROOM = 4, 8


@pytest.fixture
def scene(plane: Plane, kubelet: Kubelet, org: Org, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Scene]:
    """The plane as the portal knows it, with two nodes of four accelerators each, and one worker."""
    pipe, settings.SWEEP_SECONDS = Pipe(), 2
    monkeypatch.setattr("endpoints.nudge.current_app", pipe)
    cluster, crew = portal_kit.register(plane, org.pat), Crew(pipe)
    with portal_kit.machine(kubelet, EACH, "npu-a"), portal_kit.machine(kubelet, EACH, "npu-b"):
        yield Scene(org, plane, cluster, crew)
        crew.stop()
        portal_kit.forget(plane, cluster)
    pipe.close()


def asks(scene: Scene, project: Any, user: Any, count: int) -> list[Request]:
    version = with_image(factories.make_version())
    return [
        factories.make_request(user, version=version, profile=scene.profile, project=project.slug) for _ in range(count)
    ]


def pods(plane: Plane) -> list[Object]:
    """Whatever holds one of the accelerators, in the order in which it was made."""
    found = plane.api.items("/api/v1/pods", fieldSelector="spec.nodeName!=")
    holding = [one for one in found if amount(one) and one["status"].get("phase") not in ("Failed", "Succeeded")]
    return sorted(holding, key=lambda one: (one["metadata"]["creationTimestamp"], one["metadata"]["name"]))


def amount(pod: Object) -> int:
    limits = [one.get("resources", {}).get("limits", {}) for one in pod["spec"]["containers"]]
    return sum(int(one.get(portal_kit.RESOURCE, 0)) for one in limits)


def holder(scene: Scene, pod: Object) -> str:
    """The endpoint that a pod is of; "" for what another portal or nobody's started."""
    labels = pod["metadata"].get("labels", {})
    return str(labels.get(LABEL, "")) if labels.get(owned.INSTALLATION) == portal_kit.prefix(scene.cluster) else ""


def version(found: list[Object]) -> list[tuple[str, str]]:
    return [(one["metadata"]["uid"], one["spec"]["nodeName"]) for one in found]


def page(scene: Scene, client: Client) -> tuple[dict[str, Any], list[Object]]:
    """The pool on the page and the pods of the same moment: nothing came or went while both were read."""
    for _ in range(50):
        before = pods(scene.plane)
        assert survey.survey(scene.cluster.pk, now=True)
        cells = client.get("/capacity/").context["pools"][0]
        if version(before) == version(pods(scene.plane)):
            return cells, before
    raise AssertionError("there was no quiet moment")


def agree(scene: Scene, client: Client) -> dict[str, Any]:
    """Hold the boxes against the API server and against the reservations; the pool as the page shows it."""
    cells, there = page(scene, client)
    boxes = cells["boxes"]
    for name in ("npu-a", "npu-b"):
        here = [holder(scene, one) for one in there if one["spec"]["nodeName"] == name for _ in range(amount(one))]
        shown = [box["holder"] for box in boxes if box.get("node") == name and box["kind"] in ("held", "over", "other")]
        assert shown == here, name
        assert sum(box.get("node") == name for box in boxes) == EACH
    held = Reservation.objects.filter(state=ReservationState.HELD)
    assert sum(box["kind"] in ("held", "reserved") for box in boxes) == sum(held.values_list("amount", flat=True))
    assert cells["room"].held == Pool.objects.get(pk=scene.pool.pk).held <= ROOM
    assert len(boxes) >= ROOM
    check_pool(scene.pool)
    return cells


def test_boxes_are_what_the_cluster_and_the_reservations_say(
    scene: Scene, kubelet: Kubelet, org: Org, client_for: ClientFor
) -> None:
    client = client_for(org.pat)
    first = asks(scene, org.fraud, org.dana, 12)
    scene.crew.start("worker", [partial(approve, org.pat, one) for one in first])
    scene.until(lambda: agree(scene, client) and scene.ready(), "eight of the first project")
    assert [box["kind"] for box in agree(scene, client)["boxes"]] == ["held"] * ROOM
    assert scene.pool.slug and Pool.objects.get(pk=scene.pool.pk).observed == ROOM

    for one in asks(scene, org.search, org.cy, 4):
        approve(org.pat, one)
    waiting = agree(scene, client)["waiting"]
    assert [place["name"].partition("/")[0] for place in waiting] == [org.search.slug] * 4 + [org.fraud.slug] * 4
    leaving = list(Endpoint.objects.filter(project=org.fraud, phase=Phase.READY)[:4])
    for row in leaving:
        services.delete(Principal.of(org.pat), row)
    second = Reservation.objects.filter(project=org.search, state=ReservationState.HELD)
    scene.until(lambda: agree(scene, client) and second.count() == 4, "the second project to have its turn")
    scene.until(lambda: agree(scene, client) and scene.ready(), "its engines")

    before = list(Reservation.objects.order_by("id").values_list("pk", "state", "held_at"))
    kubelet.lose("npu-b")
    lost = Node.objects.filter(name="npu-b", condition="lost")
    scene.until(lambda: agree(scene, client) and lost.exists(), "the node to be missed")
    cells = agree(scene, client)
    assert cells["short"] and Pool.objects.get(pk=scene.pool.pk).observed == EACH
    assert {box["lost"] for box in cells["boxes"] if box.get("node") == "npu-b" and box["kind"] == "held"} <= {True}
    kubelet.find("npu-b")
    scene.until(lambda: agree(scene, client) and not lost.exists() and scene.ready(), "it is back")
    assert list(Reservation.objects.order_by("id").values_list("pk", "state", "held_at")) == before
    assert Pool.objects.get(pk=scene.pool.pk).observed == ROOM


def test_a_stranger_and_unknown_accelerators_are_said(
    scene: Scene, kubelet: Kubelet, org: Org, client_for: ClientFor, namespace: str
) -> None:
    client, name = client_for(org.pat), f"/api/v1/namespaces/{namespace}/pods"
    limits = {"limits": {portal_kit.RESOURCE: "3"}}
    spec = {"containers": [{"name": "c", "image": "example.com/rogue:1", "resources": limits}]}
    scene.until(lambda: not pods(scene.plane), "what the test before left to go")
    scene.plane.api.post(name, {"metadata": {"name": "rogue"}, "spec": spec})
    scene.until(lambda: pods(scene.plane), "the scheduler to place it")
    cells = agree(scene, client)
    assert [box["name"] for box in cells["boxes"] if box["kind"] == "other"] == [f"{namespace}/rogue"] * 3
    assert "3 accelerators are held by something that the portal did not start" in cells["differences"]
    strangers = client.get("/capacity/").context["strangers"]
    assert {one["resource"] for one in strangers} == {"nvidia.com/gpu"}, "of the plane's other two nodes"
    assert {one["product"] for one in strangers} == {"H100 80GB HBM3"}
