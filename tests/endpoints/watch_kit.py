"""A small API server that lists and watches as a real one does: resource versions, bookmarks, 410; faults are calls."""

import itertools
import json
import queue
import ssl
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from endpoints.clusters import Place
from endpoints.clusters.feeds import Mark
from endpoints.clusters.kubernetes import owned
from tests.cluster.certificates import Authority
from tests.endpoints.kubernetes_kit import place

Event = dict[str, Any]
GONE = {"kind": "Status", "status": "Failure", "reason": "Expired", "message": "too old resource version", "code": 410}


def wait_for(probe: Callable[[], Any], what: str, seconds: float = 15.0) -> Any:
    """Poll until `probe` answers something true."""
    deadline = time.monotonic() + seconds
    while not (found := probe()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.01)
    return found


def pod(endpoint: str, name: str = "one", *, ready: bool = False, **status: Any) -> dict[str, Any]:
    """A pod of an endpoint."""
    labels = {
        owned.MANAGED_BY: owned.MANAGER, owned.INSTALLATION: owned.PREFIX,
        owned.ENDPOINT: endpoint, owned.REVISION: "1",
    }  # fmt: skip
    conditions = [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": str(time.time())}]
    return {
        "kind": "Pod", "metadata": {"name": name, "namespace": "gatehouse-a-dev", "uid": f"{endpoint}-{name}",
                                    "labels": labels},
        "status": {"phase": "Running", "conditions": conditions, **status},
    }  # fmt: skip


@dataclass
class Call:
    """One request: its path and query, and the status that it got."""

    path: str
    query: dict[str, str]
    token: str
    status: int = 200

    @property
    def watch(self) -> bool:
        """Whether it is a watch."""
        return "watch" in self.query


@dataclass
class WatchServer:
    """Objects of a few kinds by plural, every change of which is an event."""

    directory: Path
    page: int = 0  # objects of one answer at most; 0: as many as are asked for
    token: str = "a-token"
    objects: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    log: list[tuple[int, str, Event]] = field(default_factory=list)
    oldest: int = 0  # versions before are forgotten
    calls: list[Call] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str], Any]] = field(default_factory=list)  # instead of the next watches
    hung: threading.Event | None = None  # every call waits for it

    def __post_init__(self) -> None:
        self._versions = itertools.count(100)
        self.version = 99
        self._lock = threading.Condition()
        self._streams: list[tuple[str, queue.Queue[bytes | None]]] = []
        self._authority = Authority(self.directory)
        pair = self._authority.issue("api")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        self._server = _Quiet(("127.0.0.1", 0), _handler(self))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.hung is not None:
            self.hung.set()
        self.end()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"https://127.0.0.1:{self._server.server_port}"

    @property
    def ca(self) -> str:
        """Its authority."""
        return self._authority.certificate.read_text(encoding="ascii")

    def place(self, **fields: Any) -> Place:
        """The place that leads here."""
        return place(**{"server": self.url, "ca": self.ca, "token": self.token, **fields})

    # What happens on the cluster

    def put(self, found: dict[str, Any], plural: str = "pods") -> None:
        """Write an object."""
        with self._lock:
            key = found["metadata"]["uid"]
            what = "MODIFIED" if key in self.objects.setdefault(plural, {}) else "ADDED"
            self._happens(plural, what, found)
            self.objects[plural][key] = self.log[-1][2]["object"]

    def remove(self, found: dict[str, Any], plural: str = "pods") -> None:
        """Delete an object."""
        with self._lock:
            del self.objects[plural][found["metadata"]["uid"]]
            self._happens(plural, "DELETED", found)

    def bookmark(self, plural: str = "pods") -> None:
        """Tell every stream how far the server is."""
        with self._lock:
            self._happens(plural, "BOOKMARK", {"kind": "Pod", "metadata": {}}, kept=False)

    def say(self, data: bytes, plural: str = "pods") -> None:
        """Write bytes into every open stream."""
        with self._lock:
            for name, stream in self._streams:
                if name == plural:
                    stream.put(data)

    def end(self) -> None:
        """End every open stream in order."""
        with self._lock:
            for _, stream in self._streams:
                stream.put(None)

    def forget(self) -> None:
        """Compact: whatever was until now cannot be watched from any more."""
        with self._lock:
            self.version = next(self._versions)
            self.oldest, self.log = self.version, []

    def streams(self, plural: str = "pods") -> int:
        """How many streams are open."""
        with self._lock:
            return sum(name == plural for name, _ in self._streams)

    def watches(self, plural: str = "pods") -> list[Call]:
        """The watches that were asked for."""
        return [one for one in self.calls if one.watch and one.path.endswith(plural)]

    def lists(self, plural: str = "pods") -> list[Call]:
        """The lists that were asked for."""
        return [one for one in self.calls if not one.watch and one.path.endswith(plural)]

    def _happens(self, plural: str, what: str, found: dict[str, Any], *, kept: bool = True) -> None:
        self.version = next(self._versions)
        meta = {**found["metadata"], "resourceVersion": str(self.version)}
        event = {"type": what, "object": {**found, "metadata": meta}}
        if kept:
            self.log.append((self.version, plural, event))
        for name, stream in self._streams:
            if name == plural:
                stream.put(_line(event))

    # What it answers

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        if self.hung is not None:
            self.hung.wait(30)
        parts = urlsplit(handler.path)
        token = (handler.headers.get("Authorization") or "").removeprefix("Bearer ")
        call = Call(parts.path, dict(parse_qsl(parts.query)), token)
        self.calls.append(call)
        if token != self.token:
            call.status = 401
            _send(handler, 401, {"kind": "Status", "reason": "Unauthorized", "message": "Unauthorized", "code": 401})
        elif call.watch and self.answers:
            status, headers, body = self.answers.pop(0)
            call.status = status
            _send(handler, status, body, headers)
        elif call.watch:
            self._stream(handler, call)
        else:
            _send(handler, 200, self._page(call))

    def _page(self, call: Call) -> dict[str, Any]:
        plural = call.path.rsplit("/", 1)[-1]
        with self._lock:
            found = list(self.objects.get(plural, {}).values())
            begin = int(call.query.get("continue") or 0)
            size = min(self.page or 10**6, int(call.query.get("limit") or 10**6))
            meta = {"resourceVersion": str(self.version)}
            if begin + size < len(found):
                meta["continue"] = str(begin + size)
            return {"kind": "List", "metadata": meta, "items": found[begin : begin + size]}

    def _stream(self, handler: BaseHTTPRequestHandler, call: Call) -> None:
        plural, since = call.path.rsplit("/", 1)[-1], int(call.query["resourceVersion"])
        mine: queue.Queue[bytes | None] = queue.Queue()
        entry = (plural, mine)
        with self._lock:
            if since < self.oldest:
                mine.put(_line({"type": "ERROR", "object": GONE}))
                mine.put(None)
            for version, name, event in self.log:
                if name == plural and version > since:
                    mine.put(_line(event))
            self._streams.append(entry)
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.flush()
        try:
            while (data := mine.get()) is not None:
                if data == b"BREAK":
                    handler.close_connection = True
                    return
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                handler.wfile.flush()
            handler.wfile.write(b"0\r\n\r\n")
        except OSError:
            handler.close_connection = True
        finally:
            with self._lock:
                self._streams.remove(entry)


class Heard:
    """Remembers what a feed tells."""

    def __init__(self) -> None:
        self.lists: list[dict[str, Mark]] = []
        self.changes: list[tuple[str, Mark | None]] = []
        self.signs = 0

    def listed(self, feed: str, found: Any) -> None:
        """A list."""
        self.lists.append(dict(found))

    def changed(self, feed: str, key: str, mark: Mark | None) -> None:
        """A change."""
        self.changes.append((key, mark))

    def sign(self, feed: str) -> None:
        """A sign."""
        self.signs += 1


def new_id() -> str:
    """The id of an endpoint."""
    return str(uuid.uuid4())


def _line(event: Event) -> bytes:
    return json.dumps(event).encode() + b"\n"


def _send(handler: BaseHTTPRequestHandler, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
    data = json.dumps(body).encode()
    handler.send_response(status)
    for name, value in {
        "Content-Length": str(len(data)),
        "Content-Type": "application/json",
        **(headers or {}),
    }.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(data)


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients hang up."""


def _handler(server: WatchServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.answer(self)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    return Handler
