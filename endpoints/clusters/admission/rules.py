"""Taking over the `workload` rules of a policy bundle: their CEL reads `object`, the rendered manifest.

What a bundle may say and a cluster cannot judge is named with the reason, never left out in silence.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from endpoints.clusters.admission.terms import LeftOut, Rule

ROOT = "object"
MANIFEST = "variables.manifest"
# What only the portal knows when it decides.
ELSEWHERE = frozenset(
    {
        "request", "requester", "project", "asset", "version", "evidence", "profile", "plan", "endpoint", "tools",
        "quota", "now",
    }
)  # fmt: skip
# Functions that both engines have, from Kubernetes 1.30 on.
SHARED = frozenset(
    {
        "size", "contains", "startsWith", "endsWith", "matches", "lowerAscii", "upperAscii", "split", "substring",
        "trim", "indexOf", "lastIndexOf", "charAt", "has", "all", "exists", "exists_one", "filter", "map", "int",
        "uint", "double", "string", "bool", "bytes", "timestamp", "duration", "dyn", "type", "orValue", "hasValue",
        "getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getHours",
        "getMinutes", "getSeconds", "getMilliseconds",
    }
)  # fmt: skip
_TOKEN = re.compile(  # a text, a comment, or a name, with what stands around it
    r"""(?P<other>[bB]?[rR](?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\r\n]*"|'[^'\r\n]*')"""
    r"""|[bB]?(?:\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}(?:[^\\]|\\.)*?'{3}|"(?:[^"\\\r\n]|\\.)*"|'(?:[^'\\\r\n]|\\.)*')"""
    r"""|//[^\n]*)|(?P<dot>\.\s*\??\s*)?(?P<name>[A-Za-z_]\w*)(?P<call>\s*\()?""",
    re.DOTALL,
)


class NotShared(Exception):
    """An expression that a cluster cannot judge; the words say why."""


@dataclass(frozen=True)
class Condition:
    """What must hold in a cluster, and the sentence for when it does not."""

    rule: Rule
    expression: str
    message: str


def taken(rules: Iterable[Rule], severity: str) -> Iterator[Condition | LeftOut]:
    """Yield of each rule of `severity` its condition for a cluster, or why there is none."""
    for rule in rules:
        if rule.severity == severity:
            try:
                yield Condition(rule, _whole(rule), message(rule))
            except NotShared as error:
                yield LeftOut(rule.id, rule.title, str(error))


def _whole(rule: Rule) -> str:
    holds = adapted(rule.expression)
    return f"!({adapted(rule.when)}\n) || ({holds}\n)" if rule.when else holds


def adapted(expression: str) -> str:
    """Return an expression over `object` as a cluster reads it; raises NotShared for what it does not know."""
    bound = set(re.findall(r"\(\s*([A-Za-z_]\w*)\s*,", expression))

    def put(found: re.Match[str]) -> str:
        name, text = found["name"], found.group()
        if name is None or _is_literal_name(name):
            return text
        if found["call"]:
            _require_shared(name, expression, found)
            return text
        if found["dot"] is not None:
            return text
        if name == ROOT and ROOT in bound:
            raise NotShared("it gives the name object to something else.")
        if name in ELSEWHERE and name not in bound:
            raise NotShared(f"it reads {name}, which only the portal knows.")
        return MANIFEST if name == ROOT else text

    return _TOKEN.sub(put, expression)


def _is_literal_name(name: str) -> bool:
    return name in {"true", "false", "null", "in"}


def _require_shared(name: str, expression: str, found: re.Match[str]) -> None:
    before = expression[: found.start()].rstrip()
    space = re.search(r"(?<![\w.])(math|cel|strings|optional|sets|lists|base64)$", before) if found["dot"] else None
    if space or name not in SHARED:
        called = f"{space[1]}.{name}" if space else name
        raise NotShared(f"it calls {called}(), which API servers do not have or which is not available to rules.")


def message(rule: Rule) -> str:
    """Return the sentence of a denial in one line: what a message fills in, the cluster does not."""
    words = f"{rule.id}: {re.sub(r'{[^{}]*}', '…', rule.message)}" + (f" {rule.fix}" if rule.fix else "")
    return " ".join(re.sub(r"{[^{}]*}", "…", words).split())[:500]
