"""CEL, the Common Expression Language, by its official runtime; and what it may cost.

The runtime returns errors as values (a missing field is a value of the type ERROR, whose text is true): only the type
BOOL and the value True pass here, everything else is an error with its words.

The runtime bounds iterations and nesting, not memory: a text that is added to itself thirty times has gigabytes. What
could grow so is bounded here before it is compiled.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_math, ext_optional, ext_strings

VARIABLES = (
    "request", "requester", "project", "asset", "version", "evidence", "profile", "plan", "endpoint", "tools",
    "quota", "object", "now",
)  # fmt: skip
MAX_EXPRESSION = 4000  # characters
MOST_ADDED, MOST_MADE = 20, 2  # times that `+`, and that what builds a new list or value, may stand in an expression
MAKING = frozenset({"map", "bind", "optMap", "optFlatMap"})  # what gives a name to a value, which may stand there twice
GROWING = frozenset({"replace", "join", "format", "quote"})  # functions that make long texts of short ones

_LITERAL = re.compile(  # as the grammar of CEL has them: in a raw text a backslash is a character like any other
    r"""[bB]?[rR](?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\r\n]*"|'[^'\r\n]*')"""
    r"""|[bB]?(?:\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}(?:[^\\]|\\.)*?'{3}|"(?:[^"\\\r\n]|\\.)*"|'(?:[^'\\\r\n]|\\.)*')"""
    r"""|//[^\n]*""",
    re.DOTALL,
)
_CALL = re.compile(r"\.\s*([A-Za-z_]\w*)\s*\(")


class ExpressionError(Exception):
    """An expression that does not compile, or that gave no answer. `line` and `column` count from 1; 0 = unknown."""

    def __init__(self, sentence: str, line: int = 0, column: int = 0) -> None:
        """Keep the words and the place."""
        super().__init__(sentence)
        self.sentence, self.line, self.column = sentence, line, column


@lru_cache(maxsize=1)
def _environment() -> Any:
    extensions = [ext_optional.ExtOptional(), ext_strings.ExtStrings(), ext_bindings.ExtBindings(), ext_math.ExtMath()]
    return cel.NewEnv(variables=dict.fromkeys(VARIABLES, cel.Type.DYN), extensions=extensions)


def compile_(text: str) -> Any:
    """Return the program of an expression; raises ExpressionError with line and column."""
    if len(text) > MAX_EXPRESSION:
        raise ExpressionError(
            f"The expression has {len(text):,} characters; the limit is {MAX_EXPRESSION:,}. Split the rule."
        )
    _require_small(text)
    try:
        program = _environment().compile(text)
    except RuntimeError as error:
        raise _placed(str(error)) from error
    except TypeError as error:  # half of a surrogate pair, which YAML can write as an escape
        raise ExpressionError("The expression holds a character that is none. Remove it.") from error
    if program.return_type() not in (cel.Type.BOOL, cel.Type.DYN):
        raise ExpressionError(
            f"The expression gives {program.return_type()}; it must give true or false. Compare something.", 1, 1
        )
    return program


def without_literals(text: str) -> str:
    """Return an expression with blanks in the place of its texts and comments, so that places stay what they are."""
    return _LITERAL.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)


def _require_small(text: str) -> None:
    """Raise ExpressionError for an expression that could grow beyond all bounds while it is evaluated."""
    bare = without_literals(text)
    made = 0
    for found in _CALL.finditer(bare):
        name = found.group(1)
        if name in GROWING:
            raise _refused(bare, found.start(1), f"{name}() is not available here: it makes long texts of short ones.")
        made += name in MAKING
        if made > MOST_MADE:
            raise _refused(
                bare, found.start(1), f"An expression may use map() and cel.bind() {MOST_MADE} times. Split the rule."
            )
    if bare.count("+") > MOST_ADDED:
        words = f"An expression may add {MOST_ADDED} times; this one has {bare.count('+')} plus signs. Split the rule."
        raise _refused(bare, bare.rindex("+"), words)


def _refused(text: str, at: int, sentence: str) -> ExpressionError:
    return ExpressionError(sentence, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))


def _placed(text: str) -> ExpressionError:
    """Return the runtime's message with its place: INVALID_ARGUMENT: ERROR: <input>:1:12: Syntax error: …"""
    first = text.partition("\n")[0]
    _, found, rest = first.partition("<input>:")
    parts = rest.split(":", 2)
    if found and len(parts) == 3 and parts[0].isdigit() and parts[1].isdigit():
        return ExpressionError(parts[2].strip(), int(parts[0]), int(parts[1]))
    return ExpressionError(first.removeprefix("INVALID_ARGUMENT: ").strip() or "The expression does not compile.")


def activation(document: Mapping[str, Any]) -> Any:
    """Return `document` as programs read it; made once for all rules of a decision."""
    return _environment().Activation({name: document.get(name, {}) for name in VARIABLES})


def holds(program: Any, data: Any) -> bool:
    """Return what `program` says of an activation; raises ExpressionError for everything that is not true or false."""
    try:
        value = program.eval(data)
    except Exception as error:
        raise ExpressionError(f"The expression failed: {str(error)[:200]}") from error
    if value.type() == cel.Type.BOOL:
        return value.value() is True
    if value.type() == cel.Type.ERROR:
        raise ExpressionError(str(value.value()).partition("\n")[0][:200])
    raise ExpressionError(f"The expression gave {value.type()}, not true or false.")
