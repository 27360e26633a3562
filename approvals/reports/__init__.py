"""The plan of `POST /requests/check` in the formats that pipelines read: JSON, SARIF, JUnit."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from django.http import HttpRequest, HttpResponse

from approvals.reports import junit, sarif
from approvals.verdicts import FAIL, Check
from portal.errors import Invalid

JSON, SARIF, JUNIT, XML, YAML = (
    "application/json", "application/sarif+json", "application/junit+xml", "application/xml", "application/yaml",
)  # fmt: skip
LONGEST_PATH, MOST_LINES = 200, 5000


@dataclass(frozen=True)
class Report:
    """What a pipeline is told: checks as a plan keeps them, which rules judged, where it is said about."""

    checks: Sequence[Mapping[str, Any]]
    bundle: Mapping[str, str] | None
    path: str
    lines: Mapping[str, int]  # field → line of the file in which it stands

    def line(self, check: Mapping[str, Any]) -> int:
        """Return the line of the file that a check is about; the first one where it cannot be told."""
        return self.lines.get(str(check["field"]), 1)


WRITERS: Mapping[str, Callable[[Report], str]] = {SARIF: sarif.write, JUNIT: junit.write, XML: junit.write}


def wanted(request: HttpRequest, *offered: str) -> str:
    """Return which of `offered` media types the caller likes best; JSON when it is none of them."""
    return request.get_preferred_type([JSON, *offered]) or JSON


def of_plan(request: HttpRequest, plan: Mapping[str, Any]) -> Report:
    """Return the report of a plan for a request body."""
    return Report(list(plan["checks"]), plan.get("bundle"), safe_path(request), lines(request.body))


def of_refusal(request: HttpRequest, error: Invalid) -> Report:
    """Return the report of a body that is not even a plan: each field that needs another value fails."""
    said = error.fields or {"": error.sentence}
    checks = [
        Check(f"body-{_word(name)}", f"{name or 'The body'} is valid", FAIL, sentence, field=name).json()
        for name, sentence in said.items()
    ]
    return Report(checks, None, safe_path(request), lines(request.body))


def answered(report: Report, kind: str, status: int = 200) -> HttpResponse:
    """Return `report` in the media type `kind`."""
    response = HttpResponse(WRITERS[kind](report), content_type=kind, status=status)
    response["Cache-Control"] = "no-store"
    return response


def safe_path(request: HttpRequest) -> str:
    """Return the file that the report is about, from `?path=`: relative, without a way out of the tree, as a URI.

    What is no such path is cut down to what is one; nothing of it is ever opened.
    """
    given = request.GET.get("path", "").replace("\\", "/")[: 4 * LONGEST_PATH]
    given = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*:", "", given)
    parts = ["".join(char for char in part if char.isprintable()).strip() for part in given.split("/")]
    found = "/".join(part for part in parts if part not in {"", ".", ".."})[-LONGEST_PATH:]
    kind = request.headers.get("Content-Type", "")
    return quote(found.strip("/") or ("request.yaml" if "yaml" in kind else "request.json"))


def lines(raw: bytes) -> dict[str, int]:
    """Return in which line of the body each field stands first: `"replicas": 2`, or `replicas: 2` of YAML."""
    found: dict[str, int] = {}
    for number, line in enumerate(raw[:65_536].decode("utf-8", "replace").split("\n")[:MOST_LINES], start=1):
        for name in re.findall(r'(?:^[\s-]*|[{,]\s*)"?([a-z_]{1,40})"?\s*:', line):
            found.setdefault(name, number)
    return found


def _word(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name)[:60] or "whole"
