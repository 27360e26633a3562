"""Real receivers for the tests of notifications: a mail server and an HTTP server, each on a port of its own."""

import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar


@dataclass
class Mailbox:
    """What a mail server took, and how it behaves."""

    port: int
    mails: list[EmailMessage] = field(default_factory=list)
    refuse: dict[str, int] = field(default_factory=dict)  # address → code of its refusal
    bad_words: dict[str, int] = field(default_factory=dict)  # word in a mail → code of its refusal
    connections: int = 0
    hold: threading.Event | None = None  # each mail is taken at once, and acknowledged when it is set

    def to(self, address: str) -> list[EmailMessage]:
        """The mails for one person."""
        return [mail for mail in self.mails if mail["To"] == address]


class _Smtp(socketserver.StreamRequestHandler):
    box: ClassVar[Mailbox]

    def handle(self) -> None:
        self.box.connections += 1
        self._say("220 test ESMTP")
        while line := self.rfile.readline().decode().strip():
            verb = line.upper()
            if verb.startswith(("EHLO", "HELO", "RSET", "NOOP", "MAIL")):
                self._say("250 ok")
            elif verb.startswith("RCPT"):
                address = line.split("<")[1].split(">")[0]
                code = self.box.refuse.get(address, 250)
                self._say(f"{code} {'ok' if code == 250 else 'no such mailbox'}")
            elif verb == "DATA":
                self._data()
            elif verb == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("502 what")

    def _data(self) -> None:
        self._say("354 go on")
        lines = []
        while (line := self.rfile.readline()) not in {b".\r\n", b""}:
            lines.append(line.removeprefix(b"."))
        text = b"".join(lines)
        code = next((code for word, code in self.box.bad_words.items() if word.encode() in text), 250)
        if code == 250:
            mail = message_from_bytes(text, policy=policy.default)
            assert isinstance(mail, EmailMessage)
            self.box.mails.append(mail)
        if self.box.hold is not None:
            self.box.hold.wait(10)
        self._say(f"{code} done")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@contextmanager
def mail_server(port: int = 0, box: Mailbox | None = None) -> Iterator[Mailbox]:
    """A mail server on `port`, or on a free one; `box` goes on filling after an outage."""
    handler: Any = type("Handler", (_Smtp,), {})
    with _Server(("127.0.0.1", port), handler) as server:
        found = box or Mailbox(server.server_address[1])
        handler.box = found
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Calls:
    """What an HTTP server was asked, and what it answers."""

    url: str
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    inside: int = 0
    most: int = 0  # calls at the same time
    hold: threading.Event | None = None  # each call waits for it

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The documents that came."""
        return [json.loads(body) for _, body in self.seen]


class _Http(BaseHTTPRequestHandler):
    calls: ClassVar[Calls]
    lock: ClassVar[threading.Lock]

    def do_POST(self) -> None:
        calls = self.calls
        with self.lock:
            calls.inside += 1
            calls.most = max(calls.most, calls.inside)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if calls.hold is not None:
            calls.hold.wait(10)
        with self.lock:
            calls.seen.append(({name.lower(): value for name, value in self.headers.items()}, body))
            calls.inside -= 1
        self.send_response(calls.status)
        for name, value in calls.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "2" if calls.status == 200 else "0")
        self.end_headers()
        if calls.status == 200:
            self.wfile.write(b"ok")

    do_GET = do_POST

    def log_message(self, format: str, *args: Any) -> None:
        return


@contextmanager
def receiver(**fields: Any) -> Iterator[Calls]:
    """An HTTP server that keeps what it is sent."""
    handler: Any = type("Handler", (_Http,), {"lock": threading.Lock()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        handler.calls = calls = Calls(f"http://127.0.0.1:{server.server_address[1]}/hook", **fields)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield calls
        finally:
            server.shutdown()
            thread.join()


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
