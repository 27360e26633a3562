"""From a line of a journal to a row of the ledger. A journal is a file: whatever it says is checked here."""

import datetime as dt
import json
import math
from collections.abc import Mapping

from quotas.models import Outcome, UsageEvent

MAX_INT, MAX_BIGINT = 2**31 - 1, 2**63 - 1


class CorruptRecord(ValueError):
    """A line that is not a record, or a record with a field that cannot be."""


def read(line: bytes) -> dict[str, object]:
    """Return the record of one line; raises CorruptRecord."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorruptRecord("not JSON") from error
    if not isinstance(record, dict):
        raise CorruptRecord("not an object")
    if "gateway" not in record:
        _number(record, "s", MAX_BIGINT)
        if record.get("t") not in {"start", "end"}:
            raise CorruptRecord("t is neither start nor end")
    return record


def ended(gateway: str, record: Mapping[str, object]) -> UsageEvent:
    """Return the ledger row of an end record; raises CorruptRecord."""
    event = _event(gateway, record)
    outcome = _text(record, "outcome", 12)
    if outcome not in Outcome.values:
        raise CorruptRecord(f"outcome is {outcome!r}")
    event.outcome = outcome
    event.status = _number(record, "status", 999)
    event.input_tokens = _number(record, "input_tokens", MAX_INT, default=0)
    event.output_tokens = _number(record, "output_tokens", MAX_INT, default=0)
    event.cached_tokens = _number(record, "cached_tokens", MAX_INT, default=0)
    event.estimated = record.get("estimated") is True
    event.ttft_ms = _duration(record, "ttft_ms")
    event.latency_ms = _duration(record, "latency_ms")
    return event


def interrupted(gateway: str, record: Mapping[str, object]) -> UsageEvent:
    """Return the ledger row of a call whose gateway died: from its start record, tokens estimated and marked so."""
    event = _event(gateway, record)
    event.outcome = Outcome.INTERRUPTED
    event.status = 0  # no answer is known
    event.input_tokens = _number(record, "estimated_input", MAX_INT, default=0)
    event.estimated = True
    return event


def _event(gateway: str, record: Mapping[str, object]) -> UsageEvent:
    return UsageEvent(
        gateway=gateway,
        sequence=_number(record, "s", MAX_BIGINT),
        request_id=_text(record, "request_id", 64),
        at=_moment(record, "at"),
        project_id=_number(record, "project_id", MAX_BIGINT),
        endpoint_id=_text(record, "endpoint_id", 36),
        endpoint=_text(record, "endpoint", 63),
        key_id=_text(record, "key_id", 36),
        key=_text(record, "key", 16),
        person=_text(record, "person", 150),
        purpose=_text(record, "purpose", 12, default="api"),
        operation=_text(record, "operation", 20),
        stream=record.get("stream") is True,
    )


def _number(record: Mapping[str, object], name: str, high: int, *, default: int | None = None) -> int:
    value = record.get(name)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= high:
        raise CorruptRecord(f"{name} is {str(value)[:40]!r}")
    return value


def _text(record: Mapping[str, object], name: str, length: int, *, default: str | None = None) -> str:
    value = record.get(name, default)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise CorruptRecord(f"{name} is {str(value)[:40]!r}")
    # PostgreSQL takes neither NUL nor half a surrogate pair; neither is a reason to lose the call.
    return value.replace("\0", "").encode(errors="replace").decode()[:length]


def _moment(record: Mapping[str, object], name: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(str(record.get(name)))
        if moment.tzinfo is None:
            raise ValueError("no zone")
        return moment.astimezone(dt.UTC)
    except (ValueError, OverflowError) as error:
        raise CorruptRecord(f"{name} is {str(record.get(name))[:40]!r}") from error


def _duration(record: Mapping[str, object], name: str) -> float | None:
    value = record.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CorruptRecord(f"{name} is {str(value)[:40]!r}")
    if not 0 <= value <= 1e12 or not math.isfinite(value):
        raise CorruptRecord(f"{name} is {value}")
    return float(value)
