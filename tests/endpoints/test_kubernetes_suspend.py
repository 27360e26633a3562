"""Putting an endpoint to sleep, call by call: what describes it stays, and it is not called asleep before every
controller has seen it. On a real API server: tests/cluster/test_life.py.
"""

from dataclasses import replace

import pytest

from endpoints.clusters.kubernetes import owned
from endpoints.clusters.kubernetes.client import Client
from endpoints.clusters.kubernetes.driver import KubernetesDriver
from tests.endpoints.kubernetes_double import Double
from tests.endpoints.kubernetes_kit import place, workload

pytestmark = pytest.mark.slow
STAYS = {"namespaces", "services", "secrets", "deployments", "poddisruptionbudgets"}


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Double:
    """The cluster."""
    made = Double()
    monkeypatch.setattr(Client, "_exchange", lambda client, *call: made.exchange(*call))
    return made


def asleep(driver: KubernetesDriver, endpoint_id: str) -> int:
    """Ask until it says so; how often."""
    for count in range(1, 9):
        if driver.suspend(endpoint_id):
            return count
    raise AssertionError("it does not fall asleep")


def test_everything_but_the_pods_stays_and_comes_back_the_same(double: Double) -> None:
    driver, wanted = KubernetesDriver(place()), workload(replicas=2)
    driver.apply(wanted)
    before = {key: one["metadata"]["uid"] for key, one in double.objects.items() if key[0] in STAYS}
    assert driver.suspend(wanted.endpoint_id) is False  # the first call only asks
    assert asleep(driver, wanted.endpoint_id) == 1 and double.of("pods") == []
    assert {key: one["metadata"]["uid"] for key, one in double.objects.items() if key[0] in STAYS} == before
    seen = driver.observe(wanted.endpoint_id)
    assert not seen.present and not seen.drifted and driver.list() == [wanted.endpoint_id]
    writes = len(double.writes)
    assert driver.suspend(wanted.endpoint_id) is True and len(double.writes) == writes
    driver.apply(wanted)
    assert [one.state for one in driver.observe(wanted.endpoint_id).replicas] == ["ready", "ready"]
    assert {key: one["metadata"]["uid"] for key, one in double.objects.items() if key[0] in STAYS} == before


def test_all_revisions_sleep_and_a_sleeping_endpoint_is_removed(double: Double) -> None:
    driver, first = KubernetesDriver(place()), workload()
    driver.apply(first)
    driver.apply(replace(first, revision=2, keep=(1,)))
    asleep(driver, first.endpoint_id)
    assert [one["spec"]["replicas"] for one in double.of("deployments")] == [0, 0]
    for _ in range(4):
        driver.remove(first.endpoint_id)
    assert driver.remove(first.endpoint_id)
    assert [one for one in double.objects.values() if owned.label(one, owned.ENDPOINT)] == []


def test_a_deployment_whose_note_is_spoilt_goes_and_is_written_anew(double: Double) -> None:
    driver, wanted = KubernetesDriver(place()), workload()
    driver.apply(wanted)
    (live,) = double.of("deployments")
    live["metadata"]["annotations"][owned.APPLIED] = "{"
    asleep(driver, wanted.endpoint_id)
    assert double.of("deployments") == [] and len(double.of("services")) == 1
    driver.apply(wanted)
    assert driver.observe(wanted.endpoint_id).ready_count == 1


@pytest.mark.parametrize("late", ["generation", "status", "spec"])
def test_it_is_not_asleep_before_the_controllers_have_seen_it(double: Double, late: str) -> None:
    driver, wanted = KubernetesDriver(place()), workload()
    driver.apply(wanted)
    asleep(driver, wanted.endpoint_id)
    (deployment,) = double.of("deployments")
    meta = {"name": "rs", "namespace": deployment["metadata"]["namespace"], "uid": "rs", "generation": 2}
    behind = {
        "metadata": meta | {"labels": deployment["metadata"]["labels"]},
        "spec": {"replicas": 1 if late == "spec" else 0},
        "status": {
            "observedGeneration": 1 if late == "generation" else 2, "replicas": 1 if late == "status" else 0,
        },
    }  # fmt: skip
    double.objects["replicasets", meta["namespace"], "rs"] = behind
    assert driver.suspend(wanted.endpoint_id) is False  # it may make a pod at this moment
    behind |= {"spec": {"replicas": 0}, "status": {"observedGeneration": 2, "replicas": 0}}
    assert driver.suspend(wanted.endpoint_id) is True
