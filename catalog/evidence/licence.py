"""Licence check: the SPDX expression of a version against a table of licences that model and server publishers use."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version as version_of
from typing import Any

from license_expression import (
    AND,
    OR,
    ExpressionError,
    ExpressionParseError,
    LicenseSymbol,
    LicenseWithExceptionSymbol,
    Licensing,
    get_spdx_licensing,
)

from catalog.evidence.case import Case
from catalog.evidence.finding import Finding
from catalog.evidence.licences import LICENCES, Licence
from catalog.models import Verdict, Version

KIND, TITLE, CONTENT, DAYS = "licence", "Licence", False, None
TOOL = f"gatehouse licence table 2, license-expression {version_of('license-expression')}"
_RANK = {Verdict.PASS: 0, Verdict.WARN: 1, Verdict.FAIL: 2}
_LONGEST = 300  # characters of an expression that is parsed


@dataclass(frozen=True)
class Terms:
    """What a project acknowledges before its first key: `words` as they are shown, and their digest."""

    key: str
    name: str
    words: str
    digest: str


def short_name(expression: str) -> str:
    """Return the name that people say for a licence expression; unknown ones stay as they are."""
    if expression.startswith("LicenseRef-") and expression in LICENCES:
        return LICENCES[expression].name
    return {"NOASSERTION": "Licence not verified"}.get(expression, expression)


def terms(expression: str) -> list[Terms]:
    """Return what must be acknowledged to use something under `expression`, by key; of alternatives (OR) those of the
    one that asks the least.
    """
    tree = _parsed(expression)
    keys = _best(tree) if tree is not None else []
    return [_terms(key) for key in sorted(set(keys)) if _judge(key).acknowledge]


def applies(version: Version) -> bool:
    """Every version has a licence, if only NONE."""
    return True


def check(case: Case) -> Finding:
    """Judge the licence expression: of alternatives (OR) the best counts, of parts that all apply (AND) the worst. An
    exception (WITH) must be one of SPDX; it only adds permissions.
    """
    version = case.version
    tree = _parsed(version.licence)
    if tree is None:
        summary = f"“{version.licence}” is not an SPDX expression. Write it like Apache-2.0 OR MIT."
        return Finding(KIND, Verdict.FAIL, summary[:300], TOOL, _report(version, "", []))
    decisive = max((_judge(key) for key in _best(tree)), key=lambda item: _RANK[item.verdict])
    if decisive.verdict == Verdict.PASS:
        summary = f"{version.licence}: no restriction beyond notice and attribution."
    else:
        summary = f"{decisive.name}: {decisive.restrictions}"
    return Finding(KIND, decisive.verdict, summary[:300], TOOL, _report(version, str(tree), _keys(tree)))


def _report(version: Version, normalized: str, keys: list[str]) -> dict[str, Any]:
    judged = {key: _judge(key) for key in sorted(set(keys))}
    return {
        "expression": version.licence,
        "normalized": normalized,
        "licences": {
            key: {
                "name": item.name,
                "verdict": item.verdict.value,
                "restrictions": item.restrictions,
                "acknowledge": item.acknowledge,
            }
            for key, item in judged.items()
        },
        "note": version.facts.get("licence_note", ""),
    }


def _terms(key: str) -> Terms:
    item = LICENCES[key]
    return Terms(key, item.name, item.restrictions, "sha256:" + hashlib.sha256(item.restrictions.encode()).hexdigest())


@lru_cache(maxsize=1)
def _spdx() -> Licensing:
    return get_spdx_licensing()


@lru_cache(maxsize=1024)
def _parsed(expression: str) -> Any:
    """Return the expression as a tree with the names of SPDX, None where it is none."""
    if len(expression) > _LONGEST:
        return None
    try:
        return _spdx().parse(expression)
    except (
        ExpressionError,
        ExpressionParseError,
        AssertionError,
        AttributeError,
        IndexError,
        RecursionError,
        TypeError,
    ):
        return None  # the parser itself stumbles over some of them


def _keys(tree: Any) -> list[str]:
    if isinstance(tree, AND | OR):
        return [key for part in tree.args for key in _keys(part)]
    return [str(tree)]


def _best(tree: Any) -> list[str]:
    """Return the licences that count: all parts of an AND, the alternative of an OR whose worst part is the best."""
    if isinstance(tree, OR):
        return min((_best(part) for part in tree.args), key=_burden)
    if isinstance(tree, AND):
        return [key for part in tree.args for key in _best(part)]
    return [str(tree)]


def _burden(keys: list[str]) -> tuple[int, int]:
    judged = [_judge(key) for key in keys]
    return max(_RANK[item.verdict] for item in judged), sum(item.acknowledge for item in judged)


def _judge(key: str) -> Licence:
    known = LICENCES.get(key)
    if known is not None:
        return known
    base = _with_exception(key)
    if base in LICENCES:
        return LICENCES[base]
    return Licence(key, Verdict.FAIL, "It is not in the licence table. Have it reviewed and add it.")


def _with_exception(key: str) -> str:
    """Return the licence of “licence WITH exception” when the exception is one of SPDX, else ""."""
    tree = _parsed(key)
    if not isinstance(tree, LicenseWithExceptionSymbol) or not isinstance(tree.license_symbol, LicenseSymbol):
        return ""
    known = _spdx().known_symbols.get(tree.exception_symbol.key)
    return str(tree.license_symbol.key) if known is not None and known.is_exception else ""
