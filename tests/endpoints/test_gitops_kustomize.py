"""What is committed builds with the kustomize of the people who apply it, as a whole and by each directory."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from endpoints.clusters.gitops.writing import Writer
from endpoints.clusters.kubernetes import manifests
from tests.endpoints.git_kit import Remote, built
from tests.endpoints.kubernetes_kit import place, workload

pytestmark = pytest.mark.slow


@pytest.fixture
def kustomize() -> str:
    """The program: where GATEHOUSE_TEST_KUSTOMIZE says, or on PATH."""
    found = os.environ.get("GATEHOUSE_TEST_KUSTOMIZE") or shutil.which("kustomize")
    if not found:
        pytest.skip("kustomize is not installed: go install sigs.k8s.io/kustomize/kustomize/v5@v5.8.1")
    return found


def run(kustomize: str, folder: Path) -> list[dict[str, Any]]:
    """Build a directory; fails the test when it does not build, or something in it is deprecated."""
    done = subprocess.run([kustomize, "build", str(folder)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return list(yaml.safe_load_all(done.stdout))


def test_the_tree_and_each_endpoint_build(kustomize: str, tmp_path: Path, settings: Any) -> None:
    settings.GIT_DIRECTORIES = [str(tmp_path / "srv")]
    remote = Remote(tmp_path)
    options = {"autoscaler": "hpa", "gateway_namespace": "gateway", "queue_name": "team"}
    where = place(state_dir=tmp_path / "state", repository=remote.url, settings=options)
    writer = Writer(where)
    fleet = [
        workload(replicas=2), workload(name="chat", project="risk", environment_name="prod"),
        workload(name="tiny", accelerators=0, resource="", accelerator_limit=None),
    ]  # fmt: skip
    for one in fleet:
        writer.write(one, manifests.objects(where, one, "key"))
    writer.sleep(fleet[0].endpoint_id)
    remote.fetch()
    found = run(kustomize, remote.clone / "gatehouse")

    def named(objects: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
        return sorted((one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]) for one in objects)

    assert named(found) == named(built(remote)) and len(found) > 15
    asleep = [one for one in found if one["kind"] == "Deployment" and one["spec"].get("replicas") == 0]
    assert len(asleep) == 1
    folders = sorted(path.parent for path in remote.clone.glob("gatehouse/*/*/*/kustomization.yaml"))
    assert [len(run(kustomize, folder)) > 1 for folder in folders] == [True, True, True]
