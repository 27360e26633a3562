"""The control plane of the tests is a real one: what the portal will meet there is what it does itself."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests

from tests.cluster.api import Refused
from tests.cluster.binaries import KUBERNETES
from tests.cluster.kubelet import Kubelet
from tests.cluster.objects import condition, deployment, quota
from tests.cluster.plane import Plane
from tests.stack.conftest import ROOT, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

READER = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [apps], resources: [deployments], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader}]
"""
POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: test-approval}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}
  validations:
  - expression: "has(object.metadata.labels) && 'gatehouse.example/approval' in object.metadata.labels"
    messageExpression: "'deployment ' + object.metadata.name + ' has no approval'"
    reason: Forbidden
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: test-approval}
spec:
  policyName: test-approval
  validationActions: [Deny]
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}}
"""
CHILD = """
import os, sys, time
from pathlib import Path
from tests.cluster.plane import Plane
with Plane(Path(sys.argv[1])) as plane:
    print(*(component.process.pid for component in plane.components.values()), flush=True)
    time.sleep(600)
"""


def test_it_says_its_version_and_has_a_whole_description(plane: Plane) -> None:
    """Built with the wrong Go, the description comes out without any field, and nothing else shows it."""
    assert plane.external or plane.api.get("/version")["gitVersion"] == f"v{KUBERNETES}"
    described = plane.api.get("/openapi/v3/apis/apps/v1")["components"]["schemas"]
    assert "replicas" in described["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]


def test_the_third_deployment_of_a_full_quota_fails_to_make_its_pod(
    plane: Plane, kubelet: Kubelet, namespace: str
) -> None:
    base = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    plane.api.apply(quota(16), namespace)
    for name in ("one", "two"):
        plane.api.apply(deployment(name), namespace)
        plane.wait(
            lambda name=name: plane.api.get(f"{base}/{name}")["status"].get("readyReplicas") == 1, f"{name} ready"
        )
    plane.api.apply(deployment("three"), namespace)
    failure = plane.wait(lambda: condition(plane.api.get(f"{base}/three"), "ReplicaFailure"), "the quota's answer")
    assert (failure["status"], failure["reason"]) == ("True", "FailedCreate")
    assert (
        "exceeded quota: gpu, requested: requests.nvidia.com/gpu=8, used: requests.nvidia.com/gpu=16"
        in failure["message"]
    )


def test_a_pod_without_room_stays_unscheduled_and_starts_when_there_is_room(
    plane: Plane, kubelet: Kubelet, namespace: str
) -> None:
    deployments, pods = f"/apis/apps/v1/namespaces/{namespace}/deployments", f"/api/v1/namespaces/{namespace}/pods"
    plane.api.apply(deployment("full", replicas=2), namespace)
    plane.wait(
        lambda: plane.api.get(f"{deployments}/full")["status"].get("readyReplicas") == 2, "both nodes to be full"
    )
    plane.api.apply(deployment("late"), namespace)

    def scheduled() -> dict[str, object]:
        (pod,) = plane.api.items(pods, labelSelector="app=late")
        return condition(pod, "PodScheduled")

    found = plane.wait(lambda: scheduled() if scheduled().get("reason") else None, "the scheduler's answer")
    assert (found["status"], found["reason"]) == ("False", "Unschedulable")
    assert "2 Insufficient nvidia.com/gpu" in str(found["message"])
    plane.api.patch(f"{deployments}/full", {"spec": {"replicas": 1}})
    plane.wait(lambda: plane.api.get(f"{deployments}/late")["status"].get("readyReplicas") == 1, "the late pod")


def test_a_policy_denies_what_it_says(plane: Plane, namespace: str) -> None:
    policies = plane.api.apply(POLICY.replace("NAMESPACE", namespace))
    try:

        def denial() -> Refused | None:
            try:
                plane.api.apply(deployment("unapproved", replicas=0), namespace)
            except Refused as error:
                return error
            return None

        refused = plane.wait(denial, "the policy to be in force")
        assert refused.status == 403
        assert "'test-approval'" in refused.body["message"]
        assert refused.body["message"].endswith("deployment unapproved has no approval")
        labels = {"gatehouse.example/approval": "r-1"}
        plane.api.apply(deployment("approved", replicas=0, labels=labels), namespace)
    finally:
        for policy in reversed(policies):
            plane.api.delete(plane.api.path(policy))


def test_a_watch_tells_what_happens_from_where_a_list_ended(plane: Plane, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    since = plane.api.get(path)["metadata"]["resourceVersion"]
    seen: list[tuple[str, str]] = []

    def follow() -> None:
        for kind, thing in plane.api.watch(path, since=since, seconds=60):
            if kind != "BOOKMARK":
                seen.append((kind, thing["metadata"]["name"]))
            if kind == "DELETED":
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    plane.api.apply(deployment("seen", replicas=0), namespace)
    plane.api.delete(f"{path}/seen")
    thread.join(timeout=60)
    assert (seen[0], seen[-1]) == (("ADDED", "seen"), ("DELETED", "seen"))


def test_a_service_account_may_what_its_role_says_and_the_audit_log_shows_what_it_asked(
    plane: Plane, namespace: str
) -> None:
    since = plane.mark()
    reader = plane.as_token(plane.token_for(namespace, "reader", READER))
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    plane.wait(lambda: reader.items(path) == [], "the role to be in force")
    with pytest.raises(Refused, match='cannot create resource "deployments"'):
        reader.post(path, deployment("forbidden"))
    user = f"system:serviceaccount:{namespace}:reader"
    assert plane.verbs(user, since=since) == {("list", "apps", "deployments"), ("create", "apps", "deployments")}
    answers = {
        entry["responseStatus"]["code"] for entry in plane.audited(user, since=since) if entry["verb"] == "create"
    }
    assert answers == {403}


def test_the_server_can_go_away_hang_and_come_back(plane: Plane, kubelet: Kubelet, namespace: str) -> None:
    """And what was there is there again, pods start again, and nothing of it needs another plane."""
    plane.api.apply(deployment("before", gpus=1), namespace)
    plane.apiserver.stop(kill=True)
    with pytest.raises(requests.ConnectionError):
        plane.api.get("/version")
    plane.apiserver.start()
    plane.wait_ready()
    plane.apiserver.freeze()
    with pytest.raises(requests.Timeout):
        plane.api.raw("GET", "/version", timeout=0.5)
    plane.apiserver.thaw()
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/before"
    plane.wait(lambda: plane.api.get(path)["status"].get("readyReplicas") == 1, "the pod to be ready")


def test_the_children_go_with_a_killed_parent(plane: Plane, tmp_path: Path) -> None:
    """A second plane beside the first, whose process is killed: nothing of it is left."""
    if plane.external:
        pytest.skip("this cluster is somebody else's; its programs are not here")
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 4
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        wait_for(lambda: not any(_runs(pid) for pid in pids), 30, "the programs to end")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (ProcessLookupError, FileNotFoundError):
        return False
