"""A scripted engine as fast as asyncio allows, so that the gateway before it is what is measured.

`python -m benchmarks.engine PORT`.
"""

import asyncio
import json
import sys

import httptools
import uvloop

FIRST_SECONDS, EACH_SECONDS, CHUNKS = 0.02, 0.005, 20

_USAGE = {"prompt_tokens": 120, "completion_tokens": 50, "total_tokens": 170}
_MESSAGE = {"role": "assistant", "content": "word " * 150}
_WHOLE = json.dumps({"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "usage": _USAGE,
                     "choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}]}).encode()  # fmt: skip
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_WHOLE) + _WHOLE
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _chunk(document: dict[str, object]) -> bytes:
    data = b"data: " + json.dumps({"id": "c1", "object": "chat.completion.chunk"} | document).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


TOKEN = _chunk({"choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}]})
LAST = _chunk({"choices": [], "usage": _USAGE}) + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


class Engine(asyncio.Protocol):
    """Answers every request at once, or as a stream paced like a model's."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # TCP gives a full transport
        self._loop = asyncio.get_running_loop()
        self._begin()

    def _begin(self) -> None:
        self._parser, self._body = httptools.HttpRequestParser(self), b""

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Answer."""
        stream = b'"stream":true' in self._body or b'"stream": true' in self._body
        if not stream:
            self._transport.write(WHOLE)
        else:
            self._transport.write(HEAD)
            for number in range(CHUNKS):
                self._loop.call_later(FIRST_SECONDS + number * EACH_SECONDS, self._transport.write, TOKEN)
            self._loop.call_later(FIRST_SECONDS + CHUNKS * EACH_SECONDS, self._transport.write, LAST)
        self._loop.call_soon(self._begin)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Engine, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
