"""The only way out: what is refused, and that what was checked is what is called."""

import datetime as dt
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from portal import outbound
from tests.projects.notify_kit import free_port, receiver

pytestmark = pytest.mark.slow

PUBLIC = "93.184.215.14"


@pytest.fixture(autouse=True)
def _closed(settings: Any) -> None:
    """As in production: https only, nothing allowed."""
    settings.OUTBOUND_HTTP = False
    settings.OUTBOUND_ALLOW = {"webhook": []}


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """A resolver of the test's own: name → the answers that it gives, one after the other."""
    table: dict[str, list[list[str]]] = {}

    def resolve(host: str, port: int) -> list[str]:
        answers = table.get(host)
        if answers is None:
            return [str(ipaddress.ip_address(host))] if host[:1].isdigit() or ":" in host else _unknown()
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def _unknown() -> list[str]:
        raise OSError("unknown")

    monkeypatch.setattr(outbound, "resolve", resolve)
    return table


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.1", "10.0.0.5", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.0.8", "198.18.0.1", "192.0.2.1", "168.63.129.16",
        "100.100.100.200", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "::10.0.0.1", "2002:7f00:1::", "2002:a00:1::1", "64:ff9b::7f00:1", "64:ff9b::a00:1",
        "64:ff9b:1::1", "2001:db8::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "fec0::1", "100::1",
    ],
)  # fmt: skip
def test_no_private_or_special_address_is_called(address: str, names: dict[str, list[list[str]]]) -> None:
    names["hooks.example.com"] = [[address]]
    with pytest.raises(outbound.OutboundRefused, match=r"hooks\.example\.com leads to"):
        outbound.check("https://hooks.example.com/x", purpose="webhook")


@pytest.mark.parametrize(
    "address", [PUBLIC, "2606:2800:220:1::1", "64:ff9b::5db8:d70e", f"::ffff:{PUBLIC}", "2002:5db8:d70e::1"]
)
def test_public_addresses_pass(address: str, names: dict[str, list[list[str]]]) -> None:
    names["hooks.example.com"] = [[address]]
    outbound.check("https://hooks.example.com/x", purpose="webhook")


def test_one_bad_address_among_good_ones_is_enough(names: dict[str, list[list[str]]]) -> None:
    names["hooks.example.com"] = [[PUBLIC, "10.0.0.1"]]
    with pytest.raises(outbound.OutboundRefused, match="GATEHOUSE_WEBHOOK_ALLOW"):
        outbound.check("https://hooks.example.com/x", purpose="webhook")


@pytest.mark.parametrize(
    "url",
    [
        "", "hooks.example.com", "//hooks.example.com", "ftp://hooks.example.com", "file:///etc/passwd",
        "https://", "https://:443/", "https://user:pw@hooks.example.com/", "https://hooks.example.com\\@evil/",
        "https://hooks.example.com/a b", "https://hooks.example.com/\r\nX: y", "https://hooks.example.com:99999/",
        "https://hooks.example.com:0/", "https://hööks.example.com/", "https://[::1", "https://hooks.example.com:25/",
        "https://hooks.example.com:22/", "http://hooks.example.com/", "gopher://hooks.example.com/",
        f"https://hooks.example.com/{'x' * 500}",
    ],
)  # fmt: skip
def test_odd_addresses_are_refused_with_one_sentence(url: str, names: dict[str, list[list[str]]]) -> None:
    names["hooks.example.com"] = [[PUBLIC]]
    with pytest.raises(outbound.OutboundRefused) as caught:
        outbound.check(url, purpose="webhook")
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "[::ffff:7f00:1]"])
def test_other_spellings_of_this_machine_are_refused(host: str) -> None:
    """With the system's own resolver: whatever it makes of them."""
    with pytest.raises(outbound.OutboundError):
        outbound.send("GET", f"https://{host}/", purpose="webhook", timeout=1)


def test_http_is_for_allowed_targets_or_the_embedded_stack(settings: Any, names: dict[str, list[list[str]]]) -> None:
    names["hooks.example.com"] = [[PUBLIC]]
    with pytest.raises(outbound.OutboundRefused, match="https://"):
        outbound.check("http://hooks.example.com/", purpose="webhook")
    settings.OUTBOUND_HTTP = True
    outbound.check("http://hooks.example.com/", purpose="webhook")
    settings.OUTBOUND_HTTP, settings.OUTBOUND_ALLOW = False, {"webhook": ["*.example.com"]}
    outbound.check("http://hooks.example.com/", purpose="webhook")


@pytest.mark.parametrize("allowed", ["10.0.0.0/8", "hooks.example.com", "*.example.com"])
def test_the_allow_list_opens_private_addresses(settings: Any, names: dict[str, list[list[str]]], allowed: str) -> None:
    names["hooks.example.com"] = [["10.0.0.7"]]
    settings.OUTBOUND_ALLOW = {"webhook": [allowed]}
    outbound.check("https://hooks.example.com:25/", purpose="webhook")


@pytest.mark.parametrize("allowed", ["example.com", "*.hooks.example.com", "11.0.0.0/8", "xhooks.example.com"])
def test_the_allow_list_opens_nothing_else(settings: Any, names: dict[str, list[list[str]]], allowed: str) -> None:
    names["hooks.example.com"] = [["10.0.0.7"]]
    settings.OUTBOUND_ALLOW = {"webhook": [allowed]}
    with pytest.raises(outbound.OutboundRefused):
        outbound.check("https://hooks.example.com/", purpose="webhook")


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "::ffff:169.254.169.254", "0.0.0.0", "fe80::1", "64:ff9b::a9fe:a9fe"]
)
def test_metadata_is_never_called_whatever_is_allowed(
    settings: Any, names: dict[str, list[list[str]]], address: str
) -> None:
    names["hooks.example.com"] = [[address]]
    settings.OUTBOUND_ALLOW = {"webhook": ["0.0.0.0/0", "::/0", "hooks.example.com"]}
    with pytest.raises(outbound.OutboundRefused, match="never calls"):
        outbound.check("https://hooks.example.com/", purpose="webhook")


def test_a_name_that_changes_its_mind_is_caught_at_the_call(settings: Any, names: dict[str, list[list[str]]]) -> None:
    """DNS rebinding: public when it was checked, this machine when it is called."""
    settings.OUTBOUND_HTTP = True
    with receiver() as calls:
        port = calls.url.split(":")[2].split("/")[0]
        names["hooks.example.com"] = [[PUBLIC], ["127.0.0.1"]]
        outbound.check(f"http://hooks.example.com:{port}/", purpose="webhook")
        with pytest.raises(outbound.OutboundRefused):
            outbound.send("POST", f"http://hooks.example.com:{port}/", purpose="webhook")
        assert calls.seen == []


def test_the_checked_address_is_the_one_that_is_called(settings: Any, names: dict[str, list[list[str]]]) -> None:
    """A second answer of the resolver would lead elsewhere; the name is asked once and stands in Host."""
    settings.OUTBOUND_ALLOW = {"webhook": ["127.0.0.0/8"]}
    with receiver() as calls:
        port = calls.url.split(":")[2].split("/")[0]
        names["hooks.example.com"] = [["127.0.0.1"], ["10.255.255.1"]]
        answer = outbound.send(
            "POST", f"http://hooks.example.com:{port}/a?b=c", purpose="webhook", body=b"{}", headers={"X-A": "1"}
        )
    assert answer.status == 204
    headers, body = calls.seen[0]
    assert (headers["host"], headers["x-a"], body) == (f"hooks.example.com:{port}", "1", b"{}")
    assert "authorization" not in headers and "cookie" not in headers


def test_the_next_address_is_tried_when_nothing_listens(settings: Any, names: dict[str, list[list[str]]]) -> None:
    settings.OUTBOUND_ALLOW = {"webhook": ["127.0.0.0/8"]}
    with receiver() as calls:
        port = calls.url.split(":")[2].split("/")[0]
        names["hooks.example.com"] = [["127.9.9.9", "127.0.0.1"]]
        assert outbound.send("GET", f"http://hooks.example.com:{port}/", purpose="webhook").status == 204


def test_redirects_are_answers(settings: Any) -> None:
    settings.OUTBOUND_ALLOW = {"webhook": ["127.0.0.0/8"]}
    with receiver() as other, receiver(status=302, headers={"Location": "http://169.254.169.254/"}) as calls:
        calls.headers["Location"] = other.url
        answer = outbound.send("POST", calls.url, purpose="webhook")
    assert (answer.status, len(calls.seen), other.seen) == (302, 1, [])


def test_proxies_of_the_environment_are_not_used(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.OUTBOUND_ALLOW = {"webhook": ["127.0.0.0/8"]}
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with receiver() as calls:
        assert outbound.send("POST", calls.url, purpose="webhook").status == 204


@contextmanager
def raw_server(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that speaks whatever `behave` says."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                connection, _ = listener.accept()
                with connection:
                    behave(connection)
            except OSError:
                return  # the other side hung up, as it should

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


def _drip(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(200):
        connection.sendall(f"X-{number}: y\r\n".encode())
        time.sleep(0.05)


def _silent(connection: socket.socket) -> None:
    connection.settimeout(5)
    while connection.recv(4096):
        pass


@pytest.mark.parametrize("behave", [_drip, _silent])
def test_a_slow_peer_ends_in_time(settings: Any, behave: Callable[[socket.socket], None]) -> None:
    """Each single read is quick enough; the whole is not."""
    settings.OUTBOUND_ALLOW = {"webhook": ["127.0.0.0/8"]}
    with raw_server(behave) as port:
        start = time.monotonic()
        with pytest.raises(outbound.OutboundFailed, match=r"did not answer within 0\.5 s"):
            outbound.send("POST", f"http://127.0.0.1:{port}/", purpose="webhook", timeout=0.5)
        assert time.monotonic() - start < 2


def test_a_slow_handshake_ends_in_time(settings: Any) -> None:
    settings.OUTBOUND_ALLOW = {"webhook": ["127.0.0.0/8"]}
    with raw_server(_silent) as port, pytest.raises(outbound.OutboundFailed, match="did not answer"):
        outbound.send("POST", f"https://127.0.0.1:{port}/", purpose="webhook", timeout=0.5)


def test_a_huge_answer_is_cut(settings: Any) -> None:
    settings.OUTBOUND_ALLOW = {"webhook": ["127.0.0.0/8"]}

    def flood(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(1000):
            connection.sendall(b"x" * 100_000)

    with raw_server(flood) as port:
        answer = outbound.send("GET", f"http://127.0.0.1:{port}/", purpose="webhook")
    assert len(answer.body) == outbound.MAX_ANSWER


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"", b"\x15\x03\x01"])
def test_what_is_no_web_server_is_a_failure_with_a_sentence(settings: Any, greeting: bytes) -> None:
    settings.OUTBOUND_ALLOW = {"webhook": ["127.0.0.0/8"]}
    for scheme in ("http", "https"):
        expected = pytest.raises(outbound.OutboundFailed, match=r"127\.0\.0\.1 could not be called: .+\.")
        with raw_server(lambda connection: connection.sendall(greeting)) as port, expected:
            outbound.send("GET", f"{scheme}://127.0.0.1:{port}/", purpose="webhook", timeout=3)


def test_nobody_there(settings: Any) -> None:
    settings.OUTBOUND_ALLOW = {"webhook": ["127.0.0.0/8"]}
    with pytest.raises(outbound.OutboundFailed, match="nothing listens there"):
        outbound.send("GET", f"http://127.0.0.1:{free_port()}/", purpose="webhook")


def test_an_unknown_name_fails_and_may_be_used_later(names: dict[str, list[list[str]]]) -> None:
    outbound.check("https://not-yet.example.com/", purpose="webhook")
    with pytest.raises(outbound.OutboundFailed, match="does not resolve"):
        outbound.send("GET", "https://not-yet.example.com/", purpose="webhook")


def _certificate(folder: Path, name: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    title = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(title)
        .issuer_name(title)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, private


@pytest.mark.parametrize(("name", "right"), [("hooks.example.com", True), ("other.example.com", False)])
def test_the_certificate_is_checked_against_the_name(
    name: str,
    right: bool,
    tmp_path: Path,
    settings: Any,
    names: dict[str, list[list[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Connected to an address, yet SNI and certificate are those of the name."""
    certificate, private = _certificate(tmp_path, "hooks.example.com")
    server, asked = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), []
    server.load_cert_chain(certificate, private)
    server.sni_callback = lambda sock, host, context: asked.append(host)
    client = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr(outbound, "_tls", lambda: client)
    settings.OUTBOUND_ALLOW = {"webhook": ["127.0.0.0/8"]}
    names[name] = [["127.0.0.1"]]

    def speak(connection: socket.socket) -> None:
        with server.wrap_socket(connection, server_side=True) as tls:
            tls.recv(4096)
            tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with raw_server(speak) as port:
        if right:
            assert outbound.send("POST", f"https://{name}:{port}/", purpose="webhook").body == b"ok"
        else:
            with pytest.raises(outbound.OutboundFailed, match="certificate does not hold"):
                outbound.send("POST", f"https://{name}:{port}/", purpose="webhook")
    assert asked == [name]


def test_a_certificate_that_nobody_vouches_for_is_refused(
    tmp_path: Path, settings: Any, names: dict[str, list[list[str]]]
) -> None:
    certificate, private = _certificate(tmp_path, "hooks.example.com")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, private)
    settings.OUTBOUND_ALLOW = {"webhook": ["127.0.0.0/8"]}
    names["hooks.example.com"] = [["127.0.0.1"]]

    def speak(connection: socket.socket) -> None:
        with server.wrap_socket(connection, server_side=True):
            return

    with raw_server(speak) as port, pytest.raises(outbound.OutboundFailed, match="certificate does not hold"):
        outbound.send("POST", f"https://hooks.example.com:{port}/", purpose="webhook")
