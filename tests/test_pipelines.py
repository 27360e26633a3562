"""The examples for pipelines: two linters of other people have no finding, and nothing in them is kept or loose."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "pipelines"
WORKFLOW = EXAMPLES / "github-actions.yml"


def tool(name: str) -> str:
    """The path of a linter: on PATH, beside this Python, or where GATEHOUSE_TEST_<NAME> says."""
    beside = str(Path(sys.executable).parent)
    found = os.environ.get(f"GATEHOUSE_TEST_{name.upper()}") or shutil.which(name) or shutil.which(name, path=beside)
    if not found:
        pytest.skip(f"{name} is not installed (docs/pipelines.md says how)")
    return found


def checkout(tmp_path: Path) -> Path:
    """A repository that holds the workflow where GitHub reads it."""
    place = tmp_path / ".github" / "workflows" / "gatehouse.yml"
    place.parent.mkdir(parents=True)
    place.write_bytes(WORKFLOW.read_bytes())
    return place


def test_zizmor_has_no_finding(tmp_path: Path) -> None:
    """Off-line, as the strictest of its personas."""
    command = [tool("zizmor"), "--offline", "--no-config", "--persona", "auditor", str(checkout(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_zizmor_would_have_one(tmp_path: Path) -> None:
    """The proof that it looked: an action by its tag."""
    place = checkout(tmp_path)
    place.write_text(re.sub(r"checkout@[0-9a-f]{40} # v[\d.]+", "checkout@v6", place.read_text()))
    command = [tool("zizmor"), "--offline", "--no-config", "--persona", "auditor", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.returncode != 0 and "unpinned-uses" in done.stdout


def test_actionlint_has_no_finding(tmp_path: Path) -> None:
    """Syntax, expressions, and the shell where shellcheck is installed, too."""
    command = [tool("actionlint"), "-no-color", str(checkout(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_is_hardened() -> None:
    """Pinned to commits, no permission by default, no credential left behind, an end, one run at a time."""
    text = WORKFLOW.read_text()
    flow: dict[Any, Any] = yaml.safe_load(text)
    used = re.findall(r"uses: (\S+)(.*)", text)
    assert used and all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", name) and "# v" in rest for name, rest in used)
    assert flow["permissions"] == {} and flow["concurrency"]["cancel-in-progress"] is True
    assert "secrets." not in text and "pull_request_target" not in text and "${{ github.event" not in text
    for job in flow["jobs"].values():
        assert job["timeout-minutes"] <= 15 and job["permissions"]["id-token"] == "write"
        steps = [step for step in job["steps"] if "checkout@" in step.get("uses", "")]
        assert steps and all(step["with"]["persist-credentials"] is False for step in steps)


@pytest.mark.parametrize("name", ["github-actions.yml", "gitlab-ci.yml", "tekton-task.yaml"])
def test_no_example_keeps_a_secret(name: str) -> None:
    """Each proves itself by a token of its own platform, which ends with the job."""
    text = (EXAMPLES / name).read_text()
    assert "CLIENT_SECRET" not in text and "gatehouse-token.sh" in text and yaml.safe_load(text)
    assert all("@sha256:" in line for line in text.splitlines() if "image:" in line)


def test_tekton_runs_without_privileges() -> None:
    """As nobody, on a file system that it cannot write, with a token of ten minutes."""
    spec = yaml.safe_load((EXAMPLES / "tekton-task.yaml").read_text())["spec"]
    context = spec["stepTemplate"]["securityContext"]
    assert context["runAsNonRoot"] and context["readOnlyRootFilesystem"] and context["capabilities"]["drop"] == ["ALL"]
    token = spec["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]
    assert token["expirationSeconds"] == 600


@pytest.mark.parametrize("name", ["gatehouse-check.sh", "gatehouse-token.sh"])
def test_scripts_are_plain_shell(name: str) -> None:
    """They run in any image that has sh, curl and python3."""
    done = subprocess.run(["sh", "-n", str(EXAMPLES / name)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert os.access(EXAMPLES / name, os.X_OK)
