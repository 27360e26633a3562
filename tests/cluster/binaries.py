"""Where the programs of the tests' Kubernetes come from: directories that somebody names, or the cache of this machine
outside the tree, which `python -m tests.cluster.build` fills. Standard library only: the builder runs before the
environment of the tests exists.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).resolve().parent / "modules"
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
KSERVE_CONTROLLERS = ("manager", "llmisvc")


def _required(module: str, path: str) -> str:
    """The version of `path` that the go.mod of `module` asks for, without its leading v."""
    text = (MODULES / module / "go.mod").read_text(encoding="utf-8")
    found = re.search(rf"^(?:require )?\t?{re.escape(path)} v(\S+)", text, re.MULTILINE)
    assert found, f"{module}/go.mod does not require {path}"
    return found.group(1)


KUBERNETES = _required("kubernetes", "k8s.io/kubernetes")
ETCD = _required("etcd", "go.etcd.io/etcd/server/v3")
KSERVE = _required("kserve", "github.com/kserve/kserve")


def caches() -> list[Path]:
    """Where to look, in order; the builder writes into the first."""
    named = os.environ.get("XDG_CACHE_HOME")
    first = Path(named) if named else Path("/var/cache")
    return [first / "gatehouse-ci", (Path(named) if named else Path.home() / ".cache") / "gatehouse"]


def _whole(directory: Path, programs: tuple[str, ...]) -> bool:
    return all(os.access(directory / program, os.X_OK) for program in programs)


@dataclass(frozen=True)
class Missing:
    """Why a kind of program is not to be had here, in one sentence that says what to do."""

    sentence: str


def find_control_plane() -> Path | Missing:
    """The directory with etcd and the three programs of the control plane."""
    if named := os.environ.get("KUBEBUILDER_ASSETS"):
        if _whole(Path(named), CONTROL_PLANE):
            return Path(named)
        return Missing(
            f"KUBEBUILDER_ASSETS names {named}, which lacks one of {', '.join(CONTROL_PLANE)} (the archives of envtest "
            "have no controller manager and no scheduler); unset it and run `python -m tests.cluster.build`"
        )
    places = [cache / f"kubernetes-{KUBERNETES}" for cache in caches()]
    found = next((place for place in places if _whole(place, CONTROL_PLANE)), None)
    return found or Missing(
        f"no Kubernetes {KUBERNETES} at {places[0]}; build it with `python -m tests.cluster.build` (Go 1.26), or set "
        "KUBEBUILDER_ASSETS to its programs or GATEHOUSE_TEST_KUBECONFIG to the kubeconfig of a cluster for tests"
    )


def find_kserve() -> Path | Missing:
    """The directory with the manifests of KServe and the Gateway API."""
    places = [cache / f"kserve-{KSERVE}" for cache in caches()]
    found = next((place for place in places if (place / "crds").is_dir()), None)
    return found or Missing(f"no manifests of KServe {KSERVE} at {places[0]}; run `python -m tests.cluster.build`")


def find_kserve_controllers() -> Path | Missing:
    """The directory with KServe's two controllers."""
    places = [cache / f"kserve-controllers-{KSERVE}" for cache in caches()]
    found = next((place for place in places if _whole(place, KSERVE_CONTROLLERS)), None)
    return found or Missing(
        f"no controllers of KServe {KSERVE} at {places[0]}; run `python -m tests.cluster.build --kserve-controllers`"
    )
