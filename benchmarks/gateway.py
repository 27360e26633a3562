"""The gateway against no gateway: the same calls straight to a scripted engine and through the data path, in paired
rounds.

Engine, gateway and load are processes of their own.
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvloop

from benchmarks.load import SECONDS, Load, load
from benchmarks.results import Result

ROUNDS = 3
NOTE = "reference: straight to a scripted engine; measured: the same through the gateway; medians of paired rounds"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def _process(folder: str, port: int, *command: str) -> Iterator[None]:
    """Run a process until the end of the block; it is there when it listens on `port`."""
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "portal.settings", "GATEHOUSE_STATE_DIR": folder}
    process = subprocess.Popen([sys.executable, "-m", *command], env=environment)
    try:
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            except OSError:
                if time.monotonic() > end or process.poll() is not None:
                    raise
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(15)


def run() -> list[Result]:
    """Compare direct with gateway: whole answers and streams, one and sixteen at a time."""
    engine, gateway = _free_port(), _free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        _process(folder, engine, "benchmarks.engine", str(engine)),
        _process(folder, gateway, "benchmarks.gateway_process", str(gateway), f"http://127.0.0.1:{engine}", folder),
    ):
        results = []
        for connections in (1, 16):
            pairs = _pairs(engine, gateway, connections, stream=False)
            results.append(_result(f"whole answers, {connections} at a time", "calls/s", pairs, _per_second))
            results.append(_result(f"whole answers, {connections} at a time", "ms p50", pairs, _whole_ms))
        for connections in (1, 16):
            pairs = _pairs(engine, gateway, connections, stream=True)
            results.append(_result(f"streams, {connections} at a time", "TTFT ms p50", pairs, _first_ms))
        return results


def _pairs(engine: int, gateway: int, connections: int, *, stream: bool) -> tuple[list[Load], list[Load]]:
    uvloop.run(load(gateway, connections, stream=stream))  # warm
    direct, through = [], []
    for _ in range(ROUNDS):
        direct.append(uvloop.run(load(engine, connections, stream=stream)))
        through.append(uvloop.run(load(gateway, connections, stream=stream)))
    return direct, through


def _per_second(seen: Load) -> float:
    return seen.calls / SECONDS


def _whole_ms(seen: Load) -> float:
    return statistics.median(seen.whole) * 1000


def _first_ms(seen: Load) -> float:
    return statistics.median(seen.first) * 1000


def _result(name: str, unit: str, pairs: tuple[list[Load], list[Load]], value: Callable[[Load], float]) -> Result:
    direct, through = (statistics.median(map(value, loads)) for loads in pairs)
    return Result(name, unit, direct, through, note=NOTE)
