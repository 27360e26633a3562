"""A real gateway under uvicorn in a thread, and a scripted engine on a real socket, for the tests of the data path."""

import asyncio
import hashlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from django.db import OperationalError
from django.test import override_settings
from django.utils import timezone

from endpoints.gateways.builtin import app as gateway_app
from endpoints.gateways.builtin.records import EndpointRecord, KeyRecord
from endpoints.gateways.builtin.upstream import Upstream
from projects.keys import new_secret
from quotas.bounds import Bound, Target
from quotas.rollups import floor
from quotas.spent import Spent

Script = Callable[["Engine", "Received", asyncio.StreamWriter], Awaitable[None]]
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4}}


def until(condition: Callable[[], Any], seconds: float = 5.0) -> Any:
    """Return the first true value of `condition`; fails after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"not true within {seconds} s")


# --- The engine -------------------------------------------------------------------------------------------------------


@dataclass
class Received:
    """One request as the engine saw it."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int
    gone: Callable[[], bool]  # whether the gateway has hung up

    @property
    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.body)

    def header(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for key, value in self.headers if key.lower() == name]


class Engine:
    """An HTTP server that does to each request what `script` says, and remembers what it was sent."""

    def __init__(self, script: Script) -> None:
        self.script, self.requests, self.connections = script, list[Received](), 0
        self.hung_up = threading.Event()  # the gateway closed a connection that was in use
        self._sockets: set[asyncio.StreamWriter] = set()
        self._ready, self._loop, self.port = threading.Event(), asyncio.new_event_loop(), 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Engine":
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for writer in self._sockets:
            writer.transport.abort()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self._sockets.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = [
                    (name, value.strip()) for name, _, value in (line.partition(":") for line in head[1:] if line)
                ]
                length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
                request = Received(head[0], headers, await reader.readexactly(length), number, reader.at_eof)
                self.requests.append(request)
                await self.script(self, request, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._sockets.discard(writer)
            writer.close()

    def drop(self) -> None:
        """Close all connections from the engine's side."""
        for writer in list(self._sockets):
            self._loop.call_soon_threadsafe(writer.close)


def plain(status: int, body: bytes, *headers: str) -> bytes:
    """A whole HTTP answer."""
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers]
    if not any(line.startswith("content-type") for line in headers):
        lines.append("content-type: application/json")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def completion(request: Received) -> bytes:
    """The body of a chat completion, made of the model that was asked for."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}
    return json.dumps(
        {
            "id": "c1",
            "object": "chat.completion",
            "created": 1,
            "model": request.json["model"],
            "choices": [choice],
            "usage": USAGE,
        }
    ).encode()


def delta(content: str | None, **fields: Any) -> bytes:
    """One event of a stream."""
    message = {"role": "assistant", "content": ""} if content is None else {"content": content}
    chunk = {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": message, "finish_reason": None}],
    } | fields
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


USAGE_EVENT = delta("", choices=[], usage=USAGE)
DONE = b"data: [DONE]\n\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; b"" ends it."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def ordinary(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
    """What a well-behaved engine does: a completion, or a stream of three tokens with usage when it was asked for."""
    if not request.json.get("stream"):
        writer.write(plain(200, completion(request)))
        return
    writer.write(STREAM_HEAD)
    for event in (delta(None), delta("One"), delta(" two"), delta(" three")):
        writer.write(chunk(event))
        await writer.drain()
    if (request.json.get("stream_options") or {}).get("include_usage"):
        writer.write(chunk(USAGE_EVENT))
    writer.write(chunk(DONE) + chunk(b""))


# --- What the gateway knows -------------------------------------------------------------------------------------------


@dataclass
class MemorySource:
    """A source without a database, whose answers a test changes at will."""

    keys: dict[str, KeyRecord] = field(default_factory=dict)
    projects: dict[int, dict[str, EndpointRecord]] = field(default_factory=dict)
    value: int = 1
    away: bool = False
    reads: list[str] = field(default_factory=list)
    bounds: list[Bound] = field(default_factory=list)  # token quotas
    sums: dict[Target, tuple[int, int]] = field(default_factory=dict)  # tokens of today and of this month
    offsets: dict[str, int] = field(default_factory=dict)  # how far each journal is in the ledger

    def _read(self, what: str) -> int:
        self.reads.append(what)
        if self.away:
            raise OperationalError("the database is away")
        return self.value

    def epoch(self) -> int:
        """The epoch."""
        return self._read("epoch")

    def key(self, digest: str) -> tuple[int, KeyRecord | None]:
        """A key by hash."""
        return self._read("key"), self.keys.get(digest)

    def endpoints(self, project_id: int) -> tuple[int, dict[str, EndpointRecord]]:
        """Endpoints of a project."""
        return self._read("endpoints"), dict(self.projects.get(project_id, {}))

    def quotas(self, project_id: int) -> tuple[int, dict[Target, tuple[Bound, ...]]]:
        """Token quotas of a project by target."""
        found: dict[Target, tuple[Bound, ...]] = {}
        for bound in self.bounds:
            if bound.project_id == project_id:
                found[bound.target] = (*found.get(bound.target, ()), bound)
        return self._read("quotas"), found

    def spent(self, wanted: Sequence[Bound], journals: Sequence[str]) -> Spent:
        """What the ledger has, and how far it is."""
        self._read("spent")
        now, targets = timezone.now(), frozenset(bound.target for bound in wanted)
        return Spent(floor(now, "day"), floor(now, "month"), targets, dict(self.sums), dict(self.offsets))

    def add_key(self, **fields: Any) -> str:
        """Add a key to project 1 and return its secret."""
        prefix, secret = new_secret()
        record = KeyRecord(
            id=f"id-{prefix}",
            prefix=prefix,
            ended="",
            expires_at=time.time() + 3600,
            project_id=1,
            project="fraud-detection",
            person="dana",
            purpose="api",
            scopes=frozenset({"inference:invoke"}),
            targets=None,
        )
        self.keys[hashlib.sha256(secret.encode()).hexdigest()] = replace(record, **fields)
        return secret

    def add_endpoint(self, name: str = "scoring", *urls: str, project_id: int = 1, **fields: Any) -> EndpointRecord:
        """Add a ready endpoint."""
        project = {1: "fraud-detection", 2: "search-ranking"}[project_id]
        record = EndpointRecord(
            id=f"endpoint-{project}-{name}",
            name=name,
            project=project,
            served_name=name,
            phase="ready",
            running=True,
            reason="It answers.",
            created=1_790_000_000,
            context_tokens=4096,
            upstreams=tuple(Upstream.parse(url, "engine-key") for url in urls),
        )
        self.projects.setdefault(project_id, {})[name] = replace(record, **fields)
        return record

    def clear(self) -> None:
        """Know nothing, and let every gateway notice."""
        self.keys.clear()
        self.projects.clear()
        self.bounds.clear()
        self.sums.clear()
        self.offsets.clear()
        self.value, self.away = self.value + 1, False
        self.reads.clear()


# --- The gateway ------------------------------------------------------------------------------------------------------


@dataclass
class Running:
    """A gateway that listens."""

    port: int
    journal: Path
    server: uvicorn.Server
    forgotten: set[tuple[str, int, str]] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def records(self, kind: str = "end") -> list[dict[str, Any]]:
        """What stands in the journal."""
        return [record for name, record in self._lines() if record["t"] == kind and name not in self.forgotten]

    def forget(self) -> None:
        """Leave out of `records` what stands in the journal now."""
        self.forgotten |= {name for name, _ in self._lines()}

    def _lines(self) -> Iterator[tuple[tuple[str, int, str], dict[str, Any]]]:
        for path in self.journal.glob("*.jsonl"):
            for line in path.read_text().splitlines()[1:]:
                record = json.loads(line)
                yield (path.name, record["s"], record["t"]), record

    def record(self) -> dict[str, Any]:
        """The one end record."""
        (record,) = until(self.records)
        return record  # type: ignore[no-any-return]

    def request(
        self,
        secret: str | None,
        body: Any = None,
        *,
        path: str = "/v1/chat/completions",
        method: str = "POST",
        **headers: str,
    ) -> "Answer":
        """Send one call and read the whole answer; `body` is JSON unless it is bytes."""
        connection = self.connect()
        try:
            self.send(connection, secret, body, path=path, method=method, **headers)
            response = connection.getresponse()
            return Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        finally:
            connection.close()

    def connect(self) -> http.client.HTTPConnection:
        """A connection of the client."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def send(
        self,
        connection: http.client.HTTPConnection,
        secret: str | None,
        body: Any,
        *,
        path: str = "/v1/chat/completions",
        method: str = "POST",
        **headers: str,
    ) -> None:
        """Send one call without reading the answer."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        if secret is not None:
            names["Authorization"] = f"Bearer {secret}"
        connection.request(method, path, raw, names)


@dataclass
class Answer:
    """What a client got."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the error."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return str(error["code"])


@contextmanager
def serving(journal: Path, **config: Any) -> Iterator[Running]:
    """The gateway of this process (`endpoints.gateways.builtin.app.gateway`) under uvicorn, with its lifespan."""
    listener = socket.create_server(("127.0.0.1", 0))
    options: dict[str, Any] = {
        "lifespan": "on",
        "log_config": None,
        "http": "httptools",
        "timeout_graceful_shutdown": 3,
    }
    server = uvicorn.Server(uvicorn.Config(gateway_app.gateway, **(options | config)))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    try:
        until(lambda: server.started)
        yield Running(listener.getsockname()[1], journal, server)
    finally:
        server.should_exit = True
        thread.join(15)
        listener.close()
    assert not thread.is_alive()


@dataclass
class Stage:
    """One gateway, one engine behind it, and what the gateway knows: kept for a module, swept for every test."""

    gateway: Running
    engine: Engine
    source: MemorySource

    def sweep(self) -> None:
        """As new: one endpoint `scoring` on a well-behaved engine, no key."""
        self.engine.script = ordinary
        self.engine.requests.clear()
        self.engine.hung_up.clear()
        self.source.clear()
        self.source.add_endpoint("scoring", self.engine.url)
        self.source.add_endpoint("alpha", phase="pending")
        self.gateway.forget()
        assert gateway_app._instance is not None
        directory = gateway_app._instance._directory
        assert directory._poller is not None
        loop = directory._poller.get_loop()
        loop.call_soon_threadsafe(gateway_app._instance._pool.close)
        loop.call_soon_threadsafe(directory.nudge)
        until(lambda: directory._epoch == self.source.value)
        self.source.reads.clear()


@contextmanager
def staged(folder: Path, **options: Any) -> Iterator[Stage]:
    """A stage whose gateway reads from memory; `options` are settings."""
    source = MemorySource()
    with (
        Engine(ordinary) as engine,
        pytest.MonkeyPatch.context() as patch,
        override_settings(STATE_DIR=folder, **options),
    ):
        patch.setattr(gateway_app, "DatabaseSource", lambda: source)
        with serving(folder / "journal") as gateway:
            yield Stage(gateway, engine, source)


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
