"""The calls of the `kserve` driver, by wire to a server that keeps what it is given: which, and in which order.

How KServe's real controllers take it stands in tests/cluster/test_kserve_driver.py.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from endpoints.clusters import ClusterError, Workload
from endpoints.clusters.kserve.driver import KServeDriver
from endpoints.clusters.kubernetes import owned
from tests.endpoints.kubernetes_kit import ApiServer, Said, recorded, workload

pytestmark = pytest.mark.slow  # keys for TLS
KSERVE = "/apis/serving.kserve.io/"
LISTS = {"inferenceservices", "llminferenceservices", "deployments", "pods", "events", "resourcequotas", "replicasets"}


def chosen(found: Any, selector: str) -> bool:
    """Whether the labels of an object are as a selector says."""
    labels = found["metadata"].get("labels", {})
    pairs = [part.partition("=") for part in selector.split(",") if part]
    return all(labels.get(key) == value if equals else key in labels for key, equals, value in pairs)


class Cluster:
    """Objects by path, as an API server keeps them; KServe does nothing here."""

    def __init__(self, directory: Path) -> None:
        self.objects: dict[str, Any] = {}
        self.server = ApiServer(directory, self.answer)
        self.calls: list[tuple[str, str]] = []
        self.asked: list[dict[str, list[str]]] = []

    def answer(self, method: str, path: str) -> Said:
        address = urlsplit(path)
        name = address.path.rpartition("/")[2]
        self.calls.append((method, address.path))
        self.asked.append(parse_qs(address.query))
        if method == "GET" and name in LISTS:
            base = address.path.rpartition("/")[0]
            there = [one for key, one in self.objects.items() if f"/{name}/" in key and key.startswith(base)]
            found = [one for one in there if chosen(one, self.asked[-1].get("labelSelector", [""])[0])]
            return Said(body={"kind": "List", "metadata": {}, "items": found})
        if method == "PATCH":
            body = json.loads(self.server.asked[-1][3])
            body["metadata"]["uid"] = "u-1"
            self.objects[address.path] = body
            return Said(body=body)
        one = self.objects.pop(address.path, None) if method == "DELETE" else self.objects.get(address.path)
        missing = {"kind": "Status", "reason": "NotFound", "message": "none", "details": {"name": name}, "code": 404}
        return Said(body=one) if one is not None else Said(404, missing)

    def written(self) -> list[str]:
        """Return the kinds that were written since the last question, in their order."""
        found = [path.split("/")[-2] for method, path in self.calls if method == "PATCH"]
        self.calls.clear()
        return found


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    with made.server:
        yield made


def driver(cluster: Cluster, **settings: str) -> KServeDriver:
    return KServeDriver(cluster.server.place(slug="one", settings=settings))


def path_of(wanted: Workload, plural: str = "v1beta1/namespaces/{}/inferenceservices") -> str:
    return f"{KSERVE}{plural.format('gatehouse-fraud-detection-dev')}/{owned.name(wanted)}"


def test_kserves_object_is_written_before_the_secret_and_only_once(cluster: Cluster) -> None:
    """By the object everything is found again: a Secret without it would stay for ever."""
    wanted, made = workload(), driver(cluster)
    made.apply(wanted)
    assert cluster.written() == [
        "namespaces", "resourcequotas", "limitranges", "networkpolicies", "networkpolicies", "serviceaccounts",
        "inferenceservices", "secrets",
    ]  # fmt: skip
    assert made.list() == [wanted.endpoint_id]
    made.apply(wanted)
    assert cluster.written() == ["secrets"], "which the portal may not read"
    made.apply(replace(wanted, replicas=2))
    assert cluster.written() == ["inferenceservices", "secrets"]
    assert cluster.objects[path_of(wanted)]["spec"]["predictor"]["minReplicas"] == 2


def test_only_the_kind_that_the_cluster_runs_is_asked_for(cluster: Cluster) -> None:
    made = driver(cluster, serving_api="llm")
    made.apply(workload())
    assert "llminferenceservices" in cluster.written()
    made.list()
    assert not any("/inferenceservices" in path for _, path in cluster.calls)


def test_a_strangers_object_is_left_alone(cluster: Cluster) -> None:
    wanted = workload()
    cluster.objects[path_of(wanted)] = stranger = {"metadata": {"name": owned.name(wanted), "labels": {}, "uid": "s"}}
    with pytest.raises(ClusterError) as refused:
        driver(cluster).apply(wanted)
    assert refused.value.code == "name_collision"
    assert cluster.objects[path_of(wanted)] is stranger


def test_a_new_revision_waits_for_the_end_of_the_old_one_unless_that_is_kept(cluster: Cluster) -> None:
    wanted, made = workload(), driver(cluster)
    made.apply(wanted)
    following = replace(wanted, revision=2)
    made.apply(replace(following, keep=(1,)))
    assert {path_of(wanted), path_of(following)} <= set(cluster.objects)
    cluster.written()
    made.apply(following)
    assert cluster.written() == []
    assert path_of(wanted) not in cluster.objects
    made.apply(following)
    assert cluster.written() == ["secrets"]


def test_removal_takes_secret_and_object_and_ends_when_the_pods_have_gone(cluster: Cluster) -> None:
    wanted, made = workload(), driver(cluster)
    made.apply(wanted)
    labels = cluster.objects[path_of(wanted)]["metadata"]["labels"]
    meta = {"name": "p", "namespace": "gatehouse-fraud-detection-dev", "labels": labels, "uid": "p"}
    pod = "/api/v1/namespaces/gatehouse-fraud-detection-dev/pods/p"
    cluster.objects[pod] = {"metadata": {**meta, "deletionTimestamp": "2999-01-01T00:00:00Z"}, "status": {}}
    cluster.calls.clear()
    assert made.remove(wanted.endpoint_id) is False
    deleted = [path.split("/")[-2] for method, path in cluster.calls if method == "DELETE"]
    assert deleted == ["secrets", "inferenceservices"]
    assert made.remove(wanted.endpoint_id) is False
    cluster.objects.pop(pod, None)
    assert made.remove(wanted.endpoint_id) is True
    assert made.list() == []


def test_a_sleep_stops_kserves_object_which_stays_and_the_next_apply_wakes_it(cluster: Cluster) -> None:
    wanted, made = workload(), driver(cluster)
    made.apply(wanted)
    labels = cluster.objects[path_of(wanted)]["metadata"]["labels"]
    meta = {"name": "p", "namespace": "gatehouse-fraud-detection-dev", "labels": labels, "uid": "p"}
    pod = "/api/v1/namespaces/gatehouse-fraud-detection-dev/pods/p"
    cluster.objects[pod] = {"metadata": meta, "status": {}}
    cluster.calls.clear()
    assert made.suspend(wanted.endpoint_id) is False and cluster.written() == ["inferenceservices"]
    assert cluster.objects[path_of(wanted)]["metadata"]["annotations"]["serving.kserve.io/stop"] == "true"
    assert made.suspend(wanted.endpoint_id) is False  # the pod is still there
    cluster.objects.pop(pod)
    assert made.suspend(wanted.endpoint_id) is True and cluster.written() == []
    seen = made.observe(wanted.endpoint_id)
    assert not seen.present and not seen.drifted and made.list() == [wanted.endpoint_id]
    made.apply(wanted)
    assert "serving.kserve.io/stop" not in cluster.objects[path_of(wanted)]["metadata"]["annotations"]


def test_what_kserve_refuses_is_told_as_a_replica_that_failed(cluster: Cluster) -> None:
    wanted, made = workload(replicas=2), driver(cluster)
    assert made.observe(wanted.endpoint_id).replicas == ()
    made.apply(wanted)
    cluster.objects[path_of(wanted)]["status"] = recorded("kserve-real-isvc-noruntime")["status"]
    seen = made.observe(wanted.endpoint_id)
    assert [(one.index, one.state, one.reason_code) for one in seen.replicas] == [
        (0, "failed", "no_serving_runtime"),
        (1, "failed", "no_serving_runtime"),
    ]
    assert seen.drifted is False
    cluster.objects[path_of(wanted)]["spec"]["predictor"]["maxReplicas"] = 9
    assert made.observe(wanted.endpoint_id).drifted is True


@pytest.mark.parametrize("serving_api", ["", "llm"])
def test_an_engine_that_waits_for_a_secret_that_was_never_written_gets_it(cluster: Cluster, serving_api: str) -> None:
    """As after a worker that died between KServe's object and the Secret."""
    wanted, made = workload(), driver(cluster, serving_api=serving_api)
    made.apply(wanted)
    space = "/api/v1/namespaces/gatehouse-fraud-detection-dev"
    secret = f"{space}/secrets/{owned.key_name(wanted.endpoint_id)}"
    cluster.objects.pop(secret)
    meta = {"name": "p", "labels": cluster.objects[next(iter(services(cluster)))]["metadata"]["labels"], "uid": "p"}

    def waits_for(name: str) -> bool:
        waiting = {"reason": "CreateContainerConfigError", "message": f'secret "{name}" not found'}
        status = {"name": "main" if serving_api else "kserve-container", "state": {"waiting": waiting}}
        cluster.objects[f"{space}/pods/p"] = {"metadata": meta, "status": {"containerStatuses": [status]}}
        (whole,) = made.observe_all().values()
        assert whole.drifted is made.observe(wanted.endpoint_id).drifted
        return whole.drifted

    assert not waits_for("somebody-elses-key") and not waits_for("hf-token")
    assert waits_for(owned.key_name(wanted.endpoint_id))
    cluster.written()
    made.apply(wanted)
    assert cluster.written() == ["secrets"] and secret in cluster.objects


def services(cluster: Cluster) -> list[str]:
    """Return the paths of KServe's objects."""
    return [path for path in cluster.objects if path.startswith(KSERVE)]


def test_the_deployment_of_a_large_model_is_found_by_kserves_labels(cluster: Cluster) -> None:
    wanted, made = workload(), driver(cluster, serving_api="llm")
    made.apply(wanted)
    name = owned.name(wanted)
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/component": "llminferenceservice-workload"}
    child: dict[str, Any] = {"metadata": {"name": "x", "labels": labels}, "spec": {"replicas": 1}}
    child["status"] = recorded("deployment-quota-exceeded-status")
    cluster.objects["/apis/apps/v1/namespaces/gatehouse-fraud-detection-dev/deployments/x"] = child
    (one,) = made.observe(wanted.endpoint_id).replicas
    assert (one.revision, one.reason_code) == (1, "gpu_quota_exceeded")
