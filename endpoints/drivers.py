"""From a cluster's row to its driver, and from a revision to the workload that a driver understands."""

from collections.abc import Callable, Collection

from django.conf import settings
from django.db.models import Sum
from django.utils.module_loading import import_string

from endpoints.clusters import Adopted, ClusterDriver, Place, Workload
from endpoints.clusters.explaining.cases import refused
from endpoints.engines import COMMANDS, additions
from endpoints.fleet.credentials import opened
from endpoints.models import Authentication, Cluster, Endpoint, Phase, Revision
from quotas.gpus import gpu_limit
from quotas.models import Pool

DEFAULT_RESOURCE = "nvidia.com/gpu"


def driver_for(cluster: Cluster) -> ClusterDriver:
    """Return the driver of `cluster`; raises ClusterError when settings.CLUSTER_DRIVERS does not name it."""
    path = settings.CLUSTER_DRIVERS.get(cluster.driver)
    if path is None:
        raise refused("driver_missing", cluster=cluster.slug, driver=cluster.driver)
    factory: Callable[[Place], ClusterDriver] = import_string(path)
    return factory(place(cluster))


def place(cluster: Cluster) -> Place:
    """Return what a driver needs of `cluster`, with its credential opened; raises ClusterError when no key opens it."""
    credential = opened(cluster)
    return Place(
        slug=cluster.slug,
        state_dir=settings.STATE_DIR,
        server=cluster.server,
        ca=cluster.ca,
        token=credential.token,
        certificate=credential.certificate,
        key=credential.key,
        in_cluster=cluster.authentication == Authentication.IN_CLUSTER,
        settings={**cluster.options, "admission": cluster.admission},
        repository=cluster.repository,
        repository_secret=credential.repository,
        repository_ca=cluster.repository_ca,
        known_hosts=cluster.known_hosts,
        adopted=adopted_on(cluster) if cluster.adopts else {},
    )


def adopted_on(cluster: Cluster) -> dict[str, dict[int, Adopted]]:
    """Return what endpoints of `cluster` have adopted, by endpoint and revision (one query)."""
    rows = Revision.objects.filter(endpoint__cluster=cluster).exclude(endpoint__phase=Phase.DELETED)
    found: dict[str, dict[int, Adopted]] = {}
    for endpoint, number, kept in rows.exclude(adopted={}).values_list("endpoint_id", "number", "adopted").order_by():
        found.setdefault(str(endpoint), {})[number] = Adopted(**kept)
    return found


def workload(
    endpoint: Endpoint,
    revision: Revision,
    replicas: int,
    keep: Collection[int] = (),
    weight: int | None = None,
    limits: dict[int, int] | None = None,
) -> Workload:
    """Return what a driver is told about `replicas` of `revision`, beside revisions to `keep` and with `weight` per
    cent of the calls; wants version, profile and project selected.

    The profile's memory limits a replica only where it is the machine's own: an accelerator's memory is not the
    process's. Beside accelerators main memory is as large as theirs unless the profile says how large. `limits`
    remembers accelerators by project, where many workloads are made. Raises ClusterError when the version does not say
    how it is started.
    """
    runtime = revision.runtime
    command = runtime.get("command") or COMMANDS.get(str(runtime.get("engine", "")))
    if not command:
        raise refused("runtime_missing")
    profile, engine, source = revision.profile, str(runtime.get("engine", "")), _pinned(revision)
    count, resource = profile.accelerator_count, _resource(revision)
    more = additions(engine, command, source=source, accelerators=count, resource=resource)
    return Workload(
        endpoint_id=str(endpoint.pk),
        revision=revision.number,
        name=endpoint.name,
        project=endpoint.project.slug,
        replicas=replicas,
        command=tuple(command),
        model=str(runtime.get("model") or revision.version.source),
        memory_bytes=None if count else profile.memory_bytes,
        demo=bool(runtime.get("demo")),
        context_tokens=revision.context_tokens,
        concurrency=revision.concurrency,
        health_path=str(runtime.get("health_path") or "/health"),
        start_timeout_seconds=int(runtime.get("start_timeout_seconds") or 600),
        authorization_digest=revision.authorization_digest,
        keep=tuple(sorted(keep)),
        environment_name=endpoint.environment,
        image=str(runtime.get("image") or ""),
        arguments=more,
        source=source,
        resource=resource,
        accelerators=count,
        accelerator_limit=_known_limit(endpoint, limits if limits is not None else {}) if count else None,
        node_selector=profile.node_selector,
        tolerations=tuple(profile.tolerations),
        cpu_millis=profile.cpu_millis,
        host_memory_bytes=profile.host_memory_bytes or profile.memory_bytes * max(count, 1),
        approval=revision.authorization_reference,
        weight=weight,
        adopted=Adopted(**revision.adopted) if revision.adopted else None,
        rewrite=bool(endpoint.rewrite_at and endpoint.rewrite_by),
    )


def _resource(revision: Revision) -> str:
    """Return what a node calls the accelerator of a profile."""
    profile = revision.profile
    return (profile.resource or DEFAULT_RESOURCE) if profile.accelerator_count else ""


def _pinned(revision: Revision) -> str:
    """Return the source of the weights with the commit that it was resolved to."""
    source, pin = revision.version.source, getattr(revision.version, "pin", None)
    if pin is None or not pin.revision or not source.startswith("hf://"):
        return source
    return f"{source.partition('@')[0]}@{pin.revision}"


def _known_limit(endpoint: Endpoint, limits: dict[int, int]) -> int:
    """Return the limit of a project, read once for many endpoints of a cluster."""
    if endpoint.project_id not in limits:
        limits[endpoint.project_id] = _limit(endpoint)
    return limits[endpoint.project_id]


def _limit(endpoint: Endpoint) -> int:
    """Return how many accelerators the project may use at most: its quota, or else all that its cluster shares."""
    limit = gpu_limit(endpoint.project).limit
    if limit is not None:
        return limit
    pools = Pool.objects.filter(cluster=endpoint.cluster.slug).aggregate(total=Sum("limit"))
    return int(pools["total"] or 0)
