"""The bundle that ships: its tests pass, it is complete, and its ids are its own."""

import re
from pathlib import Path

import pytest

from approvals.policies import linting, sample
from approvals.policies.active import BASELINE, baseline
from approvals.policies.bundle import files_of, read, run_tests
from approvals.policies.judging import judge, matching_envelopes, needed_stages
from approvals.policies.rules import Envelope, Rule, StageRule

ROOT = Path(__file__).resolve().parents[3]
FRAMEWORKS = {
    "OSPS Baseline": r"OSPS-(AC|BR|DO|GV|LE|QA|SA|VM)-\d\d\.\d\d",
    "NIST AI RMF": r"(GOVERN|MAP|MEASURE|MANAGE) [1-6]\.\d{1,2}",
    "ISO/IEC 42001": r"A\.\d{1,2}\.\d(\.\d)?",
    "EU AI Act": r"Art\. \d{1,3}",
}


def test_every_test_of_it_passes() -> None:
    """And none by an error of the engine."""
    results = run_tests(read(files_of(BASELINE)))
    assert len(results) > 100 and [one.json() for one in results if not one.passed or one.why] == []


def test_it_has_what_an_organisation_starts_with() -> None:
    """At least 25 rules for requests, assets and workloads, of every severity; stages; envelopes."""
    found = baseline()
    assert len(found.rules) >= 25 and {one.severity for one in found.rules} == {"deny", "warn", "info"}
    assert {one.applies_to for one in found.rules} == {"request", "asset", "workload"}
    assert len(found.stages) >= 4 and len(found.envelopes) >= 2
    assert all(one.fix and one.message for one in found.rules)
    files: list[Rule | StageRule | Envelope] = [*found.rules, *found.stages, *found.envelopes]
    assert all(Path(one.path).stem == one.id for one in files)


def test_the_sample_passes_and_takes_one_review() -> None:
    """So that a test of a rule shows what that rule says."""
    assert {check.verdict for check in judge(baseline(), sample.SAMPLE)} == {"pass"}
    assert {check.verdict for check in judge(baseline(), sample.SAMPLE, "asset")} == {"pass"}
    assert [stage.id for stage in needed_stages(baseline(), sample.SAMPLE)] == ["review"]
    small = sample.given({"request": {"days": 30}})
    assert [one.id for one, holds in matching_envelopes(baseline(), small) if holds] == ["small-dev"]


def test_controls_are_those_of_the_frameworks() -> None:
    """Each rule supports something, and every name has the form of its framework."""
    for rule in baseline().rules:
        assert rule.controls, rule.id
        for framework, items in rule.controls.items():
            for item in items:
                assert re.fullmatch(FRAMEWORKS[framework], item), (rule.id, item)


def test_no_id_is_that_of_a_check_of_the_portal() -> None:
    """People would read one name for two things."""
    text = "".join(path.read_text() for path in (ROOT / "approvals").rglob("*.py"))
    own = set(re.findall(r'"([a-z]{3,4}-\d{3})"', text)) | {"project-gpu-quota"}
    assert "cap-001" in own and not own & {rule.id for rule in baseline().rules}


@pytest.mark.parametrize("kind", ["endpoint", "revision", "renewal", "access", "quota", "mcp-access", "admission"])
def test_every_kind_is_decided_by_somebody(kind: str) -> None:
    """By a stage of the bundle."""
    document = sample.given({"request": {"kind": kind}})
    assert "default" not in {stage.id for stage in needed_stages(baseline(), document)}


def test_every_field_of_the_document_is_documented() -> None:
    """docs/policies.md lists what the sample holds, with its type, and nothing else."""
    names = {bool: "bool", int: "int", float: "double", str: "string", list: "list", dict: "map"}
    have = {(name, names[type(value)]) for name, value in sample.fields()}
    rows = re.findall(r"^\| `([^`]+)` \| (\w+) \|", (ROOT / "docs" / "policies.md").read_text(), re.MULTILINE)
    assert set(rows) == have and len(rows) == len(have)


def test_what_an_expression_names_is_found() -> None:
    """Not what stands in texts, nor what a comprehension names itself."""
    text = '"request.nope" != request.name && tools.all(plan, plan.name != "") && asset.slug.startsWith("a")'
    assert sorted(linting.named(text)) == ["asset.slug", "request.name", "tools"]
    assert sample.unknown("request.name") == "" and "nope" in sample.unknown("request.nope")
    assert sample.unknown("evidence.signature.verdict") == "" and sample.unknown("evidence.signature.nope")
