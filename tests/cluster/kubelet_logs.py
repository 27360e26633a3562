"""The part of a kubelet that the API server asks for the logs of a container."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.cluster.certificates import Authority

LINES = (
    "INFO 11-29 10:00:00 [api_server.py:1289] vLLM API server version 0.11.0",
    "INFO 11-29 10:00:01 [model.py:547] Resolved architecture: Qwen2ForCausalLM",
    "INFO 11-29 10:00:09 [launcher.py:42] Available routes are:",
    "INFO:     Application startup complete.",
)


class LogServer:
    """Logs by (namespace, pod): what a test puts into `lines`, and some lines of an engine for every other pod."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, str], list[str]] = {}
        self.files: dict[tuple[str, str], Path] = {}  # of pods that really run
        self.previous: dict[tuple[str, str], list[str]] = {}  # of the container before the last restart
        self.port = 0
        self._server: ThreadingHTTPServer | None = None

    def start(self, directory: Path) -> None:
        """Listen on a free port of the loopback, over TLS as a kubelet does."""
        pair = Authority(directory / "kubelet").issue("kubelet")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        logs = self

        class Handler(BaseHTTPRequestHandler):
            """GET /containerLogs/NAMESPACE/POD/CONTAINER."""

            def do_GET(self) -> None:
                status, text = logs.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        # The handshake belongs into the thread of the connection, not into the one that takes connections.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="kubelet-logs", daemon=True).start()

    def stop(self) -> None:
        """Close it."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def answer(self, address: str) -> tuple[int, bytes]:
        """Status and text of a request."""
        parts, asked = urlsplit(address).path.split("/"), parse_qs(urlsplit(address).query)
        if len(parts) != 5 or parts[1] != "containerLogs":
            return 404, b"not found\n"
        if asked.get("previous") == ["true"]:
            found = self.previous.get((parts[2], parts[3]))
            if found is None:
                return 400, b"previous terminated container not found\n"
        else:
            found = self.lines.get((parts[2], parts[3]), list(LINES))
            if (file := self.files.get((parts[2], parts[3]))) and file.exists():
                found = file.read_text(encoding="utf-8", errors="replace").splitlines()
        if tail := asked.get("tailLines"):
            found = found[-int(tail[0]) :] if int(tail[0]) else []
        text = "".join(f"{line}\n" for line in found).encode()
        return 200, text[: int(asked["limitBytes"][0])] if "limitBytes" in asked else text
