"""KServe on the tests' control plane: its real resource definitions, and its real controllers."""

import pytest

from tests.cluster.api import Object, Refused
from tests.cluster.binaries import find_kserve, find_kserve_controllers
from tests.cluster.fixtures import needed
from tests.cluster.kubelet import Kubelet
from tests.cluster.objects import condition, quota
from tests.cluster.plane import Plane

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture
def kserve(plane: Plane) -> Plane:
    """The plane with KServe's definitions."""
    needed(find_kserve())
    plane.with_kserve()
    return plane


@pytest.fixture
def controllers(plane: Plane, kubelet: Kubelet) -> Plane:
    """The plane with KServe's controllers at work; they stay for the rest of the run."""
    needed(find_kserve())
    needed(find_kserve_controllers())
    plane.with_kserve(controllers=True)
    return plane


def inference_service(name: str, *, gpus: int = 1, mode: str = "") -> Object:
    """The smallest one that asks for GPUs."""
    resources = {"cpu": "4", "memory": "32Gi", "nvidia.com/gpu": str(gpus)}
    model = {
        "modelFormat": {"name": "vLLM"}, "storageUri": "hf://Qwen/Qwen2.5-7B-Instruct",
        "resources": {"requests": resources, "limits": resources},
    }  # fmt: skip
    return {
        "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": {"name": name},
        "spec": {"predictor": {"annotations": {"fake-kubelet/mode": mode}, "minReplicas": 1, "model": model}},
    }  # fmt: skip


def llm_inference_service(name: str) -> Object:
    """The smallest one that has a router."""
    container = {"name": "main", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    spec: Object = {
        "model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct", "name": name}, "replicas": 1,
        "router": {"route": {}, "gateway": {}, "scheduler": {}}, "template": {"containers": [container]},
    }  # fmt: skip
    kind = {"apiVersion": "serving.kserve.io/v1alpha2", "kind": "LLMInferenceService"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


def test_both_kinds_are_served_and_judged(kserve: Plane, namespace: str) -> None:
    kserve.api.apply([inference_service("isvc"), llm_inference_service("llm")], namespace)
    wrong = llm_inference_service("wrong")
    wrong["spec"]["scaling"] = {"minReplicas": 1, "maxReplicas": 2}  # beside `replicas`
    with pytest.raises(Refused) as refused:
        kserve.api.apply(wrong, namespace)
    assert refused.value.status in {400, 403, 422}


def test_an_inference_service_becomes_ready_and_one_too_many_says_why(controllers: Plane, namespace: str) -> None:
    """The quota's answer stands in PredictorReady, not in Ready."""
    api, base = controllers.api, f"/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices"
    api.apply(quota(1), namespace)
    api.apply(inference_service("one"), namespace)
    controllers.wait(lambda: condition(api.get(f"{base}/one"), "Ready").get("status") == "True", "one to be ready")
    api.apply(inference_service("two"), namespace)

    def why() -> str:
        found = condition(api.get(f"{base}/two"), "PredictorReady")
        return str(found.get("message", "")) if found.get("reason") == "FailedCreate" else ""

    assert "exceeded quota: gpu" in controllers.wait(why, "the quota's answer")
    assert "exceeded quota" not in str(condition(api.get(f"{base}/two"), "Ready"))


def test_an_llm_inference_service_becomes_ready(controllers: Plane, namespace: str) -> None:
    api, path = controllers.api, f"/apis/serving.kserve.io/v1alpha2/namespaces/{namespace}/llminferenceservices/llm"
    api.apply(llm_inference_service("llm"), namespace)
    controllers.wait(lambda: condition(api.get(path), "Ready").get("status") == "True", "llm to be ready")
    names = {found["metadata"]["name"] for found in api.items(f"/apis/apps/v1/namespaces/{namespace}/deployments")}
    assert names == {"llm-kserve", "llm-kserve-router-scheduler"}
