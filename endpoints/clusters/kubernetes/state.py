"""From the objects of one endpoint to its replicas. Pure functions over what was read: neither clock nor cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from endpoints.clusters import Observation, Replica, Stage
from endpoints.clusters.explaining import Explanation, Seen, explain, steps
from endpoints.clusters.explaining.controllers import autoscaler
from endpoints.clusters.explaining.reading import at, condition, moment, number, objects
from endpoints.clusters.kubernetes import comparing, manifests, owned, pods
from endpoints.clusters.kubernetes.space import PORT

Object = Mapping[str, Any]

MOST_RESTARTS = 3  # by the cluster itself; after them the portal counts starts and gives up at some time
LOST = timedelta(minutes=2)  # past its last moment: its node is gone, and with it what it held


@dataclass(frozen=True)
class Found:
    """What was read of one endpoint; the second line only where something is not as it should be."""

    deployments: Sequence[Object] = ()
    pods: Sequence[Object] = ()

    replica_sets: Sequence[Object] = ()
    events: Sequence[Object] = ()
    quota: Object | None = None
    namespace: Object | None = None
    workloads: Sequence[Object] = ()  # of Kueue
    logs: Mapping[str, str] = field(default_factory=dict)  # by pod: the end of the output of an engine that ended

    @property
    def healthy(self) -> bool:
        """Whether as many pods are ready as are wanted, and none is on its way."""
        living = [pod for pod in self.pods if not over(pod)]
        wanted = sum(number(at(one, "spec", "replicas")) or 0 for one in self.deployments)
        return len(living) == wanted and all(ready(pod) for pod in living)

    @property
    def ended(self) -> list[Object]:
        """The pods whose engine ended at least once."""
        return [pod for pod in self.pods if restarts(pod) or at(_engine(pod), "state", "terminated")]


def observation(found: Found, keys: Sequence[str], now: datetime, *, show: bool = False) -> Observation:
    """Return the replicas, oldest first; `keys` are those that engines of the endpoint may ask for, newest first. With
    `show` what may stay of what somebody changed is no drift.
    """
    by_revision = {revision(one): one for one in found.deployments}
    key_of = {manifests.fingerprint(key): key for key in keys}
    replicas = [_replica(pod, by_revision.get(revision(pod)), found, key_of, now) for pod in living(found.pods, now)]
    for number_, deployment in sorted(by_revision.items()):
        there = sum(one.revision == number_ and one.state != "stopping" for one in replicas)
        missing = max(0, (number(at(deployment, "spec", "replicas")) or 0) - there)
        replicas += [_awaited(deployment, found, now)] * missing
    numbered = tuple(replace(one, index=index) for index, one in enumerate(replicas))
    scaled = {
        revision(one): number(at(one, "spec", "replicas")) or 0
        for one in found.deployments
        if owned.annotation(one, manifests.AUTOSCALED)
    }
    progress = {number_: progress_of(found, number_, deployment) for number_, deployment in by_revision.items()}
    return edited(Observation(numbered, scaled=scaled, progress=progress), found.deployments, found.pods, show=show)


def edited(seen: Observation, written: Sequence[Object], there: Sequence[Object], *, show: bool) -> Observation:
    """Return `seen` with what somebody changed of what was `written`; `there` are the pods."""
    ours = [one for one in written if not ending(one)]
    return replace(
        seen,
        drifted=any(comparing.drifted(one, show=show) for one in ours) or keyless(there),
        changed=any(comparing.changed(one) for one in ours),
        lowered={revision(one): pair for one in ours if show and (pair := comparing.lowered(one)) is not None},
    )


def progress_of(found: Found, number_: int, owner: Object) -> tuple[Stage, ...]:
    """Return the steps of the furthest replica of a revision, whose `owner` is a Deployment or an object of KServe."""
    own = [pod for pod in found.pods if revision(pod) == number_ and not over(pod)]
    return tuple(steps(Seen(deployment=owner, pods=own, events=found.events)))


def scaling(seen: Observation, autoscalers: Sequence[Object]) -> Observation:
    """Return `seen` with what keeps an autoscaler from its work said of each engine that answers calls."""
    told = next((one for each in autoscalers if (one := autoscaler(Seen(hpa=each))) is not None), None)
    if told is None:
        return seen
    replicas = (saying(one, told) if one.state == "ready" else one for one in seen.replicas)
    return replace(seen, replicas=tuple(replicas))


def living(found: Sequence[Object], now: datetime) -> list[Object]:
    """Return the pods that are there, oldest first and those that end last: without those that ended for good, and
    those whose node is lost.
    """
    there = [pod for pod in found if not over(pod) and not lost(pod, now)]
    return sorted(there, key=_rank)


def _rank(pod: Object) -> tuple[bool, str, str]:
    return ending(pod), str(at(pod, "metadata", "creationTimestamp")), str(at(pod, "metadata", "name"))


def over(pod: Object) -> bool:
    """Whether a pod will never run again; the cluster makes another one."""
    return at(pod, "status", "phase") in ("Failed", "Succeeded")


def lost(pod: Object, now: datetime) -> bool:
    """Whether a pod should have ended long ago and nobody confirms that it did."""
    last = moment(at(pod, "metadata", "deletionTimestamp"))
    return last is not None and now - last > LOST


def ready(pod: Object) -> bool:
    """Whether a pod answers calls."""
    return condition(pod, "Ready").get("status") == "True" and not ending(pod)


def revision(found: Object) -> int:
    """Return the revision that an object belongs to, 0 for none."""
    return number(owned.label(found, owned.REVISION)) or 0


def restarts(pod: Object) -> int:
    """Return how often the cluster started the engine of a pod again."""
    return number(_engine(pod).get("restartCount")) or 0


def runs(pod: Object) -> bool:
    """Whether the engine of a pod runs now, healthy or not."""
    return bool(at(_engine(pod), "state", "running"))


def container(pod: Object) -> str:
    """Return the name of the container that is the engine."""
    return str(_engine(pod).get("name") or pods.CONTAINER)


def keyless(found: Sequence[Object]) -> bool:
    """Whether a pod waits for the Secret with the key of its endpoint: the portal was ended before it wrote that, or
    somebody took it away.
    """
    waiting = [at(_engine(pod), "state", "waiting") for pod in found if not over(pod) and not ending(pod)]
    return any(
        at(one, "reason") == "CreateContainerConfigError" and owned.KEY_NAME.search(str(at(one, "message")))
        for one in waiting
    )


def given_up(pod: Object, deployment: Object | None) -> bool:
    """Whether the cluster has tried for long enough to start the engine of a pod: not one that waits for room."""
    late = condition(deployment or {}, "Progressing").get("reason") == "ProgressDeadlineExceeded"
    waits = str(at(_engine(pod), "state", "waiting", "reason") or "ContainerCreating")
    tried = restarts(pod) > 0 or waits not in ("ContainerCreating", "PodInitializing")
    return restarts(pod) >= MOST_RESTARTS or (late and tried)


def _replica(pod: Object, deployment: Object | None, found: Found, keys: Mapping[str, str], now: datetime) -> Replica:
    key = keys.get(owned.annotation(pod, pods.KEY), "")
    base = Replica(
        index=0, state="starting", revision=revision(pod), started_at=_started(pod), identity=_identity(pod),
        authorization_digest=owned.annotation(pod, owned.APPROVAL_DIGEST),
    )  # fmt: skip
    if ending(pod):
        sentence = "The engine is ending."
        return replace(base, state="stopping", reason_code="stopping", sentence=sentence, ends_itself=True)
    if not key:
        sentence = "The engine asks for a key that the portal does not know any more; it has to start again."
        return replace(base, state="failed", reason_code="key_lost", sentence=sentence, turn="nobody", occupies=True)
    if ready(pod):
        return replace(base, state="ready", url=_url(pod), key=key)
    told = _told(found, deployment, [pod], now)
    running = runs(pod)
    if told is None:
        return replace(base, state="loading" if running else "starting")
    said = saying(base, told)
    tried = given_up(pod, deployment)
    if told.failed or tried:
        return replace(said, state="failed", restarts_itself=not tried, occupies=True)
    return replace(said, state="loading" if running else "starting")


def _awaited(deployment: Object, found: Found, now: datetime) -> Replica:
    """Return the replica that is wanted and has no pod: the cluster is making one, or may not."""
    base = Replica(index=0, state="starting", revision=revision(deployment))
    own = [pod for pod in found.pods if revision(pod) == base.revision and (over(pod) or lost(pod, now))]
    told = _told(found, deployment, own, now)
    if told is None:
        return base
    said = saying(base, told)
    return replace(said, state="failed", occupies=True) if told.failed else said


def saying(replica: Replica, told: Explanation) -> Replica:
    """Return a replica with an explanation."""
    return replace(
        replica, reason_code=told.code, sentence=told.sentence, turn=told.turn, tried=told.tried, next=told.next
    )


def _told(found: Found, deployment: Object | None, about: Sequence[Object], now: datetime) -> Explanation | None:
    logs = next((found.logs[name] for pod in about if (name := str(at(pod, "metadata", "name"))) in found.logs), "")
    sets = [one for one in found.replica_sets if deployment and revision(one) == revision(deployment)]
    seen = Seen(
        deployment=deployment, replica_sets=sets, pods=about, events=found.events, quota=found.quota,
        namespace=found.namespace, workloads=found.workloads, logs=logs,
    )  # fmt: skip
    return explain(seen, now)


def ending(found: Object) -> bool:
    """Whether an object is being deleted."""
    return at(found, "metadata", "deletionTimestamp") is not None


def asleep(found: Object) -> bool:
    """Whether a Deployment or ReplicaSet wants no pod, has none, and its controller has seen that it wants none."""
    seen, written = at(found, "status", "observedGeneration"), at(found, "metadata", "generation")
    idle = number(at(found, "spec", "replicas")) == 0 and not number(at(found, "status", "replicas"))
    return idle and (number(seen) or 0) >= (number(written) or 0)


def _engine(pod: Object) -> Mapping[str, Any]:
    statuses = objects(at(pod, "status", "containerStatuses"))
    return next((one for one in statuses if str(one.get("name")) in pods.CONTAINERS), {})


def _started(pod: Object) -> datetime | None:
    return moment(at(_engine(pod), "state", "running", "startedAt"))


def _identity(pod: Object) -> str:
    """Return what names one life of an engine: the pod, and how often it was started in it."""
    return f"{str(at(pod, 'metadata', 'uid'))[:36]}-{restarts(pod)}"


def _url(pod: Object) -> str:
    address = str(at(pod, "status", "podIP") or "")
    return f"http://{f'[{address}]' if ':' in address else address}:{PORT}" if address else ""
