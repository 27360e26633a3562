"""Documents that people add about a version: which shapes are taken, and reading them back for the checks."""

import base64
import binascii
import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from django.db.models import QuerySet

from catalog import strict_json
from catalog.evidence.finding import storable
from catalog.interchange.validating import validate
from catalog.models import Attachment, Version
from catalog.models.assets import is_asset_slug
from portal.errors import Invalid

MOST_BYTES, MOST_DEPTH = 1_000_000, 40
STATEMENT = "application/vnd.in-toto+json"
_BUNDLE = "application/vnd.dev.sigstore.bundle"
_MEASURED = {"tokens_per_second": 1e7, "ttft_p50_ms": 1e7, "cold_start_seconds": 1e6}


def newest(version: Version, kind: str, most: int = 1) -> list[Attachment]:
    """Return the newest documents of a kind about `version`, the newest first."""
    return list(_of(version, (kind,)).order_by("-added_at", "-id")[:most]) if version.pk else []


def present(version: Version, *kinds: str) -> bool:
    """Whether there is a document of one of `kinds` about `version`; one query, none where its `attachments` are
    prefetched. None of the contents is read.
    """
    if "attachments" in getattr(version, "_prefetched_objects_cache", {}):
        return any(item.kind in kinds for item in version.attachments.all())
    return bool(version.pk) and _of(version, kinds).exists()


def _of(version: Version, kinds: tuple[str, ...]) -> "QuerySet[Attachment]":
    return Attachment.objects.filter(version=version, kind__in=kinds)


# --- Shapes -----------------------------------------------------------------------------------------------------------


def _wrong(sentence: str) -> Invalid:
    return Invalid.field("content", sentence)


def parsed(text: str) -> dict[str, Any]:
    """Return the JSON object that `text` holds. Raises Invalid for other JSON, a key twice, depth and size."""
    if len(text.encode("utf-8", "replace")) > MOST_BYTES:
        raise _wrong(f"content has more than {MOST_BYTES:,} bytes, the limit. Add a smaller document.")
    try:
        value = strict_json.loads(text)
    except strict_json.TooDeep as error:
        raise _wrong(f"content is nested deeper than {MOST_DEPTH} levels. Add a flatter document.") from error
    except ValueError as error:
        raise _wrong(f"content is not JSON: {str(error)[:120]}.") from error
    if not isinstance(value, dict):
        raise _wrong("content must be a JSON object.")
    level: list[Any] = [value]
    for _ in range(MOST_DEPTH):
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
        level = [item for item in level if isinstance(item, dict | list)]
        if not level:
            break
    else:
        raise _wrong(f"content is nested deeper than {MOST_DEPTH} levels. Add a flatter document.")
    if storable(value) != value:
        raise _wrong("content holds a NUL, half a character or a number without end. Remove it.")
    return value


def _object(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    if not isinstance(found, dict):
        raise _wrong(f"content needs {name}, an object.")
    return found


def _text(value: Mapping[str, Any], name: str, most: int = 300) -> str:
    found = value.get(name)
    if not isinstance(found, str) or not 1 <= len(found) <= most or not found.isprintable():
        raise _wrong(f"content needs {name}, text of 1 to {most} characters.")
    return found


def _number(value: Mapping[str, Any], name: str, low: float, high: float) -> float:
    found = value.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float) or not low <= found <= high:
        raise _wrong(f"content needs {name}, a number from {low:,g} to {high:,g}.")
    return found


def envelope(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the DSSE envelope of a document that is one, or a Sigstore bundle around one. Raises Invalid."""
    found = _object(document, "dsseEnvelope") if "dsseEnvelope" in document else dict(document)
    if found.get("payloadType") != STATEMENT:
        raise _wrong(f"content needs a DSSE envelope with payloadType {STATEMENT}.")
    signatures = found.get("signatures")
    if not isinstance(signatures, list) or not 1 <= len(signatures) <= 10:
        raise _wrong("content needs signatures, a list of 1 to 10.")
    for item in (found, *signatures):
        decoded(item, "payload" if item is found else "sig")
    return found


def decoded(value: Any, name: str) -> bytes:
    """Return a field that is written in Base64. Raises Invalid."""
    text = value.get(name) if isinstance(value, dict) else None
    try:
        if not isinstance(text, str) or not text:
            raise ValueError("no text")
        return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _wrong(f"content needs {name}, text in Base64.") from error


def check_signature(text: str) -> None:
    """Take a Sigstore bundle with a DSSE envelope, as model_signing writes it. Raises Invalid."""
    document = parsed(text)
    if not _text(document, "mediaType").startswith(_BUNDLE):
        raise _wrong(f"content needs mediaType {_BUNDLE}…: the file that model_signing writes.")
    _object(document, "verificationMaterial")
    _object(document, "dsseEnvelope")
    envelope(document)


def check_scorecard(text: str) -> None:
    """Take a result of OpenSSF Scorecard (JSON version 2). Raises Invalid."""
    document = parsed(text)
    _text(document, "date", 40)
    _text(_object(document, "repo"), "name")
    _text(_object(document, "scorecard"), "version", 80)
    _number(document, "score", -1, 10)
    checks = document.get("checks")
    if not isinstance(checks, list) or len(checks) > 100:
        raise _wrong("content needs checks, a list of at most 100.")
    for item in checks:
        if not isinstance(item, dict):
            raise _wrong("content needs checks that are objects with name and score.")
        _text(item, "name", 80)
        _number(item, "score", -1, 10)


def check_provenance(text: str) -> None:
    """Take an in-toto statement in a DSSE envelope, alone or in a Sigstore bundle. Raises Invalid."""
    payload = decoded(envelope(parsed(text)), "payload")
    try:
        statement = parsed(payload.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _wrong("content needs a payload that is JSON.") from error
    _text(statement, "predicateType")
    _object(statement, "predicate")


def check_performance(text: str) -> None:
    """Take one measurement. Raises Invalid."""
    document = parsed(text)
    known = {"hardware_profile", "engine", "measured_on", "concurrency", *_MEASURED}
    strange = sorted(document.keys() - known)
    if strange:
        raise _wrong(f"content holds {strange[0][:40]!r}; it takes {', '.join(sorted(known))}.")
    if not is_asset_slug(_text(document, "hardware_profile", 40)):
        raise _wrong("content needs hardware_profile, the short name of a hardware profile.")
    _text(document, "engine", 80)
    for name, high in _MEASURED.items():
        _number(document, name, 0, high)
    concurrency = _number(document, "concurrency", 1, 100_000)
    if not isinstance(concurrency, int):
        raise _wrong("content needs concurrency, a whole number.")
    try:
        day = dt.date.fromisoformat(_text(document, "measured_on", 10))
    except ValueError as error:
        raise _wrong("content needs measured_on, a day like 2026-11-30.") from error
    if day > dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1):
        raise _wrong("measured_on lies in the future.")


def check_ml_bom(text: str) -> None:
    """Raise Invalid unless `text` is an ML-BOM of CycloneDX; it is kept as it came, since no library keeps the card."""
    validate(text)


# What a document must be to be kept; whether it speaks for the version is for the checks to say.
CHECKS: dict[str, Callable[[str], None]] = {
    "ml-bom": check_ml_bom,
    "signature": check_signature,
    "scorecard": check_scorecard,
    "provenance": check_provenance,
    "performance": check_performance,
}
