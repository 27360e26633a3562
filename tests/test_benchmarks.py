"""The benchmarks themselves work, on little data and on SQLite; what they find here means nothing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import ON_STORES
from benchmarks.pages import ENGINEER, SCIENTIST
from benchmarks.results import Result

ROOT = Path(__file__).resolve().parent.parent
SCALE = "0.002"  # 20 assets, a project, 4 people, 10 endpoints; 10,000 calls

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A state folder of its own, without what leads to any other store."""
    folder = tmp_path_factory.mktemp("bench")
    kept = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
    own = {"GATEHOUSE_STATE_DIR": str(folder), "GATEHOUSE_LOG_LEVEL": "ERROR", "BENCH_SCALE": SCALE}
    found = kept | own | {"PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "portal.settings"}
    call(found, "manage.py", "collectstatic", "--no-input", "--verbosity", "0")
    return found


def call(environment: dict[str, str], *command: str) -> str:
    """Run Python with `command` in the repository and return what it printed."""
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def migrated(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "bench.sqlite3"
    call(environment | {"DATABASE_URL": f"sqlite:///{path}"}, "manage.py", "migrate", "--verbosity", "0")
    return path


@pytest.mark.parametrize("bench", ON_STORES)
def test_a_benchmark_measures(bench: str, environment: dict[str, str], migrated: Path, tmp_path: Path) -> None:
    environment = environment | {"DATABASE_URL": f"sqlite:///{shutil.copy(migrated, tmp_path)}"}
    lines = call(environment, "-m", "benchmarks.child", bench, "SQLite").splitlines()
    results = [Result(**item) for item in json.loads(lines[-1])]
    assert results
    for result in results:
        assert result.reference > 0, result
        assert result.measured > 0, result
        assert "SQLite" in result.name
        assert result.note
    if bench == "pages":
        names = " ".join(result.name for result in results)
        assert all(f"{who} {path} (" in names for who, paths in (("scientist", SCIENTIST), ("engineer", ENGINEER))
                   for path in paths)  # fmt: skip


def test_an_unknown_benchmark_is_refused(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "speed"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "No benchmark is called 'speed'" in done.stderr


def test_the_benchmark_of_commits_measures(environment: dict[str, str]) -> None:
    """Of a repository with four endpoints; no database takes part."""
    (last,) = call(environment, "-m", "benchmarks.child", "gitops", "none").splitlines()[-1:]
    results = [Result(**item) for item in json.loads(last)]
    assert len(results) >= 8 and all(result.measured > 0 and result.note for result in results)
