"""A cluster with Kueue: the label of its queue, what a pod that it holds back waits for, and the right to read it."""

from collections.abc import Mapping
from typing import Any

import pytest

from endpoints.clusters import rbac
from endpoints.clusters.kubernetes import errors
from endpoints.clusters.kubernetes.client import Client
from endpoints.clusters.kubernetes.driver import KubernetesDriver
from tests.endpoints.kubernetes_double import Double
from tests.endpoints.kubernetes_kit import place, workload

QUEUE = "kueue.x-k8s.io/queue-name"
SHORT = "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu, 1 more needed"


class Kueue(Double):
    """The double with Kueue in it: it serves Workloads of one version, to who may read them."""

    def __init__(self, version: str = "v1beta2", *, allowed: bool = True) -> None:
        super().__init__()
        self.version, self.allowed, self.asked = version, allowed, list[str]()
        self.said: dict[str, Any] = {}

    def exchange(self, method: str, path: str, query: Mapping[str, str], body: Any, kind: str) -> bytes:
        """Answer for Kueue, and hold back what is new."""
        if "kueue.x-k8s.io" in path:
            self.asked.append(path)
            if not self.allowed:
                raise errors.answered(403, b'{"kind":"Status","reason":"Forbidden","message":"no","code":403}', {})
            if self.version not in path:
                raise errors.answered(404, b"404 page not found", {})
        answer = super().exchange(method, path, query, body, kind)
        for pod in self.of("pods"):
            if QUEUE in pod["metadata"]["labels"]:
                gate = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
                pod["spec"] = {**pod["spec"], "schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]}
                pod["status"] = {"phase": "Pending", "conditions": [gate]}
                owner = [{"kind": "Pod", "uid": pod["metadata"]["uid"]}]
                space = pod["metadata"]["namespace"]
                self.objects["workloads", space, "pod-1"] = {
                    "metadata": {"name": "pod-1", "namespace": space, "ownerReferences": owner},
                    "status": {"conditions": [{"type": "QuotaReserved", "status": "False", **self.said}]},
                }
        return answer


def seen(monkeypatch: pytest.MonkeyPatch, double: Kueue, **said: str) -> Any:
    """The replica of an engine that was applied to this cluster."""
    monkeypatch.setattr(Client, "_exchange", lambda client, *call: double.exchange(*call))
    double.said = said
    driver, wanted = KubernetesDriver(place(settings={"queue_name": "engines"})), workload()
    driver.apply(wanted)
    driver.observe(wanted.endpoint_id)
    [found] = driver.observe(wanted.endpoint_id).replicas
    return found


@pytest.mark.parametrize("version", ["v1beta2", "v1beta1"])
def test_what_kueue_holds_back_waits_and_has_not_failed(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    double = Kueue(version)
    found = seen(monkeypatch, double, reason="Pending", message=SHORT)
    assert (found.state, found.reason_code, found.turn) == ("starting", "kueue_waiting", "nobody")
    assert "queue 'engines'" in found.sentence and "1 more needed" in found.sentence
    [deployment] = double.of("deployments")
    assert deployment["metadata"]["labels"][QUEUE] == "engines"
    assert deployment["spec"]["template"]["metadata"]["labels"][QUEUE] == "engines"


def test_a_queue_that_is_not_there_is_for_a_platform_engineer(monkeypatch: pytest.MonkeyPatch) -> None:
    found = seen(monkeypatch, Kueue(), reason="Inadmissible", message="LocalQueue engines doesn't exist")
    assert (found.state, found.reason_code, found.turn) == ("starting", "kueue_refuses", "platform")


def test_without_the_right_to_read_it_the_wait_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    found = seen(monkeypatch, Kueue(allowed=False), reason="Pending", message=SHORT)
    assert found.reason_code == "kueue_waiting" and "1 more" not in found.sentence


@pytest.mark.parametrize("driver", sorted(rbac.GRANTS))
def test_the_right_is_granted_only_where_there_is_a_queue(driver: str) -> None:
    def granted(**settings: str) -> bool:
        return any(one.group == "kueue.x-k8s.io" for one in rbac.grants(driver, settings))

    assert granted(queue_name="engines") and not granted() and not granted(queue_name="")
    assert "kueue.x-k8s.io" in rbac.manifest(driver, {"queue_name": "engines"})
