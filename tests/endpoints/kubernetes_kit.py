"""What tests of the `kubernetes` driver share: a place, a workload, and an API server that answers what it is told."""

import json
import ssl
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from endpoints.clusters import Place, Workload
from endpoints.engines import COMMANDS
from tests.cluster.certificates import Authority

DATA = Path(__file__).parents[1] / "data" / "kubernetes"
IMAGE = f"registry.example.com/vllm@sha256:{'a' * 64}"
KEY = "the-key-of-the-engines"


def place(**fields: Any) -> Place:
    """A registered cluster that nobody calls."""
    given: dict[str, Any] = {"slug": "one", "state_dir": Path("/nowhere"), "server": "https://127.0.0.1:1"}
    return Place(**{**given, **fields})


def workload(**fields: Any) -> Workload:
    """One revision on one GPU."""
    given: dict[str, Any] = {
        "endpoint_id": str(uuid.uuid4()), "revision": 1, "name": "scoring", "project": "fraud-detection",
        "environment_name": "dev", "replicas": 1, "command": COMMANDS["vllm"], "model": "acme/granite",
        "source": "hf://acme/granite@0123456789abcdef", "image": IMAGE, "resource": "nvidia.com/gpu", "accelerators": 1,
        "accelerator_limit": 8, "cpu_millis": 500, "host_memory_bytes": 2**30, "start_timeout_seconds": 60,
        "authorization_digest": "sha256:abc", "approval": "REQ-7",
    }  # fmt: skip
    return Workload(**{**given, **fields})


def recorded(name: str) -> Any:
    """Return an object as a real API server gave it."""
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


@dataclass
class Said:
    """One answer: status, body (an object, or bytes), headers."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that refuse the certificate hang up."""


class ApiServer:
    """A server over TLS that answers every call as `answer` says, and remembers what it was asked."""

    def __init__(self, directory: Path, answer: Callable[[str, str], Said]) -> None:
        self.answer, self.asked = answer, list[tuple[str, str, dict[str, str], bytes]]()
        self.authority, self.date = Authority(directory), ""
        self._server = _Quiet(("127.0.0.1", 0), self._handler())
        pair = self.authority.issue("api")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def place(self, **fields: Any) -> Place:
        """Return the place that leads here."""
        server = f"https://127.0.0.1:{self._server.server_port}"
        ca = self.authority.certificate.read_text(encoding="ascii")
        return place(**{"server": server, "ca": ca, "token": "a-token", **fields})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                server.asked.append((self.command, self.path, dict(self.headers), body))
                said = server.answer(self.command, self.path)
                data = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
                self.send_response(said.status)
                for name, value in {"Content-Length": str(len(data)), **said.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def date_time_string(self, timestamp: float | None = None) -> str:
                """Tell the time of the test."""
                return server.date or super().date_time_string(timestamp)

            do_GET = do_POST = do_PATCH = do_DELETE = _do

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        return Handler
