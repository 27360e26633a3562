"""The look at a whole cluster sees of each endpoint what a look at it alone sees, for a few lists."""

from dataclasses import replace
from typing import Any

import pytest

from endpoints.clusters import Observation, Workload
from endpoints.clusters.kserve.driver import KServeDriver
from endpoints.clusters.kubernetes import kinds, manifests, pods, whole
from endpoints.clusters.kubernetes.client import Client
from endpoints.clusters.kubernetes.driver import KubernetesDriver
from portal import crypto
from tests.endpoints.kubernetes_double import Double
from tests.endpoints.kubernetes_kit import place, workload


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Double:
    made = Double()
    monkeypatch.setattr(Client, "_exchange", lambda client, *call: made.exchange(*call))
    return made


def plain(seen: Observation) -> Observation:
    """Without the steps, which only a look at one endpoint tells."""
    return replace(seen, progress={})


def test_it_sees_what_a_look_at_each_sees_for_a_few_calls(double: Double) -> None:
    driver = KubernetesDriver(place())
    wanted = [workload(replicas=count) for count in (1, 2, 1, 3)]
    for one in wanted:
        driver.apply(one)
    calls = double.calls
    seen = driver.observe_all()
    assert double.calls - calls == 2
    for one in wanted:
        alone = driver.observe(one.endpoint_id)
        assert alone.ready_count == one.replicas and plain(seen[one.endpoint_id]) == plain(alone)
    assert set(seen) == {one.endpoint_id for one in wanted} == set(driver.list())


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec["template"]["spec"]["containers"][0].update(image="evil"),
        lambda spec: spec.update(replicas=5),
    ],
)
def test_what_somebody_changed_is_seen_from_afar(double: Double, change: Any) -> None:
    driver, one, other = KubernetesDriver(place()), workload(), workload()
    driver.apply(one)
    driver.apply(other)
    (found,) = [each for each in double.of("deployments") if whole.endpoint(each) == one.endpoint_id]
    change(found["spec"])
    seen = driver.observe_all()
    assert seen[one.endpoint_id].drifted and not seen[other.endpoint_id].drifted


def test_little_is_kept_of_an_object(double: Double) -> None:
    driver = KubernetesDriver(place())
    driver.apply(workload())
    for kind, keep in (("deployments", whole.written), ("pods", whole.pod)):
        (found,) = double.of(kind)
        assert len(str(keep(found))) < len(str(found)) / 2


def test_what_has_to_be_followed() -> None:
    where = place()
    assert [one.name for one in KubernetesDriver(where).feeds()] == ["deployments", "pods"]
    small, large = KServeDriver(where), KServeDriver(replace(where, settings={"serving_api": "llm"}))
    assert [one.name for one in small.feeds()] == [kinds.INFERENCE_SERVICE.plural, "deployments", "pods"]
    assert [one.name for one in large.feeds()] == [kinds.LLM_INFERENCE_SERVICE.plural, "pods"]


@pytest.mark.parametrize("api", ["", "llm"])
def test_with_kserve_too(double: Double, api: str) -> None:
    driver = KServeDriver(place(settings={"serving_api": api}))
    wanted = [workload(), workload(replicas=2), workload()]
    for one in wanted:
        driver.apply(one)
    for key, service in list(double.objects.items()):
        if key[0] in (kinds.INFERENCE_SERVICE.plural, kinds.LLM_INFERENCE_SERVICE.plural):
            as_kserve(
                double, service, key[2], next(one for one in wanted if whole.endpoint(service) == one.endpoint_id)
            )
    seen = driver.observe_all()
    for one in wanted:
        alone = driver.observe(one.endpoint_id)
        assert len(alone.replicas) == one.replicas and plain(seen[one.endpoint_id]) == plain(alone)
        assert {each.state for each in alone.replicas} == {"ready"}
    assert set(seen) == {one.endpoint_id for one in wanted} == set(driver.list())


def as_kserve(double: Double, service: dict[str, Any], name: str, wanted: Workload) -> None:
    """Do what KServe does with an object: make a Deployment, and say that it is ready."""
    address = "http://one.example.com"
    service["status"] = {"conditions": [{"type": "Ready", "status": "True"}], "url": address, "observedGeneration": 1}
    meta = service["metadata"]
    meta["generation"] = 1
    large = service["kind"] == kinds.LLM_INFERENCE_SERVICE.name
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/component": "llminferenceservice-workload"}
    key = manifests.fingerprint(crypto.derived(f"engine of {wanted.endpoint_id} on one")[0])
    made = {
        "metadata": {"name": f"{name}-kserve", "namespace": meta["namespace"], "uid": f"uid-of-{name}", "generation": 1,
                     "labels": labels if large else meta["labels"]},
        "spec": {"replicas": wanted.replicas, "template": {
            "metadata": {"labels": meta["labels"], "annotations": {pods.KEY: key}}, "spec": {},
        }},
    }  # fmt: skip
    double.objects["deployments", meta["namespace"], f"{name}-kserve"] = made
