"""The load: clients that call again as soon as they are answered, with as little of their own as asyncio allows."""

import asyncio
import time
from dataclasses import dataclass, field
from functools import partial

from portal import crypto

SECONDS = 1.5
BODY = b'{"model":"bench","messages":[{"role":"user","content":"' + b"word " * 140 + b'"}],"max_tokens":50%s}'
_SECRET = "gth_benchkey_" + "b" * 43
SECRET = _SECRET + crypto.checksum(_SECRET)


@dataclass
class Load:
    """What one round saw."""

    calls: int = 0
    first: list[float] = field(default_factory=list)  # seconds to the first chunk
    whole: list[float] = field(default_factory=list)  # seconds to the end


class Client(asyncio.Protocol):
    """One connection that calls again as soon as it is answered."""

    def __init__(self, request: bytes, end: bytes, load: Load, until: float, done: "asyncio.Future[None]") -> None:
        """`end` marks the end of an answer, `until` (monotonic) the end of the round."""
        self._request, self._end, self._load, self._until, self._done = request, end, load, until, done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Call."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # TCP gives a full transport
        self._call()

    def _call(self) -> None:
        self._seen, self._first, self._sent = b"", 0.0, time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Note the first chunk and the end; call again."""
        self._seen += data
        if not self._first and b"data: " in self._seen:
            self._first = time.perf_counter() - self._sent
        if not self._seen.endswith(self._end):
            return
        assert self._seen.startswith(b"HTTP/1.1 200"), self._seen[:300]
        self._load.calls += 1
        self._load.whole.append(time.perf_counter() - self._sent)
        if self._first:
            self._load.first.append(self._first)
        if time.monotonic() < self._until:
            self._call()
        else:
            self._transport.close()
            self._done.set_result(None)


async def load(port: int, connections: int, *, stream: bool) -> Load:
    """Call for SECONDS over `connections` connections."""
    loop, seen = asyncio.get_running_loop(), Load()
    body = BODY % (b',"stream":true,"stream_options":{"include_usage":true}' if stream else b"")
    request = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body
    until = time.monotonic() + SECONDS
    end = b"0\r\n\r\n" if stream else b"}"
    waits = [loop.create_future() for _ in range(connections)]
    for done in waits:
        await loop.create_connection(partial(Client, request, end, seen, until, done), "127.0.0.1", port)
    await asyncio.gather(*waits)
    return seen
