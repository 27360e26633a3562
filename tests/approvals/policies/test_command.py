"""`manage.py policies`: what a pipeline runs before it publishes."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from approvals.policies.active import BASELINE, baseline
from approvals.policies.bundle import files_of, read
from tests.approvals.policies.kit import bundle, publish, rule
from tests.conftest import Org


def run(*args: str) -> str:
    """What the command prints."""
    out = io.StringIO()
    call_command("policies", *args, stdout=out)
    return out.getvalue()


def written(where: Path, files: dict[str, str]) -> str:
    """A directory with the files of a bundle."""
    for path, text in files.items():
        (where / path).parent.mkdir(parents=True, exist_ok=True)
        (where / path).write_text(text)
    return str(where)


def failed(*args: str) -> tuple[str, Any]:
    """What the command prints before it fails, and its exit code."""
    out = io.StringIO()
    with pytest.raises(CommandError) as error:
        call_command("policies", *args, stdout=out)
    return out.getvalue(), error.value.returncode


def test_check_counts_and_prints_the_digest(tmp_path: Path) -> None:
    """For people and as JSON."""
    where = written(tmp_path, bundle())
    text = run("check", where)
    assert "1 rule, 0 stages, 0 envelopes; 2 of 2 tests pass." in text and read(bundle()).digest in text
    assert json.loads(run("check", where, "--json"))["digest"] == read(bundle()).digest
    assert "tests pass" in run("check", str(BASELINE))


def test_check_fails_with_every_red_test(tmp_path: Path) -> None:
    """By file and name, with exit code 1."""
    where = written(tmp_path, bundle(rule("one-a", red=True), rule("one-b", red=True)))
    text, code = failed("check", where)
    assert code == 1 and "rules/one-a.yaml: test 'wrong' expects fail and gets pass" in text and "one-b" in text
    found = json.loads(failed("check", where, "--json")[0])
    assert found["ok"] is False and [one["path"] for one in found["failed"]] == ["rules/one-a.yaml", "rules/one-b.yaml"]


def test_check_fails_with_every_problem(tmp_path: Path) -> None:
    """Of every file."""
    where = written(tmp_path, bundle(rule(), {"rules/a.yaml": "id: [", "stages/b.yaml": "id: b-1\n"}))
    text, code = failed("check", where)
    assert code == 1 and "rules/a.yaml: line 2" in text and "stages/b.yaml: name is missing" in text
    assert json.loads(failed("check", where, "--json")[0])["problems"]
    assert failed("check", str(tmp_path / "nowhere"))[1] == 1


def test_show_and_export_what_counts(org: Org, tmp_path: Path) -> None:
    """The baseline at first, then what was published; the exported files are that very bundle."""
    assert baseline().digest in run("show") and "life-001" in run("show")
    publish(org, rule())
    assert json.loads(run("show", "--json"))["rules"][0]["id"] == "life-900"
    run("export", str(tmp_path / "out"))
    assert read(files_of(tmp_path / "out")).digest == read(bundle()).digest
    failed("export", str(tmp_path / "out"))  # nothing is overwritten
