"""More failures as a real API server, its admission and its scheduler write them, and what a kubelet writes into it."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from endpoints.clusters.explaining import Seen, explain
from endpoints.clusters.kubernetes import notices
from tests.cluster.api import Object
from tests.cluster.explaining_kit import Told, look, refused, told_as
from tests.cluster.kubelet import Kubelet
from tests.cluster.objects import deployment
from tests.cluster.plane import Plane

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
SIGNS = "admissionregistration.k8s.io/v1"


def waits(reason: str, message: str) -> Object:
    """A container that waits, as a kubelet writes it."""
    state = {"waiting": {"reason": reason, "message": message}}
    box = {"name": "vllm", "image": "registry.local/vllm:1", "imageID": "", "ready": False, "restartCount": 0}
    return {"containerStatuses": [{**box, "state": state}]}


KUBELET = [
    ("image_name_invalid", "is not valid", waits("InvalidImageName", "couldn't parse image name")),
    ("image_not_present", "pull policy Never", waits("ErrImageNeverPull", "Container image is not present")),
    ("image_refused", "may not read it", waits("ErrImagePull", 'Failed to pull image "x": 401 Unauthorized')),
    ("image_rate_limited", "too many", waits("ErrImagePull", "toomanyrequests: rate limit")),
    ("registry_unreachable", "i/o timeout", waits("ImagePullBackOff", "dial tcp 10.0.0.1:443: i/o timeout")),
    ("config_missing", 'secret "hub" not found', waits("CreateContainerConfigError", 'secret "hub" not found')),
    ("runs_as_root", "runs as root", waits("CreateContainerConfigError", "runAsNonRoot and image will run as root")),
    ("program_missing", "vllm", waits("RunContainerError", 'exec: "vllm": executable file not found in $PATH')),
    ("evicted", "low on resource", {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource"}),
    ("preempted", "higher priority", {"phase": "Failed", "reason": "Preempting", "message": "x"}),
    ("node_stopped", "shut down", {"phase": "Failed", "reason": "NodeShutdown", "message": "x"}),
    ("device_unavailable", "no device", {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "none"}),
]  # fmt: skip


def test_what_a_kubelet_writes_is_read_back_and_explained(plane: Plane, kubelet: Kubelet, namespace: str) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    plane.api.apply(deployment("ep-1", gpus=1, mode="never-starts"), namespace)

    def pod() -> Object | None:
        found = plane.api.items(pods, labelSelector="app=ep-1")
        living = [one for one in found if one["status"].get("phase") != "Failed" and "nodeName" in one["spec"]]
        return living[0] if living and living[0]["status"].get("containerStatuses") else None

    told = {}
    for code, words, status in KUBELET:
        one = plane.wait(pod, "a pod on a node")
        plane.api.patch(f"{pods}/{one['metadata']['name']}/status", {"status": status})
        seen = look(plane.api, namespace, "ep-1")
        mine = [each for each in seen.pods if each["metadata"]["name"] == one["metadata"]["name"]]
        found = explain(Seen(deployment=seen.deployment, pods=mine, events=seen.events), dt.datetime.now(dt.UTC))
        told[code] = (found.code, words in found.sentence) if found else None
        plane.api.delete(f"{pods}/{one['metadata']['name']}", gracePeriodSeconds=0)
    assert told == {code: (code, True) for code, _, _ in KUBELET}


# --- Admission
# -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def whole(plane: Plane, namespace: str) -> Iterator[Callable[[Object], None]]:
    """Applies objects of the whole cluster that concern this namespace alone, and takes them away again."""
    made: list[Object] = []

    def apply(thing: Object) -> None:
        made.append(thing)
        plane.api.apply(thing)

    yield apply
    for thing in reversed(made):
        plane.api.delete(plane.api.path(thing))


def only_in(namespace: str) -> Object:
    return {"matchLabels": {"kubernetes.io/metadata.name": namespace}}


def rules(resource: str, group: str = "") -> Object:
    return {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}


def test_a_policy_refuses_the_pods_and_the_object_itself(
    told: Told, plane: Plane, namespace: str, whole: Callable[[Object], None]
) -> None:
    for name, rule in (("no-pods", rules("pods")), ("no-quotas", rules("resourcequotas"))):
        spec = {
            "matchConstraints": {"resourceRules": [rule]}, "failurePolicy": "Fail",
            "validations": [{"expression": "false", "message": "not approved", "reason": "Forbidden"}],
        }  # fmt: skip
        where: Object = {"policyName": name, "validationActions": ["Deny"]}
        where["matchResources"] = {"namespaceSelector": only_in(namespace)}
        policy, binding = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"
        whole({"apiVersion": SIGNS, "kind": policy, "metadata": {"name": name}, "spec": spec})
        whole({"apiVersion": SIGNS, "kind": binding, "metadata": {"name": name}, "spec": where})
    quotas = f"/api/v1/namespaces/{namespace}/resourcequotas"
    body = {"metadata": {"generateName": "q-"}, "spec": {"hard": {"pods": "9"}}}
    plane.wait(lambda: plane.api.raw("POST", quotas, json=body).status_code == 403, "the policy to count")
    found = refused(plane.api, "POST", quotas, body)
    assert (found.code, "no-quotas refuses it: not approved" in found.sentence) == ("policy_denied", True)
    assert "no-pods" in told(deployment("ep-1", gpus=1), "policy_denied").sentence


def test_a_webhook_that_is_away_is_named(told: Told, namespace: str, whole: Callable[[Object], None]) -> None:
    hook = {
        "name": "pods.example.com", "clientConfig": {"url": "https://127.0.0.1:1/"}, "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "rules": [rules("pods")], "timeoutSeconds": 1,
        "namespaceSelector": only_in(namespace), "failurePolicy": "Fail",
    }  # fmt: skip
    kind = "ValidatingWebhookConfiguration"
    whole({"apiVersion": SIGNS, "kind": kind, "metadata": {"name": "away"}, "webhooks": [hook]})
    found = told(deployment("ep-1", gpus=1), "webhook_unreachable")
    assert "pods.example.com" in found.sentence and "connection refused" in found.sentence and not found.failed


def test_quotas_that_count_objects_or_want_limits(told: Told, plane: Plane, namespace: str) -> None:
    apps = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    hard = {"count/deployments.apps": "1", "limits.cpu": "100"}
    meta = {"name": "team", "namespace": namespace}
    plane.api.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": hard}}, namespace)
    quota = f"/api/v1/namespaces/{namespace}/resourcequotas/team"
    plane.wait(lambda: plane.api.get(quota).get("status", {}).get("hard"), "the quota to be counted")
    bare = deployment("ep-1", gpus=1)
    del bare["spec"]["template"]["spec"]["containers"][0]["resources"]
    found = told(bare, "quota_wants_limits")
    assert "limits.cpu" in found.sentence
    full = refused(plane.api, "POST", apps, deployment("ep-2", gpus=1))
    assert full.code in ("quota_exceeded", "quota_too_small")
    assert "deployments.apps" in full.sentence


def test_a_namespace_that_goes_away(plane: Plane, make_namespace: Callable[..., str]) -> None:
    namespace = make_namespace()
    keeper = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "k", "finalizers": ["example.com/keep"]}}
    plane.api.apply(keeper, namespace)
    plane.api.delete(f"/api/v1/namespaces/{namespace}")
    try:
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        found = refused(plane.api, "POST", path, deployment("ep-1", gpus=1))
        assert (found.code, namespace in found.sentence) == ("namespace_terminating", True)
        told = explain(look(plane.api, namespace, "ep-1"), dt.datetime.now(dt.UTC))
        assert told is not None and told.code == "namespace_terminating"
    finally:
        free = {"metadata": {"finalizers": None}}
        plane.api.patch(f"/api/v1/namespaces/{namespace}/configmaps/k", free)


def test_calls_that_no_server_takes(plane: Plane, namespace: str) -> None:
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    large = {"metadata": {"name": "large"}, "data": {"x": "x" * 4_000_000}}
    assert refused(plane.api, "POST", maps, large).code == "object_too_large"
    assert refused(plane.api, "POST", maps, {"metadata": {"name": "x"}}, kind="text/csv").code == "request_refused"


# --- Placement and rollout
# -------------------------------------------------------------------------------------------------------------------


def test_volumes_and_sizes_that_no_node_has(told: Told, plane: Plane, namespace: str) -> None:
    claim: Object = {"accessModes": ["ReadWriteOnce"], "storageClassName": "nowhere"}
    claim["resources"] = {"requests": {"storage": "1Gi"}}
    meta = {"name": "models"}
    plane.api.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": claim}, namespace)
    volume: dict[str, Any] = {"volumes": [{"name": "m", "persistentVolumeClaim": {"claimName": "models"}}]}
    assert told(deployment("ep-1", gpus=1, **volume), "volume_not_bound").turn == "platform"
    huge = deployment("ep-3", gpus=1)
    huge["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] = "900Ti"
    assert "memory" in told(huge, "no_node_large_enough").sentence


def test_nodes_that_are_reserved_or_cordoned(plane: Plane, kubelet: Kubelet, told: Told, namespace: str) -> None:
    nodes = [f"/api/v1/nodes/{one['metadata']['name']}" for one in plane.api.items("/api/v1/nodes")]
    taint = {"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}
    try:
        for node in nodes:
            plane.api.patch(node, {"spec": {"taints": [taint]}})
        assert "All of the 2 nodes" in told(deployment("ep-1", gpus=1), "taints_not_tolerated").sentence
        for node in nodes:
            plane.api.patch(node, {"spec": {"taints": None, "unschedulable": True}})
        assert "2 of 2 nodes" in told(deployment("ep-2", gpus=1), "nodes_not_ready").sentence
    finally:
        for node in nodes:
            plane.api.patch(node, {"spec": {"taints": None, "unschedulable": None}})


def test_a_rollout_that_is_late_or_held(told: Told) -> None:
    late = deployment("ep-1", gpus=1, mode="never-starts")
    late["spec"]["progressDeadlineSeconds"] = 1
    assert "1 s" in told(late, "progress_deadline").sentence
    held = deployment("ep-2", gpus=1)
    held["spec"]["paused"] = True
    assert told(held, "paused_rollout").failed


def test_a_pod_that_does_not_go_and_a_node_that_is_gone(
    plane: Plane, kubelet: Kubelet, told: Told, namespace: str
) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    plane.api.apply(deployment("ep-1", gpus=1, mode="stuck"), namespace)
    plane.api.apply(deployment("ep-2", gpus=1), namespace)

    def running(name: str) -> Object | None:
        seen = look(plane.api, namespace, name)
        return seen.pods[0] if seen.pods and explain(seen, dt.datetime.now(dt.UTC)) is None else None  # type: ignore[return-value]

    stuck = plane.wait(lambda: running("ep-1"), "the engine that will not go")
    gone = plane.wait(lambda: running("ep-2"), "the engine whose node will go")
    none = {"spec": {"replicas": 0}}
    plane.api.patch(f"/apis/apps/v1/namespaces/{namespace}/deployments/ep-1", none)

    def asked_to_go() -> list[Any]:
        return [one for one in look(plane.api, namespace, "ep-1").pods if "deletionTimestamp" in one["metadata"]]

    ending = plane.wait(asked_to_go, "the pod to be asked to go")
    later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=10)
    found = explain(Seen(pods=ending), later)
    plane.api.delete(f"{pods}/{stuck['metadata']['name']}", gracePeriodSeconds=0)
    assert found is not None and found.code == "stuck_ending" and stuck["spec"]["nodeName"] in found.sentence
    node = gone["spec"]["nodeName"]
    kubelet.lose(node)
    try:
        assert node in told_as(plane, namespace, "ep-2", "node_lost").sentence
    finally:
        kubelet.find(node)


def test_the_cluster_itself_tells_what_happened(plane: Plane, kubelet: Kubelet, namespace: str) -> None:
    plane.api.apply(deployment("ep-1", gpus=64), namespace)
    plane.api.apply(deployment("ep-10", gpus=1), namespace)
    events = f"/api/v1/namespaces/{namespace}/events"

    def told() -> list[Any]:
        found = notices.of(plane.api.items(events), "ep-1")
        return found if "FailedScheduling" in {one.reason for one in found} else []

    found = plane.wait(told, "the scheduler's event")
    assert {one.about.split()[1].split("-")[1] for one in found} == {"1"}, "not those of ep-10"
    first = next(one for one in found if one.reason == "FailedScheduling")
    assert first.warning and "Insufficient nvidia.com/gpu" in first.sentence and first.at is not None


def test_a_device_claim_that_is_missing_and_one_that_nothing_can_meet(plane: Plane, told: Told, namespace: str) -> None:
    gone: dict[str, Any] = {"resourceClaims": [{"name": "gpu", "resourceClaimName": "gpus"}]}
    plane.api.apply(deployment("ep-1", gpus=1, **gone), namespace)
    copied: dict[str, Any] = {"resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "copies"}]}
    assert '"copies" not found' in told(deployment("ep-2", gpus=1, **copied), "device_claim").sentence
    found = explain(look(plane.api, namespace, "ep-1"), dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1))
    assert found is not None and (found.code, "(gpus)" in found.sentence) == ("device_claim", True)
    devices = {"requests": [{"name": "one", "exactly": {"deviceClassName": "nobodys"}}]}
    claim: Object = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": "gpus"}}
    plane.api.apply({**claim, "spec": {"devices": devices}}, namespace)
    plane.wait(lambda: "nobodys" in told_as(plane, namespace, "ep-1", "device_claim").sentence, "the class to be named")
