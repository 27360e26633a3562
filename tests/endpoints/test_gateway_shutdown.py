"""Stopping the server: running streams end in peace, a stuck one is cut off, and every call has its record."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from endpoints.gateways.builtin import app as gateway_app
from tests.endpoints.gateway_kit import DONE, STREAM_HEAD, Engine, MemorySource, Received, chunk, delta, serving, until

CHAT = {"model": "scoring", "messages": [], "stream": True}


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> MemorySource:
    made = MemorySource()
    monkeypatch.setattr(gateway_app, "DatabaseSource", lambda: made)
    return made


def test_a_running_stream_ends_in_peace(source: MemorySource, state_dir: Path) -> None:
    stopping = threading.Event()

    async def script(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunk(delta("a")))
        await asyncio.to_thread(stopping.wait, 5)
        for _ in range(5):
            await asyncio.sleep(0.05)
            writer.write(chunk(delta("b")))
        writer.write(chunk(DONE) + chunk(b""))

    answers: list[bytes] = []
    with Engine(script) as engine:
        source.add_endpoint("scoring", engine.url)
        with serving(state_dir / "journal") as gateway:
            secret = source.add_key()
            caller = threading.Thread(target=lambda: answers.append(gateway.request(secret, CHAT).body))
            caller.start()
            until(lambda: engine.requests)
            gateway.server.should_exit = True
            stopping.set()
        caller.join(5)
        assert answers == [delta("a") + delta("b") * 5 + DONE]
        assert gateway.record()["outcome"] == "ok"


@pytest.mark.parametrize("patience", [0, 30])
def test_a_stuck_stream_is_cut_off_and_recorded(
    source: MemorySource, state_dir: Path, monkeypatch: pytest.MonkeyPatch, patience: int
) -> None:
    """By the server, which cancels its tasks, or, where it has no such limit, by the gateway itself."""
    monkeypatch.setattr(gateway_app, "DRAIN_SECONDS", 0.1)

    async def script(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunk(delta("a")))
        while not request.gone():
            await asyncio.sleep(0.01)
        engine.hung_up.set()

    def call(secret: str, gateway: Any) -> None:
        with pytest.raises(Exception):  # noqa: B017 - whatever the client makes of a broken connection
            gateway.request(secret, CHAT)

    with Engine(script) as engine:
        source.add_endpoint("scoring", engine.url)
        with serving(state_dir / "journal", timeout_graceful_shutdown=patience) as gateway:
            caller = threading.Thread(target=call, args=(source.add_key(), gateway))
            caller.start()
            until(lambda: engine.requests)
            if patience:
                assert gateway_app._instance is not None
                stop = gateway_app._instance.stop
                loop = gateway_app._instance._directory._poller.get_loop()  # type: ignore[union-attr]
                asyncio.run_coroutine_threadsafe(stop(), loop).result(5)
        caller.join(5)
        assert engine.hung_up.wait(2)
        record = gateway.record()
        assert (record["outcome"], record["estimated"], record["output_tokens"]) == ("interrupted", True, 1)
