"""Reading what an engine says it used: `usage` of chat, completions, embeddings and responses, in one shape."""

import json
from dataclasses import dataclass
from typing import Any

LARGE_BYTES = 256 * 1024  # above this an answer is not parsed as a whole, which would hold up every other call
MOST_TOKENS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call; `estimated` when the engine did not say."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    estimated: bool = False


def from_answer(body: bytes) -> Usage | None:
    """Return the usage of a whole JSON answer, or None when there is none that can be believed."""
    if len(body) <= LARGE_BYTES:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return None
        return from_document(document)
    # A quote inside a JSON string is escaped, so these bytes can only be a name; engines write it after the data.
    start = body.rfind(b'"usage"')
    colon = body.find(b":", start)
    if start < 0 or colon < 0:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(body[colon + 1 : colon + 4097].decode("utf-8", "replace").lstrip())
    except (ValueError, RecursionError):
        return None
    return from_document({"usage": value})


def from_document(document: object) -> Usage | None:
    """Return the usage in a parsed answer or stream chunk; the responses API nests it in `response`."""
    if not isinstance(document, dict):
        return None
    usage = document.get("usage")
    if usage is None and isinstance(document.get("response"), dict):
        usage = document["response"].get("usage")
    if not isinstance(usage, dict):
        return None
    given = _count(usage, "prompt_tokens", "input_tokens")
    made = _count(usage, "completion_tokens", "output_tokens")
    if given is None:
        return None
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    cached = _count(details, "cached_tokens") if isinstance(details, dict) else None
    return Usage(given, made or 0, min(cached or 0, given))


def _count(source: dict[str, Any], *names: str) -> int | None:
    for name in names:
        value = source.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS:
            return value
    return None
