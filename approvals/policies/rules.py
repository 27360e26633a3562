"""What the files of a bundle say: rules, stages and envelopes, each with tests of its own, and the bundle of them."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from approvals.policies import engine
from approvals.verdicts import FAIL, INFO, WARN

SEVERITIES = {"deny": FAIL, "warn": WARN, "info": INFO}
SUBJECTS = ("request", "asset", "workload")
RULE_SAYS, ELSE_SAYS = ("pass", "fail", "skip"), ("yes", "no")


@dataclass(frozen=True)
class Test:
    """One example: what is laid over the sample document, and what the file must say of it.

    `expect`: pass, fail or skip (`when` is false) for a rule; yes or no for a stage or an envelope.
    """

    name: str
    given: dict[str, Any]
    expect: str


@dataclass(frozen=True)
class TestResult:
    """What came out of a test: of which file, what it expects and got, and why where the engine gave an error."""

    path: str
    id: str
    name: str
    expect: str
    got: str
    why: str = ""

    @property
    def passed(self) -> bool:
        """Whether the file says what the test expects."""
        return self.got == self.expect

    def json(self) -> dict[str, Any]:
        """Return the result as the API and the command print it."""
        return dataclasses.asdict(self) | {"passed": self.passed}


@dataclass(frozen=True)
class Rule:
    """Something that must hold. `expression` true: it holds. `when`, if any, false: it says nothing about this one.

    `kinds`: the kinds of request that it judges; empty = all. `field`: the field of the form to which it belongs.
    `controls`: {framework: [ids]}.
    """

    id: str
    title: str
    severity: str
    applies_to: str
    expression: str
    message: str
    fix: str = ""
    when: str = ""
    kinds: tuple[str, ...] = ()
    field: str = ""
    waivable: bool = True
    controls: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    tests: tuple[Test, ...] = ()
    path: str = ""

    @cached_property
    def supports(self) -> tuple[str, ...]:
        """What it supports, as its checks name it: the framework and the id."""
        return tuple(f"{name} {item}" for name, items in self.controls.items() for item in items)


@dataclass(frozen=True)
class StageRule:
    """Somebody who must say yes when `when` is true. `order`: smaller ones first. `human`: no envelope passes it."""

    id: str
    name: str
    when: str
    reason: str
    roles: tuple[str, ...]
    count: int = 1
    order: int = 50
    human: bool = False
    escalate_after_hours: int | None = None
    escalate_to: tuple[str, ...] = ()
    tests: tuple[Test, ...] = ()
    path: str = ""


@dataclass(frozen=True)
class Envelope:
    """What may be approved by rule: when `when` is true and nothing fails or warns. `digest`: over the text."""

    id: str
    title: str
    when: str
    digest: str
    kinds: tuple[str, ...] = ("endpoint",)
    tests: tuple[Test, ...] = ()
    path: str = ""


DEFAULT_STAGE = StageRule(
    id="default", name="Review", when="true", reason="Every request is decided by somebody.",
    roles=("platform-engineers", "governance-leads"),
)  # fmt: skip


@dataclass(frozen=True)
class Bundle:
    """Rules, stages and envelopes of one set of files, and the digest over their paths and texts."""

    name: str
    digest: str
    files: Mapping[str, str]
    rules: tuple[Rule, ...] = ()
    stages: tuple[StageRule, ...] = ()
    envelopes: tuple[Envelope, ...] = ()
    programs: dict[str, Any] = dataclasses.field(default_factory=dict, compare=False)
    default_stage: StageRule = DEFAULT_STAGE

    def program(self, text: str) -> Any:
        """Return the compiled form of one of its expressions, compiled once; raises ExpressionError."""
        if text not in self.programs:
            self.programs[text] = engine.compile_(text)
        return self.programs[text]
