"""Where in a file something is wrong: line and column, with the line itself and a caret below it."""

from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from approvals.policies import engine

EXPRESSIONS = ("when", "expression")
WIDTH = 100  # characters of an excerpt


@dataclass(frozen=True)
class Problem:
    """What is wrong, in a sentence; `line` and `column` count from 1, 0 = nowhere in particular. `field`: whose
    expression it is; "" for the file as a whole.
    """

    sentence: str
    line: int = 0
    column: int = 0
    excerpt: str = ""
    field: str = ""


def problems(text: str) -> list[Problem]:
    """Return what keeps a file from being read: its YAML, or else its expressions. Fields and values are not judged."""
    try:
        # In Python, not in C: what nests without end ends the process there, and is a RecursionError here.
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        return [_yaml(text, error)]
    except (RecursionError, ValueError) as error:
        return [Problem(f"The file is no YAML that can be read ({type(error).__name__}). Write a plain one.")]
    if root is None:
        return [Problem("The file is empty. Write its fields, or take it out.")]
    if not isinstance(root, yaml.MappingNode):
        return [Problem("The file must hold fields, such as id: and expression:.", 1, 1, excerpt(text, 1, 1))]
    return list(_expressions(text, root))


def _yaml(text: str, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    words = getattr(error, "problem", "") or getattr(error, "reason", "") or "it cannot be read"
    if mark is None:
        return Problem(f"This is not YAML: {words}.")
    line, column = mark.line + 1, mark.column + 1
    return Problem(f"This is not YAML: {words}.", line, column, excerpt(text, line, column))


def _expressions(text: str, root: yaml.MappingNode) -> Iterator[Problem]:
    for key, value in root.value:
        if not isinstance(value, yaml.ScalarNode) or key.value not in EXPRESSIONS:
            continue
        try:
            engine.compile_(value.value)
        except engine.ExpressionError as error:
            yield _placed(text, key.value, value, error)


def _placed(text: str, name: str, node: yaml.ScalarNode, error: engine.ExpressionError) -> Problem:
    """Return the error of an expression at its place in the file, or where only YAML knows how its lines were folded,
    at its place in the expression.
    """
    begin, line, column = node.start_mark, max(error.line, 1), max(error.column, 1)
    words = f"{name}: {error.sentence}"
    if node.style == "|":
        row = begin.line + 1 + line
        lines = text.split("\n")
        # YAML took the indentation away that the first line of the block has.
        first = next((one for one in lines[begin.line + 1 :] if one.strip()), "")
        at = column + len(first) - len(first.lstrip(" "))
        while row > begin.line + 2 and not lines[min(row, len(lines)) - 1].strip():
            row, at = row - 1, WIDTH * WIDTH  # it misses something at the end, which is the end of the line before
        at = min(at, len(lines[min(row, len(lines)) - 1]) + 1)
        return Problem(words, row, at, excerpt(text, row, at), name)
    if begin.line == node.end_mark.line:
        at = begin.column + column + (1 if node.style else 0)
        return Problem(words, begin.line + 1, at, excerpt(text, begin.line + 1, at), name)
    return Problem(words, begin.line + 1, begin.column + 1, excerpt(node.value, line, column), name)


def excerpt(text: str, line: int, column: int) -> str:
    """Return line `line` of `text` with a caret below `column`, cut to what fits."""
    lines = text.split("\n")
    if not 1 <= line <= len(lines):
        return ""
    shown, at = lines[line - 1].replace("\t", " "), max(column - 1, 0)
    if len(shown) > WIDTH:
        start = max(0, min(at - WIDTH // 2, len(shown) - WIDTH))
        shown, at = shown[start : start + WIDTH], at - start
    return f"{shown}\n{' ' * min(at, len(shown))}^"
