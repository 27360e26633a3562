"""Real servers for the tests of sources: a hub, a registry and a bucket, each in a thread, each able to misbehave."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

COMMIT, OTHER_COMMIT = "a" * 40, "b" * 40
CUT = 4096  # bytes after which a file breaks off


def sha256(content: bytes) -> str:
    """The hex digest of `content`."""
    return hashlib.sha256(content).hexdigest()


@dataclass
class Remote:
    """What a server holds, what it was asked, and how it misbehaves."""

    files: dict[str, bytes] = field(default_factory=dict)
    commit: str = COMMIT  # of "main"
    served: dict[str, bytes] = field(default_factory=dict)  # path → what is sent instead of what is listed
    claims: dict[str, str] = field(default_factory=dict)  # path → what is claimed to be its SHA-256
    cut: dict[str, int] = field(default_factory=dict)  # path → how often it breaks off after CUT bytes
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)  # path of the URL → answer
    cdn: str = ""  # files are sent from there: "/cdn", or another server
    ranges: bool = True
    names: list[Any] | None = None  # the list of files as it stands there, instead of the true one
    secret: str = ""  # a token that is wanted
    log: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""

    @property
    def asked(self) -> list[str]:
        """The paths that were asked for, in order."""
        return [path for path, _ in self.log]


class _Handler(BaseHTTPRequestHandler):
    remote: ClassVar[Remote]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        remote = self.remote
        remote.log.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        path = unquote(urlsplit(self.path).path)
        if path in remote.answers:
            status, headers, body = remote.answers[path]
            self.answer(status, body, headers)
        else:
            self.route(path)

    def route(self, path: str) -> None:
        """Answer a good question."""
        raise NotImplementedError

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def file(self, path: str) -> None:
        """Send a file, or the rest of it, or break off."""
        remote = self.remote
        body = remote.served.get(path, remote.files.get(path))
        if body is None:
            self.answer(404, b"no such file")
            return
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(found[1]) if found and remote.ranges else 0
        status, headers = 200, {"ETag": f'"{sha256(body)[:8]}"', "Content-Length": str(len(body) - start)}
        if start:
            status, headers["Content-Range"] = 206, f"bytes {start}-{len(body) - 1}/{len(body)}"
        rest = body[start:]
        if remote.cut.get(path, 0):
            remote.cut[path] -= 1
            rest, self.close_connection = rest[:CUT], True
        self.answer(status, rest, headers)

    def log_message(self, *args: Any) -> None:
        """Nothing on the console."""


class _Hub(_Handler):
    def route(self, path: str) -> None:
        remote = self.remote
        known = self.headers.get("Authorization") == f"Bearer {remote.secret}"
        if remote.secret and not known and path.startswith(("/api", "/org")):
            self.answer(401, b"{}", {"X-Error-Code": "GatedRepo"})
            return
        if found := re.fullmatch(r"/api/models/org/model/revision/(.+)", path):
            if found[1] not in {"main", remote.commit, COMMIT}:
                self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
                return
            commit = remote.commit if found[1] == "main" else found[1]
            self.answer(200, json.dumps({"sha": commit, "siblings": self.siblings()}).encode())
        elif found := re.fullmatch(r"/org/model/resolve/([0-9a-f]{40})/(.+)", path):
            if remote.cdn:
                self.answer(302, b"", {"Location": f"{remote.cdn}/{quote(found[2])}?signed={'x' * 600}"})
            else:
                self.file(found[2])
        elif path.startswith("/cdn/"):
            self.file(path.removeprefix("/cdn/"))
        else:
            self.answer(404, b"nothing here")

    def siblings(self) -> list[Any]:
        if self.remote.names is not None:
            return self.remote.names
        found = []
        for path, body in self.remote.files.items():
            facts: dict[str, Any] = {"rfilename": path, "size": len(body), "blobId": hashlib.sha1(body).hexdigest()}
            if path.endswith(".safetensors"):
                facts["lfs"] = {"sha256": self.remote.claims.get(path, sha256(body)), "size": len(body)}
            found.append(facts)
        return found


class _Registry(_Handler):
    def route(self, path: str) -> None:
        remote = self.remote
        if path == "/token":
            self.answer(200, json.dumps({"token": remote.secret}).encode())
            return
        if remote.secret and self.headers.get("Authorization") != f"Bearer {remote.secret}":
            realm = remote.answers.get("realm", (0, {}, f"{remote.url}/token".encode()))[2].decode()
            challenge = f'Bearer realm="{realm}",service="test",scope="repository:org/model:pull"'
            self.answer(401, b"{}", {"WWW-Authenticate": challenge})
            return
        if found := re.fullmatch(r"/v2/org/model/manifests/(.+)", path):
            body = self.manifest()
            known = {"latest", "v1", f"sha256:{sha256(body)}"}
            self.answer(*((200, body) if found[1] in known else (404, b"{}")))
        elif found := re.fullmatch(r"/v2/org/model/blobs/sha256:([0-9a-f]{64})", path):
            by_digest = {sha256(body): name for name, body in remote.files.items()}
            self.file(by_digest.get(found[1], "-"))
        else:
            self.answer(404, b"{}")

    def manifest(self) -> bytes:
        layers = self.remote.names
        if layers is None:
            layers = [
                {
                    "digest": f"sha256:{sha256(body)}",
                    "size": len(body),
                    "annotations": {"org.opencontainers.image.title": path} if not path.startswith("-") else {},
                }
                for path, body in self.remote.files.items()
            ]
        return json.dumps({"schemaVersion": 2, "layers": layers}).encode()


class _Bucket(_Handler):
    page = 2

    def route(self, path: str) -> None:
        remote = self.remote
        if remote.secret and "AWS4-HMAC-SHA256 Credential=" not in self.headers.get("Authorization", ""):
            self.answer(403, b"<Error/>")
        elif path == "/models":
            self.list(parse_qs(urlsplit(self.path).query))
        elif path.startswith("/models/"):
            key = path.removeprefix("/models/")
            wanted = self.headers.get("If-Match")
            body = remote.served.get(key, remote.files.get(key))
            if wanted and body is not None and wanted != f'"{sha256(body)[:8]}"':
                self.answer(412, b"<Error/>")
            else:
                self.file(key)
        else:
            self.answer(404, b"<Error/>")

    def list(self, query: dict[str, list[str]]) -> None:
        keys = sorted(key for key in self.remote.files if key.startswith(query["prefix"][0]))
        start = int(query.get("continuation-token", ["0"])[0])
        lines = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.remote.files[key])}</Size>"
            f"<ETag>&quot;{sha256(self.remote.files[key])[:8]}&quot;</ETag></Contents>"
            for key in keys[start : start + self.page]
        )
        more = start + self.page < len(keys)
        token = f"<NextContinuationToken>{start + self.page}</NextContinuationToken>" if more else ""
        body = (
            '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{lines}{token}</ListBucketResult>"
        )
        self.answer(200, body.encode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: Any) -> None:
        """The other side hung up, as it should."""


@contextmanager
def _serving(handler: type[_Handler], remote: Remote) -> Iterator[Remote]:
    bound: Any = type("Handler", (handler,), {"remote": remote})
    with _Server(("127.0.0.1", 0), bound) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        remote.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield remote
        finally:
            server.shutdown()
            thread.join()


def hub_server(**fields: Any) -> Any:
    """A hub that holds org/model."""
    return _serving(_Hub, Remote(**fields))


def registry_server(**fields: Any) -> Any:
    """A registry that holds org/model as `latest` and `v1`; files whose name begins with "-" have no title."""
    return _serving(_Registry, Remote(**fields))


def bucket_server(**fields: Any) -> Any:
    """A bucket server that holds the bucket `models`, which it lists two keys at a time."""
    return _serving(_Bucket, Remote(**fields))
