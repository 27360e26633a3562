"""In which fields two objects differ, and who changed each last. Pure functions over whatever JSON can hold.

Fields are named as people write them: `spec.template.spec.containers[engine].image`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from endpoints.clusters.explaining.reading import at, clip, line, mapping, moment, objects, text
from endpoints.clusters.kubernetes.owned import MANAGER

MOST = 60  # fields of one object; more are one difference of the place that holds them
DEEPEST = 40  # steps of a path; what lies below is compared as a whole
LONGEST_VALUE, LONGEST_FIELD, LONGEST_NAME = 2000, 300, 120
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
PRIVATE = re.compile(r"key|token|secret|passw|credential|auth", re.IGNORECASE)
_OPTION = re.compile(r"--?[\w-]*(?:key|token|secret|passw(?:or)?d|credentials?)", re.IGNORECASE)  # its value follows
HIDDEN = "(hidden)"
# What one more word would make something else of: selectors count as a whole, as the API server has it.
EXACT = frozenset({"selector", "podSelector", "namespaceSelector", "matchLabels", "nodeSelector"})
PRESENT = frozenset({"emptyDir"})  # whose place another kind of volume would take


@dataclass(frozen=True)
class Step:
    """One step of a path: the field `key`, or the item of a list that `item` shows; "" and an index otherwise."""

    key: str
    item: Mapping[str, Any] | None = None
    index: bool = False

    @property
    def words(self) -> str:
        """How it is written at the end of a path."""
        if self.index:
            return f"[{self.key}]"
        return f".{self.key}" if _PLAIN.fullmatch(self.key) else f'["{self.key}"]'


Path = tuple[Step, ...]


@dataclass(frozen=True)
class Change:
    """One field with both values, as JSON has them; None where there is nothing."""

    path: Path
    wanted: Any
    found: Any

    @property
    def field(self) -> str:
        """The path in words."""
        return clip("".join(step.words for step in self.path).removeprefix("."), LONGEST_FIELD)


@dataclass(frozen=True)
class Author:
    """Who changed a field: the name of a field manager, how, and when (None: it does not say)."""

    manager: str = ""
    operation: str = ""
    at: datetime | None = None
    sure: bool = False


def between(wanted: Any, found: Any, *, extra: bool = False) -> list[Change]:
    """Return the fields in which `found` does not hold what `wanted` says; with `extra`, what it holds beyond, too."""
    changes: list[Change] = []
    for change in _walk((), wanted, found, extra):
        changes.append(change)
        if len(changes) > MOST:
            return changes[:MOST]
    return changes


def _walk(path: Path, wanted: Any, found: Any, extra: bool) -> Iterator[Change]:
    if wanted in ({}, [], None, "") and found in ({}, [], None, ""):
        return
    if len(path) < DEEPEST and isinstance(wanted, Mapping) and isinstance(found, Mapping | None):
        there = mapping(found)
        if wanted or extra:
            names = [*wanted, *(name for name in there if extra and name not in wanted)]
            for name in names:
                yield from _part((*path, Step(str(name))), wanted.get(name), there.get(name), extra)
        return
    if len(path) < DEEPEST and isinstance(wanted, list | tuple) and isinstance(found, list | None):
        yield from _lists(path, list(wanted), found or [], extra)
        return
    if wanted != found or isinstance(wanted, bool) != isinstance(found, bool):
        yield Change(path, wanted, found)


def _part(path: Path, wanted: Any, found: Any, extra: bool) -> Iterator[Change]:
    name = path[-1].key
    if name in EXACT and (wanted or {}) == (found or {}):
        return
    if name in EXACT or (name in PRESENT and (wanted is None) != (found is None)):
        yield Change(path, wanted, found)
        return
    yield from _walk(path, wanted, found, extra)


def _lists(path: Path, wanted: list[Any], found: list[Any], extra: bool) -> Iterator[Change]:
    ours, theirs = _named(wanted), _named(found)
    if wanted and ours is not None and theirs is not None:
        names = [*ours, *(name for name in theirs if extra and name not in ours)]
        for name in names:
            step = Step(name, ours.get(name) or theirs.get(name), index=True)
            if name not in theirs or name not in ours:
                yield Change((*path, step), ours.get(name), theirs.get(name))
            else:
                yield from _walk((*path, step), ours[name], theirs[name], extra)
    elif len(wanted) == len(found) and all(isinstance(one, Mapping) for one in [*wanted, *found]):
        for number, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from _walk((*path, Step(str(number), one, index=True)), one, other, extra)
    elif wanted != found:
        yield Change(path, wanted, found)


def _named(items: Sequence[Any]) -> dict[str, Mapping[str, Any]] | None:
    """Return the items of a list by their names, where every one has its own."""
    if not all(isinstance(one, Mapping) and isinstance(one.get("name"), str) for one in items):
        return None
    found = {one["name"]: one for one in items}
    return found if len(found) == len(items) else None


def shown(change: Change, value: Any) -> str | None:
    """Return a value of `change` as it may be shown and stored: on at most 2,000 characters, without secrets."""
    if value is None:
        return None
    if _private(change.path) and not isinstance(value, Mapping):
        return HIDDEN
    try:
        words = value if isinstance(value, str) else json.dumps(_open(value), ensure_ascii=False, sort_keys=True)
    except (ValueError, RecursionError):
        words = "(too deep to show)"
    return clip(" ".join(text(words).split()), LONGEST_VALUE)


def _open(value: Any) -> Any:
    """Return a value without what environment variables and options of a command in it say of secrets."""
    if isinstance(value, Mapping):
        hidden = isinstance(value.get("value"), str) and PRIVATE.search(str(value.get("name")))
        found = {str(name): _open(one) for name, one in value.items()}
        return found | {"value": HIDDEN} if hidden else found
    if isinstance(value, list | tuple):
        before = [None, *value]
        return [HIDDEN if _is_secret(*pair) else _open(pair[1]) for pair in zip(before, value, strict=False)]
    return value


def _is_secret(option: Any, value: Any) -> bool:
    return isinstance(option, str) and isinstance(value, str) and _OPTION.fullmatch(option) is not None


def _private(path: Path) -> bool:
    """Whether a path leads into the value of an environment variable that may hold a secret."""
    inside = [step for step in path if step.index and step.item is not None]
    return bool(inside) and path[-1].key == "value" and bool(PRIVATE.search(str(at(inside[-1].item, "name"))))


def value_at(document: Any, path: Path) -> Any:
    """Return what stands at `path` in another document of the same shape, or None."""
    for step in path:
        if not step.index:
            document = at(document, step.key)
            continue
        items = objects(document)
        named = next((one for one in items if one.get("name") == step.key), None)
        place = int(step.key) if step.key.isdecimal() and len(step.key) < 6 else len(items)
        document = named if named is not None else items[place] if place < len(items) else None
    return document


def author(live: Mapping[str, Any], path: Path) -> Author:
    """Return who but the portal changed a field last: whoever the object says holds it, newest first; where nobody
    does, as of a field that was taken away, probably whoever wrote the object last.
    """
    entries = [one for one in objects(at(live, "metadata", "managedFields")) if not _ours(one)]
    holders = [one for one in entries if _holds(one.get("fieldsV1"), path)]
    if holders:
        return _of(max(holders, key=_moment), sure=True)
    others = [one for one in entries if one.get("subresource") != "status"]
    return _of(max(others, key=_moment), sure=False) if others else Author()


def _ours(entry: Mapping[str, Any]) -> bool:
    return entry.get("manager") == MANAGER and entry.get("operation") == "Apply"


def _of(entry: Mapping[str, Any], *, sure: bool) -> Author:
    manager, operation = line(entry.get("manager"), LONGEST_NAME), line(entry.get("operation"), 20)
    return Author(manager, operation, moment(entry.get("time")), sure)


def _moment(entry: Mapping[str, Any]) -> float:
    found = moment(entry.get("time"))
    return found.timestamp() if found is not None else 0.0


def _holds(fields: Any, path: Path) -> bool:
    """Whether a set of fields (FieldsV1) holds `path`, or something that contains it as a whole."""
    node = fields
    for depth, step in enumerate(path):
        if not isinstance(node, Mapping):
            return False
        inner = {key for key in node if key != "."}
        if depth and not inner:
            return True
        node = node.get(_item(inner, step)) if step.index else node.get(f"f:{step.key}")
        if node is None:
            return False
    return bool(path)


def _item(keys: set[str], step: Step) -> str:
    """Return under which key a set of fields names an item of a list, "" when it does not."""
    for key in keys:
        if not key.startswith("k:"):
            continue
        try:
            named = json.loads(key[2:])
        except (ValueError, RecursionError):
            continue
        if isinstance(named, Mapping) and all(at(step.item, str(name)) == value for name, value in named.items()):
            return key
    return ""
