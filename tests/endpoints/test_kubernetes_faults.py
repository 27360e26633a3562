"""Each single call of the `kubernetes` driver fails once, before or after it had its effect: what is wanted comes about
all the same, once, and nothing of it is left behind at the end.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from endpoints.clusters import ClusterError, Workload
from endpoints.clusters.kubernetes import owned
from endpoints.clusters.kubernetes.client import Client
from endpoints.clusters.kubernetes.driver import KubernetesDriver
from tests.endpoints.kubernetes_double import Double
from tests.endpoints.kubernetes_kit import place, workload

pytestmark = pytest.mark.slow
FEW = 12  # rounds after which it has to stand


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> tuple[KubernetesDriver, Double]:
    """A driver and the cluster that it drives."""
    double = Double()
    monkeypatch.setattr(Client, "_exchange", lambda client, *call: double.exchange(*call))
    return KubernetesDriver(place()), double


def rounds(step: Callable[[], bool]) -> None:
    """Do what a worker does: again after an error, until it stands."""
    for _ in range(FEW):
        try:
            if step():
                return
        except ClusterError as error:
            if error.code != "cluster_error":
                raise
    raise AssertionError(f"it does not stand after {FEW} rounds")


def bring(driver: KubernetesDriver, wanted: Workload) -> None:
    def step() -> bool:
        driver.apply(wanted)
        seen = driver.observe(wanted.endpoint_id).replicas
        own = [one.state for one in seen if one.revision == wanted.revision]
        return own == ["ready"] * wanted.replicas and {one.revision for one in seen} <= {wanted.revision, *wanted.keep}

    rounds(step)


def life(driver: KubernetesDriver, double: Double, wanted: Workload) -> None:
    """Create, scale, update beside, take its place, go back, and delete."""
    following = replace(wanted, revision=2, replicas=1)
    bring(driver, wanted)
    bring(driver, replace(following, keep=(1,)))
    bring(driver, following)
    bring(driver, replace(wanted, replicas=1))
    kinds = Counter(key[0] for key in double.objects)
    assert (kinds["deployments"], kinds["services"], kinds["secrets"], kinds["pods"]) == (1, 1, 1, 1)
    assert kinds["poddisruptionbudgets"] == 0 and kinds["namespaces"] == 1
    rounds(lambda: driver.remove(wanted.endpoint_id))
    left = [key for key, one in double.objects.items() if owned.label(one, owned.ENDPOINT)]
    assert left == []
    rounds(lambda: driver.list() == [])


def test_a_life_without_a_fault(scene: tuple[KubernetesDriver, Double]) -> None:
    driver, double = scene
    life(driver, double, workload(replicas=2))
    assert double.calls < 300


@pytest.mark.parametrize("how", ["before", "after"])
def test_whatever_call_fails_it_comes_about(scene: tuple[KubernetesDriver, Double], how: str) -> None:
    driver, double = scene
    life(driver, double, workload(replicas=2))
    for number in range(double.calls):
        double.objects.clear()
        double.calls, double.fails = 0, {number: how}
        life(driver, double, workload(replicas=2))


def test_the_same_again_writes_nothing(scene: tuple[KubernetesDriver, Double]) -> None:
    driver, double = scene
    wanted = workload(replicas=2)
    bring(driver, wanted)
    double.writes.clear()
    driver.apply(wanted)
    assert double.writes == []
    assert driver.observe(wanted.endpoint_id).drifted is False


def test_an_idle_look_takes_two_calls(scene: tuple[KubernetesDriver, Double]) -> None:
    driver, double = scene
    wanted = workload(replicas=2)
    bring(driver, wanted)
    before = double.calls
    driver.observe(wanted.endpoint_id)
    assert double.calls == before + 2
