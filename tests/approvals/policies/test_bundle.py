"""Reading bundles: everything that is wrong is named, by file and field; the digest is over paths and texts."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from approvals.policies.bundle import MAX_BUNDLE, MAX_FILE, MAX_FILES, files_of, read, run_tests
from portal.errors import Invalid
from tests.approvals.policies.kit import bundle, rule, stage


def changed(**fields: Any) -> dict[str, str]:
    """A bundle whose only rule has other fields; None takes one out."""
    data = yaml.safe_load(rule()["rules/life-900.yaml"]) | fields
    return bundle({"rules/life-900.yaml": yaml.safe_dump({name: it for name, it in data.items() if it is not None})})


def problems(files: dict[str, str]) -> dict[str, str]:
    """What is wrong with a bundle; every sentence begins with its file."""
    with pytest.raises(Invalid) as error:
        read(files)
    assert error.value.fields and all(
        text.startswith(key.partition(": ")[0]) for key, text in error.value.fields.items()
    )
    return error.value.fields


def test_a_bundle_is_what_its_files_say() -> None:
    """Rules, stages, and tests with their outcome."""
    found = read(bundle(rule(), stage()))
    assert [one.id for one in found.rules] == ["life-900"] and found.name == "Rules of the tests"
    assert found.stages[0].roles == ("governance-leads",) and found.rules[0].path == "rules/life-900.yaml"
    assert [(one.got, one.passed) for one in run_tests(found)] == [
        ("pass", True), ("fail", True), ("yes", True), ("no", True),
    ]  # fmt: skip


def test_the_digest_is_over_paths_and_texts_exactly() -> None:
    """A blank more, or another path for the same text."""
    one = read(bundle())
    assert read(bundle()).digest == one.digest and one.digest.startswith("sha256:")
    text = one.files["rules/life-900.yaml"]
    others = [bundle({"rules/life-900.yaml": f"{text}\n"}), bundle({"rules/other.yaml": text})]
    assert len({one.digest, *(read(files).digest for files in others)}) == 3


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"severty": "deny"}, "severty", "not a field"),
        ({"title": None}, "title", "missing"),
        ({"title": 7}, "title", "text"),
        ({"severity": "fatal"}, "severity", "'deny', 'warn' or 'info'"),
        ({"applies_to": "cluster"}, "applies_to", "request"),
        ({"kinds": ["endpoint", "yacht"]}, "kinds.1", "yacht"),
        ({"kinds": ["endpoint"], "applies_to": "asset"}, "kinds", "request"),
        ({"id": "../up"}, "id", "lower-case"),
        ({"id": "a" * 61}, "id", "60"),
        ({"expression": "request.days <="}, "expression", "line 5, column"),
        ({"expression": "request.dayz <= 3"}, "expression", "no dayz"),
        ({"expression": "size(request.name)"}, "expression", "true or false"),
        ({"expression": "x" * 4001}, "expression", "4000"),
        ({"when": "planet.gpus > 1"}, "when", "planet"),
        ({"message": "{request.dayz} days"}, "message", "no dayz"),
        ({"message": "{request.days days"}, "message", "brace"),
        ({"fix": "{nope}"}, "fix", "no nope"),
        ({"controls": {"OSPS Baseline": "OSPS-QA-01"}}, "controls.OSPS Baseline", "list"),
        ({"tests": []}, "tests", "expects pass"),
        ({"tests": [{"name": "one", "given": {}, "expect": "pass"}]}, "tests", "expects fail"),
        ({"tests": [{"name": "one", "given": {"reqest": {}}, "expect": "fail"}]}, "tests.0", "reqest"),
        ({"tests": [{"name": "one", "given": {"request": {"days": "3"}}, "expect": "fail"}]}, "tests.0", "number"),
        ({"tests": [{"name": "one", "given": {}, "expect": "yes"}]}, "tests.0.expect", "pass"),
        ({"waivable": "no"}, "waivable", "true or false"),
    ],
)
def test_a_field_that_is_wrong_is_named(fields: dict[str, Any], field: str, words: str) -> None:
    """With its file, and what would be right."""
    found = problems(changed(**fields))
    assert words in found[f"rules/life-900.yaml: {field}"]


def test_all_problems_are_told_at_once() -> None:
    """Of every file, whatever is wrong with the others."""
    files = bundle(rule(), {"rules/a.yaml": "- a list", "stages/b.yaml": "id: [", "envelopes/c.yaml": "id: c\n"})
    del files["bundle.yaml"]
    found = problems(files)
    assert {key.partition(": ")[0] for key in found} == {
        "bundle.yaml", "rules/a.yaml", "stages/b.yaml", "envelopes/c.yaml",
    }  # fmt: skip


def test_no_two_have_one_id() -> None:
    """Wherever they stand: a waiver and a stage go by it."""
    text = rule()["rules/life-900.yaml"]
    assert "rules/life-900.yaml" in problems(bundle(rule(), {"rules/z.yaml": text}))["rules/z.yaml: id"]
    assert "id life-900" in problems(bundle(rule(), stage("life-900")))["stages/life-900.yaml: id"]


@pytest.mark.parametrize(
    "path",
    ["../rules/a.yaml", "/rules/a.yaml", "rules/../a.yaml", "rules\\a.yaml", "rules/a.yml", "rules/a/b.yaml", "a.yaml",
     "rules/.yaml", "rules/A.yaml", "rules/a.yaml\n", "rules/a\0.yaml", "", "rules/\ud800.yaml"],
)  # fmt: skip
def test_no_file_lies_elsewhere(path: str) -> None:
    """No traversal, no absolute path, no backslash."""
    assert "no bundle has such a path" in next(iter(problems(bundle(rule(), {path: "id: a"})).values()))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &x [1]\nb: *x\n", "aliases"),
        ("a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n", "aliases"),
        ("!!python/object/apply:os.system ['true']\n", "tag"),
        (f"a: {'[' * 40}{']' * 40}\n", "deeper"),
        (f"a: [{', '.join('1' * 1 for _ in range(20_001))}]\n", "20,000"),
        ("id: a\nid: b\n", "twice"),
        ("id: a\n---\nid: b\n", "second document"),
        ("", "empty"),
        ("just words", "fields"),
        ("a: 'b", "YAML"),
        ("a: 2026-13-45\n", "YAML"),
        ("? [a]\n: b\n", "no text"),
        ("a: \0", "NUL"),
        ("a: \ud800", "surrogate"),
        ("a: b\n" * 13_500, f"{MAX_FILE:,}"),
    ],
)
def test_hostile_yaml_is_refused(text: str, words: str) -> None:
    """Bombs, tags, keys that stand twice; no error of the parser gets through."""
    assert words in problems(bundle({"rules/a.yaml": text}))["rules/a.yaml"]


def test_too_many_and_too_much() -> None:
    """Told before any of them is looked at."""
    assert (
        f"{MAX_FILES}" in problems(bundle({f"rules/r-{number}.yaml": "" for number in range(MAX_FILES)}))["bundle.yaml"]
    )
    much = {f"rules/r-{number}.yaml": "a" * (MAX_BUNDLE // 30) for number in range(40)}
    assert f"{MAX_BUNDLE:,}" in problems(much | {"bundle.yaml": "name: abc"})["bundle.yaml"]


def test_a_directory_is_read_without_following_links(tmp_path: Path) -> None:
    """Links and files that are no UTF-8 are named; other files are let be."""
    for path, text in bundle().items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "README.md").write_text("read me")
    assert read(files_of(tmp_path)).digest == read(bundle()).digest
    (tmp_path / "rules" / "linked.yaml").symlink_to("/etc/passwd")
    (tmp_path / "rules" / "latin.yaml").write_bytes(b"id: caf\xe9")
    (tmp_path / "rules" / "big.yaml").write_text("a" * (MAX_FILE + 1))
    with pytest.raises(Invalid) as error:
        files_of(tmp_path)
    assert set(error.value.fields) == {"rules/linked.yaml", "rules/latin.yaml", "rules/big.yaml"}
    with pytest.raises(Invalid):
        files_of(tmp_path / "nowhere")


def test_an_error_of_the_engine_is_a_failed_test() -> None:
    """It counts as it does in earnest, and the result says what the engine said."""
    tests = [{"name": "ok", "given": {"request": {"replicas": 2}}, "expect": "pass"},
             {"name": "zero", "given": {"request": {"replicas": 1}}, "expect": "pass"},
             {"name": "more", "given": {"request": {"replicas": 3}}, "expect": "fail"}]  # fmt: skip
    found = run_tests(read(changed(expression="1 / (request.replicas - 1) == 1", tests=tests)))
    assert [one.passed for one in found] == [True, False, True]
    assert found[1].got == "fail" and "zero" in found[1].why


def test_words_that_yaml_reads_as_values_are_taken_as_words() -> None:
    """expect: yes, and when: true."""
    text = stage()["stages/leads.yaml"].replace('"yes"', "yes").replace('"no"', "no")
    assert all(one.passed for one in run_tests(read(bundle({"stages/leads.yaml": text}))))
    always = (
        "id: all\nname: Everybody\nwhen: true\nreason: Always.\nroles: [owner]\n"
        "tests: [{name: any, given: {}, expect: yes}]"
    )
    assert read(bundle({"stages/all.yaml": always})).stages[0].when == "true"


def test_of_a_published_bundle_only_the_shape_is_read() -> None:
    """Another engine may know less: what compiles no more fails where it is evaluated."""
    files = changed(expression="request.gone_in_this_release <= 3 && nope()")
    assert read(files, checked=False).rules[0].expression.startswith("request.gone")


@pytest.mark.parametrize("text", ["count: {}\n", "tests: [{{given: {{request: {{replicas: {}}}}}}}]\n", "a: -{}\n"])
def test_a_number_that_cannot_be_written_down(text: str) -> None:
    """Python refuses to print it, and the runtime of CEL would take the whole process with it."""
    found = problems(bundle({"rules/a.yaml": text.format(f"0x{'f' * 5000}")}))["rules/a.yaml"]
    assert "line 1: a number has more than 40 digits" in found
    assert "a number" in problems(bundle({"rules/a.yaml": f"? 0x{'f' * 50}\n: 1\n"}))["rules/a.yaml"]
