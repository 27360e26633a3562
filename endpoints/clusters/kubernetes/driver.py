"""The `kubernetes` cluster driver: a few lists tell what is there, and server-side apply brings it on.

Nothing is remembered between two calls but connections. Every object is read before it is written, one that is not the
portal's is never touched, and one that is as it should be is not written at all.
"""

import builtins
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from endpoints.clusters import ClusterError, Observation, Place, Workload
from endpoints.clusters.explaining.cases import say
from endpoints.clusters.explaining.reading import at, number
from endpoints.clusters.kubernetes import comparing, kinds, manifests, owned, pods, state
from endpoints.clusters.kubernetes.client import Client, client_of
from endpoints.clusters.kubernetes.kinds import kind_of
from endpoints.clusters.kubernetes.state import Found, Object
from portal import crypto

T = TypeVar("T")
LOG_BYTES = 65_536  # of one pod
MOST_LINES = 5000
ENDED_LINES = 60  # of the output of an engine that ended, for the explanation
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
        wanted = manifests.objects(self._place, workload, key_in_use(found, workload, keys))
        present = self._attachments(workload.endpoint_id)
        if self._end_others(workload, found, present):
            return
        for manifest in wanted:
            if kind_of(manifest) == kinds.DEPLOYMENT:
                self._choose(workload, found)
            self._converge(manifest, known=bool(found.deployments or present))
        names = {(one["kind"], one["metadata"]["name"]) for one in wanted}
        for one in present:
            if state.revision(one) == workload.revision and (one["kind"], one["metadata"]["name"]) not in names:
                client.delete(one)  # one replica needs no budget
        self._start_anew(workload, found)

    def observe(self, endpoint_id: str) -> Observation:
        """Return the pods of an endpoint as replicas, by two lists; only where something is not ready also why. Raises
        ClusterError.
        """
        found = self._found(endpoint_id)
        if not found.healthy:
            found = self._with_details(endpoint_id, found)
        return state.observation(found, self._keys(endpoint_id), self._client.now())

    def restart(self, endpoint_id: str) -> None:
        """Delete every pod; the cluster starts others by itself. Raises ClusterError."""
        for pod in self._found(endpoint_id).pods:
            self._client.delete(pod)

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
            client.delete(one)
        return not rest and not running and not services

    def logs(self, endpoint_id: str, lines: int = 200) -> str:
        """Return the last `lines` lines (1 to 5000, at most 64 KB) of each pod, marked by pod when there are several;
        of an engine that waits for its next start those of the last one. Raises ClusterError.
        """
        found = state.living(self._found(endpoint_id).pods, self._client.now())
        wanted = max(1, min(lines, MOST_LINES))
        parts = []
        for index, pod in enumerate(found):
            mark = f"replica {index} | " if len(found) > 1 else ""
            parts += [f"{mark}{line}" for line in self._log(pod, wanted).splitlines()]
        return "\n".join(parts)

    def prune_logs(self, older_than: timedelta) -> int:
        """Return 0: the cluster keeps the output of pods, and ends it with them."""
        return 0

    def list(self) -> builtins.list[str]:
        """Return the endpoints that have a Deployment or a Service here, wanted or not. Raises ClusterError."""
        labels = owned.selector(self._place)
        found = [one for kind in (kinds.SERVICE, kinds.DEPLOYMENT) for one in self._client.list(kind, labels=labels)]
        return sorted({owned.label(one, owned.ENDPOINT) for one in found})

    @property
    def _client(self) -> Client:
        return client_of(self._place)

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
            "logs": {
                str(at(pod, "metadata", "name")): _allowed(lambda pod=pod: self._log(pod, ENDED_LINES), "")  # type: ignore[misc]
                for pod in found.ended[:3]
            },
        }

    def _attachments(self, endpoint_id: str) -> builtins.list[Object]:
        """Return what an endpoint has beside Deployments and pods."""
        labels = owned.selector(self._place, endpoint_id)
        found = [*self._client.list(kinds.SERVICE, labels=labels)]
        found += self._client.list(kinds.DISRUPTION_BUDGET, labels=labels)
        found += self._client.list(kinds.AUTOSCALER, labels=labels)
        if self._place.settings.get("autoscaler") == "keda":
            found += self._client.list(kinds.SCALED_OBJECT, labels=labels)
        return found

    def _end_others(self, workload: Workload, found: Found, present: Sequence[Object]) -> bool:
        """Delete what belongs to revisions that are neither wanted nor kept; whether some of it still runs."""
        kept = {workload.revision, *workload.keep}
        for one in (*found.deployments, *present):
            if state.revision(one) not in kept:
                self._client.delete(one)
        pods_left = [pod for pod in state.living(found.pods, self._client.now()) if state.revision(pod) not in kept]
        return bool(pods_left) or any(state.revision(one) not in kept for one in found.deployments)

    def _converge(self, manifest: Mapping[str, Any], *, known: bool) -> None:
        """Write one object unless it is as it should be; take back what somebody else changed of it. `known`: something
        of the endpoint was there before.
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
            told = say("namespace_terminating", namespace=meta["name"])
            raise ClusterError(told.code, told.sentence, told.turn)
        if at(live, "metadata", "deletionTimestamp") or comparing.settled(live, manifest):
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

    def _log(self, pod: Object, lines: int) -> str:
        """Return the end of a pod's output, of the last start when the next one is awaited."""
        meta = pod["metadata"]
        path = f"{kinds.POD.path(meta['namespace'], meta['name'])}/log"
        query = {"container": state.container(pod), "tailLines": str(lines), "limitBytes": str(LOG_BYTES)}
        if state.restarts(pod) and not state.runs(pod):
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
