"""Requests as files: what one asks for as a document that can be kept in a repository, reviewed and sent.

    apiVersion: gatehouse/v1
    kind: Request
    metadata: {name: nightly-scoring}
    spec: {kind: endpoint, project: fraud-detection, …}

`spec` is the body of `POST /requests`. Files come from strangers: plain YAML of at most 64 KB, no aliases, no tags.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from django.http import HttpResponse

from approvals.models import Request
from approvals.policies.reading import plain
from portal.errors import Invalid
from projects.models import is_slug

VERSION, KIND, MEDIA_TYPE = "gatehouse/v1", "Request", "application/yaml"
MOST_BYTES = 64 * 1024
FIELD = "file"  # at which sentences about the document as a whole stand
ENVELOPE = frozenset({"apiVersion", "kind", "metadata", "spec"})
METADATA = frozenset({"name", "draft"})
FLAGS = {"true": True, "false": False}  # yes, no, on and off are words
NULL, BOOL, INTEGER = "tag:yaml.org,2002:null", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:int"


@dataclass(frozen=True)
class Manifest:
    """One file: its own `name` ("" where it has none), whether it asks for no more than a `draft`, and the body."""

    name: str
    draft: bool
    body: dict[str, Any]


def read(raw: bytes) -> Manifest:
    """Return what a file asks for; raises Invalid with one sentence that says where and what to change."""
    return manifest_of(values(raw))


def values(raw: bytes) -> Any:
    """Return the YAML in `raw` as plain values; raises Invalid.

    Only whole numbers, true, false and nothing are more than text: a version 1.10 stays 1.10, and a date its digits.
    """
    if len(raw) > MOST_BYTES:
        raise _wrong(f"The file has {len(raw):,} bytes; the limit is {MOST_BYTES:,}. Send a smaller one.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _wrong("The file is not UTF-8. Save it as UTF-8.") from error
    if "\0" in text:
        raise _wrong("The file holds a NUL character. Remove it.")
    said: list[str] = []
    plain(text, lambda place, sentence: said.append(f"{place}: {sentence}" if place else sentence))
    if said:
        raise _wrong(f"The file cannot be read: {said[0]}")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:  # it was read a moment ago
        raise _wrong("The file cannot be read as YAML. Mend it.") from error
    return _value(node)


def _value(node: Any) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {_key(key): _value(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in node.value]
    text = str(node.value) if node is not None else ""
    if node is None or (node.tag == NULL and node.style is None):
        return None
    if node.tag == BOOL and node.style is None and text.lower() in FLAGS:
        return FLAGS[text.lower()]
    if node.tag == INTEGER and node.style is None and len(text) <= 20 and text.lstrip("-").isdigit():
        return int(text) if str(int(text)) == text else text
    return text


def _key(node: Any) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _wrong(f"Line {node.start_mark.line + 1}: a name must be text. Write it as one word.")
    return str(node.value)


def manifest_of(data: Any) -> Manifest:
    """Return what the values of a file ask for: with an envelope, or a bare body as the API takes it."""
    if not isinstance(data, Mapping):
        raise _wrong("The file must hold one request: names and values. See the guide for an example.")
    if "apiVersion" not in data and "spec" not in data:
        draft = data.get("draft", False)
        return Manifest("", _flag(draft), {name: value for name, value in data.items() if name != "draft"})
    strange = sorted(str(name)[:40] for name in data if name not in ENVELOPE)
    if strange:
        raise _wrong(f"{strange[0]} is not part of a file; it takes apiVersion, kind, metadata and spec. Remove it.")
    if data.get("apiVersion") != VERSION or data.get("kind") != KIND:
        said = f"{str(data.get('apiVersion'))[:40]!r} and {str(data.get('kind'))[:40]!r}"
        raise _wrong(f"apiVersion and kind are {said}; this release reads {VERSION} and {KIND}. Change them.")
    metadata, spec = data.get("metadata") or {}, data.get("spec")
    if not isinstance(metadata, Mapping) or not isinstance(spec, Mapping):
        raise _wrong("metadata and spec must each hold names and values. Indent them.")
    strange = sorted(str(name)[:40] for name in metadata if name not in METADATA)
    if strange:
        raise _wrong(f"metadata.{strange[0]} is not known; metadata takes name and draft. Remove it.")
    name = metadata.get("name") or ""
    if name and not (isinstance(name, str) and is_slug(name)):
        raise _wrong(
            f"metadata.name is {str(name)[:40]!r}; it takes lower-case letters, digits and hyphens, at most 40."
        )
    return Manifest(str(name), _flag(metadata.get("draft", False)), {str(key): value for key, value in spec.items()})


def body_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a request in what the API got: a file, or the body itself, which is left as it is."""
    if "apiVersion" not in data and "spec" not in data:
        return dict(data)
    found = manifest_of(data)
    return found.body | ({"draft": True} if found.draft else {})


def write(request: Request, name: str = "") -> str:
    """Return a file that asks for what `request` asks for; its name is `name`, or what the request is called."""
    own = name or (request.name if is_slug(request.name) else "") or f"r-{request.pk}"
    spec = {key: value for key, value in request.body.items() if value not in (None, "", [])}
    whole = {"apiVersion": VERSION, "kind": KIND, "metadata": {"name": own}, "spec": {"kind": request.kind} | spec}
    plan = f", plan {request.plan_digest}" if request.plan_digest else ""
    head = f"# {request.number}, {request.get_state_display()}{plan}\n"
    return head + yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=100)


def answered(request: Request) -> HttpResponse:
    """Return the file of `request` to download."""
    response = HttpResponse(write(request), content_type=f"{MEDIA_TYPE}; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{request.number}.yaml"'
    response["Cache-Control"] = "no-store"
    return response


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return the fields in which two stored bodies differ, with both values, by name."""
    names = sorted({*before, *after})
    pairs = [(name, _plain(before.get(name)), _plain(after.get(name))) for name in names]
    return [(name, old, new) for name, old, new in pairs if old != new]


def _plain(value: Any) -> Any:
    if isinstance(value, dt.date):
        return value.isoformat()
    return None if value in ("", []) else value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Invalid.field("draft", "draft must be true or false.")
    return value


def _wrong(sentence: str) -> Invalid:
    return Invalid.field(FIELD, sentence[:500])
