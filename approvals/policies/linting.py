"""What can be told of a bundle before it judges anything: expressions, the fields that they and the messages name, and
whether each file has tests that show both of its answers.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from approvals.policies import engine, placing, sample
from approvals.policies.rules import Envelope, Rule, StageRule

Part = Rule | StageRule | Envelope
_NAMED = re.compile(rf"(?<![\w.)\]])({'|'.join(engine.VARIABLES)})((?:\s*\.\s*[A-Za-z_]\w*)+)(\s*\()?")
_BOUND = re.compile(r"\(\s*([A-Za-z_]\w*)\s*,")  # the name that a comprehension or cel.bind() gives


class Say(Protocol):
    """Notes a problem of the field of a file."""

    def __call__(self, path: str, field: str, sentence: str) -> None:
        """Note it."""


def lint(parts: Sequence[Part], files: Mapping[str, str], say: Say) -> None:
    """Say everything that is wrong with `parts`, which were read from `files`."""
    seen: dict[str, str] = {}
    for part in parts:
        if part.id in seen:
            say(part.path, "id", f"id {part.id} is that of {seen[part.id]}, too. Choose another one.")
        seen.setdefault(part.id, part.path)
        _expressions(part, files[part.path], say)
        _tests(part, say)
        if isinstance(part, Rule):
            _words(part, say)
            _aim(part, say)
        if isinstance(part, StageRule) and bool(part.escalate_after_hours) != bool(part.escalate_to):
            say(part.path, "escalate_to", "escalate_after_hours and escalate_to belong together. Give both or none.")


def _expressions(part: Part, text: str, say: Say) -> None:
    broken = []
    for name in ("when", "expression"):
        expression = getattr(part, name, "")
        if not expression:
            continue
        try:
            engine.compile_(expression)
        except engine.ExpressionError as error:
            broken.append((name, error))
            continue
        for path in named(expression):
            if wrong := sample.unknown(path):
                say(part.path, name, f"{name} reads {path[:80]}: {wrong}.")
    if broken:
        places = {one.sentence.partition(":")[0]: (one.line, one.column) for one in placing.problems(text)}
        for name, problem in broken:
            line, column = places.get(name, (0, 0))
            where = f"line {line}, column {column}: " if line else ""
            say(part.path, name, f"{where}{name}: {problem.sentence}")


def named(expression: str) -> Iterator[str]:
    """Yield the fields of the document that `expression` names, as dotted paths, without those behind brackets."""
    bare = engine.without_literals(expression)
    own = {found.group(1) for found in _BOUND.finditer(bare)}
    for found in _NAMED.finditer(bare):
        root, rest, called = found.groups()
        steps = [step.strip() for step in rest.split(".")[1:]]
        if called:
            steps.pop()  # a function of the value
        if root not in own:
            yield ".".join([root, *steps])


def _words(rule: Rule, say: Say) -> None:
    for field in ("message", "fix"):
        text = getattr(rule, field)
        if text.count("{") != text.count("}"):
            say(rule.path, field, f"{field} has a brace without its partner. Fields are written as {{plan.gpus}}.")
        for path in re.findall(r"\{([^{}]*)\}", text):
            if wrong := sample.unknown(path.strip()):
                say(rule.path, field, f"{field} shows {path[:60]!r}: {wrong}.")


def _aim(rule: Rule, say: Say) -> None:
    """A rule about assets is judged when one is admitted, whatever its kinds; one about a manifest has no request."""
    if rule.kinds and rule.applies_to != "request":
        say(rule.path, "kinds", f"kinds is for rules that apply to request; this one applies to {rule.applies_to}.")
    if rule.severity != "deny" and not rule.waivable:
        say(rule.path, "waivable", f"waivable is for deny; a rule that says {rule.severity} stops nobody.")


def _tests(part: Part, say: Say) -> None:
    names: set[str] = set()
    for number, test in enumerate(part.tests):
        if test.name in names:
            say(part.path, f"tests.{number}", f"two tests are called {test.name!r}. Give each a name of its own.")
        names.add(test.name)
        if wrong := sample.odd(test.given):
            say(part.path, f"tests.{number}", f"test {test.name!r}: {wrong}.")
    expected = {test.expect for test in part.tests}
    for answer in _wanted(part):
        if answer not in expected:
            say(part.path, "tests", f"no test expects {answer}. Add one, so that both answers are shown.")


def _wanted(part: Part) -> Iterable[str]:
    """Return the answers that tests must show; what is always so has only one."""
    if isinstance(part, Rule):
        return ("pass", "fail")
    return ("yes",) if part.when.strip() == "true" else ("yes", "no")


__all__ = ["lint", "named"]
