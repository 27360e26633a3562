"""The rendered admission policy on a real API server: what was not approved is refused, whoever asks and however it is
dressed up; what was approved passes, by the driver with the rights of its manifest and no more.
"""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from endpoints.clusters import ClusterError, Workload
from endpoints.clusters.admission import objects, terms
from endpoints.clusters.kubernetes import checking, owned
from endpoints.clusters.kubernetes.driver import KubernetesDriver
from tests.cluster.admission_kit import (
    ADMISSION,
    BARE,
    CONTAINER,
    SECONDS,
    Guarded,
    approvals,
    copied,
    guarded,
    listed,
    refusal,
)
from tests.cluster.api import Api, Object
from tests.cluster.kubelet import Kubelet
from tests.cluster.plane import Plane
from tests.endpoints.kubernetes_kit import workload
from tests.stack.conftest import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
MERGE = "application/merge-patch+json"


@pytest.fixture(scope="module")
def cluster(plane: Plane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A cluster that enforces."""
    with guarded(plane, tmp_path_factory.mktemp("enforce"), "kubernetes", "enforce") as found:
        yield found


@pytest.fixture
def driver(cluster: Guarded, kubelet: Kubelet) -> Iterator[KubernetesDriver]:
    """The portal's driver; its engines have gone when the test ends."""
    yield from _driver(cluster)


def _driver(cluster: Guarded) -> Iterator[KubernetesDriver]:
    made = KubernetesDriver(cluster.place)
    yield made
    for endpoint in made.list():
        wait_for(lambda endpoint=endpoint: made.remove(endpoint), SECONDS, f"{endpoint} to go")  # type: ignore[misc]


def asked(**fields: Any) -> Workload:
    return workload(**{"cpu_millis": 100, "host_memory_bytes": 2**28, **fields})


def ready(driver: KubernetesDriver, wanted: Workload) -> None:
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


def path_of(cluster: Guarded, wanted: Workload) -> str:
    return f"/apis/apps/v1/namespaces/{cluster.space(wanted)}/deployments/{owned.name(wanted)}"


def test_what_was_approved_lives_through_all_of_its_life(driver: KubernetesDriver, cluster: Guarded) -> None:
    first, mark = asked(), cluster.plane.mark()
    ready(driver, first)
    assert {name: one["replicas"] for name, one in cluster.entries(first).items()} == {owned.name(first): 1}
    assert cluster.entries(first)[owned.name(first)]["approval"] == first.approval
    ready(driver, replace(first, replicas=2))
    second = replace(first, revision=2, arguments=("--max-num-seqs", "4"))
    ready(driver, second)
    assert set(cluster.entries(first)) == {owned.name(second)}, "the revision before is not approved any more"
    ready(driver, first)
    wait_for(lambda: driver.suspend(first.endpoint_id), SECONDS, "it to be suspended")
    assert cluster.entries(first)[owned.name(first)]["replicas"] == 0
    scale = f"{path_of(cluster, first)}/scale"
    assert "more replicas" in refusal(cluster.plane.api, "PATCH", scale, {"spec": {"replicas": 1}}, kind=MERGE)
    ready(driver, first)
    wait_for(lambda: driver.remove(first.endpoint_id), SECONDS, "it to go")
    left = cluster.plane.api.get(f"{approvals(cluster.space(first))}/{terms.NAME}")
    assert left["spec"]["approved"] == {} and not any(key.startswith("approved.") for key in left["metadata"]["labels"])
    used = {(verb, resource) for verb, group, resource in cluster.plane.verbs(cluster.account, since=mark)
            if group in (terms.GROUP, "admissionregistration.k8s.io")}  # fmt: skip
    assert used == {("get", terms.PLURAL), ("list", terms.PLURAL), ("create", terms.PLURAL), ("patch", terms.PLURAL)}


@pytest.fixture(scope="module")
def approved(cluster: Guarded, kubelets: Kubelet) -> Iterator[tuple[Workload, Api, Object]]:
    """An endpoint that runs, somebody who may edit everything in its namespace, and its Deployment."""
    for driver in _driver(cluster):
        wanted = asked(replicas=2)
        ready(driver, wanted)
        yield wanted, cluster.stranger(cluster.space(wanted)), cluster.plane.api.get(path_of(cluster, wanted))


@pytest.mark.parametrize("resource", sorted(BARE))
def test_nothing_runs_beside_what_was_approved(
    resource: str, approved: tuple[Workload, Api, Object], cluster: Guarded
) -> None:
    wanted, somebody, live = approved
    labels = live["metadata"]["labels"] | live["spec"]["template"]["metadata"]["labels"]
    thing = BARE[resource]
    thing = thing | {"metadata": {"name": "beside", "labels": labels, "annotations": live["metadata"]["annotations"]}}
    where = listed(thing, resource, cluster.space(wanted))
    for who in (somebody, cluster.plane.api):
        assert f"{cluster.plan.prefix}-approved' denied request: " in refusal(who, "POST", where, thing), resource


def container(**changes: Any) -> Any:
    """A change of the first container."""
    return lambda pod: {"containers": [pod["containers"][0] | changes, *pod["containers"][1:]]}


OTHERS: dict[str, Any] = {
    "image": container(image=f"registry.example.com/miner@sha256:{'b' * 64}"),
    "command": container(command=["sh", "-c", "mine"]),
    "arguments": container(args=["--mine"]),
    "environment": container(env=[{"name": "HF_ENDPOINT", "value": "https://elsewhere.example"}]),
    "resources": container(resources={"limits": {"memory": "256Mi", "nvidia.com/gpu": "4"}}),
    "lifecycle": container(lifecycle={"postStart": {"exec": {"command": ["mine"]}}}),
    "sidecar": lambda pod: {"containers": [*pod["containers"], {"name": "miner", "image": "miner"}]},
    "init": lambda pod: {"initContainers": [{"name": "miner", "image": "miner"}]},
    "volume": lambda pod: {"volumes": [*pod["volumes"], {"name": "host", "hostPath": {"path": "/"}}]},
    "account": lambda pod: {"serviceAccountName": "default", "serviceAccount": "default"},
    "token": lambda pod: {"automountServiceAccountToken": True},
    "nodes": lambda pod: {"nodeSelector": {"pool": "prod"}},
    "priority": lambda pod: {"priorityClassName": "system-node-critical"},
}


@pytest.mark.parametrize("what", sorted(OTHERS))
def test_another_template_is_refused_under_the_name_and_labels_of_an_approved_one(
    what: str, approved: tuple[Workload, Api, Object], cluster: Guarded
) -> None:
    wanted, somebody, live = approved
    changes = OTHERS[what](live["spec"]["template"]["spec"])
    space = cluster.space(wanted)
    sentence = "Its pods differ from what Gatehouse approved"
    assert sentence in refusal(somebody, "PUT", path_of(cluster, wanted), copied(live, **changes), dryRun="All")
    copy = copied(live, "copy", **changes)
    assert "approved nothing" in refusal(somebody, "POST", listed(copy, "deployments", space), copy, dryRun="All")


def test_what_reaches_the_pods_beside_their_spec_is_compared_too(
    approved: tuple[Workload, Api, Object], cluster: Guarded
) -> None:
    wanted, somebody, live = approved
    path = path_of(cluster, wanted)

    def patch(body: Object, **options: Any) -> str:
        return refusal(somebody, "PATCH", path, body, kind=MERGE, dryRun="All", **options)

    annotations = {"sidecar.istio.io/inject": "true"}
    assert "Annotations" in patch({"spec": {"template": {"metadata": {"annotations": annotations}}}})
    assert "Labels" in patch({"spec": {"template": {"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "x"}}}}})
    assert "pods differ" in patch({"spec": {"template": {"metadata": {"finalizers": ["example.com/stay"]}}}})
    assert "in its spec" in patch({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 9}}}})
    assert "more replicas" in patch({"spec": {"replicas": 3}})
    assert "more replicas" in refusal(somebody, "PATCH", f"{path}/scale", {"spec": {"replicas": 3}}, kind=MERGE)
    restarted = {"kubectl.kubernetes.io/restartedAt": "2026-11-29T12:00:00Z"}
    assert patch({"spec": {"template": {"metadata": {"annotations": restarted}}}}) == ""
    assert patch({"metadata": {"labels": {"team": "blue"}}}) == ""
    assert refusal(somebody, "PATCH", f"{path}/scale", {"spec": {"replicas": 1}}, kind=MERGE, dryRun="All") == ""
    twin = copied(live)
    assert refusal(somebody, "PUT", path, twin, dryRun="All") == "", "what is exactly as approved passes for everybody"
    replica_set = cluster.plane.api.items(f"/apis/apps/v1/namespaces/{cluster.space(wanted)}/replicasets")[0]
    own = f"/apis/apps/v1/namespaces/{cluster.space(wanted)}/replicasets/{replica_set['metadata']['name']}"
    assert "more replicas" in refusal(somebody, "PATCH", f"{own}/scale", {"spec": {"replicas": 9}}, kind=MERGE)
    assert "own controllers" in refusal(somebody, "PATCH", own, {"spec": {"replicas": 9}}, kind=MERGE)


def test_a_pod_that_runs_is_not_changed(approved: tuple[Workload, Api, Object], cluster: Guarded) -> None:
    wanted, somebody, _ = approved
    pods = f"/api/v1/namespaces/{cluster.space(wanted)}/pods"
    pod = somebody.items(pods)[0]
    path, sentence = f"{pods}/{pod['metadata']['name']}", "Containers of a pod that runs"
    image = [{"op": "replace", "path": "/spec/containers/0/image", "value": "registry.example.com/miner"}]
    assert sentence in refusal(somebody, "PATCH", path, image, kind="application/json-patch+json")
    allowed = {"name": "debug", "image": "busybox", "securityContext": CONTAINER["securityContext"]}
    debug = {"spec": {"ephemeralContainers": [allowed]}}
    kind = "application/strategic-merge-patch+json"
    assert sentence in refusal(somebody, "PATCH", f"{path}/ephemeralcontainers", debug, kind=kind)
    forged = BARE["pods"] | {"metadata": {"name": "forged", "ownerReferences": pod["metadata"]["ownerReferences"]}}
    assert "Pods come here only" in refusal(somebody, "POST", pods, forged)
    assert refusal(somebody, "PATCH", path, {"metadata": {"annotations": {"a": "b"}}}, kind=MERGE) == ""


def test_only_the_portal_says_what_is_approved(approved: tuple[Workload, Api, Object], cluster: Guarded) -> None:
    wanted, somebody, _ = approved
    space, admin = cluster.space(wanted), cluster.plane.api
    own, forged = f"{approvals(space)}/{terms.NAME}", {"spec": {"approved": {owned.name(wanted): {"replicas": 64}}}}
    assert "cannot patch resource" in refusal(somebody, "PATCH", own, forged, kind=MERGE), "edit names no such kind"
    assert "Only Gatehouse writes" in refusal(admin, "PATCH", own, forged, kind=MERGE)
    assert "Only Gatehouse writes" in refusal(admin, "DELETE", own)
    for label in (owned.INSTALLATION, owned.MANAGED_BY, owned.PROJECT):
        for value in (None, "other"):
            change = {"metadata": {"labels": {label: value}}}
            said = refusal(admin, "PATCH", f"/api/v1/namespaces/{space}", change, kind=MERGE)
            assert "labels of a namespace of Gatehouse" in said, (label, value)
    harmless = {"metadata": {"labels": {"a": "b"}}}
    assert refusal(admin, "PATCH", f"/api/v1/namespaces/{space}", harmless, kind=MERGE) == ""


def test_rules_of_the_bundle_count_for_the_portal_too(driver: KubernetesDriver, cluster: Guarded) -> None:
    """A rule speaks before anything is approved; the rest of the cluster is none of its business."""
    denied = terms.Rule("wrk-902", "Never", "deny", 'has(object.spec) && object.kind == "Never"', "Never.", "Ask.")
    plan = replace(cluster.plan, rules=(*cluster.plan.rules, denied))
    api = cluster.plane.api
    api.apply(_rules(plan))
    wanted = asked(project="ruled", accelerators=0, resource="", accelerator_limit=None)

    def refused() -> bool:
        wait_for(lambda: driver.remove(wanted.endpoint_id), SECONDS, "it to go")
        try:
            driver.apply(wanted)
        except ClusterError as error:
            said = error.code == "policy_denied" and "wrk-902: Never. Ask." in error.sentence
            return said and cluster.entries(wanted) == {}  # not one that began before the rule counted
        return False

    try:
        wait_for(refused, SECONDS, "the rule to count")
        assert api.find(path_of(cluster, wanted)) is None
        thing = BARE["deployments"]
        assert refusal(api, "POST", listed(thing, "deployments", "default"), thing, dryRun="All") == ""
    finally:
        api.apply(_rules(cluster.plan))
    wait_for(lambda: _applies(driver, wanted), SECONDS, "the rule to be gone")


def _rules(plan: terms.Plan) -> list[Object]:
    return [dict(one) for one in objects.render(plan).objects if one["metadata"]["name"].endswith("-rules")]


def _applies(driver: KubernetesDriver, wanted: Workload) -> bool:
    try:
        driver.apply(wanted)
    except ClusterError:
        return False
    return True


def test_many_at_once_lose_no_entry(driver: KubernetesDriver, cluster: Guarded) -> None:
    many = [asked(project="crowd", accelerators=0, resource="", accelerator_limit=None) for _ in range(5)]
    errors: list[Exception] = []

    def one(wanted: Workload) -> None:
        for _ in range(20):
            try:
                driver.apply(wanted)
                return
            except ClusterError as error:
                if not error.retry:
                    errors.append(error)
                    return

    threads = [threading.Thread(target=one, args=(wanted,)) for wanted in many]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert set(cluster.entries(many[0])) == {owned.name(wanted) for wanted in many}
    for wanted in many:
        wait_for(lambda wanted=wanted: driver.remove(wanted.endpoint_id), SECONDS, "it to go")  # type: ignore[misc]
    assert cluster.entries(many[0]) == {}


def test_the_connection_test_sees_policy_mode_and_drift(cluster: Guarded) -> None:
    made = objects.render(cluster.plan).objects

    def found(mode: str = "enforce", policies: Any = made) -> tuple[str, str, str]:
        place = replace(cluster.place, settings={**cluster.place.settings, "admission": mode})
        report = checking.examine(place, "kubernetes", policies=policies, seconds=60)
        assert [one.what for one in report.checks if one.name == "permissions" and one.verdict != "pass"] == []
        check = next(one for one in report.checks if one.name == "admission")
        return check.verdict, check.state, check.sentence

    assert found() == ("pass", "enforce", "The cluster refuses what was not approved, by the policies of today.")
    assert found("audit")[:2] == ("warn", "enforce stale")
    newer = objects.render(replace(cluster.plan, rules=())).objects
    verdict, state, sentence = found(policies=newer)
    assert (verdict, state) == ("warn", "enforce stale") and f"{cluster.plan.prefix}-rules" in sentence
    name = f"{ADMISSION}/validatingadmissionpolicies/{cluster.plan.prefix}-approved"
    live = cluster.plane.api.get(name)
    cluster.plane.api.patch(name, {"spec": {"validations": live["spec"]["validations"][1:]}})
    assert found()[:2] == ("warn", "enforce stale")
    cluster.plane.api.apply([dict(one) for one in made])
    assert found()[:2] == ("pass", "enforce")
    other = replace(cluster.place, settings={**cluster.place.settings, "namespace_prefix": "nobody"})
    report = checking.examine(other, "kubernetes", policies=made, seconds=60)
    assert next(one for one in report.checks if one.name == "admission").verdict == "skip", "it may read its own only"


def test_audit_lets_pass_and_records(plane: Plane, kubelet: Kubelet, tmp_path: Path) -> None:
    with guarded(plane, tmp_path, "kubernetes", "audit") as cluster:
        driver = KubernetesDriver(cluster.place)
        wanted, mark = asked(accelerators=0, resource="", accelerator_limit=None), plane.mark()
        ready(driver, wanted)
        space = cluster.space(wanted)
        for resource in ("deployments", "jobs"):
            thing = BARE[resource]
            answer = plane.api.raw("POST", listed(thing, resource, space), json=thing)
            assert answer.status_code == 201 and "-approved" in answer.headers["Warning"], answer.text
        marks = [entry.get("annotations", {}) for entry in plane.audited(since=mark)
                 if (entry.get("objectRef") or {}).get("namespace") == space]  # fmt: skip
        failures = [json.loads(one[key]) for one in marks for key in one if key.endswith("/validation_failure")]
        assert {f"{cluster.plan.prefix}-approved"} <= {one["policy"] for found in failures for one in found}
        assert any(one.get(f"{cluster.plan.prefix}-approved/approval") == wanted.approval for one in marks)
        for resource in ("deployments", "jobs"):
            plane.api.delete(f"{listed(BARE[resource], resource, space)}/beside")
        wait_for(lambda: driver.remove(wanted.endpoint_id), SECONDS, "it to go")


def test_what_ran_before_gets_its_entry_by_the_next_look(cluster: Guarded, driver: KubernetesDriver) -> None:
    plain = replace(cluster.place, settings={**cluster.place.settings, "admission": "audit"}, slug="audit-only")
    wanted = asked(project="before", accelerators=0, resource="", accelerator_limit=None)
    ready(driver, wanted)
    space = cluster.space(wanted)
    portal = cluster.plane.as_token(cluster.place.token)
    portal.call("PATCH", f"{approvals(space)}/{terms.NAME}", [
        {"op": "remove", "path": f"/spec/approved/{owned.name(wanted)}"},
    ], kind="application/json-patch+json")  # fmt: skip
    other = KubernetesDriver(plain)  # a process that has not looked yet
    assert other.observe(wanted.endpoint_id).drifted
    other.apply(wanted)
    assert not other.observe(wanted.endpoint_id).drifted and set(cluster.entries(wanted)) == {owned.name(wanted)}
