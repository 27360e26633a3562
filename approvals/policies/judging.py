"""What a bundle says of a document. Every error of the engine counts against it: a rule that cannot be evaluated
fails, a stage whose condition cannot be evaluated is needed, an envelope that cannot be evaluated approves nothing.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from approvals.policies import engine
from approvals.policies.rules import SEVERITIES, Bundle, Envelope, Rule, StageRule
from approvals.verdicts import FAIL, PASS, Check

BUDGET_SECONDS = 1.0  # for all rules over one document; a whole bundle takes some milliseconds


def judge(bundle: Bundle, document: Mapping[str, Any], subject: str = "request") -> list[Check]:
    """Return what the rules of `bundle` for `subject` (request, asset, workload) say of `document`, in their order.

    Rules that do not apply (other kinds, `when` is false) are left out.
    """
    data, kind = engine.activation(document), document.get("request", {}).get("kind", "")
    end = time.monotonic() + BUDGET_SECONDS
    checks = []
    for rule in bundle.rules:
        if rule.applies_to != subject or (rule.kinds and kind not in rule.kinds):
            continue
        if time.monotonic() > end:
            checks.append(_broken(rule, "the time for all rules was over"))
            continue
        check = _one(bundle, rule, data, document)
        if check is not None:
            checks.append(check)
    return checks


def _one(bundle: Bundle, rule: Rule, data: Any, document: Mapping[str, Any]) -> Check | None:
    try:
        if rule.when and not engine.holds(bundle.program(rule.when), data):
            return None
        held = engine.holds(bundle.program(rule.expression), data)
    except engine.ExpressionError as error:
        return _broken(rule, error.sentence)
    verdict = PASS if held else SEVERITIES[rule.severity]
    reason = "Holds." if held else filled(rule.message, document)
    return _check(rule, verdict, reason, "" if held else filled(rule.fix, document))


def answer(bundle: Bundle, part: Rule | StageRule | Envelope, document: Mapping[str, Any]) -> tuple[str, str]:
    """Return what a part of `bundle` says of `document`, in the words of a test's `expect`, and the engine's error or
    "": an error counts as it does when it decides.
    """
    data = engine.activation(document)
    try:
        if not isinstance(part, Rule):
            return ("yes" if engine.holds(bundle.program(part.when), data) else "no"), ""
        if part.when and not engine.holds(bundle.program(part.when), data):
            return "skip", ""
        return ("pass" if engine.holds(bundle.program(part.expression), data) else "fail"), ""
    except engine.ExpressionError as error:
        return {Rule: "fail", StageRule: "yes", Envelope: "no"}[type(part)], error.sentence


def _broken(rule: Rule, why: str) -> Check:
    reason = f"The rule could not be evaluated, which counts as failed: {why}"
    return _check(rule, FAIL, reason, "Tell the governance leads: the rule needs to be mended.")


def _check(rule: Rule, verdict: str, reason: str, fix: str) -> Check:
    return Check(
        rule.id, rule.title, verdict, reason, fix, rule.field, "policy", rule.severity, rule.waivable,
        controls=rule.supports,
    )  # fmt: skip


def needed_stages(bundle: Bundle, document: Mapping[str, Any]) -> list[StageRule]:
    """Return the stages that `document` needs, in their order; never none: see `bundle.DEFAULT_STAGE`."""
    data = engine.activation(document)
    found = [stage for stage in bundle.stages if _needed(bundle, stage.when, data, otherwise=True)]
    return sorted(found, key=lambda stage: (stage.order, stage.id)) or [bundle.default_stage]


def matching_envelopes(bundle: Bundle, document: Mapping[str, Any]) -> list[tuple[Envelope, bool]]:
    """Return the envelopes for the kind of `document`, each with whether its condition holds."""
    data, kind = engine.activation(document), document.get("request", {}).get("kind", "")
    found: Iterable[Envelope] = (one for one in bundle.envelopes if kind in one.kinds)
    return [(one, _needed(bundle, one.when, data, otherwise=False)) for one in found]


def _needed(bundle: Bundle, when: str, data: Any, *, otherwise: bool) -> bool:
    try:
        return engine.holds(bundle.program(when), data)
    except engine.ExpressionError:
        return otherwise


def filled(text: str, document: Mapping[str, Any]) -> str:
    """Return a message with each `{request.replicas}` replaced by what the document says there."""
    out, rest = [], text
    while "{" in rest:
        before, _, rest = rest.partition("{")
        path, closed, rest = rest.partition("}")
        out += [before, _said(path, document) if closed else "{" + path]
    return "".join([*out, rest])[:500]


def _said(path: str, document: Mapping[str, Any]) -> str:
    value: Any = document
    for name in path.strip().split("."):
        value = value.get(name, "") if isinstance(value, Mapping) else ""
    return ", ".join(str(item) for item in value[:10]) if isinstance(value, list) else str(value)
