"""Verdicts: what holds, what does not, and that every error counts against the request."""

import time
from dataclasses import replace
from typing import Any

import pytest

from approvals.policies import judging, sample
from approvals.policies.bundle import read
from approvals.policies.rules import Bundle, Envelope, Rule, StageRule
from approvals.verdicts import Check

BROKEN = [
    "request.nope == 1",
    "1 / (request.replicas - 1) == 1",
    "request.name",
    "tools.all(a, tools.all(b, tools.all(c, a.name != 'x')))",
    "this is no expression",
    "[request.name].map(x, x + x).map(x, x + x).map(x, x + x) == []",
]
MANY: dict[str, Any] = {"tools": [{**sample.TOOL, "name": str(number)} for number in range(100)]}


def a_rule(**fields: Any) -> Rule:
    """A rule on the replicas."""
    data = {"id": "r-1", "title": "Few replicas", "severity": "deny", "applies_to": "request", "message": "Too many."}
    return Rule(**{**data, "expression": "request.replicas <= 2"} | fields)


def judged(rule: Rule, given: dict[str, Any] | None = None, subject: str = "request") -> list[Check]:
    """What one rule says of the sample with changes."""
    return judging.judge(Bundle("b", "sha256:0", {}, (rule,)), sample.given(given or {}), subject)


def test_the_severity_says_what_a_failure_means() -> None:
    """deny fails, warn warns, info informs; what holds passes."""
    more = {"request": {"replicas": 3}}
    verdicts = [judged(a_rule(severity=one), more)[0].verdict for one in ("deny", "warn", "info")]
    assert verdicts == ["fail", "warn", "info"]
    held = judged(a_rule(fix="Fewer."))[0]
    assert (held.verdict, held.fix, held.source) == ("pass", "", "policy")


def test_rules_that_do_not_apply_say_nothing() -> None:
    """Another kind, another subject, `when` is false."""
    assert judged(a_rule(kinds=("renewal",))) == [] and judged(a_rule(applies_to="asset")) == []
    assert judged(a_rule(when='request.environment == "prod"')) == []
    assert len(judged(a_rule(applies_to="asset"), subject="asset")) == 1


@pytest.mark.parametrize("text", BROKEN)
@pytest.mark.parametrize("severity", ["deny", "warn", "info"])
def test_an_error_fails_whatever_the_severity(text: str, severity: str) -> None:
    """Of the condition as of the expression; at once, and with what the engine said."""
    begun = time.monotonic()
    for rule in (a_rule(expression=text, severity=severity), a_rule(when=text, severity=severity)):
        found = judged(rule, MANY)
        assert [check.verdict for check in found] == ["fail"] and "could not be evaluated" in found[0].reason
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_stage_is_needed_and_a_broken_envelope_approves_nothing(text: str) -> None:
    """Fail closed, both ways."""
    stage = StageRule("s-1", "Broken", text, "Why.", ("governance-leads",))
    envelope = Envelope("e-1", "Broken", text, "sha256:0")
    bundle, document = Bundle("b", "sha256:0", {}, (), (stage,), (envelope,)), sample.given(MANY)
    assert [one.id for one in judging.needed_stages(bundle, document)] == ["s-1"]
    assert judging.matching_envelopes(bundle, document) == [(envelope, False)]


def test_somebody_always_decides() -> None:
    """Where no stage matches one review is left; matching ones come by their order."""
    assert [one.id for one in judging.needed_stages(Bundle("b", "x", {}), sample.SAMPLE)] == ["default"]
    stages = tuple(StageRule(f"s-{order}", "S", "true", "W.", ("owner",), order=order) for order in (30, 10, 20))
    found = judging.needed_stages(Bundle("b", "x", {}, (), stages), sample.SAMPLE)
    assert [one.id for one in found] == ["s-10", "s-20", "s-30"]


def test_the_time_for_all_rules_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not reached in time has failed."""
    monkeypatch.setattr(judging, "BUDGET_SECONDS", -1.0)
    found = judged(a_rule())
    assert [check.verdict for check in found] == ["fail"] and "time" in found[0].reason


def test_messages_show_what_the_document_says() -> None:
    """Fields between braces, lists as lists, and nothing beyond 500 characters."""
    document = sample.given({"version": {"licence_terms": ["A", "B"]}, "request": {"purpose": "{plan.gpus}" * 100}})
    assert judging.filled("{request.days} of {version.licence_terms}.", document) == "60 of A, B."
    assert judging.filled("{request.purpose}", document).startswith("{plan.gpus}")  # what people typed is no template
    assert len(judging.filled("{request.purpose}", document)) == 500


def test_controls_come_along() -> None:
    """As words on the check."""
    assert judged(a_rule(controls={"NIST AI RMF": ["MAP 1.1"]}))[0].controls == ("NIST AI RMF MAP 1.1",)


def test_a_test_answers_as_the_judge_does() -> None:
    """The same rule, the same document."""
    files = {"bundle.yaml": "name: abc"}
    bundle = read(files)
    rule = a_rule(when="request.replicas > 1")
    bundle = replace(bundle, rules=(rule,))
    for replicas, answer in ((1, "skip"), (2, "pass"), (3, "fail")):
        document = sample.given({"request": {"replicas": replicas}})
        assert judging.answer(bundle, rule, document)[0] == answer
        assert [check.verdict for check in judging.judge(bundle, document)] == ([] if answer == "skip" else [answer])
