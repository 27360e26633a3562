"""SARIF 2.1.0: what code scanning and editors read. Source: OASIS, "Static Analysis Results Interchange Format (SARIF)
Version 2.1.0 Plus Errata 01".

A check that passes is a rule without a result. A waived failure is a result that is suppressed, with the waiver's
number.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.conf import settings

from approvals.verdicts import FAIL, INFO, PASS, WAIVED, WARN

if TYPE_CHECKING:
    from approvals.reports import Report

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS = {FAIL: "error", WAIVED: "note", WARN: "warning", INFO: "note"}
SEVERITIES = {"deny": "error", "warn": "warning", "info": "note"}
Check = Mapping[str, Any]


def write(report: "Report") -> str:
    """Return `report` as a SARIF log with one run."""
    rules = {check["id"]: number for number, check in enumerate(report.checks)}
    run = {
        "tool": {
            "driver": {
                "name": "Gatehouse",
                "informationUri": settings.BASE_URL,
                "rules": [_rule(check) for check in report.checks],
                **({"properties": {"policies": dict(report.bundle)}} if report.bundle else {}),
            }
        },
        "invocations": [{"executionSuccessful": True}],
        "columnKind": "utf16CodeUnits",
        "results": [_result(report, check, rules[check["id"]]) for check in report.checks if check["verdict"] != PASS],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, ensure_ascii=True)


def _rule(check: Check) -> dict[str, Any]:
    """Return a rule; its help is the fix hint, since that is what people look for there."""
    help_text = check["fix"] or "Nothing has to be changed."
    return {
        "id": check["id"],
        "name": "".join(word.capitalize() for word in str(check["id"]).replace("_", "-").split("-")),
        "shortDescription": {"text": check["title"] or check["id"]},
        "help": {"text": help_text},
        "defaultConfiguration": {"level": SEVERITIES.get(check["severity"], "error")},
        "properties": {
            "tags": sorted({"gatehouse", check["source"], *check["controls"]}),
            "waivable": check["waivable"],
        },
    }


def _result(report: "Report", check: Check, number: int) -> dict[str, Any]:
    text = f"{check['title']}: {check['reason']} {check['fix']}".strip()
    physical = {
        "artifactLocation": {"uri": report.path, "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": report.line(check)},
    }
    place: dict[str, Any] = {"physicalLocation": physical}
    if check["field"]:
        place["logicalLocations"] = [{"fullyQualifiedName": check["field"], "kind": "member"}]
    result = {
        "ruleId": check["id"],
        "ruleIndex": number,
        "level": LEVELS[check["verdict"]],
        "message": {"text": _message(text)},
        "locations": [place],
        "partialFingerprints": {"gatehouse/v1": _fingerprint(report.path, check)},
    }
    if check["verdict"] == WAIVED:
        words = f"Waiver {check['waiver']} until {check['waived_until']}"
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": words}]
    return result


def _message(text: str) -> str:
    """Return `text` as a message that holds no placeholder and no link (section 3.11.5 and 3.11.6)."""
    return text.replace("{", "{{").replace("}", "}}").replace("[", "\\[").replace("]", "\\]")


def _fingerprint(path: str, check: Check) -> str:
    """Return what makes it the same finding in the next run: file, rule and field, not the sentence."""
    return hashlib.sha256(f"{path}\n{check['id']}\n{check['field']}".encode()).hexdigest()[:32]
