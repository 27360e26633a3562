"""Licence check: the SPDX expression of a version against a table of licences that model and server publishers use."""

from dataclasses import dataclass

from catalog.evidence.case import Case
from catalog.evidence.finding import Finding
from catalog.models import Verdict, Version

KIND, TITLE, CONTENT, DAYS = "licence", "Licence", False, None
TOOL = "gatehouse licence table 1"


@dataclass(frozen=True)
class Licence:
    """A licence and what to know before using it; `verdict` is pass when nothing goes beyond notice and attribution."""

    name: str
    verdict: Verdict
    restrictions: str = ""


_OPEN = {
    "Apache-2.0": "Apache License 2.0",
    "MIT": "MIT License",
    "BSD-2-Clause": 'BSD 2-Clause "Simplified" License',
    "BSD-3-Clause": 'BSD 3-Clause "New" or "Revised" License',
    "ISC": "ISC License",
    "CC0-1.0": "Creative Commons Zero 1.0",
    "CC-BY-4.0": "Creative Commons Attribution 4.0",
    "Unlicense": "The Unlicense",
    "CDLA-Permissive-2.0": "Community Data License Agreement Permissive 2.0",
    "PostgreSQL": "PostgreSQL License",
}
_COPYLEFT = (
    "Passing on a changed copy, or for AGPL offering it over a network, asks for the source under the same licence."
)
_RESTRICTED = {
    "GPL-3.0-only": ("GNU GPL 3.0 only", _COPYLEFT),
    "GPL-3.0-or-later": ("GNU GPL 3.0 or later", _COPYLEFT),
    "AGPL-3.0-only": ("GNU AGPL 3.0 only", _COPYLEFT),
    "AGPL-3.0-or-later": ("GNU AGPL 3.0 or later", _COPYLEFT),
    "MPL-2.0": ("Mozilla Public License 2.0", "Changed files stay under the same licence."),
    "CC-BY-SA-4.0": ("Creative Commons Attribution-ShareAlike 4.0", "Adaptations stay under the same licence."),
    "LicenseRef-Llama-3.1-Community": (
        "Llama 3.1 Community License",
        "Not an open-source licence: an Acceptable Use Policy applies; languages beyond the eight named are out of "
        "scope unless the deployer takes responsibility. Read the text before use.",
    ),
    "NOASSERTION": (
        "No licence was verified",
        "Nobody has confirmed the licence yet. Read the publisher's page before use.",
    ),
}
_REFUSED = {
    "CC-BY-NC-4.0": ("Creative Commons Attribution-NonCommercial 4.0", "Commercial use is not allowed."),
    "CC-BY-NC-SA-4.0": ("Creative Commons Attribution-NonCommercial-ShareAlike 4.0", "Commercial use is not allowed."),
    "NONE": ("No licence", "Without a licence nobody but the author may use it."),
}
LICENCES = {
    **{key: Licence(name, Verdict.PASS) for key, name in _OPEN.items()},
    **{key: Licence(name, Verdict.WARN, text) for key, (name, text) in _RESTRICTED.items()},
    **{key: Licence(name, Verdict.FAIL, text) for key, (name, text) in _REFUSED.items()},
}
_RANK = {Verdict.PASS: 0, Verdict.WARN: 1, Verdict.FAIL: 2}


def short_name(expression: str) -> str:
    """Return the name that people say for a licence expression; unknown ones stay as they are."""
    if expression.startswith("LicenseRef-") and expression in LICENCES:
        return LICENCES[expression].name
    return {"NOASSERTION": "Licence not verified"}.get(expression, expression)


def _terms(expression: str) -> list[list[str]]:
    return [[part.strip() for part in branch.split(" AND ")] for branch in expression.split(" OR ")]


def _judge(key: str) -> Licence:
    return LICENCES.get(key, Licence(key, Verdict.FAIL, "It is not in the licence table. Have it reviewed and add it."))


def applies(version: Version) -> bool:
    """Every version has a licence, if only NONE."""
    return True


def check(case: Case) -> Finding:
    """Judge the licence expression: of alternatives (OR) the best counts, of parts that all apply (AND) the worst.

    Parentheses and exceptions (WITH) are not resolved: such an expression is unknown to the table and fails.
    """
    version = case.version
    branches = _terms(version.licence)
    judged = [max((_judge(key) for key in branch), key=lambda item: _RANK[item.verdict]) for branch in branches]
    best = min(judged, key=lambda item: _RANK[item.verdict])
    if best.verdict == Verdict.PASS:
        summary = f"{version.licence}: no restriction beyond notice and attribution."
    else:
        summary = f"{best.name}: {best.restrictions}"
    report = {
        "expression": version.licence,
        "licences": {
            key: {
                "name": _judge(key).name,
                "verdict": _judge(key).verdict.value,
                "restrictions": _judge(key).restrictions,
            }
            for key in sorted({key for branch in branches for key in branch})
        },
        "note": version.facts.get("licence_note", ""),
    }
    return Finding("licence", best.verdict, summary[:300], TOOL, report)
