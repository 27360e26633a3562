"""Engines as the gateway sees them, and the pool of connections to them."""

import asyncio
import random
import ssl
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from urllib.parse import urlsplit

from endpoints.gateways.builtin.connection import ConnectFailed, Connection, StaleConnection, UpstreamError

CONNECT_SECONDS = 5.0
IDLE_SECONDS = 4.0  # shorter than the five seconds after which uvicorn, and so most engines, closes an idle connection
MAX_IDLE = 256  # connections kept per engine
SHUN_SECONDS = 2.0  # an engine that refused a connection is asked last for this long


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where one replica listens, and the bearer it wants (never the user's)."""

    url: str
    scheme: str
    host: str  # a path for scheme "unix"
    port: int
    prefix: str
    key: str = field(default="", repr=False)
    revision: int | None = None  # of the endpoint; none: not known

    @classmethod
    def parse(cls, url: str, key: str = "", revision: int | None = None) -> "Upstream":
        """Return the upstream for http://, https:// or unix:///path; raises ValueError for anything else."""
        parts = urlsplit(url)
        if any(ord(letter) < 33 or ord(letter) > 126 for letter in url + key):
            raise ValueError("An upstream's URL and key hold visible ASCII characters only.")
        if parts.scheme == "unix" and parts.path:
            return cls(url, "unix", parts.path, 0, "", key, revision)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("An upstream is http://host:port, https://host:port or unix:///path.")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return cls(url, parts.scheme, parts.hostname, port, parts.path.rstrip("/"), key, revision)

    def request(self, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        """Return a whole POST request: only the headers given here, plus host, length and this engine's own bearer."""
        host = "localhost" if self.scheme == "unix" else f"[{self.host}]" if ":" in self.host else self.host
        lines = [
            f"POST {self.prefix}{path} HTTP/1.1\r\nhost: {host}{f':{self.port}' if self.port else ''}\r\n".encode()
        ]
        if self.key:
            lines.append(b"authorization: Bearer " + self.key.encode() + b"\r\n")
        lines += [name + b": " + value + b"\r\n" for name, value in headers]
        lines.append(b"content-length: " + str(len(body)).encode() + b"\r\n\r\n")
        lines.append(body)
        return b"".join(lines)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class Pool:
    """Kept connections by engine, least-outstanding choice among replicas, one retry where it is certain to be
    harmless.
    """

    def __init__(
        self,
        *,
        patience: float,
        connect_seconds: float = CONNECT_SECONDS,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Set how many seconds an engine may stay silent before and between bytes (`patience`), and take to connect.
        `chance` returns a number from 0 to 1, each time another.
        """
        self._patience, self._connect_seconds, self._chance = patience, connect_seconds, chance
        self._idle: dict[str, deque[Connection]] = defaultdict(deque)  # all three by URL
        self._outstanding: dict[str, int] = defaultdict(int)
        self._refused: dict[str, float] = {}

    def ways(
        self, upstreams: tuple[Upstream, ...], canary: tuple[Upstream, ...], percent: int
    ) -> tuple[tuple[Upstream, ...], tuple[Upstream, ...]]:
        """Return the replicas that a call goes to, and those that it goes to when none of them takes it: `percent` of
        the calls go to `canary`.

        By chance, each call for itself: whoever sends long and short prompts in turn sends both to both.
        """
        if not canary or not upstreams:
            return upstreams or canary, ()
        return (canary, upstreams) if self._chance() * 100 < percent else (upstreams, canary)

    def order(self, upstreams: tuple[Upstream, ...]) -> list[Upstream]:
        """Return the replicas to try: those that refused just now last, otherwise the one with the fewest open calls
        first.
        """
        if len(upstreams) < 2:
            return list(upstreams)
        now = asyncio.get_running_loop().time()
        return sorted(
            upstreams,
            key=lambda one: (
                now - self._refused.get(one.url, -SHUN_SECONDS) < SHUN_SECONDS,
                self._outstanding.get(one.url, 0),
            ),
        )

    async def call(
        self,
        upstreams: tuple[Upstream, ...],
        path: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        spare: tuple[Upstream, ...] = (),
    ) -> tuple[Upstream, Connection]:
        """Send one POST and return the replica and the connection, with status and headers there.

        The next replica is tried only when no connection came about, those in `spare` last. Raises UpstreamError; the
        caller ends every call with `done`.
        """
        failure: UpstreamError = ConnectFailed("it has no replica")
        for upstream in self.order(upstreams) + self.order(spare) if spare else self.order(upstreams):
            self._outstanding[upstream.url] += 1
            try:
                return upstream, await self._exchange(upstream, upstream.request(path, headers, body))
            except ConnectFailed as error:
                failure = error
                self._refused[upstream.url] = asyncio.get_running_loop().time()
                self._forget(upstream)
            except BaseException:
                self._forget(upstream)
                raise
        raise failure

    def done(self, upstream: Upstream, connection: Connection, *, abort: bool = False) -> None:
        """End a call that `call` returned; `abort` hangs up so that the engine stops working on it."""
        self._forget(upstream)
        if abort:
            connection.abort()
        else:
            connection.release()

    def close(self) -> None:
        """Close all kept connections."""
        for kept in self._idle.values():
            while kept:
                kept.pop().abort()
        self._idle.clear()

    def _forget(self, upstream: Upstream) -> None:
        self._outstanding[upstream.url] -= 1
        if self._outstanding[upstream.url] <= 0:
            del self._outstanding[upstream.url]

    async def _exchange(self, upstream: Upstream, request: bytes) -> Connection:
        """Send on a kept connection, or on a new one; once more on a new one when the kept one turns out to have been
        closed.

        An engine that dies while it works looks different: it had longer than a moment, or its port then refuses.
        """
        connection = self._kept(upstream)
        if connection is not None:
            try:
                return await self._answer(connection, request)
            except StaleConnection:
                pass
            try:
                connection = await self._connect(upstream)
            except ConnectFailed as error:  # the request was written once already: no other replica
                raise UpstreamError(str(error)) from error
            return await self._answer(connection, request)
        return await self._answer(await self._connect(upstream), request)

    async def _answer(self, connection: Connection, request: bytes) -> Connection:
        try:
            connection.send(request, self._patience)
            await connection.head()
        except BaseException:
            connection.abort()
            raise
        return connection

    def _kept(self, upstream: Upstream) -> Connection | None:
        kept, now = self._idle.get(upstream.url), asyncio.get_running_loop().time()
        while kept:
            connection = kept.pop()
            if not connection.closed and now - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.abort()
        self._idle.pop(upstream.url, None)
        return None

    def _keep(self, upstream: Upstream, connection: Connection) -> None:
        kept = self._idle[upstream.url]
        while kept and (kept[0].closed or len(kept) >= MAX_IDLE):
            kept.popleft().abort()
        kept.append(connection)

    async def _connect(self, upstream: Upstream) -> Connection:
        loop = asyncio.get_running_loop()
        factory = partial(Connection, loop, partial(self._keep, upstream))
        try:
            async with asyncio.timeout(self._connect_seconds):
                if upstream.scheme == "unix":
                    _, connection = await loop.create_unix_connection(factory, upstream.host)
                else:
                    tls = _tls() if upstream.scheme == "https" else None
                    _, connection = await loop.create_connection(factory, upstream.host, upstream.port, ssl=tls)
        except TimeoutError as error:
            raise ConnectFailed(f"no connection within {self._connect_seconds:g} s") from error
        except OSError as error:
            raise ConnectFailed(error.strerror or type(error).__name__) from error
        return connection
