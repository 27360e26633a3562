"""JUnit XML, as test reports of pipelines read it: one test case for each check.

A warning passes, and says so in its output; what is waived is skipped, with the waiver's number.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as xml

from approvals.verdicts import FAIL, PASS, WAIVED

if TYPE_CHECKING:
    from approvals.reports import Report

FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # no character of XML 1.0
Check = Mapping[str, Any]


def write(report: "Report") -> str:
    """Return `report` as one test suite."""
    verdicts = [check["verdict"] for check in report.checks]
    counts = {
        "tests": str(len(verdicts)),
        "failures": str(verdicts.count(FAIL)),
        "errors": "0",
        "skipped": str(verdicts.count(WAIVED)),
    }
    root = xml.Element("testsuites", {"name": "gatehouse", **counts})
    suite = xml.SubElement(root, "testsuite", {"name": "gatehouse", "file": report.path, **counts, "time": "0"})
    if report.bundle:
        properties = xml.SubElement(suite, "properties")
        for name, value in sorted(report.bundle.items()):
            xml.SubElement(properties, "property", {"name": f"policies.{name}", "value": _clean(value)})
    for check in report.checks:
        _case(suite, report, check)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + xml.tostring(root, encoding="unicode")


def _case(suite: xml.Element, report: "Report", check: Check) -> None:
    case = xml.SubElement(
        suite,
        "testcase",
        {
            "classname": f"gatehouse.{_clean(check['source'])}",
            "name": _clean(f"{check['id']} {check['title']}"),
            "file": report.path,
            "line": str(report.line(check)),
            "time": "0",
        },
    )
    said = _clean("\n".join(part for part in (check["reason"], check["fix"]) if part))
    if check["verdict"] == FAIL:
        failure = xml.SubElement(case, "failure", {"message": _clean(check["reason"]), "type": _clean(check["id"])})
        failure.text = said
    elif check["verdict"] == WAIVED:
        words = f"Waiver {check['waiver']} until {check['waived_until']}"
        xml.SubElement(case, "skipped", {"message": _clean(words)})
    elif check["verdict"] != PASS:
        xml.SubElement(case, "system-out").text = f"{check['verdict']}: {said}"


def _clean(text: object) -> str:
    """Return `text` without what XML 1.0 has no way to write."""
    return FORBIDDEN.sub("\ufffd", str(text))
