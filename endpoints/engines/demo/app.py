"""The ASGI application: routes, the bearer key, and the shapes of the answers. No framework: a start has to cost
milliseconds."""

import asyncio
import hmac
import json
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import aclosing
from typing import Any

from endpoints.engines.demo import protocol, vectors
from endpoints.engines.demo.engine import Answer, Engine, Options
from endpoints.engines.demo.protocol import BadRequest, Generation

_JSON = b"application/json"
FINGERPRINT = "gatehouse-demo-engine"
VERSION = "demo engine 0.1.0"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Application:
    """Serves one engine; `engine` is None while the model loads, and `hung` makes every request wait for ever."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.engine: Engine | None = None
        self.hung = False
        self._created = int(time.time())
        self._routes: dict[str, tuple[str, Callable[[Receive, Send], Awaitable[None]]]] = {
            "/health": ("GET", self._health),
            "/ping": ("GET", self._health),
            "/version": ("GET", self._version),
            "/metrics": ("GET", self._metrics),
            "/v1/models": ("GET", self._models),
            "/v1/chat/completions": ("POST", self._chat),
            "/v1/completions": ("POST", self._completion),
            "/v1/embeddings": ("POST", self._embeddings),
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; other kinds of connection are refused by returning."""
        if scope["type"] != "http":
            return
        if self.hung:
            await asyncio.Event().wait()
        try:
            await self._dispatch(scope, receive, send)
        except BadRequest as error:
            await _json(send, error.body, error.status)

    async def _dispatch(self, scope: Message, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path.startswith("/v1") and not self._may(scope):
            raise BadRequest("The engine key is missing or wrong.", None, 401, "AuthenticationError")
        if path not in self._routes:
            raise BadRequest("There is no such path.", None, 404, "NotFoundError")
        method, serve = self._routes[path]
        if scope["method"] != method:
            raise BadRequest(f"Use {method} for this path.", None, 405, "MethodNotAllowedError")
        await serve(receive, send)

    def _may(self, scope: Message) -> bool:
        if not self.options.key:
            return True
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        return hmac.compare_digest(given, b"Bearer " + self.options.key.encode())

    def _ready(self) -> Engine:
        if self.engine is None:
            raise BadRequest(
                "The demo engine is still loading its model. Try again shortly.", None, 503, "ServiceUnavailableError"
            )
        return self.engine

    async def _health(self, receive: Receive, send: Send) -> None:
        self._ready()
        await _send(send, 200, b"", b"text/plain")

    async def _version(self, receive: Receive, send: Send) -> None:
        await _json(send, {"version": VERSION, "engine": "demo engine"})

    async def _metrics(self, receive: Receive, send: Send) -> None:
        await _send(send, 200, self._ready().metrics.text().encode(), b"text/plain; version=0.0.4; charset=utf-8")

    async def _models(self, receive: Receive, send: Send) -> None:
        options = self._ready().options
        card = {"id": options.served_name, "object": "model", "created": self._created, "owned_by": FINGERPRINT}
        card |= {"root": options.model, "parent": None, "max_model_len": options.max_model_len}
        await _json(send, {"object": "list", "data": [card]})

    async def _chat(self, receive: Receive, send: Send) -> None:
        await self._generate(receive, send, chat=True)

    async def _completion(self, receive: Receive, send: Send) -> None:
        await self._generate(receive, send, chat=False)

    async def _body(self, receive: Receive, task: str) -> dict[str, Any]:
        if self._ready().options.task != task:
            raise BadRequest(f"The model does not serve this path: it was started for the task `{self.options.task}`.")
        body = protocol.read_json(await _read(receive))
        protocol.check_model(body, self.options.served_name)
        return body

    async def _embeddings(self, receive: Receive, send: Send) -> None:
        engine, began = self._ready(), time.perf_counter()
        body = await self._body(receive, "embedding")
        call = protocol.read_embedding(
            body, dimensions=self.options.dimensions, max_model_len=self.options.max_model_len
        )
        data: list[dict[str, object]] = []
        for index, tokens in enumerate(call.inputs):
            vector = vectors.embed(tokens, call.dimensions)
            data.append(
                {"index": index, "object": "embedding", "embedding": vectors.pack(vector) if call.base64 else vector}
            )
            await asyncio.sleep(0)  # a long list must not hold up the health check
        count = sum(map(len, call.inputs))
        engine.metrics.prompt_tokens += count
        engine.metrics.success["stop"] += 1
        engine.metrics.e2e.observe(time.perf_counter() - began)
        usage = {"prompt_tokens": count, "total_tokens": count, "completion_tokens": 0}
        head = self._head("embd", "list")
        await _json(send, {**head, "data": data, "usage": usage})

    async def _generate(self, receive: Receive, send: Send, *, chat: bool) -> None:
        engine = self._ready()
        body = await self._body(receive, "chat")
        call = protocol.read_generation(body, chat=chat, max_model_len=self.options.max_model_len)
        answer = Answer(len(call.prompt))
        watch = asyncio.ensure_future(_disconnect(receive))
        try:
            async with aclosing(engine.generate(call, answer, watch.done)) as pieces:
                if call.stream:
                    await self._stream(send, call, answer, pieces)
                else:
                    await self._whole(send, call, answer, pieces)
        finally:
            watch.cancel()

    async def _whole(self, send: Send, call: Generation, answer: Answer, pieces: AsyncGenerator[str, None]) -> None:
        text = "".join([piece async for piece in pieces])
        choice: dict[str, object] = {
            "index": 0,
            "finish_reason": answer.finish_reason,
            "stop_reason": None,
            "logprobs": None,
        }
        choice |= {"message": {"role": "assistant", "content": text}} if call.chat else {"text": text}
        head = self._head("chatcmpl", "chat.completion") if call.chat else self._head("cmpl", "text_completion")
        await _json(send, {**head, "choices": [choice], "usage": answer.usage()})

    async def _stream(self, send: Send, call: Generation, answer: Answer, pieces: AsyncGenerator[str, None]) -> None:
        head = self._head("chatcmpl", "chat.completion.chunk") if call.chat else self._head("cmpl", "text_completion")

        async def chunk(content: dict[str, object] | None, reason: str | None = None) -> None:
            event: dict[str, object] = {**head, "choices": []}
            if content is not None:
                event["choices"] = [{"index": 0, **content, "logprobs": None, "finish_reason": reason}]
            if content is None or call.continuous_usage:
                event["usage"] = answer.usage()
            await send({"type": "http.response.body", "body": b"data: %b\n\n" % _dump(event), "more_body": True})

        def part(text: str) -> dict[str, object]:
            return {"delta": {"content": text}} if call.chat else {"text": text}

        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if call.chat:
            await chunk({"delta": {"role": "assistant", "content": ""}})
        async for text in pieces:
            await chunk(part(text))
        await chunk(part(""), answer.finish_reason)
        if call.include_usage:
            await chunk(None)
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})

    def _head(self, prefix: str, kind: str) -> dict[str, object]:
        head = {
            "id": f"{prefix}-{secrets.token_hex(16)}",
            "object": kind,
            "created": int(time.time()),
            "model": self.options.served_name,
        }
        return {**head, "system_fingerprint": FINGERPRINT}


async def _read(receive: Receive) -> bytes:
    """Return the request body; raises BadRequest (413) above the limit."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("The client went away before the body was complete.")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > protocol.MAX_BODY:
            raise BadRequest(
                f"The body is larger than {protocol.MAX_BODY} bytes. Send a smaller request.",
                None,
                413,
                "RequestTooLargeError",
            )
        if not message.get("more_body"):
            return b"".join(chunks)


async def _disconnect(receive: Receive) -> None:
    """Return once the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


async def _json(send: Send, value: object, status: int = 200) -> None:
    await _send(send, status, _dump(value), _JSON)


async def _send(send: Send, status: int, body: bytes, content_type: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode("ascii"))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
