"""Server-sent events on their way through: passed as they come, counted, stripped of what the client did not ask for,
the last one held back.
"""

import json
import re
import time
from typing import Any

from endpoints.gateways.builtin.usage import Usage, from_document

MAX_EVENT_BYTES = 8 * 1024 * 1024

_END = re.compile(rb"\r?\n\r?\n")
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_LAST = re.compile(rb"^data: ?\[DONE\]|^event: ?response\.(?:completed|incomplete|failed)", re.MULTILINE)
_ERROR = re.compile(rb'^data: ?\{\s*"error"\s*:|^event: ?(?:error|response\.failed)', re.MULTILINE)


class EventTooLarge(Exception):
    """One event is larger than MAX_EVENT_BYTES: this is no stream of tokens."""


class Stream:
    """What is known about one streamed answer while it passes."""

    def __init__(self, *, strip_usage: bool) -> None:
        """`strip_usage`: the usage chunk was asked for by the gateway, not by the client."""
        self._strip = strip_usage
        self._rest = b""
        self._usage: bytes | None = None  # the last chunk that had one: usage is cumulative, never a sum
        self.content_chunks = 0
        self.first_content_at: float | None = None  # monotonic
        self.failed = False  # the engine said so inside the stream
        self.held = b""  # the end marker and everything behind it: leaves after the end record is written

    def feed(self, data: bytes) -> bytes:
        """Take what arrived and return what may leave now. Raises EventTooLarge."""
        if self.held:
            self.held += data
            return b""
        if self._plain(data):
            self.content_chunks += data.count(b"\n\n")
            return data
        return self._event_by_event(data)

    def finish(self) -> bytes:
        """The stream has ended: return what is still held, the end marker or an event without its end."""
        left, self._rest, self.held = self.held or self._rest, b"", b""
        return left

    def usage(self) -> Usage | None:
        """Return the last usage that the engine told, or None."""
        return from_document(_document(self._usage)) if self._usage is not None else None

    def _plain(self, data: bytes) -> bool:
        """Whether `data` is whole content events with nothing in them to look at: true for nearly all of them."""
        return (
            self.first_content_at is not None
            and not self._rest
            and data.endswith(b"\n\n")
            and b'"usage"' not in data
            and b"[DONE]" not in data
            and b'"error"' not in data
            and b"\r" not in data
            and b"event:" not in data
            and data.startswith(b"data:")
            and b"\n:" not in data
        )

    def _event_by_event(self, data: bytes) -> bytes:
        data = self._rest + data
        out: list[bytes] = []
        start = 0
        for end in _END.finditer(data):
            event = data[start : end.end()]
            if _LAST.search(event):
                self._look(event)
                self.held, self._rest = data[start:], b""
                return b"".join(out)
            start = end.end()
            if self._look(event):
                out.append(event)
        self._rest = data[start:]
        if len(self._rest) > MAX_EVENT_BYTES:
            raise EventTooLarge
        return b"".join(out)

    def _look(self, event: bytes) -> bool:
        """Count one event; False when it must not reach the client."""
        has_usage = _USAGE.search(event) is not None
        if has_usage:
            self._usage = event
            if _NO_CHOICES.search(event):
                return not self._strip
        if _ERROR.search(event):
            self.failed = True
        elif b"data:" not in event or _LAST.search(event):
            return True
        elif self.first_content_at is None:
            if has_content(_document(event)):
                self.first_content_at = time.monotonic()
                self.content_chunks += 1
        else:
            self.content_chunks += 1
        return True


def _document(event: bytes) -> object:
    lines = [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
    try:
        return json.loads(b"\n".join(lines))
    except (ValueError, RecursionError):
        return None


def has_content(document: object) -> bool:
    """Whether a chunk brings something that the model said, other than its role."""
    if not isinstance(document, dict):
        return False
    if str(document.get("type", "")).endswith(".delta"):
        return True
    choices = document.get("choices")
    return isinstance(choices, list) and any(_speaks(choice) for choice in choices)


def _speaks(choice: Any) -> bool:
    if not isinstance(choice, dict):
        return False
    delta = choice.get("delta")
    if isinstance(delta, dict):
        return any(value for name, value in delta.items() if name != "role")
    return bool(choice.get("text"))
