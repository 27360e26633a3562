"""Streams through a real gateway: passed chunk by chunk, metered by the last usage, whole for every one of many
clients.
"""

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from endpoints.gateways.builtin.events import Stream
from tests.endpoints.gateway_kit import (
    DONE,
    STREAM_HEAD,
    USAGE,
    USAGE_EVENT,
    Engine,
    MemorySource,
    Received,
    Running,
    Stage,
    chunk,
    delta,
    staged,
    until,
)

pytestmark = pytest.mark.slow

CHAT = {"model": "scoring", "messages": [{"role": "user", "content": "Say hello."}], "stream": True}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("gateway")) as made:
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


def sends(*events: bytes, end: bytes = b"") -> Any:
    """A script that streams `events`, each in a chunk of its own."""

    async def script(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        for event in events:
            writer.write(chunk(event))
            await writer.drain()
        writer.write(chunk(end))

    return script


def test_a_stream_is_passed_on_and_metered(gateway: Running, source: MemorySource, engine: Engine) -> None:
    answer = gateway.request(source.add_key(), CHAT)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-request-id"]
    assert answer.body == delta(None) + delta("One") + delta(" two") + delta(" three") + DONE
    record = gateway.record()
    assert (record["input_tokens"], record["output_tokens"], record["cached_tokens"]) == (7, 3, 4)
    assert (record["outcome"], record["status"], record["stream"], record["estimated"]) == ("ok", 200, True, False)
    assert 0 < record["ttft_ms"] <= record["latency_ms"]


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_usage": None}])
def test_usage_is_asked_for_and_stripped_when_the_client_did_not_ask(
    gateway: Running, source: MemorySource, engine: Engine, options: Any
) -> None:
    answer = gateway.request(source.add_key(), CHAT | {"stream_options": options})
    assert engine.requests[0].json["stream_options"]["include_usage"] is True
    assert b'"usage"' not in answer.body
    assert gateway.record()["output_tokens"] == 3


def test_usage_stays_when_the_client_asked(gateway: Running, source: MemorySource, engine: Engine) -> None:
    body = CHAT | {"stream_options": {"include_usage": True, "continuous_usage_stats": False}}
    answer = gateway.request(source.add_key(), body)
    assert engine.requests[0].json["stream_options"] == body["stream_options"]
    assert answer.body.endswith(USAGE_EVENT + DONE)


def test_usage_on_every_chunk_is_the_last_one_not_the_sum(
    gateway: Running, source: MemorySource, engine: Engine
) -> None:
    def counted(number: int) -> dict[str, Any]:
        return {"usage": {"prompt_tokens": 7, "completion_tokens": number, "total_tokens": 7 + number}}

    events = [delta("a", **counted(1)), delta("b", **counted(2)), delta("c", **counted(3))]
    engine.script = sends(*events, delta("", choices=[], **counted(3)), DONE)
    assert gateway.request(source.add_key(), CHAT).body == b"".join([*events, DONE])
    assert gateway.record()["output_tokens"] == 3


def test_an_engine_without_usage_is_estimated_and_marked(
    gateway: Running, source: MemorySource, engine: Engine
) -> None:
    engine.script = sends(delta(None), delta("a"), delta("b"), delta("c"), DONE)
    gateway.request(source.add_key(), CHAT)
    record = gateway.record()
    assert (record["output_tokens"], record["estimated"]) == (3, True)
    assert record["input_tokens"] == len(json.dumps(CHAT)) // 4


def test_responses_are_metered_from_their_last_event(gateway: Running, source: MemorySource, engine: Engine) -> None:
    usage = {"input_tokens": 11, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 2}}
    events = [
        b'event: response.created\ndata: {"type":"response.created","response":{"usage":null}}\n\n',
        b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"Hi"}\n\n',
        b"event: response.completed\ndata: "
        + json.dumps({"type": "response.completed", "response": {"usage": usage}}).encode()
        + b"\n\n",
    ]
    engine.script = sends(*events)
    answer = gateway.request(source.add_key(), CHAT, path="/v1/responses")
    assert answer.body == b"".join(events)
    assert "stream_options" not in engine.requests[0].json
    record = gateway.record()
    assert (record["input_tokens"], record["output_tokens"], record["cached_tokens"]) == (11, 5, 2)
    assert record["ttft_ms"] is not None


def test_chunks_arrive_before_the_next_is_made(gateway: Running, source: MemorySource, engine: Engine) -> None:
    steps = [threading.Event() for _ in range(3)]

    async def script(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        for number, step in enumerate(steps):
            writer.write(chunk(delta(f"n{number}")))
            await writer.drain()
            await asyncio.to_thread(step.wait, 5)
        writer.write(chunk(DONE) + chunk(b""))

    engine.script = script
    connection = gateway.connect()
    gateway.send(connection, source.add_key(), CHAT)
    response = connection.getresponse()
    for number, step in enumerate(steps):
        assert json.loads(response.readline()[6:])["choices"][0]["delta"]["content"] == f"n{number}"
        assert response.readline() == b"\n"
        step.set()
    assert response.read() == DONE
    connection.close()


def test_the_end_record_is_written_before_the_last_byte_leaves(
    gateway: Running, source: MemorySource, engine: Engine
) -> None:
    for _ in range(20):
        connection = gateway.connect()
        gateway.send(connection, source.add_key(), CHAT)
        response = connection.getresponse()
        while response.readline() != b"data: [DONE]\n":
            pass
        assert len(gateway.records()) == len(gateway.records("start"))
        connection.close()


def test_a_client_that_hangs_up_stops_the_engine_and_is_recorded(
    gateway: Running, source: MemorySource, engine: Engine
) -> None:
    async def endless(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        try:
            while True:
                writer.write(chunk(delta("x")))
                await writer.drain()
                await asyncio.sleep(0.005)
        except ConnectionError:
            engine.hung_up.set()
            raise

    engine.script = endless
    connection = gateway.connect()
    gateway.send(connection, source.add_key(), CHAT)
    response = connection.getresponse()
    for _ in range(10):
        response.readline()
    response.close()
    connection.close()
    assert engine.hung_up.wait(3)
    record = gateway.record()
    assert (record["outcome"], record["status"], record["estimated"]) == ("cancelled", 499, True)
    assert record["output_tokens"] >= 5
    assert gateway.request(source.add_key(), CHAT | {"model": "alpha"}).status == 503  # and the gateway goes on


def test_a_client_that_hangs_up_before_the_first_byte_stops_the_engine(
    gateway: Running, source: MemorySource, engine: Engine
) -> None:
    async def thinks(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
        while not request.gone():
            await asyncio.sleep(0.005)
        engine.hung_up.set()

    engine.script = thinks
    connection = gateway.connect()
    gateway.send(connection, source.add_key(), CHAT | {"stream": False})
    until(lambda: engine.requests)
    connection.close()
    assert engine.hung_up.wait(3)
    assert gateway.record()["outcome"] == "cancelled"


def test_an_engine_that_dies_in_the_middle_ends_the_stream_with_an_error(
    gateway: Running, source: MemorySource, engine: Engine
) -> None:
    async def dies(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunk(delta("a")) + chunk(delta("b")))
        await writer.drain()
        writer.close()

    engine.script = dies
    answer = gateway.request(source.add_key(), CHAT)
    assert answer.body.startswith(delta("a") + delta("b"))
    error = json.loads(answer.body.split(b"\n\n")[-2].removeprefix(b"data: "))["error"]
    assert error["code"] == "upstream_error"
    record = gateway.record()
    assert (record["outcome"], record["status"], record["output_tokens"], record["estimated"]) == (
        "error",
        200,
        2,
        True,
    )


def test_an_error_event_of_the_engine_passes_and_counts_as_error(
    gateway: Running, source: MemorySource, engine: Engine
) -> None:
    event = b'data: {"error": {"message": "The engine is dead.", "code": 500}}\n\n'
    engine.script = sends(delta("a"), event, DONE)
    assert gateway.request(source.add_key(), CHAT).body == delta("a") + event + DONE
    assert gateway.record()["outcome"] == "error"


def test_an_engines_error_before_the_stream_keeps_its_status(
    gateway: Running, source: MemorySource, engine: Engine
) -> None:
    async def refuses(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
        body = (
            b'{"error": {"message": "max_tokens is too large", "type": "BadRequestError", "param": null, "code": 400}}'
        )
        writer.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        )
        writer.write(body)

    engine.script = refuses
    answer = gateway.request(source.add_key(), CHAT)
    assert answer.status == 400
    assert answer.json["error"]["message"] == "max_tokens is too large"
    record = gateway.record()
    assert (record["outcome"], record["status"], record["input_tokens"], record["estimated"]) == (
        "error",
        400,
        0,
        False,
    )


def test_fifty_streams_at_once_lose_no_chunk(gateway: Running, source: MemorySource, engine: Engine) -> None:
    async def counts(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        for number in range(60):
            data = chunk(delta(f"{request.json['user']}-{number} "))
            cut = number % len(data)  # chunks of HTTP and events do not end together on the wire
            writer.write(data[:cut])
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(data[cut:])
        usage = {**USAGE, "completion_tokens": 60}
        writer.write(chunk(delta("", choices=[], usage=usage)))
        writer.write(chunk(DONE) + chunk(b""))

    engine.script = counts
    secret = source.add_key()
    answers: dict[int, bytes] = {}

    def call(number: int) -> None:
        answers[number] = gateway.request(secret, CHAT | {"user": str(number)}).body

    threads = [threading.Thread(target=call, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for number in range(50):
        assert answers[number] == b"".join(delta(f"{number}-{step} ") for step in range(60)) + DONE
    records = gateway.records()
    assert len(records) == 50
    assert {record["output_tokens"] for record in records} == {60}
    assert len({record["s"] for record in records}) == 50


def test_a_slow_client_slows_the_engine_instead_of_filling_memory(
    gateway: Running, source: MemorySource, engine: Engine
) -> None:
    sent = 0

    async def gushes(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(STREAM_HEAD)
        event = chunk(delta("x" * 10_000))
        for _ in range(3000):
            writer.write(event)
            await writer.drain()
            sent += len(event)
        writer.write(chunk(DONE) + chunk(b""))

    engine.script = gushes
    connection = gateway.connect()
    gateway.send(connection, source.add_key(), CHAT)
    response = connection.getresponse()
    response.readline()
    last, since = -1, time.monotonic()
    while time.monotonic() - since < 0.3:  # until the engine has been held up for a while
        if sent != last:
            last, since = sent, time.monotonic()
        time.sleep(0.01)
    assert sent < 20_000_000
    assert response.read().endswith(DONE)
    assert sent > 30_000_000
    connection.close()


# --- The filter alone


def parts(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100_000])
@pytest.mark.parametrize("strip", [True, False])
def test_however_the_bytes_are_cut_the_same_comes_out(newline: bytes, size: int, strip: bool) -> None:
    events = [
        b": keep-alive\n\n",
        delta(None),
        delta('say "usage": {} [DONE] \n\n data: [DONE]'),
        b": ping\n\n",
        delta("ü😀"),
    ]
    data = b"".join([*events, USAGE_EVENT, DONE]).replace(b"\n", newline)
    stream = Stream(strip_usage=strip)
    out = b"".join(stream.feed(piece) for piece in parts(data, size))
    assert not re.search(rb"^data: ?\[DONE\]", out, re.MULTILINE)
    out += stream.finish()
    kept = b"".join([*events, *([] if strip else [USAGE_EVENT]), DONE]).replace(b"\n", newline)
    assert out == kept
    assert stream.content_chunks == 2
    usage = stream.usage()
    assert usage is not None and (usage.input_tokens, usage.output_tokens, usage.cached_tokens) == (7, 3, 4)


def test_the_role_alone_is_no_first_token() -> None:
    stream = Stream(strip_usage=True)
    stream.feed(delta(None))
    assert stream.first_content_at is None
    stream.feed(delta("a"))
    assert stream.first_content_at is not None
