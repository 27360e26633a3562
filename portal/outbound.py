"""The only way out to addresses that people type in: webhooks, identity providers, hubs, registries, buckets.

A name is resolved once, every address that it stands for is checked, and the connection goes to a checked address
with the certificate checked against the name: what was checked is what is called, whatever DNS says a moment later.
Nothing is taken from the environment (no proxies), no redirect is followed, size and time of the answer are bounded.
What is too large to hold comes through portal/streaming.py, by the same checks.
"""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from portal.addresses import Address, in_networks, is_public, never_called

MAX_ANSWER = 65_536  # bytes that are read of an answer
MAX_URL = 500
CONNECT_SECONDS = 5.0
LOWEST_PORT = 1024  # below it only the web's own ports: 25 or 22 are never a web server
WEB_PORTS = frozenset({80, 443})


class OutboundError(Exception):
    """A call outside did not come to an answer; the text is one sentence."""


class OutboundRefused(OutboundError):
    """The portal does not call this address; trying again changes nothing until somebody changes a setting."""


class OutboundFailed(OutboundError):
    """The other side was not reached, broke off, or took too long; trying again may help."""


class NoConnection(Exception):
    """No connection came about."""


@dataclass(frozen=True)
class Answer:
    """What came back. `body` ends at the bytes that the caller reads; a redirect is an answer like any other."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses that `host` stands for at this moment; raises OSError when there are none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def send(
    method: str,
    url: str,
    *,
    purpose: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    timeout: float = 10.0,
    most: int = MAX_ANSWER,
) -> Answer:
    """Call `url` once and return the answer, whatever its status.

    `purpose` names the allow-list (`settings.OUTBOUND_ALLOW`); `timeout` is in seconds and covers everything after
    the name was resolved; of the answer `most` bytes are read. Raises OutboundRefused for what the portal does not
    call, and OutboundFailed for the rest.
    """
    parts, addresses = checked(url, purpose)
    ends = time.monotonic() + timeout
    failure: Exception | None = None
    for address in addresses[:3]:
        left = ends - time.monotonic()
        if left <= 0:
            break
        try:
            return _call(method, parts, address, headers or {}, body, left, most)
        except NoConnection as error:
            failure = error  # nothing arrived, so the next address may be tried
        except (http.client.HTTPException, OSError, ValueError) as error:
            failure = error
            break  # it may have arrived: only the caller knows whether to send it twice
    if time.monotonic() >= ends:
        raise OutboundFailed(f"{parts.hostname} did not answer within {timeout:g} s.") from failure
    raise OutboundFailed(f"{parts.hostname} could not be called: {why(failure)}.") from failure


def check(url: str, *, purpose: str) -> None:
    """Raise OutboundRefused when the portal would not call `url`; a name that does not resolve now may later."""
    try:
        checked(url, purpose)
    except OutboundFailed:
        return


@dataclass(frozen=True)
class Destination:
    """Where a checked address leads: the name for certificate and Host header, and the addresses to connect to."""

    scheme: str
    host: str
    port: int
    addresses: list[str]


def destination(url: str, *, purpose: str) -> Destination:
    """Return where `url` leads now, for a client of its own that connects to nothing but the addresses in it.

    Raises OutboundRefused for what the portal does not call, and OutboundFailed for a name that does not resolve.
    """
    parts, addresses = checked(url, purpose)
    return Destination(parts.scheme, str(parts.hostname), _port(parts), [str(address) for address in addresses])


def checked(url: str, purpose: str, *, longest: int = MAX_URL) -> tuple[SplitResult, list[Address]]:
    """Return `url` (at most `longest` characters) in parts and the addresses that may be called for it, resolved once.

    Purposes in `settings.OUTBOUND_ONLY` call no host but those on their list, and a private address only where its
    network is listed too: a name alone would open whatever DNS makes of it. Raises OutboundRefused and OutboundFailed.
    """
    allowed: Sequence[str] = settings.OUTBOUND_ALLOW[purpose]
    only = purpose in settings.OUTBOUND_ONLY
    setting = f"GATEHOUSE_{purpose.upper()}_ALLOW"
    parts = _parts(url, longest)
    host = str(parts.hostname)
    named = _host_allowed(host, allowed)
    if only and not named and not _literal_allowed(host, allowed):
        raise OutboundRefused(
            f"{host} is not on the list of hosts for this. Whoever runs the portal can add it to {setting}."
        )
    addresses = _addresses(host, _port(parts))
    inside = all(in_networks(address, allowed) for address in addresses)
    listed = inside or (named and not only)
    for address in addresses:
        leads = f"{host} is an address that" if str(address) == host else f"{host} leads to {address}, which"
        if never_called(address):
            raise OutboundRefused(f"{leads} the portal never calls. Use another address.")
        if not (named and not only) and not in_networks(address, allowed) and not is_public(address):
            raise OutboundRefused(f"{leads} is not public. Whoever runs the portal can allow it in {setting}.")
    if parts.scheme == "http" and not listed and not settings.OUTBOUND_HTTP:
        raise OutboundRefused(f"The address must begin with https://, or {host} must stand in {setting}.")
    if (only or not listed) and _port(parts) not in WEB_PORTS and _port(parts) < LOWEST_PORT:
        raise OutboundRefused(
            f"Port {_port(parts)} is not one of a web server. Use 443, 80 or one from {LOWEST_PORT} up"
            + ("." if only else f", or let {host} stand in {setting}.")
        )
    return parts, addresses


def _addresses(host: str, port: int) -> list[Address]:
    try:
        found = [ipaddress.ip_address(text.partition("%")[0]) for text in resolve(host, port)]
    except (OSError, UnicodeError, ValueError) as error:
        raise OutboundFailed(f"{host} does not resolve to an address.") from error
    if not found:
        raise OutboundFailed(f"{host} does not resolve to an address.")
    return found


def _literal_allowed(host: str, allowed: Sequence[str]) -> bool:
    """Whether `host` is an address, not a name, of a network on the list."""
    try:
        return in_networks(ipaddress.ip_address(host), allowed)
    except ValueError:
        return False


def _parts(url: str, longest: int) -> SplitResult:
    bad = "The address must look like https://hooks.example.com/gatehouse."
    if len(url) > longest:
        raise OutboundRefused(f"The address has {len(url):,} characters; the limit is {longest:,}. Use a shorter one.")
    if not url.isascii() or any(char <= " " or char in "\\\x7f" for char in url):
        raise OutboundRefused(f"{bad} Write other characters in percent or xn-- form.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise OutboundRefused(bad) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise OutboundRefused(bad)
    if "@" in parts.netloc:
        raise OutboundRefused("The address must not hold a user name or password.")
    return parts


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _host_allowed(host: str, allowed: Sequence[str]) -> bool:
    name = host.rstrip(".").lower()
    return any(name == entry or (entry.startswith("*.") and name.endswith(entry[1:])) for entry in allowed)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """The system's certificates, and the name checked against them."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def connect(parts: SplitResult, address: Address, left: float) -> socket.socket:
    """Return a TCP connection to a checked address within `left` seconds; raises NoConnection."""
    try:
        return socket.create_connection((str(address), _port(parts)), timeout=min(CONNECT_SECONDS, left))
    except OSError as error:
        raise NoConnection(error) from error


def _call(
    method: str,
    parts: SplitResult,
    address: Address,
    headers: Mapping[str, str],
    body: bytes,
    left: float,
    most: int,
) -> Answer:
    ends = time.monotonic() + left
    host, wire = str(parts.hostname), connect(parts, address, left)
    # A peer that drips one byte at a time would keep every read within its own limit: the guard ends the whole. It
    # holds a twin of the socket, since TLS takes the first one over.
    twin = wire.dup()
    guard = threading.Timer(max(ends - time.monotonic(), 0.01), hang_up, [twin])
    guard.daemon = True
    guard.start()
    connection = http.client.HTTPConnection(host)
    try:
        wire.settimeout(left)
        connection.sock = wire
        if parts.scheme == "https":
            connection.sock = wire = tls(wire, host)
        connection.request(method, path_of(parts), body=body, headers={**plain(parts), **headers})
        response = connection.getresponse()
        answer = Answer(response.status, dict(response.headers), response.read(most))
    finally:
        guard.cancel()
        connection.close()
        wire.close()
        twin.close()
    if time.monotonic() >= ends:
        raise TimeoutError
    return answer


def tls(wire: socket.socket, host: str) -> ssl.SSLSocket:
    """Return `wire` spoken in TLS, with the certificate checked against `host`."""
    return _tls().wrap_socket(wire, server_hostname=host.rstrip("."))


def path_of(parts: SplitResult) -> str:
    """Return what stands in the request line."""
    return f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"


def plain(parts: SplitResult) -> dict[str, str]:
    """Return the headers of every call."""
    return {"Host": parts.netloc, "User-Agent": "Gatehouse", "Accept-Encoding": "identity", "Connection": "close"}


def hang_up(twin: socket.socket) -> None:
    """End a connection from another thread, through a twin of its socket."""
    with contextlib.suppress(OSError):  # gone already
        twin.shutdown(socket.SHUT_RDWR)


def why(error: Exception | None) -> str:
    """Return in words what went wrong with a call."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate does not hold ({error.verify_message.rstrip('.')})"
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS as it should"
    cause = error.__cause__ if isinstance(error, NoConnection) else error
    if isinstance(cause, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(cause, TimeoutError):
        return "it took too long"
    if isinstance(error, NoConnection):
        return "no way leads there"
    return "the connection broke off"
