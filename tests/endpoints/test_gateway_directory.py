"""The directory: no query on the hot path, changes within a second without a bus, grace while the database is away."""

import asyncio
import hashlib
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from endpoints.gateways.builtin import app as gateway_app
from endpoints.gateways.builtin import directory as module
from endpoints.gateways.builtin.directory import Directory, Entry, Shelf
from endpoints.gateways.builtin.errors import Refusal
from tests.endpoints.gateway_kit import Engine, MemorySource, Running, ordinary, serving, until

pytestmark = pytest.mark.slow

CHAT = {"model": "scoring", "messages": [{"role": "user", "content": "Say hello."}]}


class Clock:
    """A clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def run(check: Callable[[Directory, MemorySource, Clock], Awaitable[None]], *, grace: float = 60.0) -> None:
    """Run `check` with a directory over a source in memory, without its poller."""

    async def main() -> None:
        source, clock = MemorySource(), Clock()
        directory = Directory(source, grace_seconds=grace, clock=clock)
        directory._epoch = source.value
        await check(directory, source, clock)
        await directory.stop()

    asyncio.run(main())


def test_a_known_key_is_read_once() -> None:
    async def check(directory: Directory, source: MemorySource, clock: Clock) -> None:
        secret = source.add_key()
        for _ in range(100):
            assert await directory.key(digest(secret)) is not None
        assert source.reads == ["key"]

    run(check)


def test_a_moved_epoch_is_read_again_once_for_all_who_wait() -> None:
    async def check(directory: Directory, source: MemorySource, clock: Clock) -> None:
        secret = source.add_key()
        await directory.key(digest(secret))
        source.keys[digest(secret)] = replace(source.keys[digest(secret)], ended="revoked")
        source.value = directory._epoch = 2
        found = await asyncio.gather(*[directory.key(digest(secret)) for _ in range(50)])
        assert {record.ended for record in found if record} == {"revoked"}
        assert source.reads == ["key", "key"]

    run(check)


def test_a_read_that_began_before_the_change_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(directory: Directory, source: MemorySource, clock: Clock) -> None:
        secret = source.add_key()
        begun, go_on = threading.Event(), threading.Event()
        read = source.key

        def slowly(hashed: str) -> tuple[int, Any]:
            answer = read(hashed)
            if not begun.is_set():
                begun.set()
                go_on.wait(5)
            return answer

        monkeypatch.setattr(source, "key", slowly)
        asked = asyncio.create_task(directory.key(digest(secret)))
        await asyncio.to_thread(begun.wait, 5)
        source.keys[digest(secret)] = replace(source.keys[digest(secret)], ended="revoked")
        source.value = directory._epoch = 2
        go_on.set()
        record = await asked
        assert record is not None and record.ended == "revoked"

    run(check)


def test_one_caller_who_leaves_does_not_end_the_read_of_the_others() -> None:
    async def check(directory: Directory, source: MemorySource, clock: Clock) -> None:
        hashed = digest(source.add_key())
        leaver, stayer = (asyncio.create_task(directory.key(hashed)) for _ in range(2))
        await asyncio.sleep(0)
        leaver.cancel()
        assert await stayer is not None
        assert source.reads == ["key"]

    run(check)


def test_what_refuses_is_asked_again_after_a_second() -> None:
    async def check(directory: Directory, source: MemorySource, clock: Clock) -> None:
        key = source.add_key()
        record = await directory.key(digest(key))
        assert record is not None
        assert await directory.endpoint(record, "scoring") is None
        source.add_endpoint("scoring", "http://127.0.0.1:1")  # no epoch moved
        assert await directory.endpoint(record, "scoring") is None
        clock.now += module.REFUSAL_SECONDS
        assert await directory.endpoint(record, "scoring") is not None
        assert source.reads.count("endpoints") == 2

    run(check)


def test_an_old_entry_is_read_again_though_no_epoch_moved() -> None:
    async def check(directory: Directory, source: MemorySource, clock: Clock) -> None:
        hashed = digest(source.add_key())
        await directory.key(hashed)
        source.keys[hashed] = replace(source.keys[hashed], ended="changed by hand")
        clock.now += module.MAX_AGE_SECONDS
        record = await directory.key(hashed)
        assert record is not None and record.ended == "changed by hand"

    run(check)


def test_known_keys_go_on_for_the_grace_period_then_nobody_does() -> None:
    async def check(directory: Directory, source: MemorySource, clock: Clock) -> None:
        known, unknown = digest(source.add_key()), digest(source.add_key())
        assert await directory.key(known) is not None
        source.away = True
        directory._lost(OSError())
        clock.now += 59
        assert await directory.key(known) is not None
        with pytest.raises(Refusal, match="cannot confirm") as refused:
            await directory.key(unknown)
        assert (refused.value.status, refused.value.code) == (503, "control_plane_unavailable")
        clock.now += 2
        with pytest.raises(Refusal):
            await directory.key(known)
        source.away = False
        directory._found()
        assert await directory.key(known) is not None

    run(check)


def test_no_grace_closes_at_once() -> None:
    async def check(directory: Directory, source: MemorySource, clock: Clock) -> None:
        known = digest(source.add_key())
        assert await directory.key(known) is not None
        directory._lost(OSError())
        with pytest.raises(Refusal):
            await directory.key(known)

    run(check, grace=0)


def test_a_stale_key_goes_on_when_reading_it_again_fails_within_the_grace_period() -> None:
    async def check(directory: Directory, source: MemorySource, clock: Clock) -> None:
        known = digest(source.add_key())
        assert await directory.key(known) is not None
        directory._epoch, source.away = 2, True
        assert await directory.key(known) is not None
        assert directory._failing

    run(check)


def test_a_database_that_hangs_counts_as_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DATABASE_SECONDS", 0.05)
    go_on = threading.Event()

    async def check(directory: Directory, source: MemorySource, clock: Clock) -> None:
        monkeypatch.setattr(source, "epoch", lambda: int(go_on.wait(5)))
        await directory.start()
        while not directory._failing:
            await asyncio.sleep(0.01)
        go_on.set()

    run(check)


def test_the_number_of_entries_is_bounded() -> None:
    async def main() -> None:
        reads: list[int] = []

        async def read(key: int) -> Entry[int]:
            reads.append(key)
            return Entry(key, 1, 0.0)

        shelf: Shelf[int, int] = Shelf(read, limit=3)
        for key in (1, 2, 3):
            await shelf.refresh(key)
        shelf.get(1)
        await shelf.refresh(4)
        assert [shelf.get(key) is not None for key in (1, 2, 3, 4)] == [True, False, True, True]

    asyncio.run(main())


def test_a_call_is_not_judged_by_what_was_known_over_a_second_ago() -> None:
    """However late the poller is: on a busy machine, or with a slow database."""

    async def check(directory: Directory, source: MemorySource, clock: Clock) -> None:
        hashed = digest(source.add_key())
        assert await directory.key(hashed) is not None
        source.keys[hashed], source.value = replace(source.keys[hashed], ended="revoked"), 2
        clock.now += module.PROMISE_SECONDS + 0.01
        found = await asyncio.gather(*[directory.key(hashed) for _ in range(50)])
        assert {record.ended for record in found if record} == {"revoked"}
        assert source.reads == ["key", "epoch", "key"]

    run(check)


def test_without_grace_a_database_that_hangs_admits_nobody_after_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DATABASE_SECONDS", 0.05)
    go_on = threading.Event()

    async def check(directory: Directory, source: MemorySource, clock: Clock) -> None:
        hashed = digest(source.add_key())
        assert await directory.key(hashed) is not None
        monkeypatch.setattr(source, "epoch", lambda: int(go_on.wait(5)))
        clock.now += module.PROMISE_SECONDS + 0.01
        with pytest.raises(Refusal):
            await directory.key(hashed)
        go_on.set()

    run(check, grace=0)


def test_a_crowd_of_strangers_keeps_no_ended_key_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their keys are read slowly or never: the epoch and the keys that are known do not wait behind them."""
    go_on = threading.Event()

    async def check(directory: Directory, source: MemorySource, clock: Clock) -> None:
        hashed, read = digest(source.add_key()), source.key
        assert await directory.key(hashed) is not None
        monkeypatch.setattr(source, "key", lambda asked: read(asked) if asked == hashed else (go_on.wait(5), None)[1:])
        crowd = [asyncio.create_task(directory.key(digest(str(number)))) for number in range(100)]
        await asyncio.sleep(0)
        source.keys[hashed], source.value = replace(source.keys[hashed], ended="revoked"), 2
        clock.now += module.PROMISE_SECONDS + 0.01
        async with asyncio.timeout(2):
            record = await directory.key(hashed)
        assert record is not None and record.ended == "revoked" and not directory._failing
        go_on.set()
        for one in crowd:
            one.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)

    run(check)


def test_a_reading_that_fails_while_the_database_answers_is_no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that may have ended does not go on because of it; a single broken connection is not noticed at all."""

    async def check(directory: Directory, source: MemorySource, clock: Clock) -> None:
        hashed, read, failures = digest(source.add_key()), source.key, [OSError(), OSError(), OSError()]

        def unsteady(asked: str) -> tuple[int, Any]:
            if failures:
                raise failures.pop()
            return read(asked)

        assert await directory.key(hashed) is not None
        monkeypatch.setattr(source, "key", unsteady)
        source.keys[hashed], source.value = replace(source.keys[hashed], ended="revoked"), 2
        directory._epoch = 2
        with pytest.raises(Refusal):
            await directory.key(hashed)
        record = await directory.key(hashed)
        assert record is not None and record.ended == "revoked" and not directory._failing

    run(check)


# --- The same through the gateway ----------------------------------------------------------------------------------


@contextmanager
def standing(folder: Path) -> Iterator[tuple[Running, MemorySource]]:
    source = MemorySource()
    with Engine(ordinary) as engine, pytest.MonkeyPatch.context() as patch:
        patch.setattr(gateway_app, "DatabaseSource", lambda: source)
        source.add_endpoint("scoring", engine.url)
        with serving(folder / "journal") as gateway:
            yield gateway, source


def test_a_revocation_arrives_within_a_second_without_a_bus(state_dir: Path) -> None:
    with standing(state_dir) as (gateway, source):
        secret = source.add_key()
        assert gateway.request(secret, CHAT).status == 200
        for _ in range(3):  # at different moments between two polls
            source.keys[digest(secret)] = replace(source.keys[digest(secret)], ended="The key was revoked.")
            source.value += 1
            revoked = time.monotonic()
            until(lambda: gateway.request(secret, CHAT).status == 401, 2)
            assert time.monotonic() - revoked < 1
            source.keys[digest(secret)] = replace(source.keys[digest(secret)], ended="")
            source.value += 1
            until(lambda: gateway.request(secret, CHAT).status == 200, 3)


def test_the_database_goes_and_comes_back(state_dir: Path, settings: Any) -> None:
    settings.GATEWAY_GRACE_SECONDS = 1
    with standing(state_dir) as (gateway, source):
        known, unknown = source.add_key(), source.add_key()
        assert gateway.request(known, CHAT).status == 200
        source.away = True
        until(lambda: gateway.request(unknown, CHAT).status == 503, 2)
        assert gateway.request(known, CHAT).status == 200
        answer = until(lambda: (got := gateway.request(known, CHAT)).status == 503 and got, 3)
        assert (answer.code, answer.headers["retry-after"]) == ("control_plane_unavailable", "5")
        assert gateway.request("gth_x", CHAT).status == 401  # what needs no database is still told
        source.away = False
        until(lambda: gateway.request(unknown, CHAT).status == 200, 3)


def test_a_key_that_ends_while_its_body_is_on_the_way_passes_nothing(state_dir: Path) -> None:
    with standing(state_dir) as (gateway, source):
        secret = source.add_key()
        assert gateway.request(secret, CHAT).status == 200
        body = json.dumps(CHAT).encode()
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
            head = f"Authorization: Bearer {secret}\r\nX-Request-Id: slow\r\nContent-Length: {len(body)}"
            client.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode() + body[:-1])
            source.keys[digest(secret)] = replace(source.keys[digest(secret)], ended="The key was revoked.")
            source.value += 1
            until(lambda: gateway.request(secret, CHAT).status == 401, 2)
            client.sendall(body[-1:])
            assert client.recv(4096).startswith(b"HTTP/1.1 401 ")
        assert "slow" not in {record["request_id"] for record in gateway.records("start")}
