"""The fixtures of tests that need a cluster: marked `cluster`, they share one worker and so one control plane."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.api import Object
from tests.cluster.binaries import Missing
from tests.cluster.kubelet import Kubelet
from tests.cluster.plane import NoPlane, Plane


def needed(found: Path | Missing) -> Path:
    """The directory; skips the test with the sentence where there is none (a failure with REQUIRE_ALL=1)."""
    if isinstance(found, Missing):
        pytest.skip(found.sentence)
    return found


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A real control plane; skips where its programs are missing."""
    running = Plane(tmp_path_factory.mktemp("plane"))
    try:
        running.__enter__()
    except NoPlane as error:
        pytest.skip(str(error))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def kubelets(plane: Plane) -> Iterator[Kubelet]:
    """Two nodes with eight GPUs each, for the whole run."""
    with Kubelet(plane) as running:
        yield running


@pytest.fixture
def kubelet(kubelets: Kubelet) -> Iterator[Kubelet]:
    """The same two nodes, both ready, whatever the test before did to them."""
    kubelets.heal()
    yield kubelets
    kubelets.heal()


@pytest.fixture
def make_namespace(plane: Plane) -> Iterator[Callable[..., str]]:
    """Makes namespaces with given labels; they go with the test, and their pods have gone when it ends."""
    made: list[str] = []

    def make(name: str = "", **labels: str) -> str:
        name = name or f"t-{secrets.token_hex(4)}"
        metadata: Object = {
            "name": name,
            "labels": {key.replace("__", "/").replace("_", "-"): value for key, value in labels.items()},
        }
        plane.api.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        made.append(name)
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        plane.wait(lambda: plane.api.find(account), f"the default ServiceAccount of {name}")
        return name

    yield make
    plane.remove_namespaces(made)


@pytest.fixture
def namespace(make_namespace: Callable[..., str]) -> str:
    """An empty namespace of the test's own."""
    return make_namespace()
