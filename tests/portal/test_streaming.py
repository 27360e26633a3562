"""Bodies too large to hold: what is checked at each hop, and that nothing slow, short or endless holds a worker."""

import socket
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from portal import outbound
from portal.outbound import OutboundFailed, OutboundRefused
from portal.streaming import NotResumed, next_hop, stream
from tests.catalog.source_kit import hub_server
from tests.portal.test_outbound import raw_server

pytestmark = pytest.mark.slow

PUBLIC = "93.184.215.14"
FILE = "model.safetensors"
BODY = bytes(range(256)) * 1024


@pytest.fixture(autouse=True)
def _closed(settings: Any) -> None:
    """The hub and nothing else, as in production."""
    settings.OUTBOUND_HTTP = False
    settings.OUTBOUND_ALLOW = {"hub": ["127.0.0.1", "hub.example.com", "*.cdn.example.com"], "webhook": []}


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """A resolver of the test's own: name → the answers that it gives, one after the other."""
    table: dict[str, list[list[str]]] = {"127.0.0.1": [["127.0.0.1"]]}

    def resolve(host: str, port: int) -> list[str]:
        if host not in table:
            raise OSError("unknown")
        return table[host].pop(0) if len(table[host]) > 1 else table[host][0]

    monkeypatch.setattr(outbound, "resolve", resolve)
    return table


def take(url: str, **options: Any) -> bytes:
    with stream(url, purpose="hub", **options) as download:
        assert download.status in {200, 206}
        return download.body.read()


def resolved(path: str = FILE) -> str:
    return f"/org/model/resolve/{'a' * 40}/{path}"


# --- Which hosts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example.com", "example.com", "cdn.example.com", "hub.example.com.evil.org"])
def test_a_host_that_is_not_listed_is_not_even_looked_up(host: str, names: dict[str, list[list[str]]]) -> None:
    """A public address does not help, and the resolver is not asked: a name can carry words out."""
    names[host] = []  # would raise IndexError
    with pytest.raises(OutboundRefused, match="GATEHOUSE_HUB_ALLOW"):
        take(f"https://{host}/x")


@pytest.mark.parametrize("address", ["10.0.0.5", "127.0.0.2", "192.168.1.1", "169.254.169.254", "::1", "fd00::1"])
def test_a_listed_name_opens_no_private_address(address: str, names: dict[str, list[list[str]]]) -> None:
    """Whoever answers for a public hub's DNS must not lead the portal into the network."""
    names["hub.example.com"] = [[PUBLIC, address]]
    with pytest.raises(OutboundRefused, match=r"hub\.example\.com leads to"):
        take("https://hub.example.com/x")


def test_a_listed_name_in_a_listed_network_is_called(settings: Any, names: dict[str, list[list[str]]]) -> None:
    settings.OUTBOUND_ALLOW = {"hub": ["hub.example.com", "127.0.0.0/8"]}
    names["hub.example.com"] = [["127.0.0.1"]]
    with hub_server(files={FILE: BODY}) as hub:
        assert take(hub.url.replace("127.0.0.1", "hub.example.com") + resolved()) == BODY


def test_metadata_is_never_called_whatever_is_listed(settings: Any, names: dict[str, list[list[str]]]) -> None:
    settings.OUTBOUND_ALLOW = {"hub": ["hub.example.com", "0.0.0.0/0", "169.254.169.254"]}
    names["hub.example.com"] = [["169.254.169.254"]]
    with pytest.raises(OutboundRefused, match="never calls"):
        take("https://hub.example.com/latest/meta-data")


@pytest.mark.parametrize("port", [22, 25, 389])
def test_the_ports_of_other_services_stay_closed_on_listed_hosts(port: int, names: dict[str, list[list[str]]]) -> None:
    names["hub.example.com"] = [[PUBLIC]]
    with pytest.raises(OutboundRefused, match="not one of a web server"):
        take(f"https://hub.example.com:{port}/x")


def test_a_public_host_is_not_called_without_encryption(names: dict[str, list[list[str]]]) -> None:
    names["hub.example.com"] = [[PUBLIC]]
    with pytest.raises(OutboundRefused, match="https://"):
        take("http://hub.example.com/x")


# --- Redirects --------------------------------------------------------------------------------------------------------


def test_a_redirect_to_the_cdn_is_followed() -> None:
    with hub_server(files={FILE: BODY}, cdn="/cdn") as hub:
        assert take(hub.url + resolved(), hops=2) == BODY
    assert [path.split("?")[0] for path in hub.asked] == [resolved(), f"/cdn/{FILE}"]


def test_without_hops_a_redirect_is_an_answer() -> None:
    with hub_server(files={FILE: BODY}, cdn="/cdn") as hub, stream(hub.url + resolved(), purpose="hub") as download:
        assert (download.status, len(hub.log)) == (302, 1)


@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/", "http://10.0.0.1/", "https://evil.example.com/", "http://localhost:1/", "file:///etc/passwd",
     "//evil.example.com/", "https://user:pw@hub.example.com/"],
)  # fmt: skip
def test_every_hop_is_checked_like_the_first(target: str, names: dict[str, list[list[str]]]) -> None:
    names |= {"localhost": [["127.0.0.1"]], "evil.example.com": [[PUBLIC]], "hub.example.com": [[PUBLIC]]}
    names |= {"169.254.169.254": [["169.254.169.254"]], "10.0.0.1": [["10.0.0.1"]]}
    with hub_server() as hub:
        hub.answers["/x"] = (302, {"Location": target}, b"")
        with pytest.raises(OutboundRefused):
            take(f"{hub.url}/x", hops=3)


def test_a_hop_whose_name_changes_its_mind_is_caught(names: dict[str, list[list[str]]]) -> None:
    """DNS rebinding between two hops: public for the first, this machine for the second."""
    with hub_server() as hub:
        names["a.cdn.example.com"] = [[PUBLIC], ["127.0.0.2"]]
        hub.answers["/x"] = (302, {"Location": hub.url.replace("127.0.0.1", "a.cdn.example.com")}, b"")
        outbound.check("https://a.cdn.example.com/", purpose="hub")
        with pytest.raises(OutboundRefused, match=r"leads to 127\.0\.0\.2"):
            take(f"{hub.url}/x", hops=1)
        assert hub.asked == ["/x"]


@pytest.mark.parametrize(
    "location", ["http://cdn.example.com/y", "HTTP://cdn.example.com/y", "ftp://cdn/y", "//[", "https://[::1"]
)
def test_no_hop_leaves_encryption_or_leads_to_what_is_no_address(location: str) -> None:
    with pytest.raises(OutboundRefused):
        next_hop("https://hub.example.com/x", location)
    assert next_hop("https://hub.example.com/x", "//cdn.example.com/y") == "https://cdn.example.com/y"


def test_a_loop_ends() -> None:
    with hub_server() as hub:
        hub.answers["/x"] = (302, {"Location": "/x"}, b"")
        with stream(f"{hub.url}/x", purpose="hub", hops=4) as download:
            assert (download.status, len(hub.log)) == (302, 5)


def test_the_credential_stays_with_the_first_host() -> None:
    """Another port is another origin."""
    with hub_server(files={FILE: BODY}) as cdn, hub_server(cdn=f"{cdn.url}/cdn") as hub:
        take(hub.url + resolved(), hops=1, headers={"Authorization": "Bearer secret", "X-Other": "1"})
        assert hub.log[0][1]["authorization"] == "Bearer secret"
        assert "authorization" not in cdn.log[0][1] and cdn.log[0][1]["x-other"] == "1"
    with hub_server(files={FILE: BODY}, cdn="/cdn") as hub:
        take(hub.url + resolved(), hops=1, headers={"Authorization": "Bearer secret"})
        assert hub.log[1][1]["authorization"] == "Bearer secret"


# --- Parts of a file --------------------------------------------------------------------------------------------------


def test_the_rest_of_a_file() -> None:
    with hub_server(files={FILE: BODY}) as hub:
        assert take(hub.url + resolved(), start=1000) == BODY[1000:]
        assert hub.log[0][1]["range"] == "bytes=1000-"


def test_the_whole_instead_of_the_rest_is_refused() -> None:
    """Hashed on, it would be another file."""
    with hub_server(files={FILE: BODY}, ranges=False) as hub, pytest.raises(NotResumed, match="the whole file"):
        take(hub.url + resolved(), start=1000)


@pytest.mark.parametrize(
    "said", ["", "bytes 999-1/2", "bytes */5", "items 1000-2000/3000", "bytes 10000-262143/262144"]
)
def test_another_part_than_asked_for_is_refused(said: str) -> None:
    with hub_server() as hub:
        hub.answers["/x"] = (206, {"Content-Range": said}, b"abc")
        with pytest.raises(NotResumed, match="another part"):
            take(f"{hub.url}/x", start=1000)


def test_what_ends_early_is_a_failure() -> None:
    expected = pytest.raises(OutboundFailed, match=r"ended after 4,096 of 262,144 bytes")
    with hub_server(files={FILE: BODY}, cut={FILE: 1}) as hub, expected:
        take(hub.url + resolved())


def test_what_breaks_off_in_a_chunk_is_a_failure() -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nabc")

    with raw_server(behave) as port, pytest.raises(OutboundFailed):
        take(f"http://127.0.0.1:{port}/")


# --- Limits -----------------------------------------------------------------------------------------------------------


def test_what_is_announced_too_large_is_not_read() -> None:
    with (
        hub_server(files={FILE: BODY}) as hub,
        pytest.raises(OutboundRefused, match="262,144 bytes; the limit is 1,000"),
    ):
        take(hub.url + resolved(), most=1000)


def test_what_grows_without_saying_how_far_is_cut() -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1000):
            connection.sendall(b"x" * 10_000)

    with raw_server(behave) as port, pytest.raises(OutboundRefused, match="more than 50,000 bytes"):
        take(f"http://127.0.0.1:{port}/", most=50_000)


def test_a_packed_answer_is_refused() -> None:
    """Unpacked it could be anything; nobody unpacks it."""
    with hub_server() as hub:
        hub.answers["/x"] = (200, {"Content-Encoding": "gzip"}, b"\x1f\x8b")
        with pytest.raises(OutboundFailed, match="packed"):
            take(f"{hub.url}/x")


def test_a_large_body_is_never_held() -> None:
    size = 64 * 1024**2

    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        block = bytes(1024**2)
        for _ in range(64):
            connection.sendall(block)

    with raw_server(behave) as port, stream(f"http://127.0.0.1:{port}/", purpose="hub") as download:
        tracemalloc.start()
        buffer, total = memoryview(bytearray(131_072)), 0
        while count := download.body.readinto(buffer):  # type: ignore[attr-defined]
            total += count
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert total == size
    assert peak < 8 * 1024**2


# --- Time -------------------------------------------------------------------------------------------------------------


def _silent(connection: socket.socket) -> None:
    connection.settimeout(5)
    while connection.recv(4096):
        pass


def _drip(after: bytes) -> Callable[[socket.socket], None]:
    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(after)
        while True:
            connection.sendall(b"1")
            time.sleep(0.02)

    return behave


@pytest.mark.parametrize(
    "behave",
    [
        _silent,
        _drip(b"HTTP/1.1 200 OK\r\nX-Long: "),
        _drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"),
        _drip(b"HTTP/1.1 200 OK\r\n\r\n"),
        _drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ],
    ids=["silent", "head", "body", "endless body", "chunk line"],
)
def test_a_slow_peer_is_ended(behave: Callable[[socket.socket], None]) -> None:
    """Each single read is quick enough; the whole would take for ever."""
    with raw_server(behave) as port:
        begun = time.monotonic()
        with pytest.raises(OutboundFailed, match=r"next to nothing for 0\.4 s"):
            take(f"http://127.0.0.1:{port}/", idle=0.4)
        assert time.monotonic() - begun < 3


def test_a_slow_reader_is_not_a_slow_peer() -> None:
    """What the portal itself takes to write down its progress is not counted."""
    with hub_server(files={FILE: BODY}) as hub, stream(hub.url + resolved(), purpose="hub", idle=0.2) as download:
        first = download.body.read(1000)
        time.sleep(0.5)
        assert first + download.body.read() == BODY
