"""A small HTTPS server that answers the questions of a connection test as an API server would; faults are switches."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.cluster.certificates import Authority

TOKEN = "the-right-token"


@dataclass
class ApiServer:
    """What it answers; `asked` are the permissions that it was asked for, as (group, resource, verb)."""

    server: str = ""
    ca: str = ""
    version: str = "v1.36.2"
    user: str = "system:serviceaccount:gatehouse:gatehouse"
    denied: set[tuple[str, str, str]] = field(default_factory=set)
    served: dict[str, list[str]] = field(default_factory=dict)  # "serving.kserve.io/v1beta1" → resources
    groups: tuple[str, ...] = ("metrics.k8s.io",)
    nodes: list[dict[str, str]] = field(default_factory=lambda: [{"cpu": "8", "nvidia.com/gpu": "8"}])
    hangs: threading.Event | None = None  # questions for permissions wait for it
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def answer(self, method: str, path: str, token: str, body: Any) -> tuple[int, dict[str, Any]]:
        """Return status and object."""
        if token != TOKEN:
            return 401, {"kind": "Status", "status": "Failure", "reason": "Unauthorized", "message": "Unauthorized"}
        if path == "/version":
            return 200, {"gitVersion": self.version}
        if path.endswith("/selfsubjectreviews"):
            return 201, {"status": {"userInfo": {"username": self.user}}}
        if path.endswith("/selfsubjectaccessreviews"):
            return 201, self._may(body["spec"]["resourceAttributes"])
        if path.startswith("/api/v1/nodes"):
            items = [
                {"metadata": {"name": f"n{n}"}, "status": {"allocatable": one}} for n, one in enumerate(self.nodes)
            ]
            return 200, {"kind": "NodeList", "items": items}
        if path == "/apis":
            return 200, {"groups": [{"name": name} for name in self.groups]}
        found = self.served.get(path.removeprefix("/apis/"))
        if found is not None:
            return 200, {"resources": [{"name": name} for name in found]}
        return 404, {"kind": "Status", "status": "Failure", "reason": "NotFound", "message": "not there", "code": 404}

    def _may(self, asked: dict[str, str]) -> dict[str, Any]:
        if self.hangs is not None:
            self.hangs.wait(30)
        resource = "/".join(part for part in (asked["resource"], asked.get("subresource", "")) if part)
        one = (asked["group"], resource, asked["verb"])
        self.asked.append(one)
        return {"status": {"allowed": one not in self.denied}}


@contextmanager
def api_server(directory: Path) -> Iterator[ApiServer]:
    """A server on a free port of the loopback, with an authority of its own."""
    made = ApiServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size) or b"null")
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, found = made.answer(self.command, self.path, token, body)
            data = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _serve

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    authority = Authority(directory)
    pair = authority.issue("api")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    made.server = f"https://127.0.0.1:{server.server_address[1]}"
    made.ca = authority.certificate.read_text(encoding="ascii")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        if made.hangs is not None:
            made.hangs.set()
        server.shutdown()
        server.server_close()
