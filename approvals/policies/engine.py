"""CEL, the Common Expression Language, by its official runtime; and what it may cost.

The runtime returns errors as values (a missing field is a value of the type ERROR, whose text is true): only the type
BOOL and the value True pass here, everything else is an error with its words. Comprehensions stop at the runtime's own
iteration budget, so the length of an expression and the size of the document are what is left to bound.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_math, ext_optional, ext_strings

VARIABLES = (
    "request", "requester", "project", "asset", "version", "evidence", "profile", "plan", "endpoint", "tools",
    "waivers", "object", "now",
)  # fmt: skip
MAX_EXPRESSION = 4000  # characters


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
    try:
        program = _environment().compile(text)
    except RuntimeError as error:
        raise _placed(str(error)) from error
    if program.return_type() not in (cel.Type.BOOL, cel.Type.DYN):
        raise ExpressionError(
            f"The expression gives {program.return_type()}; it must give true or false. Compare something.", 1, 1
        )
    return program


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
