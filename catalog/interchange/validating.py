"""Whether a document is an ML-BOM: the strict validator of CycloneDX behind bounds that keep it from running for hours.

It compares every item of a list with every other one, and takes half a millisecond for each character of an address.
"""

from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from typing import Any

from catalog import strict_json
from portal.errors import Invalid

BYTES = 1_000_000
DEPTH = 40
ITEMS, ALL_ITEMS = 500, 5_000  # of one list, of all lists
ADDRESSES = 6_000  # characters of all strings that may be addresses
VERSIONS = ("1.5", "1.6", "1.7")  # those with a model card
# Strings that the schema takes as they are; every other one may be an address.
_FREE = {
    *("bom-ref", "ref", "purl", "cpe", "name", "version", "group", "description", "copyright", "content", "value"),
    *("text", "type", "alg", "detail", "summary", "expression", "users", "useCases", "technicalLimitations"),
    *("performanceTradeoffs", "dependsOn", "provides", "mitigationStrategy"),
}


@lru_cache(maxsize=4)  # seconds of work, and each look at a version asks again about the same document
def validate(text: str) -> dict[str, Any]:
    """Return the ML-BOM in `text`, not to be changed. Raises Invalid `content` with one sentence for what is none, or
    is too large.
    """
    document = _read(text)
    if document.get("bomFormat") != "CycloneDX" or document.get("specVersion") not in VERSIONS:
        raise _wrong(f"it is no CycloneDX document of version {', '.join(VERSIONS)}. Export it as one of these")
    _bound(document)
    kinds = [item.get("type") for item in components(document) if isinstance(item, dict)]
    problem = _validator(document["specVersion"]).validate_str(text)
    if problem is not None:
        raise _wrong(f"it does not follow the schema of CycloneDX {document['specVersion']}: {_where(problem.data)}")
    if "machine-learning-model" not in kinds:
        raise _wrong("it has no component of the type machine-learning-model. Add the BOM of the model itself")
    return document


def components(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the component that the document is about and all others, nested ones too."""
    metadata = document.get("metadata")
    waiting = [metadata.get("component")] if isinstance(metadata, dict) else []
    waiting += _list(document.get("components"))
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, dict):
            yield item
            waiting += _list(item.get("components"))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _read(text: str) -> dict[str, Any]:
    if len(text.encode("utf-8", "surrogatepass")) > BYTES:
        raise _wrong(f"it is larger than {BYTES:,} bytes. Leave out what is not about the model")
    try:
        document = strict_json.loads(text)
    except ValueError as error:
        raise _wrong(f"it is not JSON ({str(error)[:120]})") from error
    if not isinstance(document, dict):
        raise _wrong("it is no JSON object. Send the document itself")
    return document


def _bound(document: dict[str, Any]) -> None:
    """Raise Invalid for what the validator would take too long for."""
    items = letters = 0
    waiting: list[tuple[Any, str, int]] = [(document, "", 0)]
    while waiting:
        value, key, depth = waiting.pop()
        if depth > DEPTH:
            raise _wrong(f"it nests deeper than {DEPTH} levels")
        if isinstance(value, dict):
            waiting += [(inner, name, depth + 1) for name, inner in value.items()]
        elif isinstance(value, list):
            items += len(value)
            if len(value) > ITEMS or items > ALL_ITEMS:
                raise _wrong(
                    f"{key} and its other lists are too long: at most {ITEMS} items each, {ALL_ITEMS:,} in all"
                )
            waiting += [(inner, key, depth + 1) for inner in value]
        elif isinstance(value, str) and key not in _FREE:
            letters += len(value)
            if letters > ADDRESSES:
                raise _wrong(f"its addresses take more than {ADDRESSES:,} characters. Leave out references")


@lru_cache
def _validator(version: str) -> Any:
    """Return the strict validator. It costs two seconds of start-up, which only those pay who validate."""
    schema = import_module("cyclonedx.schema").SchemaVersion.from_version(version)
    return import_module("cyclonedx.validation.json").JsonStrictValidator(schema)


def _where(problem: Any) -> str:
    place = ".".join(str(part) for part in getattr(problem, "absolute_path", ()))
    return f"{place[:120] or 'the document'}: {str(getattr(problem, 'message', problem))[:160]}"


def _wrong(what: str) -> Invalid:
    return Invalid.field("content", f"content is no ML-BOM: {what.rstrip('.')}.")
