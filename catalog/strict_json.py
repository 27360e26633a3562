"""JSON of strangers: no key twice in an object, no NaN or Infinity, and no nesting that the reader cannot follow."""

import json
from typing import Any


class TooDeep(ValueError):
    """It nests deeper than the reader follows."""


def loads(text: str) -> Any:
    """Return what `text` says; raises ValueError (TooDeep) with the reason in a few words."""
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError as error:
        raise TooDeep("it nests too deeply") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return made


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")
