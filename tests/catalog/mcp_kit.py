"""What the tests of MCP servers share: a real server whose tools change, hostile ones, and versions of such servers."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from django.db import transaction

from catalog import collecting, services
from catalog.evidence import Case, tools
from catalog.evidence.finding import Finding
from catalog.mcp.described import describe
from catalog.models import Asset, Kind, Version
from projects.principal import Principal
from tests.factories import CARD, lead, make_asset

ACCOUNTS: dict[str, Any] = {
    "name": "list_accounts",
    "description": "Accounts the caller may see.",
    "inputSchema": {"type": "object", "properties": {}},
    "annotations": {"readOnlyHint": True},
}
QUERY: dict[str, Any] = {
    "name": "query_transactions",
    "description": "Returns transactions of one account between two times.\nAt most 500 rows. Card numbers are masked.",
    "inputSchema": {"type": "object", "properties": {"account_id": {"type": "string"}}},
    "annotations": {"readOnlyHint": True},
}
EXPORT: dict[str, Any] = {
    "name": "export_transactions",
    "description": "Writes a file.",
    "inputSchema": {"type": "object"},
    "annotations": {"readOnlyHint": False, "destructiveHint": True},
}


class LedgerServer:
    """A process of the MCP SDK; `offer` changes what it lists."""

    def __init__(self, home: Path) -> None:
        self.file = home / "tools.json"
        self.offer()
        script = Path(__file__).with_name("mcp_server.py")
        command = [sys.executable, str(script), str(self.file)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/mcp"

    def offer(self, *listed: dict[str, Any], **more: Any) -> None:
        """List these tools from now on; two that only read unless said otherwise."""
        self.file.write_text(json.dumps({"tools": list(listed or (ACCOUNTS, QUERY)), **more}))

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


@contextmanager
def hostile(answer: Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]) -> Iterator[str]:
    """A server on this machine that answers each POST with `answer(handler, message)`; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            answer(self, json.loads(self.rfile.read(length)))

        def do_GET(self) -> None:
            answer(self, {})

        do_DELETE = do_GET

        def log_message(self, *args: Any) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/mcp"
    finally:
        server.shutdown()
        server.server_close()


def say(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    """Answer with `body` as JSON unless `headers` say otherwise."""
    handler.send_response(status)
    names = {"Content-Type": "application/json", "Content-Length": str(len(body))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    for name, value in names.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def result(handler: BaseHTTPRequestHandler, message: dict[str, Any], listed: Callable[[str], dict[str, Any]]) -> None:
    """Speak the handshake of older servers by hand; `listed(cursor)` is the result of tools/list."""
    method, number = message.get("method"), message.get("id")
    if number is None:
        return say(handler, b"", 202 if method else 405)
    if method == "initialize":
        answer: dict[str, Any] = {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "hostile", "version": "1"},
        }
    elif method == "tools/list":
        answer = listed(str((message.get("params") or {}).get("cursor", "")))
    else:
        error = {"jsonrpc": "2.0", "id": number, "error": {"code": -32601, "message": "Method not found"}}
        return say(handler, json.dumps(error).encode())
    return say(handler, json.dumps({"jsonrpc": "2.0", "id": number, "result": answer}).encode())


def drip(handler: BaseHTTPRequestHandler, seconds: float) -> None:
    """Answer one byte at a time, without an end in sight."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    ends = time.monotonic() + seconds
    try:
        while time.monotonic() < ends:
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        return


def make_server(url: str = "", *, slug: str = "ledger-query", version: str = "1.4.0", **facts: Any) -> Version:
    """A draft of an MCP server that answers at `url`; without one it is started as a package."""
    asset = Asset.objects.filter(slug=slug).first() or make_asset(
        slug, kind=Kind.MCP_SERVER, description=CARD, languages=[], name=slug.replace("-", " ").title()
    )
    where: dict[str, Any] = (
        {"remotes": [{"type": "streamable-http", "url": url}]}
        if url
        else {"packages": [{"type": "npm", "identifier": "@example/ledger", "version": "1.4.0", "transport": "stdio"}]}
    )
    made = Version.objects.create(
        asset=asset, version=version, source=f"mcp://com.example/{slug}@{version}", licence="Apache-2.0",
        facts={"registry_name": f"com.example/{slug}", "sources": {"read": ["server.json"]}, **where, **facts},
    )  # fmt: skip
    services.collect_evidence(lead(), made)
    return made


def inspected(version: Version) -> Finding:
    """Run the check of tools as a worker does and keep its finding."""
    found = tools.check(Case(version, None, _no_content))
    with transaction.atomic():
        collecting.keep(lead(), version, [(tools, found)])
    return found


def approved(version: Version, by: Principal | None = None) -> Version:
    """Let a version in by the services, described where it was not inspected."""
    with transaction.atomic():
        describe(lead(), version)
    services.submit(by or lead(), version)
    services.approve(by or lead(), version)
    version.refresh_from_db()
    return version


def _no_content() -> Any:
    raise AssertionError("an MCP server has no content")
