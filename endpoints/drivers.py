"""From a cluster's row to its driver, and from a revision to the workload that a driver understands."""

from collections.abc import Callable, Collection
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from endpoints.clusters import ClusterDriver, ClusterError, Workload
from endpoints.engines import COMMANDS
from endpoints.models import Cluster, Endpoint, Revision


def driver_for(cluster: Cluster) -> ClusterDriver:
    """Return the driver of `cluster`; raises ClusterError when settings.CLUSTER_DRIVERS does not name it."""
    path = settings.CLUSTER_DRIVERS.get(cluster.driver)
    if path is None:
        sentence = (
            f"The cluster {cluster.slug} wants the driver {cluster.driver!r}, which this installation does not have."
        )
        raise ClusterError("driver_missing", sentence, "platform", retry=False)
    factory: Callable[[Any], ClusterDriver] = import_string(path)
    return factory(settings.STATE_DIR)


def workload(endpoint: Endpoint, revision: Revision, replicas: int, keep: Collection[int] = ()) -> Workload:
    """Return what a driver is told about `replicas` of `revision`, beside revisions to `keep`; wants version, profile
    and project selected.

    The profile's memory limits a replica only where it is the machine's own: an accelerator's memory is not the
    process's. Raises ClusterError when the version does not say how it is started.
    """
    runtime = revision.runtime
    command = runtime.get("command") or COMMANDS.get(str(runtime.get("engine", "")))
    if not command:
        sentence = "The version does not say how its engine is started; choose a version with a runtime."
        raise ClusterError("runtime_missing", sentence, "you", retry=False)
    accelerated = revision.profile.accelerator_count > 0
    return Workload(
        endpoint_id=str(endpoint.pk),
        revision=revision.number,
        name=endpoint.name,
        project=endpoint.project.slug,
        replicas=replicas,
        command=tuple(command),
        model=str(runtime.get("model") or revision.version.source),
        memory_bytes=None if accelerated else revision.profile.memory_bytes,
        demo=bool(runtime.get("demo")),
        context_tokens=revision.context_tokens,
        concurrency=revision.concurrency,
        health_path=str(runtime.get("health_path") or "/health"),
        start_timeout_seconds=int(runtime.get("start_timeout_seconds") or 600),
        authorization_digest=revision.authorization_digest,
        keep=tuple(sorted(keep)),
    )
