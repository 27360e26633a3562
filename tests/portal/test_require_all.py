"""REQUIRE_ALL=1 makes a skip a failure; without it the skip is listed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent.parent
SKIPS = {
    "mark": "import pytest\n@pytest.mark.skip(reason='no database here')\ndef test_a(): pass\n",
    "call": "import pytest\ndef test_a(): pytest.skip('no database here')\n",
    "fixture": "import pytest\n@pytest.fixture\ndef db(): pytest.skip('no database here')\ndef test_a(db): pass\n",
    "module": "import pytest\npytest.skip('no database here', allow_module_level=True)\n",
}


def run(
    folder: Path, source: str, *, require: str, arguments: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    (folder / "test_sample.py").write_text(source, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    processes: x\n", encoding="utf-8")
    environment = {**os.environ, "REQUIRE_ALL": require, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""}
    for name in [name for name in environment if name.startswith("PYTEST_XDIST")]:
        del environment[name]
    options = ["-ra", "-p", "tests.require_all", "-p", "no:django", "-p", "no:cacheprovider", *arguments]
    command = [sys.executable, "-m", "pytest", *options, str(folder)]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(SKIPS))
def test_a_skip_fails_when_everything_is_required(tmp_path, kind):
    done = run(tmp_path, SKIPS[kind], require="1")
    assert done.returncode != 0
    assert "REQUIRE_ALL=1 counts a skip as a failure" in done.stdout
    assert "no database here" in done.stdout
    assert "1 skipped" not in done.stdout


@pytest.mark.slow
def test_a_skip_stays_a_skip_otherwise(tmp_path):
    done = run(tmp_path, SKIPS["call"], require="")
    assert done.returncode == 0
    assert "1 skipped" in done.stdout
    assert "no database here" in done.stdout


@pytest.mark.slow
def test_an_expected_failure_is_no_skip(tmp_path):
    source = "import pytest\n@pytest.mark.xfail(reason='known')\ndef test_a(): assert False\n"
    done = run(tmp_path, source, require="1")
    assert done.returncode == 0
    assert "1 xfailed" in done.stdout


@pytest.mark.slow
def test_a_skip_fails_in_xdist_workers_too(tmp_path):
    done = run(tmp_path, SKIPS["call"], require="1", arguments=("-n", "1"))
    assert done.returncode == 1
    assert "1 failed" in done.stdout


@pytest.mark.slow
def test_process_tests_share_a_worker(tmp_path):
    source = "import pytest\n" + "".join(
        f"@pytest.mark.processes\ndef test_{number}(worker_id): print('ran-on', worker_id)\n" for number in range(6)
    )
    done = run(tmp_path, source, require="1", arguments=("-n", "2", "--dist", "loadgroup", "-rP"))
    assert done.returncode == 0
    assert len({line for line in done.stdout.splitlines() if line.startswith("ran-on")}) == 1
