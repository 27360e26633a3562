"""Plays the kubelets of a cluster without machines: nodes with GPUs that stay ready, pods that start, fail and go, and
their logs. How a pod fares stands in its annotations (tests/cluster/pod_status.py); a node with the annotation
`fake-kubelet/mode: node-lost` falls silent until that is taken away.

Pods have the address 127.0.0.1, since nothing here may call another one; `fake-kubelet/address` names another for what
only looks at it (EndpointSlices refuse loopback). With `fake-kubelet/port` the readiness probe of the pod's first
container is really made, against that port of the loopback, where a test has put an engine. Pods that `containers`
takes run for real, on addresses of their own (tests/cluster/containers.py).
"""

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import requests

from tests.cluster.api import APPLY, Object, Refused
from tests.cluster.containers import Containers
from tests.cluster.kubelet_logs import LogServer
from tests.cluster.machines import TWO_NODES, Machine, now
from tests.cluster.plane import Plane
from tests.cluster.pod_status import MODE, PORT, Event, Step, mode_of, play
from tests.stack.conftest import wait_for

BEAT_SECONDS = 2.0
PROBE_SECONDS = 0.2
STATUS = "application/strategic-merge-patch+json"
MANAGER = "fake-kubelet"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


@dataclass
class _Play:
    """A pod and the step of its play that comes next."""

    pod: Object
    mode: str
    steps: list[Step]
    number: int


class Kubelet:
    """All the kubelets of a cluster, in threads of this process."""

    def __init__(self, plane: Plane, machines: tuple[Machine, ...] = TWO_NODES, *, address: str = "127.0.0.1") -> None:
        self.plane, self.api, self.address = plane, plane.api, address
        self.machines = {machine.name: machine for machine in machines}
        self.errors: list[str] = []  # what went wrong in the threads; `stop` raises when there is something
        self.logs = LogServer()
        self.containers: Containers | None = None  # what really runs pods, those that it takes
        self.ready_at: dict[str, float] = {}  # by the pod's name: when it was told to be ready
        self._silent: set[str] = set()
        self._plays: dict[str, _Play] = {}  # by the pod's uid
        self._numbers, self._due = itertools.count(1), list[tuple[float, int, Callable[[], None]]]()
        self._wake, self._ended = threading.Condition(), threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self.logs.start(self.plane.directory)
        for machine in self.machines.values():
            self.register(machine)
        for work in (self._watch, self._perform, self._beat):
            thread = threading.Thread(target=self._run, args=(work,), name=f"kubelet{work.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self.wait_ready(*self.machines)
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the threads; the nodes stay and are lost after a while. Raises AssertionError for what went wrong."""
        self._ended.set()
        with self._wake:
            self._wake.notify_all()
        for thread in self._threads:
            thread.join(timeout=1)  # the one that watches ends with its connection
        self.logs.stop()
        assert not self.errors, self.errors

    # Nodes

    def register(self, machine: Machine) -> None:
        """Add a node, or say anew what it has."""
        self.machines[machine.name] = machine
        self.api.apply(machine.spec(), by=MANAGER)
        self._renew(machine.name)
        self._tell(machine)

    def wait_ready(self, *names: str) -> None:
        """Wait until the cluster gives the nodes pods: ready, and without the taint that a new node has."""

        def ready(name: str) -> bool:
            node = self.api.get(f"/api/v1/nodes/{name}")
            kept = {taint["key"] for taint in node["spec"].get("taints", [])}
            return not any(key.startswith("node.kubernetes.io/") for key in kept)

        wait_for(lambda: all(ready(name) for name in names), 120, f"the nodes {', '.join(names)} to be ready")

    def lose(self, name: str) -> None:
        """Let a node fall silent; the cluster notices after `plane.NODE_GRACE_SECONDS`."""
        self._silent.add(name)
        self.api.patch(f"/api/v1/nodes/{name}", {"metadata": {"annotations": {MODE: "node-lost"}}})

    def find(self, name: str) -> None:
        """Let a lost node speak again."""
        self.api.patch(f"/api/v1/nodes/{name}", {"metadata": {"annotations": {MODE: None}}})
        self._silent.discard(name)
        self._renew(name)
        self._tell(self.machines[name])
        self._recall(name)

    def _recall(self, name: str) -> None:
        """Say once more how the pods of a node are: the cluster believed them not ready while it was lost."""
        for uid, known in list(self._plays.items()):
            if known.pod["spec"]["nodeName"] == name and known.mode != "gone" and not known.steps:
                known.steps = play(known.pod, self._address(known.pod))[-1:]
                self._later(0, partial(self._step, uid, known.number))

    def heal(self) -> None:
        """Bring back every lost node and wait until all take pods."""
        for name in list(self._silent):
            self.find(name)
        self.wait_ready(*self.machines)

    def _beat(self) -> None:
        """Renew the leases, and the statuses of nodes that the cluster believed lost."""
        while not self._ended.wait(BEAT_SECONDS):
            for machine in list(self.machines.values()):
                node = self.api.find(f"/api/v1/nodes/{machine.name}")
                if node is None:
                    continue
                if (node["metadata"].get("annotations") or {}).get(MODE) == "node-lost":
                    self._silent.add(machine.name)
                    continue
                self._silent.discard(machine.name)
                self._renew(machine.name)
                seen = {found["type"]: found["status"] for found in node.get("status", {}).get("conditions", [])}
                if seen.get("Ready") != "True":  # this process had no time for a while
                    self._tell(machine)
                    # The cluster writes of the pods a moment after it wrote of the node.
                    self._later(BEAT_SECONDS, partial(self._recall, machine.name))

    def _renew(self, name: str) -> None:
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now(micro=True)}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}
        self.api.call("PATCH", f"{LEASES}/{name}", lease, kind=APPLY, fieldManager=MANAGER, force="true")

    def _tell(self, machine: Machine) -> None:
        path = f"/api/v1/nodes/{machine.name}/status"
        self.api.call("PATCH", path, {"status": machine.status(self.logs.port)}, kind=STATUS, fieldManager=MANAGER)

    # Pods

    def _run(self, work: Callable[[], None]) -> None:
        """Keep a thread at work through whatever the tests do to the API server."""
        while not self._ended.is_set():
            try:
                work()
            except requests.RequestException:
                self._ended.wait(0.2)
            except Exception as error:
                if isinstance(error, Refused) and (error.status >= 500 or error.status in {410, 429}):
                    self._ended.wait(0.2)
                    continue
                self.errors.append(f"{work.__name__}: {error!r}")
                self._ended.wait(1)

    def _watch(self) -> None:
        """Take up every pod of our nodes: those that are there, then those that change."""
        listed = self.api.get("/api/v1/pods")
        for pod in listed["items"]:
            self._see(pod)
        since = listed["metadata"]["resourceVersion"]
        for kind, thing in self.api.watch("/api/v1/pods", since=since, seconds=60):
            if self._ended.is_set() or kind == "ERROR":
                return
            if kind in {"ADDED", "MODIFIED"}:
                self._see(thing)
            elif kind == "DELETED":
                self._plays.pop(thing["metadata"]["uid"], None)

    def _see(self, pod: Object) -> None:
        """Begin a pod's play, begin another one when its mode changed, or end it when it is to go."""
        uid, node = pod["metadata"]["uid"], pod["spec"].get("nodeName")
        if node not in self.machines or pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
            return
        known, mode = self._plays.get(uid), mode_of(pod)
        if pod["metadata"].get("deletionTimestamp"):
            if known is None or known.mode != "gone":
                self._plays[uid] = _Play(pod, "gone", [], next(self._numbers))
                self._later(0, lambda: self._end(pod))
            return
        if known is not None and known.mode == mode:
            return
        if known is None and not mode and _is_ready(pod):
            return  # of a kubelet before this one
        steps = play(pod, self._address(pod))
        begun = self._plays[uid] = _Play(pod, mode, steps, next(self._numbers))
        if steps:
            self._later(steps[0].after, lambda: self._step(uid, begun.number))

    def _address(self, pod: Object) -> str:
        own = self.containers is not None and self.containers.takes(pod)
        return self.containers.address(pod) if own and self.containers else self.address

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        with self._wake:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), action))
            self._wake.notify()

    def _perform(self) -> None:
        """Do what is due, in the order in which it is due."""
        while not self._ended.is_set():
            with self._wake:
                wait = self._due[0][0] - time.monotonic() if self._due else 1.0
                if wait > 0:
                    self._wake.wait(wait)
                    continue
                _, _, action = heapq.heappop(self._due)
            try:
                action()
            except (requests.RequestException, Refused) as error:
                if isinstance(error, Refused) and error.status < 500 and error.status != 429:
                    raise
                self._later(0.2, action)  # the server is away: a kubelet tries again

    def _step(self, uid: str, number: int) -> None:
        """Write the next status of a pod, unless another play began or its node is silent."""
        known = self._plays.get(uid)
        if known is None or known.number != number or not known.steps:
            return
        if known.pod["spec"]["nodeName"] in self._silent or not self._passes(known):
            self._later(PROBE_SECONDS, lambda: self._step(uid, number))
            return
        meta, step = known.pod["metadata"], known.steps[0]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        body = {"metadata": {"uid": uid}, "status": step.status}
        with _too_late_is_fine():
            self.api.call("PATCH", f"{path}/status", body, kind=STATUS, fieldManager=MANAGER)
        if step.probe:
            self.ready_at[meta["name"]] = time.time()
        known.steps.pop(0)
        if known.steps:
            self._later(known.steps[0].after, lambda: self._step(uid, number))
        for event in step.events:
            with _too_late_is_fine():
                self._say(known.pod, event)

    def _passes(self, known: _Play) -> bool:
        """Whether the step may come: the readiness probe of its pod passes where it is really made, and its processes
        run where they really do.
        """
        pod, host = known.pod, "127.0.0.1"
        port = (pod["metadata"].get("annotations") or {}).get(PORT)
        container = pod["spec"]["containers"][0]
        if self.containers is not None and self.containers.takes(pod):
            if not known.steps[0].probe:
                meta = pod["metadata"]
                self.logs.files[meta["namespace"], meta["name"]] = self.containers.log(meta["namespace"], meta["name"])
                return self.containers.start(pod)
            host, port = self.containers.address(pod), str(container["ports"][0]["containerPort"])
        if not known.steps[0].probe or not port:
            return True
        asked = container.get("readinessProbe", {}).get("httpGet", {})
        with suppress(requests.RequestException):
            answer = requests.get(f"http://{host}:{port}{asked.get('path', '/health')}", timeout=1)
            return answer.status_code < 400
        return False

    def _say(self, pod: Object, event: Event) -> None:
        meta, at = pod["metadata"], now()
        about = {
            "kind": "Pod",
            "apiVersion": "v1",
            "namespace": meta["namespace"],
            "name": meta["name"],
            "uid": meta["uid"],
        }
        body = {
            "metadata": {"generateName": f"{meta['name']}.", "namespace": meta["namespace"]}, "involvedObject": about,
            "type": event.type, "reason": event.reason, "message": event.message, "count": 1, "firstTimestamp": at,
            "lastTimestamp": at, "source": {"component": "kubelet", "host": pod["spec"]["nodeName"]},
            "reportingComponent": "kubelet", "reportingInstance": pod["spec"]["nodeName"],
        }  # fmt: skip
        self.api.post(f"/api/v1/namespaces/{meta['namespace']}/events", body)

    def _end(self, pod: Object) -> None:
        """Let a deleted pod go, once its node speaks; a stuck one stays until its mode is changed by force."""
        meta = pod["metadata"]
        if mode_of(pod) == "stuck":
            return
        if pod["spec"]["nodeName"] in self._silent:
            self._later(PROBE_SECONDS, lambda: self._end(pod))
            return
        if self.containers is not None and not self.containers.ended(pod):
            self._later(PROBE_SECONDS, lambda: self._end(pod))
            return
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        with _too_late_is_fine():
            self.api.delete(path, gracePeriodSeconds=0, preconditions={"uid": meta["uid"]})


@contextmanager
def _too_late_is_fine() -> Iterator[None]:
    """A pod may go, or its namespace close, while something is said of it."""
    try:
        yield
    except Refused as error:
        if error.status not in {403, 404, 409}:
            raise


def _is_ready(pod: Object) -> bool:
    conditions: list[Any] = pod.get("status", {}).get("conditions", [])
    return any(found["type"] == "Ready" and found["status"] == "True" for found in conditions)
