"""The only way out to addresses that people type in: webhooks now, hubs and others later.

A name is resolved once, every address that it stands for is checked, and the connection goes to a checked address
with the certificate checked against the name: what was checked is what is called, whatever DNS says a moment later.
Nothing is taken from the environment (no proxies), no redirect is followed, size and time of the answer are bounded.
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

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
MAX_ANSWER = 65_536  # bytes that are read of an answer
MAX_URL = 500
CONNECT_SECONDS = 5.0
LOWEST_PORT = 1024  # below it only the web's own ports: 25 or 22 are never a web server
WEB_PORTS = frozenset({80, 443})

# What `is_global` of some Python versions lets pass, or what is public by number and private by meaning.
NOT_PUBLIC = [
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "100.64.0.0/10", "168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15",
        "240.0.0.0/4", "::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16",
        "fec0::/10",
    )
]  # fmt: skip
# Refused even when a wide allow-list holds them: "this host", metadata services, many receivers at once.
NEVER = [
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32", "224.0.0.0/4", "255.255.255.255/32",
        "::/128", "fe80::/10", "fd00:ec2::254/128", "ff00::/8",
    )
]  # fmt: skip
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


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
    parts, addresses = _checked(url, purpose)
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
    raise OutboundFailed(f"{parts.hostname} could not be called: {_why(failure)}.") from failure


def check(url: str, *, purpose: str) -> None:
    """Raise OutboundRefused when the portal would not call `url`; a name that does not resolve now may later."""
    try:
        _checked(url, purpose)
    except OutboundFailed:
        return


def _checked(url: str, purpose: str) -> tuple[SplitResult, list[Address]]:
    allowed: Sequence[str] = settings.OUTBOUND_ALLOW[purpose]
    setting = f"GATEHOUSE_{purpose.upper()}_ALLOW"
    parts = _parts(url)
    host = str(parts.hostname)
    named = _host_allowed(host, allowed)
    try:
        addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in resolve(host, _port(parts))]
    except (OSError, UnicodeError, ValueError) as error:
        raise OutboundFailed(f"{host} does not resolve to an address.") from error
    if not addresses:
        raise OutboundFailed(f"{host} does not resolve to an address.")
    listed = named or all(_in_networks(address, allowed) for address in addresses)
    for address in addresses:
        leads = f"{host} is an address that" if str(address) == host else f"{host} leads to {address}, which"
        if any(_inside(form, network) for form in _forms(address) for network in NEVER):
            raise OutboundRefused(f"{leads} the portal never calls. Use another address.")
        if not named and not _in_networks(address, allowed) and not is_public(address):
            raise OutboundRefused(f"{leads} is not public. Whoever runs the portal can allow it in {setting}.")
    if parts.scheme == "http" and not listed and not settings.OUTBOUND_HTTP:
        raise OutboundRefused(f"The address must begin with https://, or {host} must stand in {setting}.")
    if not listed and _port(parts) not in WEB_PORTS and _port(parts) < LOWEST_PORT:
        raise OutboundRefused(
            f"Port {_port(parts)} is not one of a web server. Use 443, 80 or one from {LOWEST_PORT} up, "
            f"or let {host} stand in {setting}."
        )
    return parts, addresses


def _parts(url: str) -> SplitResult:
    bad = "The address must look like https://hooks.example.com/gatehouse."
    if len(url) > MAX_URL:
        raise OutboundRefused(f"The address has {len(url):,} characters; the limit is {MAX_URL}. Use a shorter one.")
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


def _in_networks(address: Address, allowed: Sequence[str]) -> bool:
    mapped = getattr(address, "ipv4_mapped", None)
    for entry in allowed:
        try:
            network = ipaddress.ip_network(entry)
        except ValueError:
            continue  # a host name
        if _inside(mapped or address, network):
            return True
    return False


def _inside(address: Address, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    return address.version == network.version and address in network


def _forms(address: Address) -> list[Address]:
    """`address` and the IPv4 addresses that it wraps: mapped, 6to4, Teredo, NAT64."""
    forms: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        forms += [form for form in inner if form is not None]
        if address in NAT64:
            forms.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return forms


def is_public(address: Address) -> bool:
    """Whether anyone on the Internet could mean the same host by `address`, wrapped addresses included."""
    forms = _forms(address)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        forms = [address.ipv4_mapped]  # the wrapping itself is never global
    return all(
        form.is_global and not form.is_multicast and not any(_inside(form, network) for network in NOT_PUBLIC)
        for form in forms
    )


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """The system's certificates, and the name checked against them."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _connect(parts: SplitResult, address: Address, left: float) -> socket.socket:
    """Return a TCP connection to a checked address."""
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
    host, wire = str(parts.hostname), _connect(parts, address, left)
    # A peer that drips one byte at a time would keep every read within its own limit: the guard ends the whole. It
    # holds a twin of the socket, since TLS takes the first one over.
    twin = wire.dup()
    guard = threading.Timer(max(ends - time.monotonic(), 0.01), _hang_up, [twin])
    guard.daemon = True
    guard.start()
    connection = http.client.HTTPConnection(host)
    try:
        wire.settimeout(left)
        connection.sock = wire
        if parts.scheme == "https":
            connection.sock = wire = _tls().wrap_socket(wire, server_hostname=host.rstrip("."))
        path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        plain = {"Host": parts.netloc, "User-Agent": "Gatehouse", "Accept-Encoding": "identity", "Connection": "close"}
        connection.request(method, path, body=body, headers={**plain, **headers})
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


def _hang_up(twin: socket.socket) -> None:
    with contextlib.suppress(OSError):  # gone already
        twin.shutdown(socket.SHUT_RDWR)


def _why(error: Exception | None) -> str:
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
