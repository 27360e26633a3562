"""The `kubernetes` cluster driver: a few lists tell what is there, and server-side apply brings it on.

Nothing is remembered between two calls but connections. Every object is read before it is written, one that is not the
portal's is never touched, and one that is as it should be is not written at all.
"""

import builtins
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from endpoints.clusters import ClusterError, Difference, Notice, Observation, Place, Workload
from endpoints.clusters.explaining.cases import refused
from endpoints.clusters.explaining.reading import at, number, objects
from endpoints.clusters.feeds import Feed
from endpoints.clusters.kubernetes import (
    approving,
    comparing,
    errors,
    kinds,
    machines,
    manifests,
    notices,
    owned,
    pods,
    state,
    whole,
)
from endpoints.clusters.kubernetes.client import Client, client_of
from endpoints.clusters.kubernetes.comparison import Comparison
from endpoints.clusters.kubernetes.kinds import Kind, kind_of
from endpoints.clusters.kubernetes.state import Found, Object
from endpoints.clusters.kubernetes.watch import KindFeed
from endpoints.clusters.machines import Machine
from portal import crypto

T = TypeVar("T")
LOG_BYTES = 65_536  # of one pod
MOST_LINES = 5000
ENDED_LINES = 60  # of the output of an engine that ended, for the explanation
RARELY = 300.0  # seconds between two looks at the autoscaler of an endpoint that is well
DETAILS_SECONDS = 2.0  # why something is not ready yet is read no more often
COST = "controller.kubernetes.io/pod-deletion-cost"


class KubernetesDriver:
    """Implements `ClusterDriver` with the API of one cluster. Instances hold no state and may be many."""

    def __init__(self, place: Place) -> None:
        """Nothing is called before the first method is."""
        self._place = place

    def apply(self, workload: Workload) -> None:
        """Write what is missing or differs, end revisions that are not to be kept, and start anew what the cluster has
        tried often enough.

        While engines of another revision are ending nothing is written. Raises ClusterError: what the API refuses,
        `name_collision`, `image_not_pinned`, `invalid_workload`, `namespace_terminating`.
        """
        client = self._client
        found = self._found(workload.endpoint_id)
        keys = self._keys(workload.endpoint_id)
        wanted = self._written(workload, key_in_use(found, workload, keys))
        present = self._attachments(workload.endpoint_id)
        self._approve_no_others(workload, [*found.deployments, *present])
        if self._end_others(workload, found, present):
            return
        names = {(one["kind"], one["metadata"]["name"]) for one in wanted}
        for one in present:
            if state.revision(one) == workload.revision and (one["kind"], one["metadata"]["name"]) not in names:
                client.delete(one)  # one replica needs no budget; before the Deployment, as above
        self._converge_all(workload, wanted, found, known=bool(found.deployments or present))
        self._start_anew(workload, found)

    def observe(self, endpoint_id: str) -> Observation:
        """Return the pods of an endpoint as replicas, by two lists; only where something is not ready also why. Raises
        ClusterError.
        """
        found = self._found(endpoint_id)
        if not found.healthy:
            found = self._with_details(endpoint_id, found)
        seen = state.observation(found, self._keys(endpoint_id), self._client.now(), show=self._shows)
        if seen.scaled and found.healthy:
            seen = state.scaling(seen, self._client.kept(f"scaling {endpoint_id}", RARELY, self._scalers(endpoint_id)))
        return self._noted(seen, found.deployments)

    def observe_all(self) -> Mapping[str, Observation]:
        """Return what `observe` returns, without the reasons why something is not ready, of every endpoint that has a
        Deployment or a pod here, by its id: a few lists for the whole cluster. Raises ClusterError.
        """
        keep = partial(whole.written, show=self._shows)
        deployments, pods = self._listed(kinds.DEPLOYMENT, keep), self._listed(kinds.POD, whole.pod)
        now, found = self._client.now(), whole.found_of(deployments, pods)
        return {one: state.observation(found[one], self._keys(one), now, show=self._shows) for one in found}

    def compare(self, workload: Workload) -> Sequence[Difference]:
        """Return in what the cluster differs from what `apply` would write of this workload, field by field; nothing
        is written. Raises ClusterError.
        """
        return self._comparison.of_one(workload)

    def compare_all(self, workloads: Mapping[str, Workload]) -> Iterator[tuple[str, Sequence[Difference]]]:
        """Yield what `compare` returns of each workload, by the id of its endpoint: a few lists of the whole cluster,
        a call for each endpoint, and one more for what may differ. Raises ClusterError.
        """
        return self._comparison.of_all(workloads)

    def manifests(self, workload: Workload) -> Sequence[Mapping[str, Any]]:
        """Return all objects of a workload, in the order in which they are written, without the key of its engines.
        Raises ClusterError for what cannot run there.
        """
        return manifests.shown(self._written(workload, self._keys(workload.endpoint_id)[0]))

    def feeds(self) -> Sequence[Feed]:
        """Return what has to be followed to learn of every change of an engine. Raises ClusterError."""
        labels = owned.selector(self._place)
        return [KindFeed(self._place, kind, labels) for kind in self._followed]

    def restart(self, endpoint_id: str) -> None:
        """Delete every pod; the cluster starts others by itself. Raises ClusterError."""
        for pod in self._found(endpoint_id).pods:
            self._client.delete(pod)

    def suspend(self, endpoint_id: str) -> bool:
        """Scale every revision to nothing and leave Deployments, Services, Secret and budgets; True when no pod is
        left and none can come. Pods whose node is lost do not count. Raises ClusterError.
        """
        found = self._found(endpoint_id)
        asleep = self._put_to_sleep(endpoint_id, found, self._attachments(endpoint_id))
        if not asleep or state.living(found.pods, self._client.now()):
            return False
        if approving.wanted(self._place):
            approving.rest(self._client, self._place, endpoint_id)
        return True

    def remove(self, endpoint_id: str) -> bool:
        """Delete what there is, the Services last since by them the rest is found; True when nothing is left. Pods
        whose node is lost do not count. Raises ClusterError.
        """
        client, found = self._client, self._found(endpoint_id)
        attached = self._attachments(endpoint_id)
        services = [one for one in attached if kind_of(one) == kinds.SERVICE]
        rest = [*found.deployments, *(one for one in attached if kind_of(one) != kinds.SERVICE)]
        running = state.living(found.pods, client.now())
        for namespace in sorted({str(at(one, "metadata", "namespace")) for one in (*rest, *services, *running)}):
            client.found("DELETE", kinds.SECRET.path(namespace, owned.key_name(endpoint_id)))
        # Pods go with their Deployment; one that nobody owns any more is ended by itself.
        for one in rest or running or services:
            if not state.ending(one):
                client.delete(one)
        return not rest and not running and not services and self._forgotten(endpoint_id)

    def _forgotten(self, endpoint_id: str) -> bool:
        """Take away what was approved of an endpoint of which nothing else is left; always True."""
        if approving.wanted(self._place):
            approving.forget(self._client, self._place, endpoint_id)
        return True

    def logs(self, endpoint_id: str, lines: int = 200, *, replica: int | None = None, previous: bool = False) -> str:
        """Return the last `lines` lines (1 to 5000, at most 64 KB) of each pod or of one, marked by pod when there are
        several; `previous` or of an engine that waits for its next start: those of the run before. Raises ClusterError.
        """
        found = state.living(self._found(endpoint_id).pods, self._client.now())
        wanted = max(1, min(lines, MOST_LINES))
        parts = []
        for index, pod in enumerate(found):
            if replica not in (None, index):
                continue
            mark = f"replica {index} | " if len(found) > 1 else ""
            parts += [f"{mark}{line}" for line in self._log(pod, wanted, previous=previous).splitlines()]
        return "\n".join(parts)

    def notices(self, endpoint_id: str) -> builtins.list[Notice]:
        """Return the Events of all objects of an endpoint, each thing once, newest first; empty when nothing of it is
        there. Raises ClusterError.
        """
        return self._client.kept(f"notices {endpoint_id}", DETAILS_SECONDS, lambda: self._notices(endpoint_id))

    def prune_logs(self, older_than: timedelta) -> int:
        """Return 0: the cluster keeps the output of pods, and ends it with them."""
        return 0

    def list(self) -> builtins.list[str]:
        """Return the endpoints that have a Deployment or a Service here, wanted or not. Raises ClusterError."""
        return sorted({one for kind in (kinds.SERVICE, kinds.DEPLOYMENT) for one in self._listed(kind, whole.endpoint)})

    def machines(self, resources: Collection[str], labels: Collection[str]) -> tuple[Machine, ...]:
        """Return the accelerators of all nodes with what holds them, by two lists in pages. Raises ClusterError."""
        nodes = self._client.list(kinds.NODE, each=machines.node)
        pods = self._client.list(kinds.POD, fields=machines.HOLDING, size=whole.PAGE, each=machines.pod)
        mark, adopted = owned.installation(self._place.settings), self._place.adopted
        kept = [one for one in pods if one]
        return machines.machines(nodes, kept, known=resources, labels=labels, mark=mark, adopted=adopted)

    @property
    def _client(self) -> Client:
        return client_of(self._place)

    @property
    def _shows(self) -> bool:
        """Whether what may stay of what somebody changed is shown, and not written again by itself."""
        return comparing.shows(self._place.settings)

    def _written(self, workload: Workload, key: str) -> builtins.list[dict[str, Any]]:
        """Return all objects of a workload whose engines ask for `key`, in the order in which they are written."""
        return manifests.objects(self._place, workload, key)

    @property
    def _compared(self) -> Sequence[Kind]:
        """The kinds of objects that an endpoint has; those that run pods first."""
        scaler = {"hpa": (kinds.AUTOSCALER,), "keda": (kinds.SCALED_OBJECT,)}
        more = scaler.get(str(self._place.settings.get("autoscaler")), ())
        return (kinds.DEPLOYMENT, kinds.SERVICE, kinds.DISRUPTION_BUDGET, *more)

    @property
    def _comparison(self) -> Comparison:
        return Comparison(self._client, self._place, self._keys, self._written, self._compared)

    @property
    def _followed(self) -> Sequence[Kind]:
        return (kinds.DEPLOYMENT, kinds.POD)

    def _listed(self, kind: Kind, each: Callable[[Object], T]) -> builtins.list[T]:
        """Return of each object of a kind, in the whole cluster, what `each` keeps of it."""
        return self._client.list(kind, labels=owned.selector(self._place), size=whole.PAGE, each=each)

    def _keys(self, endpoint_id: str) -> builtins.list[str]:
        """Return the keys that engines of an endpoint may ask for: they follow from the portal's own keys, so that the
        portal never has to read a Secret.
        """
        return crypto.derived(f"engine of {endpoint_id} on {self._place.slug}")

    def _found(self, endpoint_id: str) -> Found:
        owned.stem(endpoint_id)
        labels = owned.selector(self._place, endpoint_id)
        return Found(
            deployments=self._client.list(kinds.DEPLOYMENT, labels=labels),
            pods=self._client.list(kinds.POD, labels=labels),
        )

    def _with_details(self, endpoint_id: str, found: Found) -> Found:
        """Add to `found` what says why something is not ready, at most two seconds old."""
        namespace = next((str(at(one, "metadata", "namespace")) for one in (*found.deployments, *found.pods)), "")
        if not namespace:
            return found
        return replace(
            found,
            **self._client.kept(endpoint_id, DETAILS_SECONDS, lambda: self._details(endpoint_id, found, namespace)),
        )

    def _details(self, endpoint_id: str, found: Found, namespace: str) -> dict[str, Any]:
        """Return the fields of `Found` that only explain; what the portal may not read is left out."""
        client, labels = self._client, owned.selector(self._place, endpoint_id)
        quotas: builtins.list[Any] = _allowed(lambda: client.list(kinds.RESOURCE_QUOTA, namespace=namespace), [])
        ours = [one for one in quotas if owned.label(one, owned.MANAGED_BY) == owned.MANAGER]
        return {
            "replica_sets": _allowed(lambda: client.list(kinds.REPLICA_SET, namespace=namespace, labels=labels), []),
            "events": _allowed(lambda: client.list(kinds.EVENT, namespace=namespace), []),
            "quota": next(iter([*ours, *quotas]), None),
            "namespace": _allowed(lambda: client.get(kinds.NAMESPACE, namespace), None),
            "workloads": self._workloads(found, namespace),
            "logs": {
                str(at(pod, "metadata", "name")): _allowed(lambda pod=pod: self._log(pod, ENDED_LINES), "")  # type: ignore[misc]
                for pod in found.ended[:3]
            },
        }

    def _workloads(self, found: Found, namespace: str) -> builtins.list[Object]:
        """Return Kueue's objects of a namespace, of the version that it serves, where a pod is held back by it."""
        if not any(objects(at(pod, "spec", "schedulingGates")) for pod in found.pods):
            return []
        for kind in (kinds.WORKLOAD, kinds.WORKLOAD_OLD):
            try:
                return self._client.list(kind, namespace=namespace)
            except ClusterError as error:  # not of this version, not there at all, or not for the portal to read
                if error.code not in errors.MISSING | {"kind_missing", "permission_missing", "forbidden"}:
                    raise
        return []

    def _scalers(self, endpoint_id: str) -> Callable[[], builtins.list[Object]]:
        """Return what reads the autoscalers of an endpoint; none where the portal may not see them."""
        labels = owned.selector(self._place, endpoint_id)
        return lambda: _allowed(lambda: self._client.list(kinds.AUTOSCALER, labels=labels), [])

    def _notices(self, endpoint_id: str) -> builtins.list[Notice]:
        found = self._found(endpoint_id)
        there = [*found.deployments, *found.pods] or self._attachments(endpoint_id)
        namespaces = sorted({str(at(one, "metadata", "namespace")) for one in there})
        events = [one for namespace in namespaces for one in self._client.list(kinds.EVENT, namespace=namespace)]
        return notices.of(events, owned.stem(endpoint_id))

    def _attachments(self, endpoint_id: str) -> builtins.list[Object]:
        """Return what an endpoint has beside Deployments and pods."""
        labels = owned.selector(self._place, endpoint_id)
        found = [*self._client.list(kinds.SERVICE, labels=labels)]
        found += self._client.list(kinds.DISRUPTION_BUDGET, labels=labels)
        found += self._client.list(kinds.AUTOSCALER, labels=labels)
        if self._place.settings.get("autoscaler") == "keda":
            found += self._client.list(kinds.SCALED_OBJECT, labels=labels)
        return found

    def _put_to_sleep(self, endpoint_id: str, found: Found, present: Sequence[Object]) -> bool:
        """Ask for no replica of anything; whether every controller has followed, so that no pod comes any more."""
        for one in present:
            if kind_of(one) in (kinds.AUTOSCALER, kinds.SCALED_OBJECT):
                self._client.delete(one)  # it would ask for replicas again
        awake = [one for one in found.deployments if not state.asleep(one)]
        for one in awake:
            if number(at(one, "spec", "replicas")) != 0 and not state.ending(one):
                self._rewrite(one, manifests.scaled_to_nothing)
        if awake:
            return False
        labels = owned.selector(self._place, endpoint_id)
        return all(state.asleep(one) for one in self._client.list(kinds.REPLICA_SET, labels=labels))

    def _rewrite(self, live: Object, change: Callable[[Object], dict[str, Any]]) -> None:
        """Apply what was written of `live` once more, changed. One whose note of that is spoilt goes: the next `apply`
        writes it anew.
        """
        written = comparing.applied(live)
        if written is None:
            self._client.delete(live)
            return
        manifest = comparing.stamped(change(written))
        manifest["metadata"]["uid"] = live["metadata"]["uid"]  # not one that took its place meanwhile
        self._client.apply(manifest, force=True)

    def _end_others(self, workload: Workload, found: Found, present: Sequence[Object]) -> bool:
        """Delete what belongs to revisions that are neither wanted nor kept; whether some of it still runs."""
        kept = {workload.revision, *workload.keep}
        # Deployments last: while one is there it is seen that something is left to do.
        for one in (*present, *found.deployments):
            if state.revision(one) not in kept and not state.ending(one):
                self._client.delete(one)
        pods_left = [pod for pod in state.living(found.pods, self._client.now()) if state.revision(pod) not in kept]
        return bool(pods_left) or any(state.revision(one) not in kept for one in found.deployments)

    def _converge_all(
        self, workload: Workload, wanted: Sequence[Mapping[str, Any]], found: Found, *, known: bool
    ) -> None:
        """Write objects in their order; where the cluster refuses what was not approved, the approval before what
        runs.
        """
        fresh = False
        for manifest in wanted:
            if manifest["kind"] in approving.RUN:
                self._choose(workload, found)
            approving.after(fresh, partial(self._converge, manifest, known=known, over=workload.rewrite))
            if kind_of(manifest) == kinds.NAMESPACE and approving.wanted(self._place):
                runs = next(one for one in wanted if one["kind"] in approving.RUN)
                fresh = approving.approve(self._client, self._place, workload, runs)

    def _approve_no_others(self, workload: Workload, there: Sequence[Object]) -> None:
        """Take away what was approved of revisions that end now: when they are gone nobody looks again."""
        kept = {workload.revision, *workload.keep}
        if approving.wanted(self._place) and any(state.revision(one) not in kept for one in there):
            approving.keep_only(self._client, self._place, workload)

    def _noted(self, seen: Observation, running: Sequence[Object]) -> Observation:
        """Return `seen` with what runs without its approval in the cluster as something to write anew."""
        if approving.wanted(self._place) and approving.missing(self._client, self._place, running):
            return replace(seen, drifted=True)
        return seen

    def _converge(self, manifest: Mapping[str, Any], *, known: bool, over: bool) -> None:
        """Write one object unless it is as it should be; take back what somebody else changed of it. `known`: something
        of the endpoint was there before; `over`: a person wants it written also over what may stay.
        """
        kind, meta = kind_of(manifest), manifest["metadata"]
        if kind == kinds.SECRET:  # the portal may not read whose it is; the same again changes nothing
            self._client.apply(manifest, force=known)
            return
        live = self._client.get(kind, meta["name"], meta.get("namespace", ""))
        if live is None:
            self._client.apply(comparing.stamped(manifest), force=False)
            return
        owned.require_ours(live, manifest)
        if kind == kinds.NAMESPACE and at(live, "metadata", "deletionTimestamp"):
            raise refused("namespace_terminating", namespace=meta["name"])
        show = self._shows and not over
        if at(live, "metadata", "deletionTimestamp") or comparing.settled(live, manifest, show=show):
            return  # what is being deleted is written again when it is gone
        written = comparing.stamped(manifest)
        written["metadata"]["uid"] = live["metadata"]["uid"]  # not one that took its place meanwhile
        self._client.apply(written, force=True)

    def _choose(self, workload: Workload, found: Found) -> None:
        """Mark the pods that are to go, before there may be fewer: those with the highest index, as the portal told the
        gateway.
        """
        own = [one for one in found.deployments if state.revision(one) == workload.revision]
        there = sum(number(at(one, "spec", "replicas")) or 0 for one in own)
        if there <= workload.replicas:
            return
        living = [pod for pod in found.pods if not state.ending(pod) and state.revision(pod) == workload.revision]
        living = state.living(living, self._client.now())
        for index, pod in enumerate(living[workload.replicas :], start=1):
            meta = pod["metadata"]
            self._client.annotate(kinds.POD, meta["name"], meta["namespace"], {COST: str(-index)})

    def _start_anew(self, workload: Workload, found: Found) -> None:
        """Delete the pods that the cluster has tried to start often enough: this start is the portal's."""
        by_revision = {state.revision(one): one for one in found.deployments}
        for pod in state.living(found.pods, self._client.now()):
            own = state.revision(pod) == workload.revision
            if own and not state.ready(pod) and state.given_up(pod, by_revision.get(workload.revision)):
                self._client.delete(pod)

    def _log(self, pod: Object, lines: int, *, previous: bool = False) -> str:
        """Return the end of a pod's output, of the run before when that is asked for or the next one is awaited."""
        meta = pod["metadata"]
        path = f"{kinds.POD.path(meta['namespace'], meta['name'])}/log"
        query = {"container": state.container(pod), "tailLines": str(lines), "limitBytes": str(LOG_BYTES)}
        if previous and not state.restarts(pod):
            return ""  # this is its first run
        if previous or (state.restarts(pod) and not state.runs(pod)):
            query["previous"] = "true"
        try:
            return self._client.text(path, query)[-LOG_BYTES:]
        except ClusterError as error:
            if error.code in {"object_invalid", "cluster_error"}:
                return ""  # the container has not started yet, or its node does not answer
            raise


def _allowed(read: Callable[[], T], otherwise: T) -> T:
    """Return what `read` returns, or `otherwise` where the portal has no right to read it."""
    try:
        return read()
    except ClusterError as error:
        if error.code in {"permission_missing", "forbidden"}:
            return otherwise
        raise


def driver(place: Place) -> KubernetesDriver:
    """Return the driver of `place`."""
    return KubernetesDriver(place)


def key_in_use(found: Found, workload: Workload, keys: Sequence[str]) -> str:
    """Return the key that the engines of this revision ask for already, or the newest one: engines do not start again
    because the portal has a new key.
    """
    template = next((one for one in found.deployments if state.revision(one) == workload.revision), {})
    mark = at(template, "spec", "template", "metadata", "annotations", pods.KEY)
    return next((key for key in keys if manifests.fingerprint(key) == mark), keys[0])
