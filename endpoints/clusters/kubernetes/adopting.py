"""The `kubernetes` driver where endpoints have adopted what ran before: each verb of the driver, and beside it what
`adopted` does with such objects. The `kserve` driver gets the same.
"""

import builtins
from collections.abc import Iterator, Mapping, Sequence

from endpoints.clusters import ClusterDriver, ClusterError, Difference, Notice, Observation, Place, Workload
from endpoints.clusters.kubernetes import adopted, kinds, notices, state
from endpoints.clusters.kubernetes.adopted_reading import Seen, engine_container
from endpoints.clusters.kubernetes.driver import LOG_BYTES, MOST_LINES, KubernetesDriver

SILENT = frozenset({"object_invalid", "cluster_error"})  # the container has not started, or its node does not answer


class Adopting(KubernetesDriver):
    """What endpoints have adopted, beside what the portal wrote."""

    def apply(self, workload: Workload) -> None:
        """Take the next step as the driver does; an adopted revision is only sized and marked. Raises ClusterError,
        `adopted_gone` when the object is not there any more.
        """
        if workload.adopted is None:
            if not adopted.end_others(self._client, self._place, workload):
                super().apply(workload)
            return
        found, present = self._found(workload.endpoint_id), self._attachments(workload.endpoint_id)
        self._approve_no_others(workload, [*found.deployments, *present])
        ending = self._end_others(workload, found, present)
        if not adopted.end_others(self._client, self._place, workload) and not ending:
            adopted.apply(self._client, self._place, workload)

    def observe(self, endpoint_id: str) -> Observation:
        """Return the engines of what was adopted, and of what the portal wrote. Raises ClusterError."""
        return adopted.beside(self._client, self._place, endpoint_id, super().observe(endpoint_id))

    def observe_all(self) -> Mapping[str, Observation]:
        """Return what `observe` returns of every endpoint; what was adopted costs a few calls each. Raises
        ClusterError.
        """
        seen = super().observe_all()
        mine = {
            one: adopted.beside(self._client, self._place, one, seen.get(one, Observation()))
            for one in self._place.adopted
        }
        return {**seen, **mine}

    def compare(self, workload: Workload) -> Sequence[Difference]:
        """Return in what the cluster differs: of an adopted object the portal wants nothing but its size."""
        return () if workload.adopted else super().compare(workload)

    def compare_all(self, workloads: Mapping[str, Workload]) -> Iterator[tuple[str, Sequence[Difference]]]:
        """Yield what `compare` returns of each workload. Raises ClusterError."""
        yield from ((one, ()) for one, workload in workloads.items() if workload.adopted)
        yield from super().compare_all({one: each for one, each in workloads.items() if not each.adopted})

    def restart(self, endpoint_id: str) -> None:
        """Delete every pod; the cluster starts others by itself. Raises ClusterError."""
        super().restart(endpoint_id)
        for one in self._adopted(endpoint_id):
            for pod in one.pods:
                self._client.delete({"apiVersion": kinds.POD.api, "kind": kinds.POD.name, **pod})

    def suspend(self, endpoint_id: str) -> bool:
        """Scale everything to nothing; True when no pod is left and none can come. Raises ClusterError."""
        asleep = adopted.suspend(self._client, self._place, endpoint_id)
        return super().suspend(endpoint_id) and asleep

    def remove(self, endpoint_id: str) -> bool:
        """Delete what there is, what was adopted too; True when nothing is left. Raises ClusterError."""
        gone = adopted.remove(self._client, self._place, endpoint_id)
        return super().remove(endpoint_id) and gone

    def logs(self, endpoint_id: str, lines: int = 200, *, replica: int | None = None, previous: bool = False) -> str:
        """Return the last lines of the engines: those of what was adopted first. Raises ClusterError."""
        own = [(pod, one) for one in self._adopted(endpoint_id) for pod in one.pods]
        if not own:
            return super().logs(endpoint_id, lines, replica=replica, previous=previous)
        parts = [] if replica is not None and replica >= len(own) else [
            f"{f'replica {index} | ' if len(own) > 1 else ''}{line}"
            for index, (pod, one) in enumerate(own)
            if replica in (None, index)
            for line in self._adopted_log(pod, one, max(1, min(lines, MOST_LINES)), previous=previous).splitlines()
        ]  # fmt: skip
        if replica is None or replica >= len(own):
            rest = None if replica is None else replica - len(own)
            more = super().logs(endpoint_id, lines, replica=rest, previous=previous)
            parts += [more] if more else []
        return "\n".join(parts)

    def notices(self, endpoint_id: str) -> builtins.list[Notice]:
        """Return the Events of all objects of an endpoint, newest first. Raises ClusterError."""
        found = super().notices(endpoint_id)
        for _, pin in adopted.pins(self._place, endpoint_id).values():
            found += notices.of(self._client.list(kinds.EVENT, namespace=pin.namespace), pin.name)
        return found

    def _adopted(self, endpoint_id: str) -> builtins.list[Seen]:
        return adopted.read(self._client, self._place, endpoint_id)

    def _adopted_log(self, pod: state.Object, seen: Seen, lines: int, *, previous: bool) -> str:
        meta = pod["metadata"]
        query = {"container": engine_container(seen.pin, pod), "tailLines": str(lines), "limitBytes": str(LOG_BYTES)}
        if previous:
            query["previous"] = "true"
        try:
            path = f"{kinds.POD.path(meta['namespace'], meta['name'])}/log"
            return self._client.text(path, query)[-LOG_BYTES:]
        except ClusterError as error:
            if error.code in SILENT:
                return ""
            raise


def driver(place: Place) -> ClusterDriver:
    """Return the driver of `place`."""
    return Adopting(place) if place.adopted else KubernetesDriver(place)
