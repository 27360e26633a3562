"""What the quick suite leaves out unread."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.quick import left_out, marks

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("", set()),
        ("slow", set()),
        ("not slow", {"slow"}),
        ("not slow and not browser and not processes", {"slow", "browser", "processes"}),
        ("not slow and browser", set()),
        ("not slow or not browser", set()),
        ("not (slow and browser)", set()),
    ],
)
def test_only_what_no_chosen_test_can_have_is_left_out(expression: str, expected: set[str]) -> None:
    assert left_out(expression) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import pytest\npytestmark = pytest.mark.slow  # all of it\n", {"slow"}),
        ("pytestmark = [\n    pytest.mark.processes,\n    pytest.mark.django_db(transaction=True),\n]\n",
         {"processes", "django_db"}),
        ("@pytest.mark.slow\ndef test_a():\n    pytestmark = pytest.mark.browser\n", set()),
    ],
)  # fmt: skip
def test_the_marks_of_a_whole_file(source: str, expected: set[str]) -> None:
    assert marks(source) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("named", "expected"), [((), "1 passed"), (("test_slow.py",), "1 error")])
def test_a_slow_file_is_read_only_when_it_is_named(tmp_path: Path, named: tuple[str, ...], expected: str) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    slow: x\n", encoding="utf-8")
    (tmp_path / "test_slow.py").write_text("import pytest\npytestmark = pytest.mark.slow\n1 / 0\n", encoding="utf-8")
    (tmp_path / "test_fine.py").write_text("def test_a(): pass\n", encoding="utf-8")
    options = ["-m", "not slow", "-p", "tests.quick", "-p", "no:django", "-p", "no:cacheprovider", *named]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert expected in done.stdout, done.stdout
