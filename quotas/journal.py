"""The journal: what one gateway process did, appended before the caller hears the end of it.

No Django in here: the data path imports it. One file per gateway, `<directory>/<gateway>.jsonl`, JSON lines:

    {"gateway": "gw-…", "pid": 4711, "started": "2026-11-20T09:00:00+00:00"}                the first line
    {"s": 1, "t": "start", "at": "…", "project_id": 3, …, "estimated_input": 120}           before the call is forwarded
    {"s": 1, "t": "end", "at": "…", "project_id": 3, …, "status": 200, "outcome": "ok", …}  before its last byte leaves

The fields are those of `quotas.models.UsageEvent`; the end record repeats what the start record said, so that the
ledger needs end records only. `s` is unique within a file. The writer holds an flock on its file as long as it lives:
a free lock means that nobody will write again.

Records survive the death of the process (they are in the kernel), not the loss of the machine: no fsync per call.
"""

import contextlib
import datetime as dt
import fcntl
import json
import os
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic_core import PydanticSerializationError, to_json

SUFFIX = ".jsonl"
SEGMENT_BYTES = 32 * 1024 * 1024  # a longer file is left behind and ends with its last open call


class JournalFull(OSError):
    """A record cannot be written, mostly because the disk is full: refuse the call before forwarding anything."""


@dataclass(slots=True)
class Mark:
    """Where an end record stands: the ledger has it as soon as `gateway` is read beyond `offset`, in bytes.

    `offset` is None as long as the record waits for room on the disk.
    """

    gateway: str
    offset: int | None = None


@dataclass
class _Segment:
    """One open file with its lock, and the start fields of the calls that still run in it."""

    path: Path
    fd: int
    size: int
    running: dict[int, bytes] = field(default_factory=dict)  # encoded once: the end record repeats it

    def write(self, line: bytes) -> None:
        """Append `line` with one write; a torn one is cut off again. Raises JournalFull."""
        try:
            written = os.write(self.fd, line)
            if written != len(line):
                # Only this process appends, and readers take whole lines only: nobody has seen the torn one.
                os.ftruncate(self.fd, self.size)
        except OSError as error:
            raise JournalFull(error.errno, f"the journal cannot be written: {error.strerror}") from error
        if written != len(line):
            raise JournalFull("the journal cannot be written: no room for the whole record")
        self.size += written


class Journal:
    """Append-only writer of one gateway process; safe to call from several threads."""

    def __init__(self, directory: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Create the directory (mode 700) and the first file in it.

        `segment_bytes` is the size after which a new file is begun. Raises JournalFull when that is impossible.
        """
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._lock = threading.Lock()
        self._sequence = 0
        self._segments: dict[int, _Segment] = {}  # running call → the file that holds its start
        self._late: list[tuple[_Segment, bytes, Mark]] = []  # end records that found no room
        self._closed = False
        self._current = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def gateway(self) -> str:
        """Name of the file that is written now: `UsageEvent.gateway` of the calls that start now."""
        return self._current.path.stem

    def start(self, **fields: object) -> int:
        """Write the start record of a call and return its sequence number. Call it before forwarding anything.

        `fields`: request_id, project_id, endpoint_id, endpoint, key_id, key, person, purpose, operation, stream,
        `estimated_input` (tokens; used if the process dies before the end) and optionally `at` (datetime with zone, now
        when left out). Raises JournalFull when there is no room, and as long as an earlier end record waits for room.
        """
        with self._lock:
            if self._closed:
                raise ValueError("the journal is closed")
            self._write_late()
            if self._current.size >= self._segment_bytes:
                self._rotate()
            record = _fields({**fields, "at": fields.get("at") or dt.datetime.now(dt.UTC)})
            sequence = self._sequence + 1
            self._current.write(b'{"s":%d,"t":"start",%b}\n' % (sequence, record))
            self._sequence = sequence
            self._current.running[sequence] = record
            self._segments[sequence] = self._current
            return sequence

    def end(self, sequence: int, **fields: object) -> Mark:
        """Write the end record of the call `sequence` and return where it stands. Call it before the last byte leaves.

        `fields`: status, outcome ("ok", "error" or "cancelled"), input_tokens, output_tokens, cached_tokens, estimated,
        ttft_ms, latency_ms. A full disk does not fail the call, which has been served: the record waits in memory and
        no further call may start before it is written; should the process die first, the ledger estimates the call
        from its start. Raises KeyError for a call that is not running.
        """
        with self._lock:
            segment = self._segments.pop(sequence)
            started = segment.running.pop(sequence)
            line = b'{"s":%d,"t":"end",%b,%b}\n' % (sequence, started, _fields(fields))
            mark = Mark(segment.path.stem)
            try:
                segment.write(line)
                mark.offset = segment.size
            except JournalFull:
                self._late.append((segment, line, mark))
            self._close_if_done(segment)
            return mark

    def close(self) -> None:
        """Release the files. Calls that still run become interrupted in the ledger."""
        with self._lock:
            if self._closed:
                return
            with contextlib.suppress(JournalFull):
                self._write_late()
            self._closed = True
            open_files = {segment.fd for segment in self._segments.values()}
            open_files |= {segment.fd for segment, _, _ in self._late} | {self._current.fd}
            for fd in open_files:
                os.close(fd)
            self._segments.clear()

    def _write_late(self) -> None:
        while self._late:
            segment, line, mark = self._late[0]
            segment.write(line)
            mark.offset = segment.size
            self._late.pop(0)
            self._close_if_done(segment)

    def _rotate(self) -> None:
        previous, self._current = self._current, self._open()
        self._close_if_done(previous)

    def _close_if_done(self, segment: _Segment) -> None:
        late = any(waiting is segment for waiting, _, _ in self._late)
        if segment is not self._current and not segment.running and not late:
            os.close(segment.fd)

    def _open(self) -> _Segment:
        gateway = f"gw-{uuid.uuid4().hex[:24]}"
        hidden = self._directory / f".{gateway}.new"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(hidden, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalFull(error.errno, f"no journal can be begun: {error.strerror}") from error
        segment = _Segment(self._directory / f"{gateway}{SUFFIX}", fd, 0)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            segment.write(
                b"{%b}\n" % _fields({"gateway": gateway, "pid": os.getpid(), "started": dt.datetime.now(dt.UTC)})
            )
            # It gets its name only with lock and header: a new file is never taken for that of a dead gateway.
            hidden.rename(segment.path)
        except BaseException:
            os.close(fd)
            hidden.unlink(missing_ok=True)
            raise
        return segment


def _fields(record: dict[str, object]) -> bytes:
    """Return the fields of a record as JSON without its braces."""
    try:
        return to_json(record)[1:-1]
    except (PydanticSerializationError, UnicodeError):  # half a surrogate pair: json escapes it, the ledger mends it
        return json.dumps(record, separators=(",", ":"), default=_plain).encode()[1:-1]


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)


def is_alive(path: Path) -> bool:
    """Whether the gateway that writes `path` still lives, by its lock. A file that has gone counts as dead."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two readers who ask at the same time do not take each other for the gateway.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
