"""Whether a document is a server.json: the published schema, and what the official registry checks beyond it."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portal.errors import Invalid

if TYPE_CHECKING:
    from jsonschema import Draft7Validator  # type: ignore[import-untyped]
    from jsonschema.exceptions import ValidationError  # type: ignore[import-untyped]

SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"
SCHEMAS = re.compile(r"https://static\.modelcontextprotocol\.io/schemas/(\d{4}-\d{2}-\d{2}|draft)/server\.schema\.json")
NAME = re.compile(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+")
MOST_BYTES = 48 * 1024
MOST_DEPTH = 24
MOST_SHOWN = 60
_FILE = Path(__file__).with_name("server.schema.json")
_RANGE = re.compile(r"[\^~*<>=|\s]|(^|\.)x(\.|$)")
_TYPES = {"string": "a text", "object": "an object", "array": "a list", "boolean": "true or false"}
_FORMS = {
    "name": "a reverse host name, one slash and a name, like com.example/ledger-query",
    "url": "an address that begins with https:// or http://",
    "fileSha256": "64 lower-case hex digits",
    "sizes": "a size like 48x48, or any",
}


@lru_cache(maxsize=1)
def _validator() -> "Draft7Validator":
    # Not at the top: it builds the grammars of formats that nobody asks for here, half of the start of every process.
    found: Draft7Validator = import_module("jsonschema").Draft7Validator(json.loads(_FILE.read_text(encoding="utf-8")))
    return found


def check(document: object) -> None:
    """Raise Invalid naming each wrong field of `document`, its limit and the fix; at most ten fields are named."""
    _bounded(document)
    found: dict[str, str] = {}
    for error in sorted(_validator().iter_errors(document), key=lambda error: list(map(str, error.absolute_path))):
        place, sentence = _said(_deepest(error))
        found.setdefault(place, sentence)
    if not found and isinstance(document, Mapping):
        found = dict(_beyond(document))
    if found:
        few = dict(list(found.items())[:10])
        raise Invalid(next(iter(few.values())), fields=few)


def _bounded(document: object) -> None:
    """Raise Invalid for what is no object, is too large or too deep, or holds what no database keeps."""
    if not isinstance(document, dict):
        raise Invalid.field("document", "document is no JSON object. Paste the whole server.json.")
    for place, value, depth in _walk(document):
        if depth > MOST_DEPTH:
            raise Invalid.field(
                "document", f"document nests deeper than {MOST_DEPTH} levels. Leave out what clients do not need."
            )
        if isinstance(value, str) and not _keepable(value):
            raise Invalid.field(place, f"{place} holds a control character. Remove it.")
    try:
        size = len(json.dumps(document, allow_nan=False).encode())
    except (ValueError, TypeError) as error:
        raise Invalid.field("document", "document holds a number that JSON does not know. Remove it.") from error
    if size > MOST_BYTES:
        raise Invalid.field(
            "document", f"document takes {size:,} bytes; the limit is {MOST_BYTES:,}. Leave out icons and long texts."
        )


def _walk(document: Mapping[str, Any]) -> Iterator[tuple[str, object, int]]:
    """Yield every key and value with its place and depth, without recursion: documents of strangers may be deep."""
    rest: list[tuple[str, object, int]] = [("document", document, 0)]
    while rest:
        place, value, depth = rest.pop()
        yield place, value, depth
        if depth > MOST_DEPTH:
            return
        if isinstance(value, dict):
            for key, item in value.items():
                yield place, str(key), depth
                rest.append((_join(place, str(key)), item, depth + 1))
        elif isinstance(value, list):
            rest += [(f"{place}[{number}]", item, depth + 1) for number, item in enumerate(value)]


def _join(place: str, key: str) -> str:
    clean = "".join(char for char in key if char.isprintable())[:MOST_SHOWN]
    return clean if place == "document" else f"{place}.{clean}"[:200]


def _keepable(text: str) -> bool:
    """Whether `text` is whole characters without control characters, apart from line breaks and tabs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return not any((ord(char) < 32 and char not in "\n\t") or ord(char) == 127 for char in text)


def _deepest(error: "ValidationError") -> "ValidationError":
    """Return what is really wrong: of alternatives the one that its type names, or that comes nearest."""
    while error.context:
        options: dict[object, list[ValidationError]] = {}
        for inner in error.context:
            options.setdefault(inner.schema_path[0], []).append(inner)
        # Another type than the alternative's own means that the alternative was not meant.
        meant = [group for group in options.values() if not any(_other_type(inner) for inner in group)]
        chosen = min(meant or [list(error.context)], key=len)
        error = max(chosen, key=lambda inner: (len(inner.absolute_path), inner.validator != "required"))
    return error


def _other_type(error: "ValidationError") -> bool:
    inner = [error, *(error.context or [])]
    return any(one.validator == "enum" and list(one.absolute_path)[-1:] == ["type"] for one in inner)


def _said(error: "ValidationError") -> tuple[str, str]:
    """Return the field and its sentence."""
    place = "document"
    for step in error.absolute_path:
        place = f"{place}[{step}]" if isinstance(step, int) else _join(place, str(step))
    last = next((str(step) for step in reversed(error.absolute_path) if isinstance(step, str)), "")
    value, limit = error.instance, error.validator_value
    shown = repr(value)[:MOST_SHOWN]
    if error.validator == "required":
        missing = next(name for name in limit if error.message.startswith(repr(name)))
        place = _join(place, missing)
        return place, f"{place} is missing. Add it."
    if error.validator == "maxLength":
        return place, f"{place} has {len(value):,} characters; the limit is {limit:,}. Shorten it."
    if error.validator == "minLength":
        return place, f"{place} needs at least {limit} character{'s' if limit > 1 else ''}. Fill it in."
    if error.validator == "enum":
        return place, f"{place} is {shown}; choose {_either(_offered(error))}."
    if error.validator == "type":
        return place, f"{place} must be {_TYPES.get(str(limit), str(limit))}."
    if error.validator == "not":
        return place, f"{place} is {shown}; name one exact version."
    if error.validator == "pattern":
        return place, f"{place} is {shown}; it must be {_FORMS.get(last, f'of the form {limit}')}."
    return place, f"{place} is {shown}, which the schema of {SCHEMA.split('/')[-2]} does not take."


def _offered(error: "ValidationError") -> list[str]:
    """Return what may stand in the place of `error`, over all alternatives."""
    alike = [error, *((error.parent.context or []) if error.parent else [])]
    same = [one for one in alike if one.validator == "enum" and one.absolute_path == error.absolute_path]
    return list(dict.fromkeys(str(value) for one in same for value in one.validator_value))


def _either(values: list[str]) -> str:
    return values[0] if len(values) == 1 else f"one of {', '.join(values)}"


def _beyond(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what the official registry refuses although the schema takes it."""
    named = document.get("$schema", SCHEMA)
    if not SCHEMAS.fullmatch(named):
        yield "$schema", f"$schema is {named[:MOST_SHOWN]!r}; use {SCHEMA}."
    if not NAME.fullmatch(document["name"]):
        yield "name", f"name is {document['name'][:MOST_SHOWN]!r}; it must be {_FORMS['name']}."
    if _RANGE.search(document["version"]):
        yield "version", f"version is {document['version'][:MOST_SHOWN]!r}, a range; name one exact version."
    for number, package in enumerate(document.get("packages", [])):
        if _RANGE.search(package.get("version", "1")):
            place = f"packages[{number}].version"
            yield place, f"{place} is {package['version'][:MOST_SHOWN]!r}, a range; name one exact version."
    for place, url in _addresses(document):
        if "\n" in url or "\t" in url:
            yield place, f"{place} holds a line break or tab. Remove it."
        elif not url.startswith(("https://", "http://")):
            yield place, f"{place} is {url[:MOST_SHOWN]!r}; it must be {_FORMS['url']}."
    if not document.get("remotes") and not document.get("packages"):
        yield "remotes", "remotes and packages are both missing. Say where the server answers, or what runs it."


def _addresses(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for number, remote in enumerate(document.get("remotes", [])):
        yield f"remotes[{number}].url", remote["url"]
    if "websiteUrl" in document:
        yield "websiteUrl", document["websiteUrl"]
    if "repository" in document:
        yield "repository.url", document["repository"]["url"]
