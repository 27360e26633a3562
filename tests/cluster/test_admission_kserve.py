"""The rendered admission policy with KServe's real controllers: their objects pass only as approved, and what the
controllers make of them passes whatever it is.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from endpoints.clusters import Workload
from endpoints.clusters.kserve.driver import KServeDriver
from endpoints.clusters.kubernetes import owned
from tests.cluster.admission_kit import CONTAINER, SECONDS, Guarded, guarded, refusal
from tests.cluster.api import Object
from tests.cluster.binaries import find_kserve, find_kserve_controllers
from tests.cluster.fixtures import needed
from tests.cluster.kubelet import Kubelet
from tests.cluster.plane import Plane
from tests.endpoints.kubernetes_kit import workload
from tests.stack.conftest import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"


@pytest.fixture(scope="module")
def kserve(plane: Plane, kubelets: Kubelet) -> Plane:
    """The plane with KServe's controllers at work."""
    needed(find_kserve())
    needed(find_kserve_controllers())
    plane.with_kserve(controllers=True)
    return plane


@pytest.fixture(scope="module", params=["", "llm"])
def cluster(request: pytest.FixtureRequest, kserve: Plane, tmp_path_factory: Any) -> Iterator[Guarded]:
    """A cluster that enforces, for either kind of KServe's objects."""
    directory: Path = tmp_path_factory.mktemp("kserve")
    with guarded(kserve, directory, "kserve", "enforce", serving_api=request.param) as found:
        yield found


def ready(driver: KServeDriver, wanted: Workload) -> None:
    """All replicas of the revision answer, and no other is there."""

    def step() -> bool:
        driver.apply(wanted)
        seen = driver.observe(wanted.endpoint_id).replicas
        return (
            len(seen)
            == wanted.replicas
            == sum(one.state == "ready" and one.revision == wanted.revision for one in seen)
        )

    wait_for(step, SECONDS, f"revision {wanted.revision} to be ready")


def paths(cluster: Guarded, wanted: Workload) -> tuple[str, str]:
    """Return where KServe's objects are, and the one of a workload."""
    large = cluster.place.settings.get("serving_api") == "llm"
    kind = "v1alpha2/namespaces/{}/llminferenceservices" if large else "v1beta1/namespaces/{}/inferenceservices"
    where = f"/apis/serving.kserve.io/{kind.format(cluster.space(wanted))}"
    return where, f"{where}/{owned.name(wanted)}"


def copied(live: Object) -> Object:
    """Return an object of KServe as somebody would write it again under another name."""
    kept = {key: live["metadata"][key] for key in ("labels", "annotations")}
    return {**live, "metadata": kept | {"name": "copy"}}


def test_kserve_s_objects_pass_as_approved_and_their_children_pass(cluster: Guarded) -> None:
    driver, wanted = KServeDriver(cluster.place), workload(cpu_millis=100, host_memory_bytes=2**28)
    ready(driver, wanted)
    ready(driver, replace(wanted, replicas=2))
    _refused(cluster, wanted)
    second = replace(wanted, revision=2, arguments=("--max-num-seqs", "4"))
    ready(driver, second)
    ready(driver, wanted)
    wait_for(lambda: driver.suspend(wanted.endpoint_id), SECONDS, "it to be suspended")
    somebody = cluster.stranger(cluster.space(wanted))
    start = {"metadata": {"annotations": {"serving.kserve.io/stop": None}}}
    assert "suspended in Gatehouse" in refusal(somebody, "PATCH", paths(cluster, wanted)[1], start, kind=MERGE)
    harmless = {"metadata": {"annotations": {"argocd.argoproj.io/sync-wave": "1"}}}
    assert refusal(somebody, "PATCH", paths(cluster, wanted)[1], harmless, kind=MERGE) == ""
    ready(driver, wanted)
    # A namespace that goes loses its approvals first, and what is left must still lose its finalizers.
    space = f"/api/v1/namespaces/{cluster.space(wanted)}"
    cluster.plane.api.delete(space)
    wait_for(lambda: cluster.plane.api.find(space) is None, SECONDS, "the namespace to go")
    assert driver.remove(wanted.endpoint_id), "nothing is left of it"


def _refused(cluster: Guarded, wanted: Workload) -> None:
    where, own = paths(cluster, wanted)
    space, api = cluster.space(wanted), cluster.plane.api
    somebody, live = cluster.stranger(space), api.get(own)
    assert "approved nothing" in refusal(somebody, "POST", where, copied(live)), "labels and annotations prove nothing"
    pod = "template" if "llm" in where else "predictor"
    image = [{"op": "replace", "path": f"/spec/{pod}/containers/0/image", "value": "registry.example.com/miner"}]
    said = refusal(somebody, "PATCH", own, image, kind=JSON_PATCH, dryRun="All")
    assert "differs from what Gatehouse approved" in said
    logging = {"metadata": {"annotations": {"internal.serving.kserve.io/logger": "true"}}}
    assert "Annotations" in refusal(somebody, "PATCH", own, logging, kind=MERGE)
    more: Object = {"spec": {"replicas": 9}} if "llm" in where else {"spec": {"predictor": {"maxReplicas": 9}}}
    assert "more replicas" in refusal(somebody, "PATCH", own, more, kind=MERGE)
    runtime = {
        "apiVersion": "serving.kserve.io/v1alpha1", "kind": "ServingRuntime", "metadata": {"name": "own"},
        "spec": {"containers": [CONTAINER | {"name": "kserve-container"}],
                 "supportedModelFormats": [{"name": "x", "version": "1"}]},
    }  # fmt: skip
    runtimes = f"/apis/serving.kserve.io/v1alpha1/namespaces/{space}/servingruntimes"
    assert "nothing of this kind" in refusal(somebody, "POST", runtimes, runtime)
    for child in api.items(f"/apis/apps/v1/namespaces/{space}/deployments"):
        path = f"/apis/apps/v1/namespaces/{space}/deployments/{child['metadata']['name']}"
        image = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "miner"}]
        assert "approved nothing" in refusal(somebody, "PATCH", path, image, kind=JSON_PATCH)
        assert "more replicas" in refusal(somebody, "PATCH", f"{path}/scale", {"spec": {"replicas": 9}}, kind=MERGE)
        forged: Object = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": child["spec"]}
        forged["metadata"] = {key: child["metadata"][key] for key in ("labels", "ownerReferences")} | {"name": "child"}
        assert "approved nothing" in refusal(somebody, "POST", path.rpartition("/")[0], forged)
