"""What the explainer says of objects that a real API server, its controllers and its scheduler write at this moment."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from endpoints.clusters.explaining import explain, steps
from tests.cluster.api import APPLY
from tests.cluster.explaining_kit import Told, look, refused
from tests.cluster.kubelet import Kubelet
from tests.cluster.objects import deployment, quota
from tests.cluster.plane import Plane

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
CLAIM = {"volumes": [{"name": "m", "persistentVolumeClaim": {"claimName": "models"}}]}


@pytest.mark.parametrize(
    ("code", "words", "more"),
    [
        ("no_node_with_gpus", "16 GPUs (nvidia.com/gpu)", {"gpus": 16}),
        ("no_free_gpu", "for the 8 that one replica needs", {"gpus": 8, "replicas": 3}),
        ("no_matching_node", "gpu=nowhere", {"gpus": 1, "nodeSelector": {"gpu": "nowhere"}}),
        ("volume_claim_missing", "models", {"gpus": 1, **CLAIM}),
        ("gated", "queue", {"gpus": 1, "schedulingGates": [{"name": "example.com/queue"}]}),
        ("service_account_missing", "nobody", {"gpus": 1, "serviceAccountName": "nobody"}),
        ("image_not_found", "registry.local/vllm:1", {"gpus": 1, "mode": "image-pull"}),
        ("crashed", "exit code 1", {"gpus": 1, "mode": "crash-loop"}),
        ("out_of_memory", "1Gi", {"gpus": 1, "mode": "oom"}),
        ("not_ready", "health check", {"gpus": 1, "mode": "not-ready"}),
        ("weights_unavailable", "s3://bucket/x", {"gpus": 1, "mode": "init-fail"}),
        ("starting", "creating", {"gpus": 1, "mode": "never-starts"}),
        ("scaled_to_nothing", "nothing", {"gpus": 1, "replicas": 0}),
    ],
)
def test_a_deployment_in_trouble_says_why(told: Told, code: str, words: str, more: dict[str, Any]) -> None:
    assert words in told(deployment("ep-1", **more), code).sentence


def test_cuda_memory_is_told_from_the_engines_last_words(told: Told) -> None:
    words = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
    notes = {"fake-kubelet/mode": "crash-loop", "fake-kubelet/message": words}
    assert words in told(deployment("ep-1", gpus=1, annotations=notes), "gpu_out_of_memory").sentence


def test_a_quota_is_used_up_and_too_small(told: Told, plane: Plane, namespace: str) -> None:
    plane.api.apply(quota(2), namespace)
    plane.api.apply(deployment("first", gpus=1), namespace)
    plane.wait(lambda: look(plane.api, namespace, "first").pods, "the first pod")
    found = told(deployment("ep-1", gpus=2), "gpu_quota_exceeded")
    assert "allows 2 GPUs (nvidia.com/gpu), 1 are in use and this needs 2 more" in found.sentence
    assert not found.failed
    assert told(deployment("big", gpus=3), "quota_too_small").failed


def test_the_namespace_refuses_what_is_too_large_or_may_too_much(
    told: Told, plane: Plane, make_namespace: Callable[..., str], namespace: str
) -> None:
    limits = {"limits": [{"type": "Container", "max": {"memory": "512Mi"}}]}
    meta = {"name": "small"}
    plane.api.apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": meta, "spec": limits}, namespace)
    assert "512Mi" in told(deployment("ep-1", gpus=1), "limit_range").sentence
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    plane.api.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": label}})
    plane.api.delete(f"/api/v1/namespaces/{namespace}/limitranges/small")
    assert "restricted" in told(deployment("ep-2", gpus=1), "pod_security").sentence


def test_a_healthy_one_needs_no_words_and_has_all_its_steps(plane: Plane, kubelet: Kubelet, namespace: str) -> None:
    plane.api.apply(deployment("ep-1", gpus=1), namespace)

    def healthy() -> bool:
        seen = look(plane.api, namespace, "ep-1")
        return bool(seen.pods) and explain(seen, datetime.now(UTC)) is None

    plane.wait(healthy, "the engine to be healthy")
    found = steps(look(plane.api, namespace, "ep-1"))
    assert [one.name for one in found if one.started is None or one.ended is None] == []
    assert all(one.started <= one.ended for one in found if one.started and one.ended)


def test_refusals_of_the_api_are_explained(plane: Plane, namespace: str) -> None:
    api, apps = plane.api, f"/apis/apps/v1/namespaces/{namespace}/deployments"
    wanted = deployment("ep-1", gpus=1, replicas=0)
    assert refused(plane.as_token("nobody's"), "GET", apps).code == "token_refused"
    assert refused(api, "GET", f"{apps}/none").code == "not_found"
    assert refused(api, "GET", "/apis/no.such.group/v1/things").code == "kind_missing"
    assert refused(api, "POST", "/apis/apps/v1/namespaces/none/deployments", wanted).code == "namespace_missing"
    api.apply(wanted, namespace, by="human")
    assert refused(api, "POST", apps, wanted).code == "already_exists"
    changed = deployment("ep-1", gpus=2, replicas=0)
    apply = {"kind": APPLY, "fieldManager": "gatehouse"}
    found = refused(api, "PATCH", f"{apps}/ep-1", changed, **apply)
    assert found.code == "field_conflict"
    assert "human" in found.sentence
    changed["spec"]["template"]["spec"]["containers"][0]["resorces"] = {}
    found = refused(api, "PATCH", f"{apps}/ep-1", changed, force="true", **apply)
    assert found.code == "field_unknown"
    assert "resorces" in found.sentence
    found = refused(api, "POST", apps, deployment("Bad.Name", gpus=1))
    assert found.code == "object_invalid"
    assert "metadata.name" in found.sentence
    stale = {**wanted, "metadata": {"name": "ep-1", "resourceVersion": "1"}}
    assert refused(api, "PUT", f"{apps}/ep-1", stale).code == "changed_meanwhile"


def test_a_missing_right_is_named(plane: Plane, namespace: str) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "poor", "namespace": namespace}}
    poor = plane.as_token(plane.token_for(namespace, "poor", [account]))
    found = refused(poor, "GET", f"/apis/apps/v1/namespaces/{namespace}/deployments")
    assert found.code == "permission_missing"
    assert f"{namespace}/poor may not list deployments.apps in the namespace {namespace}" in found.sentence
