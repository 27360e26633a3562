"""From a line of a journal to a row of the ledger. A journal is a file: whatever it says is checked here.

What a gateway writes passes one compiled check (`call`). Whatever does not is looked at again field by field: text is
mended, the rest is a CorruptRecord that says why.
"""

import datetime as dt
import json
import math
import re
from collections.abc import Mapping
from operator import itemgetter
from typing import Annotated, Literal, NamedTuple, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from quotas.models import Outcome

MAX_INT, MAX_BIGINT = 2**31 - 1, 2**63 - 1
_START = re.compile(rb'\{"s":([0-9]{1,18}),"t":"start",')  # as quotas/journal.py writes it


class Call(NamedTuple):
    """A row of the ledger: the columns of UsageEvent, in this order."""

    gateway: str
    sequence: int
    request_id: str
    at: dt.datetime  # UTC
    project_id: int
    endpoint_id: str
    endpoint: str
    key_id: str
    key: str
    person: str
    purpose: str
    operation: str
    stream: bool
    status: int
    outcome: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    estimated: bool
    ttft_ms: float | None
    latency_ms: float | None
    revision: int | None = None


Number = Annotated[int, Field(ge=0, le=MAX_INT, strict=True)]
Big = Annotated[int, Field(ge=0, le=MAX_BIGINT, strict=True)]
Duration = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False, strict=True)] | None
Flag = Annotated[bool, Field(strict=True)]


class _End(TypedDict):
    """An end record as the gateway writes it."""

    __pydantic_config__ = ConfigDict(extra="ignore")  # type: ignore[misc]

    s: Big
    t: Literal["end"]
    request_id: Annotated[str, Field(max_length=64)]
    at: dt.datetime
    project_id: Big
    endpoint_id: Annotated[str, Field(max_length=36)]
    endpoint: Annotated[str, Field(max_length=63)]
    key_id: Annotated[str, Field(max_length=36)]
    key: Annotated[str, Field(max_length=16)]
    person: Annotated[str, Field(max_length=150)]
    purpose: Annotated[str, Field(max_length=12)]
    operation: Annotated[str, Field(max_length=20)]
    stream: Flag
    status: Annotated[int, Field(ge=0, le=999, strict=True)]
    outcome: Literal["ok", "error", "cancelled", "interrupted"]
    input_tokens: Number
    output_tokens: Number
    cached_tokens: Number
    estimated: Flag
    ttft_ms: Duration
    latency_ms: Duration
    revision: NotRequired[Number | None]


_END: TypeAdapter[_End] = TypeAdapter(_End)
_COLUMNS = itemgetter("s", *Call._fields[2:-1])  # gateways before this one did not tell the last


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


def call(gateway: str, line: bytes) -> Call | None:
    """Return the row of the call that ends in `line`, None for a line that ends none; raises CorruptRecord."""
    if _START.match(line) and line.endswith(b"}"):
        return None  # its end record repeats it; a call without an end is read again when its gateway is dead
    if b"\\u" not in line:  # neither NUL nor half a surrogate pair, which the slow way mends
        try:
            end = _END.validate_json(line)
            row = Call(gateway, *_COLUMNS(end))
        except (ValidationError, ValueError):
            pass  # the slow way says why
        else:
            if row.at.tzinfo is not None:
                return row._replace(at=row.at.astimezone(dt.UTC), revision=end.get("revision"))
    record = read(line)
    return ended(gateway, record) if record.get("t") == "end" else None


def started(line: bytes) -> int | None:
    """Return the sequence number of a start record, None for any other; raises CorruptRecord."""
    usual = _START.match(line)
    if usual:
        return int(usual[1])
    record = read(line)
    return _number(record, "s", MAX_BIGINT) if record.get("t") == "start" else None


def ended(gateway: str, record: Mapping[str, object]) -> Call:
    """Return the ledger row of an end record; raises CorruptRecord."""
    outcome = _text(record, "outcome", 12)
    if outcome not in Outcome.values:
        raise CorruptRecord(f"outcome is {outcome!r}")
    return _row(
        gateway,
        record,
        status=_number(record, "status", 999),
        outcome=outcome,
        input_tokens=_number(record, "input_tokens", MAX_INT, default=0),
        output_tokens=_number(record, "output_tokens", MAX_INT, default=0),
        cached_tokens=_number(record, "cached_tokens", MAX_INT, default=0),
        estimated=record.get("estimated") is True,
        ttft_ms=_duration(record, "ttft_ms"),
        latency_ms=_duration(record, "latency_ms"),
        revision=None if record.get("revision") is None else _number(record, "revision", MAX_INT),
    )


def interrupted(gateway: str, record: Mapping[str, object]) -> Call:
    """Return the ledger row of a call whose gateway died: from its start record, tokens estimated and marked so."""
    return _row(
        gateway,
        record,
        status=0,  # no answer is known
        outcome=Outcome.INTERRUPTED.value,
        input_tokens=_number(record, "estimated_input", MAX_INT, default=0),
        output_tokens=0,
        cached_tokens=0,
        estimated=True,
        ttft_ms=None,
        latency_ms=None,
    )


def _row(
    gateway: str,
    record: Mapping[str, object],
    *,
    status: int,
    outcome: str,
    input_tokens: int,
    output_tokens: int,
    cached_tokens: int,
    estimated: bool,
    ttft_ms: float | None,
    latency_ms: float | None,
    revision: int | None = None,
) -> Call:
    return Call(
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
        status=status,
        outcome=outcome,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=cached_tokens,
        estimated=estimated,
        ttft_ms=ttft_ms,
        latency_ms=latency_ms,
        revision=revision,
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
