"""Two thousand endpoints at rest, on a real control plane and in rows.

Deployments and pods are written directly, with the status that controllers and kubelets would write: neither takes
part in what is measured, and two cores could not play that many. So are the rows, as a first look would leave them.
"""

import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.utils import timezone

from benchmarks.seed_pages import many
from catalog.models import Asset, HardwareProfile, Version, VersionState
from endpoints.clusters import Place, Workload
from endpoints.clusters.kubernetes import comparing, manifests, owned
from endpoints.drivers import driver_for, place, workload
from endpoints.models import Cluster, Endpoint, Phase, Revision, RevisionOutcome
from endpoints.routes import kept
from portal import crypto
from projects.models import Project
from tests.cluster.api import Api

EACH = 100  # endpoints of a project
THREADS = 4
READY = [{"type": "Ready", "status": "True"}]


def catalog(image: str) -> tuple[Version, HardwareProfile]:
    """Write a version that runs in `image`, and a profile without accelerators."""
    asset = Asset.objects.create(slug="model", kind="model", name="Model", publisher="Lab")
    version = Version.objects.create(
        asset=asset, version="1.0", source="hf://lab/model@main", licence="Apache-2.0", state=VersionState.APPROVED,
        runtime={"engine": "vllm", "command": ["vllm", "serve", "{model}"], "image": image, "model": "lab/model"},
    )  # fmt: skip
    profile = HardwareProfile.objects.create(
        slug="plain", name="Plain", memory_bytes=2**30, price_per_hour="0.10", currency="EUR"
    )
    return version, profile


def path_of(where: Place, wanted: Workload) -> str:
    """Return where the Deployment of a workload lies."""
    space = owned.namespace(where, wanted.project, wanted.environment_name)
    return f"/apis/apps/v1/namespaces/{space}/deployments/{owned.name(wanted)}"


def rows(cluster: Cluster, version: Version, profile: HardwareProfile, amount: int) -> list[Endpoint]:
    """Write endpoints that are ready."""
    projects = many(
        Project(slug=f"fleet-{n}", name=f"Fleet {n}", cost_centre="CC-1") for n in range((amount + EACH - 1) // EACH)
    )
    now = timezone.now()
    made = many(
        Endpoint(
            project=projects[n // EACH], name=f"scoring-{n}", environment="prod", cluster=cluster, phase=Phase.READY,
            reason_code="ready", reason_sentence="Answers calls on 1 of 1 replica.", reason_turn="nobody", ready_at=now,
        )
        for n in range(amount)
    )  # fmt: skip
    revisions = []
    for one in made:
        revision = Revision(
            endpoint=one, number=1, version=version, profile=profile, replicas=1, concurrency=8, context_tokens=4096,
            runtime=version.runtime, authorization_reference="R-1", authorization_digest="sha256:abc",
            outcome=RevisionOutcome.WORKED,
        )  # fmt: skip
        revision.seal = revision.digest()
        revisions.append(revision)
    for one, revision in zip(made, many(revisions), strict=True):
        one.revision = revision
    Endpoint.objects.bulk_update(made, ["revision"], batch_size=500)
    return made


def objects(
    api: Api, cluster: Cluster, endpoints: Sequence[Endpoint], *, ready: bool = True, pods: bool = True
) -> None:
    """Write what the cluster would have of `endpoints`, with their `pods`: the first of each project by the driver,
    with its namespace.
    """
    driver, where = driver_for(cluster), place(cluster)
    wanted = [workload(one, one.revision, 1) for one in endpoints if one.revision is not None]
    first = {one.project: one for one in wanted}
    for one in first.values():
        driver.apply(one)
    rest = [one for one in wanted if one is not first[one.project]]
    _each(rest, lambda one: _written(api, where, one))
    _each(wanted if pods else (), lambda one: running(api, where, one, ready=ready))


def secrets(api: Api, cluster: Cluster, endpoints: Sequence[Endpoint]) -> None:
    """Write the key of each endpoint's engines, which those have that the driver made."""
    where = place(cluster)
    wanted = [workload(one, one.revision, 1) for one in endpoints if one.revision is not None]
    first = {one.project: one for one in wanted}

    def write(one: Workload) -> None:
        manifest = _manifest(where, one, "Secret")
        api.post(f"/api/v1/namespaces/{manifest['metadata']['namespace']}/secrets", manifest)

    _each([one for one in wanted if one is not first[one.project]], write)


def routes(cluster: Cluster, endpoints: Iterable[Endpoint]) -> None:
    """Write into the rows where the engines are."""
    seen = driver_for(cluster).observe_all()
    changed = []
    for one in endpoints:
        one.upstreams = kept(seen[str(one.pk)].replicas)
        changed.append(one)
    Endpoint.objects.bulk_update(changed, ["upstreams"], batch_size=500)


def running(api: Api, where: Place, wanted: Workload, *, ready: bool) -> None:
    """Write the pod of a Deployment, and the status of both."""
    deployment = _manifest(where, wanted, "Deployment")
    meta, template = deployment["metadata"], deployment["spec"]["template"]
    space = f"/api/v1/namespaces/{meta['namespace']}/pods"
    own = {"name": f"{meta['name']}-{uuid.uuid4().hex[:5]}", "namespace": meta["namespace"]}
    api.post(space, {
        "apiVersion": "v1", "kind": "Pod", "metadata": {**template["metadata"], **own},
        "spec": {**template["spec"], "nodeName": "node-1"},
    })  # fmt: skip
    engine = {
        "name": "engine",
        "image": "x",
        "imageID": "x",
        "restartCount": 0,
        "ready": ready,
        "state": {"running": {}},
    }
    status = {
        "phase": "Running", "podIP": "10.1.0.1", "podIPs": [{"ip": "10.1.0.1"}], "containerStatuses": [engine],
        "conditions": READY if ready else [{"type": "Ready", "status": "False"}],
    }  # fmt: skip
    api.patch(f"{space}/{own['name']}/status", {"status": status})
    counts = {"replicas": 1, "updatedReplicas": 1, **({"readyReplicas": 1, "availableReplicas": 1} if ready else {})}
    path = f"/apis/apps/v1/namespaces/{meta['namespace']}/deployments/{meta['name']}/status"
    api.patch(path, {"status": {**counts, "observedGeneration": 1}})


def become_ready(api: Api, where: Place, wanted: Workload) -> None:
    """Let the pod of a Deployment become ready, as its kubelet would write it."""
    space = f"/api/v1/namespaces/{owned.namespace(where, wanted.project, wanted.environment_name)}/pods"
    (pod,) = api.items(space, labelSelector=f"{owned.ENDPOINT}={wanted.endpoint_id}")
    api.patch(f"{space}/{pod['metadata']['name']}/status", {"status": {"conditions": READY}})


def _written(api: Api, where: Place, wanted: Workload) -> None:
    for kind, path in (("Service", "/api/v1"), ("Deployment", "/apis/apps/v1")):
        manifest = _manifest(where, wanted, kind)
        api.post(f"{path}/namespaces/{manifest['metadata']['namespace']}/{kind.lower()}s", comparing.stamped(manifest))


def _manifest(where: Place, wanted: Workload, kind: str) -> dict[str, Any]:
    key = crypto.derived(f"engine of {wanted.endpoint_id} on {where.slug}")[0]
    return next(one for one in manifests.objects(where, wanted, key) if one["kind"] == kind)


def _each(found: Iterable[Workload], write: Callable[[Workload], None]) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(write, found))
