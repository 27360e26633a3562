"""What the pages of policies show, worked out before the templates."""

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from django.urls import reverse
from django.utils.http import urlencode

from approvals.models import PolicyDraft, Preview, PreviewState
from approvals.policies.bundle import TestResult
from approvals.policies.hits import Counted
from approvals.policies.publishing import failure
from approvals.policies.rules import Envelope, Rule, StageRule
from approvals.verdicts import FAIL, INFO, PASS, WAIVED, WARN

Cell = dict[str, Any]
SEVERITY = {"deny": ("red", "err"), "warn": ("orange", "warn"), "info": ("blue", "info")}
VERDICT = {
    PASS: ("Pass", "green", "ok"),
    FAIL: ("Fail", "red", "err"),
    WARN: ("Warning", "orange", "warn"),
    WAIVED: ("Waived", "purple", "waiver"),
    INFO: ("Note", "blue", "info"),
}
SUBJECT = {"request": "Requests and live endpoints", "asset": "Assets", "workload": "Workloads in the cluster"}
MOST_DIFF = 400  # lines
# Read without YAML: a list of files keeps its names while one of them is broken.
SAID = re.compile(r"""^(title|name|severity): *["']?([^"'\n]*?)["']?$""", re.MULTILINE)


def severity_chip(severity: str) -> Cell:
    """Return the chip of a rule's severity."""
    colour, icon = SEVERITY.get(severity, ("grey", "info"))
    return {"label": severity, "colour": colour, "icon": icon, "kind": "outline"}


def verdict_chip(verdict: str) -> Cell:
    """Return the chip of a verdict; a word that is none, such as the names of stages, stands as it is."""
    label, colour, icon = VERDICT.get(verdict, (verdict, "grey", "info"))
    return {"label": label, "colour": colour, "icon": icon, "kind": "filled" if verdict in VERDICT else "outline"}


def controls(rule: Rule) -> str:
    """Return what a rule supports: "OSPS OSPS-BR-06 · NIST AI RMF MAP 4.1"."""
    return " · ".join(f"{name} {', '.join(items)}" for name, items in rule.controls.items())


def rule_row(rule: Rule, counted: Counted | None) -> Cell:
    """Return a line of the list of rules, with its hits where they were counted."""
    return {
        "id": rule.id,
        "title": rule.title,
        "url": reverse("policy_rule", args=[rule.id]),
        "severity": severity_chip(rule.severity),
        "subject": SUBJECT.get(rule.applies_to, rule.applies_to),
        "kinds": ", ".join(rule.kinds),
        "controls": controls(rule),
        **(_hits(counted, rule.id) if counted is not None else {}),
    }


def _hits(counted: Counted, rule: str) -> Cell:
    hits = counted.of(rule)
    return {"hits": hits.requests, "hits_words": hits_words(counted, rule), "endpoints": hits.endpoints}


def hits_words(counted: Counted, rule: str) -> str:
    """Return what makes up the hits of a rule: "2 failed, 1 warned"."""
    hits = counted.of(rule)
    parts = [(hits.failed, "failed"), (hits.waived, "waived"), (hits.warned, "warned")]
    return ", ".join(f"{many} {word}" for many, word in parts if many)


def stage_row(stage: StageRule) -> Cell:
    """Return a line of the list of stages."""
    later = ""
    if stage.escalate_after_hours is not None:
        later = f"after {stage.escalate_after_hours} business hours also {roles(stage.escalate_to)}"
    return {
        "id": stage.id,
        "name": stage.name,
        "when": stage.when,
        "reason": stage.reason,
        "who": f"{stage.count} of {roles(stage.roles)}",
        "human": stage.human,
        "later": later,
    }


def roles(names: Sequence[str]) -> str:
    """Return roles as people say them: "platform engineers, governance leads"."""
    return ", ".join("owners" if name == "owner" else name.replace("-", " ") for name in names)


def envelope_row(envelope: Envelope) -> Cell:
    """Return a line of the list of envelopes; its mode is the page of envelopes' own."""
    return {
        "id": envelope.id,
        "title": envelope.title,
        "when": envelope.when,
        "kinds": ", ".join(envelope.kinds),
        "digest": envelope.digest,
    }


def test_row(result: TestResult) -> Cell:
    """Return a line of a table of tests."""
    return {
        "file": result.path,
        "id": result.id,
        "name": result.name,
        "expect": result.expect,
        "got": result.got,
        "passed": result.passed,
        "why": "" if result.passed else failure(result),
        "chip": verdict_chip(PASS if result.passed else FAIL),
    }


def tested_words(results: Sequence[TestResult]) -> str:
    """Return how many tests pass."""
    passed = sum(one.passed for one in results)
    return f"{passed} of {len(results)} pass" if results else "no test yet"


def file_rows(draft: PolicyDraft, base: Mapping[str, str], broken: Collection[str], chosen: str) -> list[Cell]:
    """Return the files of a draft, by folder: what each is called, whether it changed, whether it is chosen."""
    rows = []
    for path in sorted({*draft.files, *base}, key=lambda path: (path.count("/") == 0, path)):
        said = dict(SAID.findall(draft.files.get(path, base.get(path, ""))))
        title, severity = said.get("title") or said.get("name", ""), said.get("severity", "")
        state = "removed" if path not in draft.files else "new" if path not in base else ""
        if not state and draft.files[path] != base[path]:
            state = "changed"
        rows.append(
            {
                "path": path,
                "title": title[:120] or path.rpartition("/")[2].removesuffix(".yaml"),
                "url": f"{reverse('policy_draft')}?{urlencode({'path': path})}",
                "severity": severity_chip(severity) if severity in SEVERITY else None,
                "state": state,
                "broken": any(key == path or key.startswith(f"{path}: ") for key in broken),
                "current": path == chosen,
                "folder": path.partition("/")[0] if "/" in path else "bundle",
            }
        )
    return rows


def diff(before: str, after: str) -> list[Cell]:
    """Return the lines that differ with three around them, at most 400; [] for texts that are the same."""
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=3))[2:]
    marks = {"+": "add", "-": "del", "@": "hunk"}
    shown = [{"text": line, "kind": marks.get(line[:1], "")} for line in lines[:MOST_DIFF]]
    if len(lines) > MOST_DIFF:
        shown.append({"text": f"… and {len(lines) - MOST_DIFF} more lines", "kind": "hunk"})
    return shown


def impact_words(row: Preview | None) -> str:
    """Return what an impact preview says, in few words."""
    if row is None:
        return "not looked at"
    if row.state == PreviewState.DONE:
        objects = row.result.get("endpoints", 0) + row.result.get("requests", 0)
        return f"{row.result.get('changed', 0):,} of {objects:,} change"
    if row.state == PreviewState.FAILED:
        return "broke off"
    return f"{row.done:,} of {row.total:,} looked at" if row.total else "waits for a worker"


def steps(changed: int, broken: bool, results: Sequence[TestResult], preview: Preview | None) -> list[Cell]:
    """Return the way of a draft: edit, test, impact, publish."""
    green = bool(results) and all(one.passed for one in results) and not broken
    seen = preview is not None and preview.state == PreviewState.DONE
    edit = "failed" if broken else "done" if changed else "current"
    test = "pending" if broken or not changed else "done" if green else "failed"
    impact = "done" if seen and changed else "current" if green and changed else "pending"
    files = f"{changed} file{'s' if changed != 1 else ''} changed" if changed else "nothing changed yet"
    return [
        {"name": "Edit", "state": edit, "time": "a file cannot be read" if broken else files},
        {"name": "Test", "state": test, "time": "" if broken else tested_words(results)},
        {"name": "Impact", "state": impact, "time": impact_words(preview)},
        {"name": "Publish", "state": "current" if impact == "done" else "pending", "time": "with a reason"},
    ]
