"""What tests of the Git side share: a repository, and what a worker has in hand of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from endpoints.clusters import Place, Workload
from endpoints.clusters.gitops import layout, source
from endpoints.clusters.gitops.writing import Writer
from endpoints.clusters.kubernetes import kinds, manifests
from tests.endpoints.git_kit import Remote, built
from tests.endpoints.kubernetes_double import Double
from tests.endpoints.kubernetes_kit import place

Make = Callable[..., Writer]


@pytest.fixture
def repository(tmp_path: Path) -> Remote:
    """The repository."""
    return Remote(tmp_path)


@pytest.fixture
def make_writer(tmp_path: Path, repository: Remote, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make what a worker has in hand of the repository; `state` is the directory of its machine."""
    settings.GIT_DIRECTORIES = [str(tmp_path / "srv")]
    monkeypatch.setattr(source, "FETCH_SECONDS", 0.0)

    def made(state: str = "state", **options: str) -> Writer:
        return Writer(at(tmp_path / state, repository, **options))

    return made


def at(state: Path, remote: Remote, **options: str) -> Place:
    """A registered cluster with the repository."""
    return place(state_dir=state, repository=remote.url, settings=options)


def write(found: Writer, wanted: Workload, **how: bool) -> str:
    """Commit what a workload says."""
    return found.write(wanted, manifests.objects(found.place, wanted, "the-key"), **how)


def folder(wanted: Workload) -> str:
    """Where an endpoint stands."""
    return layout.folder(place(), wanted)


def apply(remote: Remote, double: Double) -> None:
    """Apply the branch as Argo CD or Flux does, and prune what is not in it any more."""
    wanted = built(remote)
    names = set()
    for one in wanted:
        meta = one["metadata"]
        names.add((one["kind"], meta.get("namespace", ""), meta["name"]))
        key = (kinds.kind_of(one).plural, meta.get("namespace", ""), meta["name"])
        double._merge(key, one)
    for key, one in list(double.objects.items()):
        named = (one.get("kind"), key[1], key[2])
        if key[0] in ("deployments", "services", "poddisruptionbudgets") and named not in names:
            del double.objects[key]
    double._control()
