"""The `kserve` cluster driver: the `kubernetes` driver, with KServe's objects in the place of Deployments.

KServe's controllers make Deployment, Services and routes out of one object per revision, and copy the portal's labels
onto what belongs to it: by them replicas are found.
"""

import builtins
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from endpoints.clusters import Observation, Place, Workload
from endpoints.clusters.explaining.reading import at
from endpoints.clusters.kserve import manifests
from endpoints.clusters.kserve import state as kserve
from endpoints.clusters.kubernetes import kinds, owned, state, whole
from endpoints.clusters.kubernetes.driver import KubernetesDriver, key_in_use
from endpoints.clusters.kubernetes.kinds import Kind
from endpoints.clusters.kubernetes.state import Found, Object

SERVICES = (kinds.INFERENCE_SERVICE, kinds.LLM_INFERENCE_SERVICE)


class KServeDriver(KubernetesDriver):
    """Implements `ClusterDriver` with the objects of KServe. Instances hold no state and may be many."""

    def apply(self, workload: Workload) -> None:
        """Write what is missing or differs, end revisions that are not to be kept, and start anew what the cluster has
        tried often enough.

        While engines of another revision are ending nothing is written. Raises ClusterError: what the API refuses,
        `name_collision`, `image_not_pinned`, `invalid_workload`, `engine_unsupported`, `model_uri_invalid`.
        """
        found = self._found(workload.endpoint_id)
        services = self._attachments(workload.endpoint_id)
        key = key_in_use(found, workload, self._keys(workload.endpoint_id))
        wanted = self._written(workload, key)
        self._approve_no_others(workload, services)
        if self._end_others(workload, found, services):
            return
        self._converge_all(workload, wanted, found, known=bool(found.deployments or services))
        self._start_anew(workload, replace(found, deployments=()))

    def observe(self, endpoint_id: str) -> Observation:
        """Return the pods of an endpoint as replicas; only where something is not ready also why. Raises
        ClusterError.
        """
        found, services = self._found(endpoint_id), self._attachments(endpoint_id)
        if not kserve.healthy(found, services):
            # Where KServe has made nothing yet, its object tells where to look.
            places = replace(found, deployments=[*found.deployments, *services])
            found = replace(self._with_details(endpoint_id, places), deployments=found.deployments)
        seen = kserve.observation(found, services, self._keys(endpoint_id), self._client.now(), show=self._shows)
        return self._noted(seen, services)

    def observe_all(self) -> Mapping[str, Observation]:
        """Return what `observe` returns, without the reasons why something is not ready, of every endpoint that KServe
        has something of, by its id: a few lists for the whole cluster. Raises ClusterError.
        """
        keep = partial(whole.written, show=self._shows)
        services = [one for kind in self._kinds for one in self._listed(kind, keep)]
        found = whole.found_of(self._children(services), self._listed(kinds.POD, whole.pod))
        of, now = whole.by_endpoint(services), self._client.now()
        return {
            one: kserve.observation(found.get(one, Found()), of.get(one, ()), self._keys(one), now, show=self._shows)
            for one in {*found, *of}
        }

    def remove(self, endpoint_id: str) -> bool:
        """Delete what there is, KServe's objects last since by them the rest is found; True when nothing is left. Pods
        whose node is lost do not count. Raises ClusterError.
        """
        client, found, services = self._client, self._found(endpoint_id), self._attachments(endpoint_id)
        running = state.living(found.pods, client.now())
        for namespace in sorted({str(at(one, "metadata", "namespace")) for one in services}):
            client.found("DELETE", kinds.SECRET.path(namespace, owned.key_name(endpoint_id)))
        # Deployments and pods go with their owner; pods that nobody owns any more are ended by themselves.
        for one in services or ([] if found.deployments else running):
            client.delete(one)
        return not services and not found.deployments and not running and self._forgotten(endpoint_id)

    def list(self) -> builtins.list[str]:
        """Return the endpoints that KServe has an object of here, wanted or not. Raises ClusterError."""
        return sorted({one for kind in self._kinds for one in self._listed(kind, whole.endpoint)})

    @property
    def _kinds(self) -> Sequence[Kind]:
        """The kinds of objects that this cluster runs; the other one may not even be installed."""
        return SERVICES[1:] if manifests.large(self._place) else SERVICES[:1]

    def _written(self, workload: Workload, key: str) -> builtins.list[dict[str, Any]]:
        return manifests.objects(self._place, workload, key)

    @property
    def _compared(self) -> Sequence[Kind]:
        return self._kinds

    @property
    def _followed(self) -> Sequence[Kind]:
        """Deployments of LLMInferenceServices bear no label of ours; what becomes of them stands in its status."""
        made = () if manifests.large(self._place) else (kinds.DEPLOYMENT,)
        return (*self._kinds, *made, kinds.POD)

    def _children(self, services: Sequence[Object]) -> Sequence[Object]:
        """Return the Deployments that KServe made of `services`, all of them."""
        if not manifests.large(self._place):
            return self._listed(kinds.DEPLOYMENT, whole.written)
        owner = {(one["metadata"]["namespace"], one["metadata"]["name"]): one for one in services}
        made = self._client.list(kinds.DEPLOYMENT, labels=kserve.WORKLOAD, size=whole.PAGE, each=whole.written)
        places = [(one["metadata"]["namespace"], owned.label(one, "app.kubernetes.io/name")) for one in made]
        return [kserve.adopted(one, owner[place]) for one, place in zip(made, places, strict=True) if place in owner]

    def _attachments(self, endpoint_id: str) -> builtins.list[Object]:
        labels = owned.selector(self._place, endpoint_id)
        return [one for kind in self._kinds for one in self._client.list(kind, labels=labels)]

    def _found(self, endpoint_id: str) -> Found:
        """Return what KServe made; the Deployments of LLMInferenceServices carry its labels only."""
        if not manifests.large(self._place):
            return super()._found(endpoint_id)
        deployments: list[Any] = []
        for service in self._attachments(endpoint_id):
            meta = service["metadata"]
            labels = f"app.kubernetes.io/name={meta['name']},{kserve.WORKLOAD}"
            children = self._client.list(kinds.DEPLOYMENT, namespace=meta["namespace"], labels=labels)
            deployments += [kserve.adopted(one, service) for one in children]
        pods = self._client.list(kinds.POD, labels=owned.selector(self._place, endpoint_id))
        return Found(deployments=deployments, pods=pods)

    def _put_to_sleep(self, endpoint_id: str, found: Found, present: Sequence[Object]) -> bool:
        """Ask KServe to stop everything, which keeps its objects; whether it has taken away what it made of them."""
        awake = [one for one in present if not kserve.stopped(one) and not state.ending(one)]
        for one in awake:
            self._rewrite(one, manifests.stopped)
        return not awake and not found.deployments

    def _end_others(self, workload: Workload, found: Found, present: Sequence[Object]) -> bool:
        """Delete KServe's objects of revisions that are neither wanted nor kept; whether some of it still runs."""
        kept = {workload.revision, *workload.keep}
        for one in present:
            if state.revision(one) not in kept:
                self._client.delete(one)
        living = state.living(found.pods, self._client.now())
        return any(state.revision(one) not in kept for one in (*present, *found.deployments, *living))


def driver(place: Place) -> KServeDriver:
    """Return the driver of `place`."""
    return KServeDriver(place)
