"""Forwarding one call and bringing its answer back, whole or as a stream.

Whatever happens, the call gets exactly one end record.
"""

import asyncio
import json
import logging

from endpoints.gateways.builtin.body import ClientGone, Receive, Send
from endpoints.gateways.builtin.connection import ConnectFailed, Connection, UpstreamError, UpstreamTimeout
from endpoints.gateways.builtin.deadline import Deadline
from endpoints.gateways.builtin.errors import Refusal, error_body, retry_later
from endpoints.gateways.builtin.events import EventTooLarge, Stream
from endpoints.gateways.builtin.meter import CLIENT_CLOSED, Call, Journal
from endpoints.gateways.builtin.upstream import Pool, Upstream
from endpoints.gateways.builtin.usage import Usage, from_answer

MAX_ANSWER_BYTES = 64 * 1024 * 1024  # of a whole answer, which is held in memory until its usage is known
PASSED = frozenset({b"content-type", b"content-encoding", b"retry-after"})  # response headers; all others end here
# A task that waits for the client to hang up costs more than the rest of a short call, so that most get along without.
WATCH_AFTER_SECONDS = 0.05

log = logging.getLogger(__name__)


class Relay:
    """The way of one call to its engine and back."""

    def __init__(
        self, pool: Pool, journal: Journal, call: Call, send: Send, *, strip_usage: bool, stall: float
    ) -> None:
        """`strip_usage`: the client did not ask for the usage chunk; `stall`: seconds that a client may take for one
        piece.
        """
        self._pool, self._journal, self._call, self._send = pool, journal, call, send
        self._stall = stall
        self._stream = Stream(strip_usage=strip_usage)
        self._request_id = (b"x-request-id", call.request_id.encode())
        self._watcher: asyncio.Task[None] | None = None
        self._gone = False  # whether the client hung up
        self._task: asyncio.Task[object] | None = None
        self._cut: Refusal | None = None  # why the answer was broken off from our side
        self.started = False  # whether the client has seen a status

    async def run(self, path: str, headers: list[tuple[bytes, bytes]], body: bytes, receive: Receive) -> None:
        """Forward `body` and answer the client.

        Raises Refusal when nothing was answered yet, ClientGone when the client left.
        """
        self._task = task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        timer = asyncio.get_running_loop().call_later(WATCH_AFTER_SECONDS, self._begin_watching, receive, task)
        try:
            await self._answer(path, headers, body)
        except asyncio.CancelledError:
            if self._cut is not None and not self._gone:
                task.uncancel()
                await self._broken_off(self._cut)
                return
            if not self._gone:  # the server stops
                self._end(200 if self.started else 503, "interrupted", self._so_far())
                raise
            task.uncancel()
            self._end(CLIENT_CLOSED, "cancelled", self._so_far())
            raise ClientGone from None
        finally:
            timer.cancel()
            if self._watcher is not None:
                self._watcher.cancel()

    def cut(self, refusal: Refusal) -> None:
        """Break off an answer that is not whole yet; the client is told why."""
        if self._task is not None and self._cut is None and not self._call.ended:
            self._cut = refusal
            self._task.cancel()

    async def _broken_off(self, refusal: Refusal) -> None:
        self._end(200 if self.started else refusal.status, "interrupted", self._so_far())
        if not self.started:
            raise refusal
        try:
            await self._last_event(refusal)
        except TimeoutError as error:
            raise ClientGone from error

    async def _answer(self, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        try:
            await self._exchange(path, headers, body)
        except TimeoutError as error:  # of a piece that the client did not take
            self._end(CLIENT_CLOSED, "cancelled", self._so_far())
            raise ClientGone from error
        except (UpstreamError, EventTooLarge) as error:
            await self._failed(error)
        except Refusal as refusal:
            self._end(refusal.status, "error", Usage())
            raise
        except Exception:
            self._end(500, "error", self._so_far())
            raise

    def _begin_watching(self, receive: Receive, task: "asyncio.Task[object]") -> None:
        self._watcher = asyncio.create_task(self._watch(receive, task))

    async def _watch(self, receive: Receive, task: "asyncio.Task[object]") -> None:
        """Cancel the call when the client hangs up: that interrupts whatever it waits for, engine or client."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        task.cancel()

    async def _exchange(self, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        endpoint = self._call.endpoint
        ways: tuple[tuple[Upstream, ...], ...] = (endpoint.upstreams,)
        if endpoint.canary:
            ways = self._pool.ways(endpoint.upstreams, endpoint.canary, endpoint.canary_percent)
        upstream, connection = await self._pool.call(ways[0], path, headers, body, *ways[1:])
        self._call.revision = upstream.revision
        whole = False
        try:
            if connection.status == 200 and connection.header(b"content-type").startswith(b"text/event-stream"):
                await self._stream_back(connection)
            else:
                await self._bring_back(upstream, connection)
            whole = True
        finally:
            self._pool.done(upstream, connection, abort=not whole)

    async def _bring_back(self, upstream: Upstream, connection: Connection) -> None:
        """Answer with the whole answer of the engine: success, or its own error."""
        parts, size = [], 0
        while part := await connection.read():
            size += len(part)
            if size > MAX_ANSWER_BYTES:
                raise UpstreamError(f"the answer is larger than {MAX_ANSWER_BYTES // 1024**2} MiB")
            parts.append(part)
        body, status = b"".join(parts), connection.status
        if 200 <= status < 300:
            self._end(status, "ok", from_answer(body) or self._call.estimate(0))
        else:
            self._pass_only_the_callers_errors(upstream, status, body)
            self._end(status, "error", Usage())
        headers = [(name, value) for name, value in connection.headers if name in PASSED]
        headers.append((b"content-length", str(len(body)).encode()))
        await self._head(status, headers)
        await self._send({"type": "http.response.body", "body": body})

    def _pass_only_the_callers_errors(self, upstream: Upstream, status: int, body: bytes) -> None:
        """Raise Refusal for an answer that would mislead the client: redirects, the engine's own sign-in, pages instead
        of JSON.
        """
        if status in {401, 403, 407} or 300 <= status < 400:
            log.error(
                "gateway.engine_refused_us endpoint=%s url=%s status=%s", self._call.endpoint.id, upstream.url, status
            )
        elif _is_json_object(body):
            return
        raise Refusal(
            502, "upstream_error", f"The engine of {self._call.endpoint.model} answered {status} and nothing usable."
        )

    async def _stream_back(self, connection: Connection) -> None:
        """Pass the stream on as it comes; the end marker leaves only when the end record is written."""
        stream = self._stream
        await self._head(200, [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"),
                               (b"x-accel-buffering", b"no")])  # fmt: skip
        while data := await connection.read():
            now = stream.feed(data)
            if now:
                await self._piece(now, more=True)
            if stream.held:
                break
        last = stream.finish()
        usage = stream.usage() or self._call.estimate(stream.content_chunks)
        self._end(200, "error" if stream.failed else "ok", usage)
        await self._piece(last, more=False)

    async def _failed(self, error: Exception) -> None:
        """The engine failed: a refusal when the client has seen nothing yet, else an error event as the end of the
        stream.
        """
        model = self._call.endpoint.model
        log.warning(
            "gateway.upstream_failed endpoint=%s request=%s error=%s: %s",
            self._call.endpoint.id, self._call.request_id, type(error).__name__, error,
        )  # fmt: skip
        if isinstance(error, UpstreamTimeout):
            refusal = Refusal(504, "upstream_timeout", f"The engine of {model} did not answer in time: {error}.")
        elif isinstance(error, ConnectFailed):
            refusal = retry_later(502, "upstream_error", f"The engine of {model} accepts no connection right now.", 2)
        else:
            refusal = Refusal(502, "upstream_error", f"The engine of {model} broke off: {error}.")
        self._end(200 if self.started else refusal.status, "error", self._so_far() if self.started else Usage())
        if not self.started:
            raise refusal from error
        await self._last_event(refusal)

    async def _last_event(self, refusal: Refusal) -> None:
        event = b"data: " + error_body(refusal.status, refusal.code, refusal.message) + b"\n\n"
        await self._piece(event, more=False)

    def _so_far(self) -> Usage:
        return self._stream.usage() or self._call.estimate(self._stream.content_chunks)

    def _end(self, status: int, outcome: str, usage: Usage) -> None:
        self._call.end(self._journal, status, outcome, usage, self._stream.first_content_at)

    async def _head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.started = True
        quota = self._call.budget.headers() if self._call.budget is not None else ()
        found = [*headers, self._request_id, *quota]
        await self._send({"type": "http.response.start", "status": status, "headers": found})

    async def _piece(self, data: bytes, *, more: bool) -> None:
        with Deadline(self._stall):
            await self._send({"type": "http.response.body", "body": data, "more_body": more})


def _is_json_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except (ValueError, RecursionError):
        return False
