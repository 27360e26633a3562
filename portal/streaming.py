"""A body too large to hold, read in pieces: portal/outbound.py's way out for files of many gigabytes.

Every hop of a redirect is checked like the first address. What is slow is ended: a watch looks at the time that reads
wait, so neither silence nor a drip of single bytes holds a worker, however the other side cuts its answer.
"""

import contextlib
import http.client
import io
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, cast
from urllib.parse import SplitResult, urljoin, urlsplit

from portal.addresses import Address
from portal.outbound import (
    NoConnection,
    OutboundError,
    OutboundFailed,
    OutboundRefused,
    checked,
    connect,
    hang_up,
    path_of,
    plain,
    tls,
    why,
)

IDLE_SECONDS = 30.0
SLOWEST = 1024  # bytes a second that a body must bring while somebody waits for it
LONGEST_HOP = 8192  # characters; signed addresses of a CDN are long
BUFFER = 65_536  # bytes
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")


class NotResumed(OutboundFailed):
    """The other side sends the whole instead of the rest."""


@dataclass(frozen=True)
class Download:
    """An answer whose body is still to be read. `body` raises OutboundError when it ends early, is slow or too long."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    length: int | None  # bytes of the body, where the other side says so
    body: BinaryIO


@contextlib.contextmanager
def stream(
    url: str,
    *,
    purpose: str,
    headers: Mapping[str, str] | None = None,
    start: int = 0,
    most: int | None = None,
    idle: float = IDLE_SECONDS,
    hops: int = 0,
) -> Iterator[Download]:
    """GET `url` and give the answer, whatever its status, with its body as a stream from byte `start` on.

    `purpose` names the allow-list as for `outbound.send`. `idle` is in seconds, without enough bytes; `most` are the
    bytes that the body may have. Up to `hops` redirects are followed, each checked, and what says who we are
    (Authorization, cookies) goes to the first host only. Raises OutboundRefused, OutboundFailed, NotResumed.
    """
    asked = dict(headers or {})
    if start:
        asked["Range"] = f"bytes={start}-"
    with contextlib.ExitStack() as stack:
        for left in range(hops, -1, -1):
            parts, addresses = checked(url, purpose, longest=LONGEST_HOP)
            call = _open(parts, addresses, asked, idle)
            stack.callback(call.close)
            if call.response.status not in REDIRECTS or not left:
                break
            following = next_hop(url, call.response.headers.get("Location", ""))
            call.close()
            if _origin(following) != _origin(url):
                asked = {name: value for name, value in asked.items() if name.lower() not in _WHO}
            url = following
        yield _download(call, str(parts.hostname), start, most)


def next_hop(url: str, location: str) -> str:
    """Return where a redirect of `url` leads. Raises OutboundRefused for what is no address, and for one without
    encryption where `url` has it, however it is written.
    """
    host = urlsplit(url).hostname
    try:
        following = urljoin(url, location)
        scheme = urlsplit(following).scheme
    except ValueError as error:
        raise OutboundRefused(f"{host} leads to what is no address.") from error
    if urlsplit(url).scheme == "https" and scheme != "https":
        raise OutboundRefused(f"{host} leads from https:// to an address without encryption.")
    return following


_WHO = frozenset({"authorization", "cookie", "x-amz-security-token"})


def _origin(url: str) -> str:
    return "/".join(url.split("/")[:3]).lower()


class _Call:
    """A connection with its answer, and the watch over it."""

    response: http.client.HTTPResponse  # once its head is there

    def __init__(self, wire: socket.socket, host: str, idle: float) -> None:
        self.host, self.idle, self.wire = host, idle, wire
        self.connection = http.client.HTTPConnection(host)
        self._twin = wire.dup()  # TLS takes the first one over
        self._since: float | None = time.monotonic()  # when the read that waits now began
        self._waited, self._bytes, self._slow = 0.0, 0, False
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._guard, daemon=True)
        self._watch.start()

    def _guard(self) -> None:
        while not self._over.wait(self.idle / 8):
            since = self._since
            if since is not None and time.monotonic() - since > self.idle:
                self._slow = True
                hang_up(self._twin)
                return

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time inside as waiting for the other side, and say in one sentence what went wrong there."""
        self._since = begun = time.monotonic()
        try:
            yield
        except (http.client.HTTPException, OSError, ValueError) as error:
            if self._slow or isinstance(error, TimeoutError):
                raise self.slow() from error
            raise OutboundFailed(f"{self.host} could not be read: {why(error)}.") from error
        finally:
            self._since = None
            self._waited += time.monotonic() - begun
        if self._slow:
            raise self.slow()

    def slow(self) -> OutboundFailed:
        """Return the error of a peer that is too slow."""
        return OutboundFailed(f"{self.host} sent next to nothing for {self.idle:g} s.")

    def pace(self, count: int) -> None:
        """Note that `count` bytes came; raises OutboundFailed when that is too slow to go on."""
        self._bytes += count
        if self._waited > self.idle:
            if self._bytes < SLOWEST * self._waited:
                raise self.slow()
            self._waited, self._bytes = 0.0, 0

    def close(self) -> None:
        """Hang up; again is fine."""
        self._over.set()
        if hasattr(self, "response"):
            self.response.close()
        self.connection.close()
        self.wire.close()
        self._twin.close()


def _open(parts: SplitResult, addresses: list[Address], headers: Mapping[str, str], idle: float) -> _Call:
    """Connect to one of `addresses`, ask, and return the call once the head of the answer is there."""
    failure: Exception | None = None
    for address in addresses[:3]:
        try:
            wire = connect(parts, address, idle)
            break
        except NoConnection as error:
            failure = error
    else:
        raise OutboundFailed(f"{parts.hostname} could not be called: {why(failure)}.") from failure
    call = _Call(wire, str(parts.hostname), idle)
    try:
        with call.waiting():
            wire.settimeout(idle)
            call.connection.sock = wire
            if parts.scheme == "https":
                call.connection.sock = call.wire = tls(wire, call.host)
            call.connection.request("GET", path_of(parts), headers={**plain(parts), **headers})
            call.response = call.connection.getresponse()
    except BaseException:
        call.close()
        raise
    return call


def _download(call: _Call, host: str, start: int, most: int | None) -> Download:
    response = call.response
    found = {name.lower(): value for name, value in response.headers.items()}
    if 200 <= response.status < 300:
        if found.get("content-encoding", "identity").lower() != "identity":
            raise OutboundFailed(f"{host} packed the answer although it was asked not to.")
        if start:
            _check_range(host, response.status, found, start)
    length = response.length
    if most is not None and length is not None and length > most:
        raise OutboundRefused(f"{host} would send {length:,} bytes; the limit is {most:,}.")
    body = io.BufferedReader(_Body(call, length, most), BUFFER)
    return Download(response.status, found, length, cast("BinaryIO", body))


def _check_range(host: str, status: int, headers: Mapping[str, str], start: int) -> None:
    """Raise unless the answer is the rest of a file from `start` on."""
    if status != 206:
        raise NotResumed(f"{host} sends the whole file where the rest from byte {start:,} was asked for.")
    found = _RANGE.fullmatch(headers.get("content-range", ""))
    if not found or int(found[1]) != start:
        raise NotResumed(f"{host} sends another part than the rest from byte {start:,}.")


class _Body(io.RawIOBase):
    """The body of an answer; each read gives what is there, so that waiting is seen."""

    def __init__(self, call: _Call, length: int | None, most: int | None) -> None:
        self._call, self._length, self._most, self._came = call, length, most, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` with what is there; 0 at the end. Raises OutboundError."""
        call = self._call
        with call.waiting():
            piece = call.response.read1(len(buffer))
        count = len(piece)
        buffer[:count] = piece
        self._came += count
        call.pace(count)
        if not count and self._length is not None and self._came < self._length:
            raise OutboundFailed(f"{call.host} ended after {self._came:,} of {self._length:,} bytes.")
        if self._most is not None and self._came > self._most:
            raise OutboundRefused(f"{call.host} sends more than {self._most:,} bytes.")
        return count


__all__ = ["Download", "NotResumed", "OutboundError", "stream"]
