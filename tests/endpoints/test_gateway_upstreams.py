"""Engines that misbehave: refuse, reset, hang, talk nonsense, close kept connections, or are several."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from endpoints.gateways.builtin.upstream import Pool, Upstream
from tests.endpoints.gateway_kit import (
    DONE,
    STREAM_HEAD,
    Engine,
    MemorySource,
    Received,
    Running,
    Stage,
    chunk,
    completion,
    delta,
    ordinary,
    plain,
    staged,
    until,
)

pytestmark = pytest.mark.slow

CHAT = {"model": "scoring", "messages": [{"role": "user", "content": "Say hello."}]}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("gateway"), GATEWAY_UPSTREAM_TIMEOUT_SECONDS=0.4) as made:
        yield made


@pytest.fixture(autouse=True)
def _swept(stage: Stage) -> None:
    stage.sweep()


@pytest.fixture
def engine(stage: Stage) -> Engine:
    return stage.engine


@pytest.fixture
def source(stage: Stage) -> MemorySource:
    return stage.source


@pytest.fixture
def gateway(stage: Stage) -> Running:
    return stage.gateway


@pytest.fixture
def closed_port() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def writes(*pieces: bytes, close: bool = False, reset: bool = False) -> Any:
    """A script that writes raw bytes."""

    async def script(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if reset:
            writer.transport.abort()
        elif close:
            writer.close()

    return script


async def hangs(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
    while not request.gone():
        await asyncio.sleep(0.01)
    engine.hung_up.set()


def test_an_engine_that_refuses_is_502(gateway: Running, source: MemorySource, closed_port: str) -> None:
    source.add_endpoint("scoring", closed_port)
    answer = gateway.request(source.add_key(), CHAT)
    assert (answer.status, answer.code) == (502, "upstream_error")
    assert answer.headers["retry-after"] == "2"
    assert closed_port not in answer.body.decode()
    record = gateway.record()
    assert (record["status"], record["outcome"], record["input_tokens"]) == (502, "error", 0)


@pytest.mark.parametrize(
    "script",
    [
        writes(reset=True),
        writes(close=True),
        writes(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{", close=True),
        writes(b"SSH-2.0-OpenSSH_9.2\r\n"),
        writes(b"\x00" * 4096),
        writes(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 80_000),
        writes(b"HTTP/1.1 200 OK\r\n" + b"".join(b"h%d: x\r\n" % number for number in range(20_000)) + b"\r\n"),
        writes(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
        writes(plain(302, b"", "location: http://169.254.169.254/")),
        writes(plain(500, b"<html>", "content-type: text/html")),
        writes(plain(401, b'{"error":"Unauthorized"}')),
        writes(plain(503, b"[]")),
    ],
)
def test_an_engine_that_breaks_off_or_talks_nonsense_is_502(
    gateway: Running, source: MemorySource, engine: Engine, script: Any
) -> None:
    engine.script = script
    answer = gateway.request(source.add_key(), CHAT)
    assert (answer.status, answer.code) == (502, "upstream_error")
    assert gateway.record()["status"] == 502
    assert len(engine.requests) == 1
    engine.script = ordinary
    assert gateway.request(source.add_key(), CHAT).status == 200


@pytest.mark.parametrize("status", [400, 404, 422, 429, 500, 503])
def test_an_engines_own_errors_pass(gateway: Running, source: MemorySource, engine: Engine, status: int) -> None:
    body = json.dumps({"error": {"message": "no", "type": "x", "param": None, "code": status}}).encode()
    engine.script = writes(plain(status, body, "retry-after: 7"))
    answer = gateway.request(source.add_key(), CHAT)
    assert (answer.status, answer.body, answer.headers["retry-after"]) == (status, body, "7")
    assert (gateway.record()["status"], gateway.record()["outcome"]) == (status, "error")


def test_an_engine_that_hangs_is_504_and_is_hung_up_on(gateway: Running, source: MemorySource, engine: Engine) -> None:
    engine.script = hangs
    answer = gateway.request(source.add_key(), CHAT)
    assert (answer.status, answer.code) == (504, "upstream_timeout")
    assert engine.hung_up.wait(2)
    assert gateway.record()["status"] == 504


def test_an_engine_that_stops_in_the_middle_of_a_stream(gateway: Running, source: MemorySource, engine: Engine) -> None:
    async def script(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunk(delta("a")))
        await hangs(engine, request, writer)

    engine.script = script
    answer = gateway.request(source.add_key(), CHAT | {"stream": True})
    assert answer.body.startswith(delta("a"))
    assert b'"upstream_timeout"' in answer.body
    assert engine.hung_up.wait(2)


def test_a_slow_but_steady_stream_is_not_cut(gateway: Running, source: MemorySource, engine: Engine) -> None:
    async def script(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        for _ in range(6):  # together longer than the timeout, each shorter
            await asyncio.sleep(0.15)
            writer.write(chunk(delta("a")))
            await writer.drain()
        writer.write(chunk(DONE) + chunk(b""))

    engine.script = script
    assert gateway.request(source.add_key(), CHAT | {"stream": True}).body == delta("a") * 6 + DONE


def test_connections_are_kept(gateway: Running, source: MemorySource, engine: Engine) -> None:
    secret = source.add_key()
    for stream in (False, True) * 5:
        assert gateway.request(secret, CHAT | {"stream": stream}).status == 200
    assert len({request.connection for request in engine.requests}) == 1


def test_a_stream_whose_end_comes_late_still_keeps_its_connection(
    gateway: Running, source: MemorySource, engine: Engine
) -> None:
    async def script(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunk(delta("a")) + chunk(DONE))
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(chunk(b""))

    engine.script = script
    secret = source.add_key()
    gateway.request(secret, CHAT | {"stream": True})
    before = engine.connections
    until(lambda: _idle_connections() > 0)
    engine.script = ordinary
    assert gateway.request(secret, CHAT).status == 200
    assert engine.connections == before


def _idle_connections() -> int:
    from endpoints.gateways.builtin import app

    assert app._instance is not None
    return sum(len(kept) for kept in app._instance._pool._idle.values())


def test_a_kept_connection_that_the_engine_closed_costs_nothing(
    gateway: Running, source: MemorySource, engine: Engine
) -> None:
    secret = source.add_key()
    for _ in range(10):
        assert gateway.request(secret, CHAT).status == 200
        engine.drop()
    assert {record["outcome"] for record in gateway.records()} == {"ok"}


def test_a_connection_closed_on_arrival_of_the_second_call_is_retried_once(
    gateway: Running, source: MemorySource, engine: Engine
) -> None:
    async def only_one_call_each(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
        if sum(one.connection == request.connection for one in engine.requests) > 1:
            writer.transport.abort()
        else:
            writer.write(plain(200, completion(request)))

    engine.script = only_one_call_each
    secret = source.add_key()
    assert [gateway.request(secret, CHAT).status for _ in range(3)] == [200, 200, 200]


def test_a_call_that_an_engine_died_of_is_not_repeated(gateway: Running, source: MemorySource, engine: Engine) -> None:
    async def works_then_dies(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
        if request.json["messages"] == []:
            writer.write(b"HTTP/1.1 200 OK\r\n")
            await writer.drain()
            writer.transport.abort()
        else:
            writer.write(plain(200, completion(request)))

    engine.script = works_then_dies
    secret = source.add_key()
    assert gateway.request(secret, CHAT).status == 200
    assert gateway.request(secret, CHAT | {"messages": []}).status == 502
    assert len(engine.requests) == 2


def test_stray_bytes_never_become_the_answer_to_the_next_call(
    gateway: Running, source: MemorySource, engine: Engine
) -> None:
    async def answers_twice(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
        evil = json.dumps({"choices": [], "stolen": True}).encode()
        writer.write(plain(200, completion(request)) + plain(200, evil))

    engine.script = answers_twice
    secret = source.add_key()
    for _ in range(5):
        assert "stolen" not in gateway.request(secret, CHAT).json
    assert len({request.connection for request in engine.requests}) == 5


def test_an_answer_that_ends_with_the_connection(gateway: Running, source: MemorySource, engine: Engine) -> None:
    engine.script = writes(b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n", b'{"x":', b"1}", close=True)
    assert gateway.request(source.add_key(), CHAT).json == {"x": 1}
    assert gateway.record()["estimated"] is True


def test_early_hints_are_skipped(gateway: Running, source: MemorySource, engine: Engine) -> None:
    engine.script = writes(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", plain(200, b'{"x":1}')
    )
    assert gateway.request(source.add_key(), CHAT).json == {"x": 1}
    assert gateway.request(source.add_key(), CHAT).json == {"x": 1}


def test_an_answer_too_large_to_hold_is_502(
    gateway: Running, source: MemorySource, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("endpoints.gateways.builtin.relay.MAX_ANSWER_BYTES", 10_000)
    engine.script = writes(plain(200, b"x" * 20_000))
    assert gateway.request(source.add_key(), CHAT).code == "upstream_error"


def test_a_large_answer_is_metered(gateway: Running, source: MemorySource, engine: Engine) -> None:
    data = [{"object": "embedding", "index": 0, "embedding": [0.1] * 200_000}]
    body = json.dumps({"object": "list", "data": data, "usage": {"prompt_tokens": 9, "total_tokens": 9}}).encode()
    engine.script = writes(plain(200, body))
    assert gateway.request(source.add_key(), CHAT, path="/v1/embeddings").body == body
    assert (gateway.record()["input_tokens"], gateway.record()["estimated"]) == (9, False)


# --- Several replicas


def test_a_replica_that_refuses_is_skipped(
    gateway: Running, source: MemorySource, engine: Engine, closed_port: str
) -> None:
    source.add_endpoint("scoring", closed_port, engine.url)
    secret = source.add_key()
    assert [gateway.request(secret, CHAT).status for _ in range(5)] == [200] * 5
    assert {record["outcome"] for record in gateway.records()} == {"ok"}


def test_calls_go_to_the_replica_with_the_fewest_open_ones(
    gateway: Running, source: MemorySource, engine: Engine
) -> None:
    release = threading.Event()

    async def waits(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
        while not release.is_set():
            await asyncio.sleep(0.005)
        writer.write(plain(200, completion(request)))

    engine.script = waits
    with Engine(waits) as second:
        source.add_endpoint("scoring", engine.url, second.url)

        def arrived(number: int) -> bool:
            return len(engine.requests) + len(second.requests) == number

        secret = source.add_key()
        threads = [threading.Thread(target=gateway.request, args=(secret, CHAT)) for _ in range(4)]
        for number, thread in enumerate(threads, start=1):
            thread.start()
            until(partial(arrived, number), 0.3)
        assert (len(engine.requests), len(second.requests)) == (2, 2)
        release.set()
        for thread in threads:
            thread.join(5)


def test_a_call_that_reached_one_replica_is_never_sent_to_another(
    gateway: Running, source: MemorySource, engine: Engine
) -> None:
    engine.script = writes(reset=True)
    with Engine(writes(reset=True)) as second:
        source.add_endpoint("scoring", engine.url, second.url)
        assert gateway.request(source.add_key(), CHAT).status == 502
        assert len(engine.requests) + len(second.requests) == 1


# --- Addresses


@pytest.mark.parametrize(
    "url", ["", "ftp://x", "http://", "/path", "unix://", "http://a\r\nx: y", "http://a b", "http://a:99999"]
)
def test_an_odd_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        Upstream.parse(url)


def test_an_engine_key_cannot_smuggle_a_header() -> None:
    with pytest.raises(ValueError):
        Upstream.parse("http://127.0.0.1:1", "key\r\nx: y")


def test_a_request_goes_below_the_engines_prefix() -> None:
    head = Upstream.parse("http://127.0.0.1:9/tenant/", "k").request("/v1/completions", [(b"a", b"b")], b"{}")
    assert head == (
        b"POST /tenant/v1/completions HTTP/1.1\r\nhost: 127.0.0.1:9\r\nauthorization: Bearer k\r\n"
        b"a: b\r\ncontent-length: 2\r\n\r\n{}"
    )


def test_an_engine_behind_a_unix_socket(tmp_path: Path) -> None:
    async def run() -> bytes:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"{}")
            writer.write(plain(200, b"from a socket"))

        path = tmp_path / "engine.sock"
        server = await asyncio.start_unix_server(serve, path)
        pool = Pool(patience=2)
        upstream, connection = await pool.call((Upstream.parse(f"unix://{path}"),), "/v1/completions", [], b"{}")
        answer = await connection.read()
        pool.done(upstream, connection)
        pool.close()
        server.close()
        return answer

    assert asyncio.run(run()) == b"from a socket"
