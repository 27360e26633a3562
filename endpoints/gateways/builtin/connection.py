"""One keep-alive HTTP/1.1 connection to an engine: an asyncio protocol over httptools with back-pressure and one timer.

Measured before it was written: with a general HTTP client the hop costs 4 to 30 times more CPU per call than with this
protocol.
"""

import asyncio
from collections.abc import Callable

import httptools

MAX_HEAD_BYTES = 64 * 1024
HIGH_WATER_BYTES = 256 * 1024  # unread bytes at which the engine is told to wait
LINGER_SECONDS = 1.0  # how long an answered call may take to send its last bytes before the connection is given up


class UpstreamError(Exception):
    """The engine could not be reached, hung up, or does not speak HTTP."""


class ConnectFailed(UpstreamError):
    """No connection came about: nothing was sent, so another replica may be tried."""


class StaleConnection(UpstreamError):
    """A reused connection was closed before the first byte of an answer, right after the call was written."""


class UpstreamTimeout(UpstreamError):
    """The engine sent nothing for longer than it may."""


class Connection(asyncio.Protocol):
    """A connection and the answer that it currently carries."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_idle: Callable[["Connection"], None]) -> None:
        """Keep the loop and whom to tell when the connection may be used again."""
        self._loop, self._on_idle = loop, on_idle
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.closed, self.busy, self.calls, self.idle_since = False, False, 0, loop.time()
        self._begin_answer(0.0)

    def _begin_answer(self, patience: float) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.status, self.headers = 0, list[tuple[bytes, bytes]]()
        self._chunks: list[bytes] = []
        self._size = self._head_size = 0
        self._head_done = self._complete = self._informational = self._dirty = self._keep_alive = False
        self._lingering = self._paused = self._framed = self._answered = False
        self._error: UpstreamError | None = None
        self._patience, self._deadline = patience, self._loop.time() + patience

    # --- What the pool and the relay use -----------------------------------------------------------------------------

    def send(self, request: bytes, patience: float) -> None:
        """Write a whole request; `patience` is how many seconds the engine may stay silent, at the start and between
        bytes.
        """
        assert self._transport is not None  # noqa: S101 - connection_made ran before anybody holds this object
        self._begin_answer(patience)
        self.busy, self.calls, self.sent_at = True, self.calls + 1, self._loop.time()
        self._timer = self._loop.call_at(self._deadline, self._tick)
        self._transport.write(request)

    async def head(self) -> None:
        """Wait for status and headers; raises UpstreamError."""
        while not self._head_done:
            await self._more()

    async def read(self) -> bytes:
        """Return the bytes of the body that have arrived, waiting for some; b"" at its end. Raises UpstreamError."""
        while not self._chunks:
            if self._complete:
                return b""
            await self._more()
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        if self._paused and self._transport is not None:
            self._paused, self._deadline = False, self._loop.time() + self._patience
            self._transport.resume_reading()
        return data

    def header(self, name: bytes) -> bytes:
        """Return the last value of a header by its lower-case name, or b""."""
        return next((value for key, value in reversed(self.headers) if key == name), b"")

    def release(self) -> None:
        """The answer has been used: back to the pool when it has ended, or as soon as it does within LINGER_SECONDS."""
        if self.closed or self._error is not None or self._dirty:
            self.abort()
        elif self._complete:
            self._settle()
        else:
            self._lingering, self._deadline = True, self._loop.time() + LINGER_SECONDS
            self._chunks.clear()
            self._restart_timer()
            if self._paused and self._transport is not None:
                self._paused = False
                self._transport.resume_reading()

    def abort(self) -> None:
        """Hang up at once; an engine notices and stops generating."""
        self._stop_timer()
        self.closed, self.busy = True, False
        if self._transport is not None:
            self._transport.abort()

    # --- Inside ------------------------------------------------------------------------------------------------------

    async def _more(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: UpstreamError) -> None:
        if self._error is None and not self._complete:
            self._error = error
        self._dirty = True
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    def _tick(self) -> None:
        """The one timer of a call: progress only moves the deadline, so most calls never re-arm it."""
        if self._paused:  # it is the client who is slow
            self._deadline = self._loop.time() + self._patience
        if self._loop.time() < self._deadline:
            self._restart_timer()
        elif self._lingering:
            self.abort()
        else:
            self._fail(UpstreamTimeout(f"no byte for {self._patience:g} s"))

    def _restart_timer(self) -> None:
        self._stop_timer()
        self._timer = self._loop.call_at(self._deadline, self._tick)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _settle(self) -> None:
        self._stop_timer()
        self.busy, self._lingering, self.idle_since = False, False, self._loop.time()
        self._chunks.clear()
        if self.closed or self._dirty or not self._keep_alive:
            self.abort()
        else:
            self._on_idle(self)

    # --- asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment]  # create_connection gives a full transport

    def data_received(self, data: bytes) -> None:
        """Feed the parser; whatever is not HTTP ends the connection."""
        if not self.busy:
            self.abort()  # nobody asked: never let stray bytes become the answer to the next call
            return
        self._answered = True
        if not self._lingering:
            self._deadline = self._loop.time() + self._patience
        if not self._head_done:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(UpstreamError(f"the answer is not HTTP ({type(error).__name__})"))
            return
        if not self._head_done and self._head_size > MAX_HEAD_BYTES:
            self._fail(UpstreamError(f"the head of the answer is larger than {MAX_HEAD_BYTES} bytes"))
        elif self._complete and self._lingering:
            self._settle()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell apart an answer that ends with the connection, a stale connection, and a broken answer."""
        self.closed = True
        if not self.busy or self._complete:
            return
        if self._head_done and not self._framed and error is None:
            self._complete = self._dirty = True
        elif self.calls > 1 and not self._answered and self._loop.time() - self.sent_at < LINGER_SECONDS:
            self._fail(StaleConnection("the kept connection had been closed"))
        else:
            self._fail(UpstreamError("the connection was closed in the middle of the answer"))
        if self._lingering:
            self._stop_timer()
        self._wake()

    # --- httptools ---------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A second answer that nobody asked for makes the connection unusable."""
        if self._complete:
            self._dirty = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header."""
        if self._complete:
            return
        key = name.lower()
        if key in (b"content-length", b"transfer-encoding"):
            self._framed = True
        self.headers.append((key, value))

    def on_headers_complete(self) -> None:
        """Status and headers are here; 1xx answers are skipped."""
        if self._complete:
            return
        status = self._parser.get_status_code()
        self._informational = 100 <= status < 200
        if self._informational:
            self.headers.clear()
            return
        self.status, self._head_done = status, True
        if not self._framed and not (status == 204 or status == 304):
            self._dirty = True  # the body ends with the connection
        self._wake()

    def on_body(self, data: bytes) -> None:
        """Keep a piece of the body, and tell the engine to wait when nobody takes them."""
        if self._lingering or self._complete:
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        """The answer has ended."""
        if self._informational:
            self._informational = False
            return
        if not self._complete:  # the parser only knows it here
            self._complete, self._keep_alive = True, self._parser.should_keep_alive()
            self._wake()
