"""A pipeline asks first: the same checks as JSON, SARIF 2.1.0 and JUnit, whatever the words in them are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
from django.test import RequestFactory
from jsonschema import Draft4Validator, FormatChecker  # type: ignore[import-untyped]

from approvals import reports
from approvals.reports import Report, junit, safe_path, sarif
from approvals.verdicts import FAIL, INFO, PASS, WAIVED, WARN, Check
from portal.errors import Invalid
from tests.conftest import ApiClient, Org
from tests.factories import make_cluster, make_profile, make_version, request_body

SCHEMA = json.loads((Path(__file__).parents[1] / "data" / "sarif-schema-2.1.0.json").read_text(encoding="utf-8"))
HOSTILE = "</failure>]]><x y='&amp;\"> \x00\x0b\ud800￾ {0} [a](javascript:alert(1)) ☃ ../../etc/passwd"
SARIF, JUNIT = "application/sarif+json", "application/junit+xml"


def checks(words: str = "Holds.") -> list[dict[str, Any]]:
    """One check of each verdict."""
    made = [
        Check("cap-1", words, FAIL, words, f"Fix {words}", "replicas", controls=("OSPS X",)),
        Check("cap-2", words, WAIVED, words, waivable=True, waiver=7, waived_until="2027-01-01"),
        Check("cap-3", words, WARN, words, "Look.", "version", "policy", "warn"),
        Check("cap-4", words, INFO, words, severity="info"),
        Check("cap-5", words, PASS, words),
    ]
    return [one.json() for one in made]


def report(words: str = "Holds.", path: str = "requests/a.yaml") -> Report:
    bundle = {"name": "baseline", "version": "1", "digest": "sha256:0"}
    return Report(checks(words), bundle, path, {"replicas": 9})


def valid(text: str) -> dict[str, Any]:
    """The SARIF log, after the schema of OASIS has judged it."""
    log: dict[str, Any] = json.loads(text)
    Draft4Validator(SCHEMA, format_checker=FormatChecker()).validate(log)
    return log


@pytest.mark.parametrize("words", ["Holds.", HOSTILE])
def test_sarif_is_valid_and_levels_are_those_of_the_verdicts(words: str) -> None:
    """A pass is a rule without a result; a waiver suppresses with its number."""
    run = valid(sarif.write(report(words)))["runs"][0]
    rules, results = run["tool"]["driver"]["rules"], run["results"]
    assert [one["id"] for one in rules] == ["cap-1", "cap-2", "cap-3", "cap-4", "cap-5"]
    assert [one["level"] for one in results] == ["error", "note", "warning", "note"]
    assert rules[results[0]["ruleIndex"]]["id"] == "cap-1" and "OSPS X" in rules[0]["properties"]["tags"]
    assert rules[0]["help"]["text"].startswith("Fix ") and "Fix " in results[0]["message"]["text"]
    assert results[1]["suppressions"][0]["justification"] == "Waiver 7 until 2027-01-01"
    place = results[0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "requests/a.yaml" and place["region"] == {"startLine": 9}
    assert "{0}" not in results[0]["message"]["text"].replace("{{0}}", "")


@pytest.mark.parametrize("words", ["Holds.", HOSTILE])
def test_junit_can_be_read_whatever_the_words_are(words: str) -> None:
    """One case for each check; the hint stands in the failure."""
    root = ElementTree.fromstring(junit.write(report(words)).encode("utf-8", "strict"))
    cases = root.findall("./testsuite/testcase")
    assert len(cases) == 5 and root.get("failures") == "1" and root.get("skipped") == "1"
    assert [[child.tag for child in case] for case in cases] == [
        ["failure"],
        ["skipped"],
        ["system-out"],
        ["system-out"],
        [],
    ]
    failure = cases[0].find("failure")
    assert failure is not None and "Fix " in (failure.text or "") and cases[0].get("line") == "9"
    assert root.find(".//x") is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("requests/a.yaml", "requests/a.yaml"),
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("file:///etc/passwd", "etc/passwd"),
        ("javascript:alert(1)", "alert%281%29"),
        ("a\\..\\b c.json", "a/b%20c.json"),
        ("..", "request.json"),
        ("\x00\n", "request.json"),
        ("", "request.json"),
        ("x" * 5000, "x" * 200),
    ],
)
def test_a_path_never_leaves_the_tree(given: str, said: str) -> None:
    """It is a name in a report; nothing is opened."""
    request = RequestFactory().post(f"/?{urlencode({'path': given})}", data=b"{}", content_type="application/json")
    assert safe_path(request) == said


def test_lines_are_those_of_the_file() -> None:
    """In JSON and in YAML; a file in one line has one."""
    assert reports.lines(b'{\n "kind": "endpoint",\n "replicas": 2\n}') == {"kind": 2, "replicas": 3}
    assert reports.lines(b"spec:\n  replicas: 2\n")["replicas"] == 2
    assert reports.lines(b'{"a": 1, "b": 2}') == {"a": 1, "b": 1}


def test_a_body_that_says_no_request_is_a_report_too() -> None:
    """Each field that needs another value fails, under a rule of its own."""
    request = RequestFactory().post("/", data=b"{}", content_type="application/json")
    error = Invalid("Two things.", fields={"replicas": "replicas is 0.", "na me": HOSTILE})
    run = valid(sarif.write(reports.of_refusal(request, error)))["runs"][0]
    assert [one["ruleId"] for one in run["results"]] == ["body-replicas", "body-na-me"]


@pytest.mark.slow
def test_check_answers_in_the_format_that_is_asked_for(org: Org, api_for: Callable[..., ApiClient]) -> None:
    """SARIF and JUnit of a bad request show the rule's hint; what nobody knows is JSON."""
    make_cluster()
    version, profile = make_version(), make_profile()
    names = {"asset": version.asset.slug, "version": version.version, "hardware_profile": profile.slug}
    body, me = request_body(**names, context_tokens=1_000_000), api_for(org.dana)
    plain = me.post("/requests/check", body).json()
    bad = next(one for one in plain["checks"] if one["verdict"] == "fail")
    answer = me.post("/requests/check?path=../requests/x.json", body, accept=SARIF)
    assert answer.status_code == 200 and answer["Content-Type"] == SARIF
    run = valid(answer.content.decode())["runs"][0]
    found = next(one for one in run["results"] if one["ruleId"] == bad["id"])
    assert bad["fix"] and bad["fix"] in found["message"]["text"] and found["level"] == "error"
    assert run["tool"]["driver"]["rules"][found["ruleIndex"]]["help"]["text"] == bad["fix"]
    uri = found["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "requests/x.json"
    for accept in (JUNIT, "application/xml"):
        answer = me.post("/requests/check", body, accept=accept)
        assert (
            answer["Content-Type"] == accept and int(ElementTree.fromstring(answer.content).get("failures") or 0) >= 1
        )
    for accept in ("application/json", "text/csv", "*/*", "nonsense", "application/sarif+json;q=0.1, application/json"):
        answer = me.post("/requests/check", body, accept=accept)
        assert answer.status_code == 200 and answer["Content-Type"] == "application/json", accept
    broken = me.post("/requests/check", body | {"replicas": 0}, accept=SARIF)
    assert (
        broken.status_code == 422
        and valid(broken.content.decode())["runs"][0]["results"][0]["ruleId"] == "body-replicas"
    )
    assert me.post("/requests/check", body | {"replicas": 0}).json()["code"] == "invalid"
