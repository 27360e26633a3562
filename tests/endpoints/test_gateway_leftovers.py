"""Answers that run when their key ends: they go on for a while, then they are broken off, each with its record."""

import asyncio
import hashlib
import http.client
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from endpoints.gateways.builtin import app as gateway_app
from endpoints.gateways.builtin import leftovers as module
from tests.endpoints.gateway_kit import (
    DONE,
    STREAM_HEAD,
    Answer,
    Engine,
    MemorySource,
    Received,
    Running,
    chunk,
    delta,
    serving,
    until,
)

pytestmark = pytest.mark.slow

CHAT = {"model": "scoring", "messages": []}


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> MemorySource:
    made = MemorySource()
    monkeypatch.setattr(gateway_app, "DatabaseSource", lambda: made)
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    return made


async def endless(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
    """An answer without an end; without `stream` not even a beginning."""
    streams = bool(request.json.get("stream"))
    writer.write(STREAM_HEAD if streams else b"")
    try:
        while not request.gone():
            writer.write(chunk(delta("a")) if streams else b"")
            await writer.drain()  # tells of a connection that was reset, which is no end of file
            await asyncio.sleep(0.02)
    finally:
        engine.hung_up.set()


def end(source: MemorySource, secret: str, **fields: Any) -> None:
    """Change a key as the database would show it."""
    hashed = hashlib.sha256(secret.encode()).hexdigest()
    source.keys[hashed] = replace(source.keys[hashed], **fields)
    source.value += 1


class Caller:
    """A call in a thread of its own."""

    def __init__(self, gateway: Running, secret: str, body: Any) -> None:
        self.answer: Answer | None = None
        self._call: Callable[[], Answer] = lambda: gateway.request(secret, body)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with suppress(http.client.HTTPException):  # still running when the server stops
            self.answer = self._call()

    def told(self) -> Answer:
        """The answer, once it is whole."""
        self.thread.join(10)
        assert self.answer is not None
        return self.answer


@pytest.mark.parametrize(
    "change", [{"ended": "The key gth_x was revoked."}, {"expires_at": 1.0}], ids=["revoked", "expired"]
)
def test_a_stream_without_end_is_broken_off(
    source: MemorySource, state_dir: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    monkeypatch.setattr(module, "LEFTOVER_SECONDS", 0.5)
    with Engine(endless) as engine, serving(state_dir / "journal") as gateway:
        source.add_endpoint("scoring", engine.url)
        ends, stays = source.add_key(), source.add_key()
        broken, goes_on = (Caller(gateway, secret, CHAT | {"stream": True}) for secret in (ends, stays))
        until(lambda: len(engine.requests) == 2)
        end(source, ends, **change)
        ended = time.monotonic()
        answer = broken.told()
        assert time.monotonic() - ended >= 0.5  # it had its time
        assert answer.status == 200 and DONE not in answer.body
        last = Answer(200, {}, answer.body.rstrip().rpartition(b"data: ")[2])
        assert last.code == "invalid_api_key"
        assert engine.hung_up.wait(2)
        record = gateway.record()
        assert (record["outcome"], record["status"], record["estimated"]) == ("interrupted", 200, True)
        assert record["output_tokens"] >= 1
        assert goes_on.answer is None and goes_on.thread.is_alive()


def test_an_answer_that_has_not_begun_is_refused(
    source: MemorySource, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEFTOVER_SECONDS", 0.1)
    with Engine(endless) as engine, serving(state_dir / "journal") as gateway:
        source.add_endpoint("scoring", engine.url)
        secret = source.add_key()
        caller = Caller(gateway, secret, CHAT)
        until(lambda: engine.requests)
        end(source, secret, ended="The key gth_x was revoked.")
        answer = caller.told()
        assert (answer.status, answer.code) == (401, "invalid_api_key")
        assert (gateway.record()["outcome"], gateway.record()["status"]) == ("interrupted", 401)


def test_an_answer_in_time_comes_to_its_end(source: MemorySource, state_dir: Path) -> None:
    noticed = threading.Event()

    async def script(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunk(delta("a")))
        await asyncio.to_thread(noticed.wait, 5)
        writer.write(chunk(DONE) + chunk(b""))

    with Engine(script) as engine, serving(state_dir / "journal") as gateway:
        source.add_endpoint("scoring", engine.url)
        secret = source.add_key()
        caller = Caller(gateway, secret, CHAT | {"stream": True})
        until(lambda: engine.requests)
        end(source, secret, ended="The key gth_x was revoked.")
        assert gateway_app._instance is not None
        until(lambda: gateway_app._instance._leftovers._ended)  # type: ignore[union-attr]
        noticed.set()
        assert caller.told().body == delta("a") + DONE
        assert gateway.record()["outcome"] == "ok"


def test_while_nobody_can_judge_it_goes_on(
    source: MemorySource, state_dir: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(module, "LEFTOVER_SECONDS", 0.0)
    settings.GATEWAY_GRACE_SECONDS = 0
    with Engine(endless) as engine, serving(state_dir / "journal") as gateway:
        source.add_endpoint("scoring", engine.url)
        secret = source.add_key()
        caller = Caller(gateway, secret, CHAT | {"stream": True})
        until(lambda: engine.requests)
        source.away = True
        end(source, secret, ended="The key gth_x was revoked.")
        until(lambda: gateway.request(secret, method="GET", path="/v1/models").status == 503)
        assert caller.thread.is_alive()
        source.away = False
        assert b"invalid_api_key" in caller.told().body
