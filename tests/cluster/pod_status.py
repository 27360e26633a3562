"""What a kubelet would say of a pod: pure functions, in the shapes that were recorded in tests/data/kubernetes.

The annotation `fake-kubelet/mode` of a pod chooses how it fares:

    (none)         starts and becomes ready
    slow-start     runs for `fake-kubelet/seconds` (10) before it is ready, like an engine that loads weights
    never-starts   its containers stay in ContainerCreating
    image-pull     its image cannot be pulled
    crash-loop     its container ends with code 1 again and again
    oom            its container is killed for memory
    not-ready      runs and never passes its readiness probe
    init-fail      its init container ends with code 1; `fake-kubelet/message` is what that printed
    stuck          becomes ready and does not go when it is deleted
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
MODE, SECONDS, MESSAGE = "fake-kubelet/mode", "fake-kubelet/seconds", "fake-kubelet/message"
PORT, ADDRESS = "fake-kubelet/port", "fake-kubelet/address"
MODES = ("", "slow-start", "never-starts", "image-pull", "crash-loop", "oom", "not-ready", "init-fail", "stuck")
SLOW_SECONDS = 10.0
NO_MODEL = "RuntimeError: Failed to fetch model. No model found in s3://bucket/x"


@dataclass(frozen=True)
class Event:
    """What the kubelet tells beside the status."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True)
class Step:
    """A status, how many seconds after the step before it it holds, and what is told with it."""

    after: float
    status: Object
    events: tuple[Event, ...] = ()
    probe: bool = False  # holds only once the readiness probe passes


@dataclass
class _Writer:
    """Statuses of one pod."""

    pod: Object
    address: str
    now: str = field(default_factory=lambda: f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ}")

    @property
    def containers(self) -> list[Object]:
        return list(self.pod["spec"]["containers"])

    @property
    def init_containers(self) -> list[Object]:
        return list(self.pod["spec"].get("initContainers") or [])

    def condition(self, kind: str, true: bool, reason: str = "", message: str = "") -> Object:
        found = {"type": kind, "status": "True" if true else "False", "lastTransitionTime": self.now}
        # None takes the reason of an earlier status away: statuses are merged, not replaced.
        return found | {"reason": reason or None, "message": message or None}

    def status(self, phase: str, statuses: list[Object], *, ready: bool = False, initialized: bool = True) -> Object:
        """The whole status; `statuses` are those of the containers."""
        unready = ("ContainersNotReady", "containers with unready status")
        why = () if ready else unready
        not_initialized = () if initialized else ("ContainersNotInitialized", "containers with incomplete status")
        conditions = [
            self.condition("PodScheduled", True),
            self.condition("Initialized", initialized, *not_initialized),
            self.condition("ContainersReady", ready, *why),
            self.condition("Ready", ready, *why),
        ]
        found: Object = {
            "phase": phase, "conditions": conditions, "containerStatuses": statuses, "hostIP": "127.0.0.1",
            "podIP": self.address, "podIPs": [{"ip": self.address}],
            "startTime": self.pod.get("status", {}).get("startTime") or self.now,
        }  # fmt: skip
        if self.init_containers:
            found["initContainerStatuses"] = [self.done(container) for container in self.init_containers]
        return found

    def container(self, spec: Object, state: Object, *, last: Object | None = None, **more: Any) -> Object:
        found = {
            "name": spec["name"], "image": spec["image"], "imageID": "", "lastState": last or {}, "ready": False,
            "restartCount": 0, "started": False, "state": state,
        }  # fmt: skip
        return found | more

    def running(self, spec: Object, *, ready: bool) -> Object:
        known: Object = {"containerID": f"fake://{spec['name']}", "imageID": f"fake://{spec['image']}", "started": True}
        return self.container(spec, {"running": {"startedAt": self.now}}, ready=ready, **known)

    def waiting(self, spec: Object, reason: str, message: str = "", **more: Any) -> Object:
        state = {"waiting": {"reason": reason} | ({"message": message} if message else {})}
        return self.container(spec, state, **more)

    def ended(self, code: int, reason: str, message: str = "") -> Object:
        found = {"containerID": "fake://x", "exitCode": code, "reason": reason, "startedAt": self.now}
        return {"terminated": found | {"finishedAt": self.now} | ({"message": message} if message else {})}

    def done(self, spec: Object) -> Object:
        known: Object = {"containerID": f"fake://{spec['name']}", "imageID": f"fake://{spec['image']}"}
        return self.container(spec, self.ended(0, "Completed"), ready=True, **known)


def mode_of(pod: Mapping[str, Any]) -> str:
    """How the pod is to fare."""
    return str((pod["metadata"].get("annotations") or {}).get(MODE, ""))


def play(pod: Object, address: str) -> list[Step]:
    """The statuses that the pod takes on, in their order; raises ValueError for a mode that is not known."""
    mode, notes = mode_of(pod), pod["metadata"].get("annotations") or {}
    if mode not in MODES:
        raise ValueError(f"{MODE} {mode!r} is none of {', '.join(MODES[1:])}")
    writer = _Writer(pod, notes.get(ADDRESS) or address)
    creating = Step(0, writer.status("Pending", [writer.waiting(c, "ContainerCreating") for c in writer.containers]))
    running = Step(
        0, writer.status("Running", [writer.running(c, ready=False) for c in writer.containers]), _started(pod)
    )
    ready = writer.status("Running", [writer.running(c, ready=True) for c in writer.containers], ready=True)
    if mode in {"", "stuck"}:
        return [creating, running, Step(0, ready, probe=True)]
    if mode == "slow-start":
        return [creating, running, Step(float(notes.get(SECONDS, SLOW_SECONDS)), ready, probe=True)]
    if mode == "never-starts":
        return [creating]
    if mode == "not-ready":
        failed = Event("Warning", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")
        return [creating, running, Step(0, running.status, (failed,))]
    trouble = {"image-pull": _image_pull, "crash-loop": _crash_loop, "oom": _oom, "init-fail": _init_fail}[mode]
    return [creating, *trouble(writer, notes)]


def _started(pod: Object) -> tuple[Event, ...]:
    names = [container["name"] for container in pod["spec"]["containers"]]
    return tuple(Event("Normal", "Started", f"Container started: {name}") for name in names)


def _image_pull(writer: _Writer, notes: Mapping[str, str]) -> list[Step]:
    events, statuses = [], []
    for spec in writer.containers:
        image = spec["image"]
        why = f'Failed to pull image "{image}": rpc error: code = NotFound desc = failed to pull and unpack: not found'
        events += [
            Event("Normal", "Pulling", f'Pulling image "{image}"'),
            Event("Warning", "Failed", why),
            Event("Warning", "Failed", "Error: ErrImagePull"),
            Event("Normal", "BackOff", f'Back-off pulling image "{image}"'),
            Event("Warning", "Failed", "Error: ImagePullBackOff"),
        ]
        statuses.append(writer.waiting(spec, "ImagePullBackOff", f'Back-off pulling image "{image}"'))
    return [Step(0, writer.status("Pending", statuses), tuple(events))]


def _crash_loop(writer: _Writer, notes: Mapping[str, str]) -> list[Step]:
    last = writer.ended(1, "Error", notes.get(MESSAGE, ""))
    events, statuses = [], []
    for spec in writer.containers:
        text = f"back-off 10s restarting failed container={spec['name']}"
        more = {"last": last, "restartCount": 3}
        statuses.append(writer.waiting(spec, "CrashLoopBackOff", text, **more))
        events.append(Event("Warning", "BackOff", f"Back-off restarting failed container {spec['name']} in pod"))
    return [Step(0, writer.status("Running", statuses), tuple(events))]


def _oom(writer: _Writer, notes: Mapping[str, str]) -> list[Step]:
    last = writer.ended(137, "OOMKilled")
    statuses = [
        writer.waiting(spec, "CrashLoopBackOff", "back-off", last=last, restartCount=1) for spec in writer.containers
    ]
    return [Step(0, writer.status("Running", statuses), _started(writer.pod))]


def _init_fail(writer: _Writer, notes: Mapping[str, str]) -> list[Step]:
    last = writer.ended(1, "Error", notes.get(MESSAGE, NO_MODEL))
    waiting = [writer.waiting(spec, "PodInitializing") for spec in writer.containers]
    status = writer.status("Pending", waiting, initialized=False)
    specs = writer.init_containers or [{"name": "storage-initializer", "image": "fake"}]
    failed, later = specs[0], specs[1:]
    text = f"back-off 10s restarting failed container={failed['name']}"
    status["initContainerStatuses"] = [
        writer.waiting(failed, "CrashLoopBackOff", text, last=last, restartCount=3),
        *(writer.waiting(spec, "PodInitializing") for spec in later),
    ]
    event = Event("Warning", "BackOff", f"Back-off restarting failed container {failed['name']} in pod")
    return [Step(0, status, (event,))]
