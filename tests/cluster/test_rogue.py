"""What runs without approval, on a real control plane: found by one scan with what it held, told from imitations, and
adopted by a request while its pods go on.
"""

import datetime as dt
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.utils import timezone

from approvals import services as requests
from endpoints import reconcile, services
from endpoints.clusters.kubernetes import owned
from endpoints.models import Cluster, Endpoint, Phase
from endpoints.rogue import scanning
from endpoints.rogue.models import Proposal, RogueScan, RogueState, RogueWorkload
from quotas.models import Pool, Reservation
from tests import factories
from tests.cluster import objects, portal_kit
from tests.cluster.api import Object
from tests.cluster.binaries import find_kserve, find_kserve_controllers
from tests.cluster.fixtures import needed
from tests.cluster.kubelet import Kubelet
from tests.cluster.plane import Plane
from tests.conftest import Org

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.django_db]
SECONDS = 90
GPU = "nvidia.com/gpu"
PROFILES = "/apis/infrastructure.opendatahub.io/v1"


@pytest.fixture
def cluster(plane: Plane, kubelet: Kubelet, org: Org) -> Iterator[Cluster]:
    made = portal_kit.register(plane, org.pat)
    yield made
    portal_kit.forget(plane, made)


def scan(cluster: Cluster) -> dict[str, RogueWorkload]:
    """Scan now; what was found, by namespace and name."""
    scanning.prepare([cluster.pk])
    RogueScan.objects.filter(pk=cluster.pk).update(scanned_at=None)
    assert scanning.scan(cluster.pk), RogueScan.objects.get(pk=cluster.pk).problem
    assert RogueScan.objects.get(pk=cluster.pk).problem == "", "the manifest allows all of it"
    return {str(row): row for row in RogueWorkload.objects.filter(cluster=cluster).exclude(state=RogueState.GONE)}


def pods(plane: Plane, namespace: str) -> list[Object]:
    return [
        one
        for one in plane.api.items(f"/api/v1/namespaces/{namespace}/pods")
        if "deletionTimestamp" not in one["metadata"]
    ]


def uids(plane: Plane, namespace: str) -> set[str]:
    return {one["metadata"]["uid"] for one in pods(plane, namespace)}


def run(plane: Plane, namespace: str, thing: Object, count: int = 1) -> None:
    """Put an object there and wait for its pods to be ready."""
    plane.api.apply(thing, namespace)
    plane.wait(
        lambda: sum(objects.condition(pod, "Ready").get("status") == "True" for pod in pods(plane, namespace)) == count,
        f"{count} pods of {thing['metadata']['name']}",
    )


def be_worker(endpoint: Endpoint, good: Callable[[Endpoint], Any]) -> Endpoint:
    """Be the worker until `good`."""
    end = time.monotonic() + SECONDS
    while True:
        reconcile.reconcile(endpoint.pk, "rogue")
        endpoint.refresh_from_db()
        if good(endpoint):
            return endpoint
        assert time.monotonic() < end, f"{endpoint.phase} {endpoint.reason_code}: {endpoint.reason_sentence}"
        time.sleep(0.1)


def is_in(phase: str) -> Callable[[Endpoint], bool]:
    return lambda row: row.phase == phase


def adopted(org: Org, cluster: Cluster, row: RogueWorkload, **fields: Any) -> Endpoint:
    """The endpoint that an approved request made of it."""
    profile = factories.make_profile(gpus=1, resource=GPU)
    pool = factories.make_pool(limit=2, profiles=[profile])
    Pool.objects.filter(pk=pool.pk).update(cluster=cluster.slug)
    RogueWorkload.objects.filter(pk=row.pk).update(project=org.fraud)
    version = factories.make_version()
    names = {"asset": version.asset.slug, "hardware_profile": profile.slug, "name": "scorer"}
    made = requests.send(org.principal(org.dana), factories.request_body(**names, adopts=row.pk, **fields))
    requests.approve(org.principal(org.ravi), made)
    made.refresh_from_db()
    assert made.endpoint is not None
    return made.endpoint


def test_a_deployment_with_a_gpu_is_found_and_goes_on_as_an_endpoint(
    plane: Plane, cluster: Cluster, namespace: str, org: Org
) -> None:
    run(plane, namespace, objects.deployment("scorer", gpus=1))
    time.sleep(1)  # so that its second counts
    row = scan(cluster)[f"{namespace}/scorer"]
    assert (row.kind, row.accelerators, row.engine, row.state) == ("Deployment", 1, "vLLM", "open")
    began = row.started_at
    assert (
        began is not None
        and 1 <= row.device_seconds <= (timezone.now() - began + dt.timedelta(seconds=3)).total_seconds()
    )

    before, live = uids(plane, namespace), f"/apis/apps/v1/namespaces/{namespace}/deployments/scorer"
    template = plane.api.get(live)["spec"]
    endpoint = be_worker(adopted(org, cluster, row), is_in(Phase.READY))
    be_worker(endpoint, lambda _: owned.label(plane.api.get(live), owned.ENDPOINT) == str(endpoint.pk))
    assert uids(plane, namespace) == before and plane.api.get(live)["spec"] == template
    assert [one["url"] for one in endpoint.upstreams] == ["http://127.0.0.1:8000"]
    assert Reservation.objects.get(holder_id=str(endpoint.pk)).state == "held"
    assert f"{namespace}/scorer" in scan(cluster) and RogueWorkload.objects.get(pk=row.pk).state == RogueState.ADOPTED

    by = org.principal(org.dana)
    services.suspend(by, endpoint)
    be_worker(endpoint, is_in(Phase.SUSPENDED))
    assert not pods(plane, namespace) and plane.api.get(live)["spec"]["replicas"] == 0
    services.resume(by, endpoint)
    be_worker(endpoint, is_in(Phase.READY))
    services.delete(by, endpoint)
    be_worker(endpoint, is_in(Phase.DELETED))
    assert plane.api.find(live) is None


def test_imitations_are_found_out_and_another_portal_is_named(
    plane: Plane, cluster: Cluster, namespace: str, org: Org
) -> None:
    own = {owned.MANAGED_BY: owned.MANAGER, owned.INSTALLATION: portal_kit.prefix(cluster), owned.REVISION: "1",
           owned.ENDPOINT: "11111111-1111-4111-8111-111111111111"}  # fmt: skip
    other = own | {owned.INSTALLATION: "theirs"}
    plane.api.apply(objects.deployment("imitation", gpus=1, labels=own), namespace)
    run(plane, namespace, objects.deployment("theirs", gpus=1, labels=other), 2)
    bare = objects.deployment("x", gpus=1)["spec"]["template"]["spec"]
    run(
        plane,
        namespace,
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare", "labels": own}, "spec": bare},
        3,
    )
    found = {row.name: (row.kind, row.claim) for row in scan(cluster).values() if row.namespace == namespace}
    assert found == {
        "imitation": ("Deployment", "imitated"), "theirs": ("Deployment", "other-portal"), "bare": ("Pod", "imitated"),
    }  # fmt: skip


def definition() -> Object:
    """The kind of OpenShift AI's hardware profiles, as far as anybody here reads it."""
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": "HardwareProfile", "listKind": "HardwareProfileList", "plural": "hardwareprofiles",
             "singular": "hardwareprofile"}  # fmt: skip
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "hardwareprofiles.infrastructure.opendatahub.io"},
        "spec": {"group": "infrastructure.opendatahub.io", "names": names, "scope": "Namespaced",
                 "versions": [version]},
    }  # fmt: skip


def test_an_inference_service_and_its_hardware_profile_are_imported(
    plane: Plane, kubelet: Kubelet, make_namespace: Callable[..., str], org: Org
) -> None:
    needed(find_kserve())
    needed(find_kserve_controllers())
    plane.with_kserve(controllers=True)
    cluster = portal_kit.register(plane, org.pat, "kserve")
    namespace = make_namespace(**{"opendatahub.io__dashboard": "true"})
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    if plane.api.find(f"{crd}/{definition()['metadata']['name']}") is None:
        plane.api.post(crd, definition())
    profile: Object = {
        "apiVersion": "infrastructure.opendatahub.io/v1", "kind": "HardwareProfile", "metadata": {"name": "one-l40s"},
        "spec": {"identifiers": [{"identifier": GPU, "displayName": "GPU", "defaultCount": 1, "minCount": 1}]},
    }  # fmt: skip
    plane.wait(lambda: plane.api.raw("GET", f"{PROFILES}/hardwareprofiles").status_code == 200, "the kind to be served")
    plane.api.post(f"{PROFILES}/namespaces/{namespace}/hardwareprofiles", profile)
    size = {"cpu": "100m", "memory": "256Mi"}
    container = {
        "name": "kserve-container", "image": objects.IMAGE, "args": ["--served-model-name=granite", "--port=8000"],
        "ports": [{"containerPort": 8000, "name": "h2c"}],
        "resources": {"requests": size, "limits": {**size, GPU: "1"}},
        "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}},
    }  # fmt: skip
    service: Object = {
        "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
        "metadata": {"name": "granite", "annotations": {"serving.kserve.io/deploymentMode": "Standard",
                                                        "serving.kserve.io/autoscalerClass": "none",
                                                        "opendatahub.io/hardware-profile-name": "one-l40s"}},
        "spec": {"predictor": {"minReplicas": 1, "maxReplicas": 1, "containers": [container]}},
    }  # fmt: skip
    try:
        run(plane, namespace, service)
        row = scan(cluster)[f"{namespace}/granite"]
        assert (row.kind, row.by_kserve, row.accelerators) == ("InferenceService", True, 1)
        proposals = {one.name: one for one in Proposal.objects.filter(cluster=cluster)}
        assert proposals["one-l40s"].content["accelerator_count"] == 1 and namespace in proposals
        before = uids(plane, namespace)
        endpoint = be_worker(adopted(org, cluster, row), is_in(Phase.READY))
        assert uids(plane, namespace) == before
        assert endpoint.revision is not None and endpoint.revision.adopted["served"] == "granite"
        by = org.principal(org.dana)
        services.suspend(by, endpoint)
        be_worker(endpoint, is_in(Phase.SUSPENDED))
        assert not pods(plane, namespace)
        services.delete(by, endpoint)
        be_worker(endpoint, is_in(Phase.DELETED))
    finally:
        portal_kit.forget(plane, cluster)
