"""Pods and nodes of the fake kubelet look like those of a real one, as they were recorded."""

import http.server
import json
import threading
from typing import Any

import pytest

from tests.cluster.api import Object
from tests.cluster.kubelet import Kubelet
from tests.cluster.objects import condition, deployment
from tests.cluster.plane import Plane
from tests.stack.conftest import ROOT

RECORDED = ROOT / "tests" / "data" / "kubernetes"
# What differs from pod to pod, and what only a newer API server says.
OWN = {"message", "podIP", "ip", "observedGeneration", "qosClass", "hostIP"}

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def shape(value: Any, name: str = "") -> Any:
    """A status without times, addresses and texts; conditions in the order of their type."""
    if isinstance(value, dict):
        return {
            key: shape(inner, key)
            for key, inner in sorted(value.items())
            if key not in OWN and not key.endswith(("At", "Time"))
        }
    if isinstance(value, list):
        return [shape(inner) for inner in (sorted(value, key=lambda v: v["type"]) if name == "conditions" else value)]
    return value


class Pods:
    """The pods of a namespace."""

    def __init__(self, plane: Plane, namespace: str) -> None:
        self.plane, self.path = plane, f"/api/v1/namespaces/{namespace}/pods"
        self.namespace = namespace

    def start(self, name: str, mode: str = "", **more: Any) -> None:
        """Deploy an engine whose pods fare like `mode`."""
        self.plane.api.apply(deployment(name, gpus=1, mode=mode, **more), self.namespace)

    def one(self, name: str) -> Object:
        """The only pod of a Deployment; empty while there is none."""
        found = self.plane.api.items(self.path, labelSelector=f"app={name}")
        return found[0] if found else {}

    def until(self, name: str, holds: Any, what: str) -> Object:
        """The pod once `holds` is true of its status."""
        self.plane.wait(lambda: holds(self.one(name).get("status", {})), f"{name}: {what}")
        return self.one(name)


@pytest.fixture
def pods(plane: Plane, kubelet: Kubelet, namespace: str) -> Pods:
    """Somewhere to start pods."""
    return Pods(plane, namespace)


def waits(reason: str) -> Any:
    """Whether the first container waits for `reason`."""
    return lambda status: (
        status.get("containerStatuses", [{}])[0].get("state", {}).get("waiting", {}).get("reason") == reason
    )


def is_ready(status: Object) -> bool:
    """Whether a status says that its pod is ready."""
    return condition({"status": status}, "Ready").get("status") == "True"


@pytest.mark.parametrize(
    ("mode", "recorded", "holds"),
    [
        ("image-pull", "pod-imagepull-status", waits("ImagePullBackOff")),
        ("crash-loop", "pod-crashloop-status", waits("CrashLoopBackOff")),
        ("oom", "pod-oom-status", waits("CrashLoopBackOff")),
        ("not-ready", "pod-notready-status", lambda status: status.get("phase") == "Running"),
    ],
)
def test_a_failing_pod_has_the_recorded_shape(pods: Pods, mode: str, recorded: str, holds: Any) -> None:
    pods.start("engine", mode)
    status = pods.until("engine", holds, mode)["status"]
    assert shape(status) == shape(json.loads((RECORDED / f"{recorded}.json").read_text(encoding="utf-8")))


def test_a_pod_starts_and_its_logs_can_be_read(pods: Pods, kubelet: Kubelet) -> None:
    pods.start("engine")
    pod = pods.until("engine", is_ready, "ready")
    assert pod["status"]["podIP"] == "127.0.0.1"
    name = pod["metadata"]["name"]
    kubelet.logs.lines[pods.namespace, name] = ["first", "second", "third"]
    assert pods.plane.api.raw("GET", f"{pods.path}/{name}/log", params={"tailLines": 2}).text == "second\nthird\n"


def test_events_tell_why_an_image_is_missing(pods: Pods) -> None:
    pods.start("engine", "image-pull")
    name = pods.until("engine", waits("ImagePullBackOff"), "back-off")["metadata"]["name"]
    events = f"/api/v1/namespaces/{pods.namespace}/events"

    def reasons() -> list[tuple[str, str]]:
        found = pods.plane.api.items(events, fieldSelector=f"involvedObject.name={name}")
        return [(event["type"], event["reason"]) for event in found]

    pods.plane.wait(lambda: ("Normal", "BackOff") in reasons() and ("Warning", "Failed") in reasons(), "its events")


def test_an_init_container_fails_and_says_why(pods: Pods) -> None:
    init = [{"name": "storage-initializer", "image": "registry.local/init:1", "resources": {"limits": {"cpu": "1"}}}]
    pods.start("engine", "init-fail", annotations={"fake-kubelet/message": "no such bucket"}, initContainers=init)
    status = pods.until("engine", waits("PodInitializing"), "its init container")["status"]
    (failed,) = status["initContainerStatuses"]
    assert failed["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert failed["lastState"]["terminated"]["exitCode"] == 1
    assert failed["lastState"]["terminated"]["message"] == "no such bucket"
    assert condition({"status": status}, "Initialized")["reason"] == "ContainersNotInitialized"


def test_a_slow_pod_and_one_that_never_starts(pods: Pods) -> None:
    pods.start("never", "never-starts")
    pods.start("slow", "slow-start", annotations={"fake-kubelet/seconds": "1.5"})
    running = pods.until("slow", lambda status: status.get("phase") == "Running", "running")
    assert not is_ready(running["status"])
    pods.until("slow", is_ready, "ready")
    assert waits("ContainerCreating")(pods.one("never")["status"])


def test_a_ready_pod_can_break_and_recover(pods: Pods) -> None:
    pods.start("engine")
    name = pods.until("engine", is_ready, "ready")["metadata"]["name"]
    for mode, holds in (("oom", waits("CrashLoopBackOff")), (None, is_ready)):
        pods.plane.api.patch(f"{pods.path}/{name}", {"metadata": {"annotations": {"fake-kubelet/mode": mode}}})
        pods.until("engine", holds, str(mode))
    assert "reason" not in condition(pods.one("engine"), "Ready")


def test_readiness_follows_a_real_engine(pods: Pods) -> None:
    """With a port, the pod is ready only once something answers its probe there."""
    asked: list[str] = []

    class Engine(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200 if len(asked) > 2 else 503)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Engine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        pods.start("engine", annotations={"fake-kubelet/port": str(server.server_address[1])})
        pods.until("engine", is_ready, "ready")
        server.shutdown()
    assert asked[:3] == ["/health"] * 3


def test_a_lost_node_takes_its_pods_along_and_gives_them_back(pods: Pods, kubelet: Kubelet) -> None:
    pods.start("engine")
    node = pods.until("engine", is_ready, "ready")["spec"]["nodeName"]
    kubelet.lose(node)

    def ready() -> str:
        return str(condition(pods.plane.api.get(f"/api/v1/nodes/{node}"), "Ready")["status"])

    pods.plane.wait(lambda: ready() == "Unknown", "the cluster to miss the node")
    pods.until("engine", lambda status: not is_ready(status), "not ready")
    kubelet.find(node)
    pods.plane.wait(lambda: ready() == "True", "the cluster to see the node")


def test_a_deleted_pod_goes_and_a_stuck_one_stays(pods: Pods) -> None:
    pods.start("engine")
    pods.start("stuck", "stuck")
    for name in ("engine", "stuck"):
        pods.until(name, is_ready, "ready")
        pods.plane.api.delete(f"/apis/apps/v1/namespaces/{pods.namespace}/deployments/{name}")
    pods.plane.wait(lambda: not pods.one("engine"), "the pod to go")
    stuck = pods.plane.wait(
        lambda: pods.one("stuck") if "deletionTimestamp" in pods.one("stuck")["metadata"] else {}, "x"
    )
    pods.plane.api.delete(f"{pods.path}/{stuck['metadata']['name']}", gracePeriodSeconds=0)
