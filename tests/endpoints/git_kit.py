"""Real Git servers for tests: `git http-backend` behind a small HTTP server, and `sshd`, both on a free port; and
people who push with their own clone.
"""

import base64
import getpass
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.cluster.certificates import Authority

PEOPLE = {"GIT_AUTHOR_NAME": "Mallory", "GIT_AUTHOR_EMAIL": "mallory@example.com",
          "GIT_COMMITTER_NAME": "Mallory", "GIT_COMMITTER_EMAIL": "mallory@example.com",
          "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}  # fmt: skip
SSHD = shutil.which("sshd") or ("/usr/sbin/sshd" if Path("/usr/sbin/sshd").exists() else None)


def git(where: Path, *arguments: str, data: bytes | None = None) -> str:
    """Run git as a person would; fails the test when it fails."""
    done = subprocess.run(
        ["git", *arguments], cwd=where, env={**os.environ, **PEOPLE}, input=data, capture_output=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


class Remote:
    """A bare repository with a first commit on `main`, and the clone of somebody who works in it."""

    def __init__(self, directory: Path) -> None:
        self.path, self.clone = directory / "srv" / "fleet.git", directory / "clone"
        self.path.mkdir(parents=True)
        git(self.path, "init", "--quiet", "--bare", "--initial-branch=main")
        git(self.path, "config", "http.receivepack", "true")
        self.clone.mkdir()
        git(self.clone, "init", "--quiet", "--initial-branch=main")
        git(self.clone, "remote", "add", "origin", str(self.path))
        self.write({"README.md": "The fleet.\n"})

    @property
    def url(self) -> str:
        """As a repository on this machine."""
        return f"file://{self.path}"

    def write(self, files: Mapping[str, str | bytes | Path | None], words: str = "By hand") -> str:
        """Change files on `main` as a person does (None: take away, a Path: a link) and return the commit."""
        self.fetch()
        for path, text in files.items():
            if text is None:
                git(self.clone, "rm", "-rq", path)
            else:
                (self.clone / path).parent.mkdir(parents=True, exist_ok=True)
                (self.clone / path).unlink(missing_ok=True)
                if isinstance(text, Path):
                    (self.clone / path).symlink_to(text)
                else:
                    (self.clone / path).write_bytes(text.encode() if isinstance(text, str) else text)
        git(self.clone, "add", "--all")
        git(self.clone, "commit", "--quiet", "-m", words)
        git(self.clone, "push", "--quiet", "origin", "HEAD:main")
        return git(self.clone, "rev-parse", "HEAD").strip()

    def fetch(self, branch: str = "main") -> None:
        """Bring the clone to what stands in the repository."""
        if git(self.path, "for-each-ref", f"refs/heads/{branch}"):
            git(self.clone, "fetch", "--quiet", "origin", branch)
            git(self.clone, "checkout", "--quiet", "--force", "-B", branch, "FETCH_HEAD")
            git(self.clone, "clean", "-fdq")

    def merge(self, branch: str, *, squash: bool = False) -> None:
        """Merge a branch into `main` as a reviewer does, or squash it."""
        self.fetch()
        git(self.clone, "fetch", "--quiet", "origin", branch)
        git(self.clone, "merge", "--quiet", *(("--squash",) if squash else ("--no-ff", "--no-edit")), "FETCH_HEAD")
        if squash:
            git(self.clone, "commit", "--quiet", "-m", "Squashed")
        git(self.clone, "push", "--quiet", "origin", "HEAD:main")

    def rewind(self, commits: int) -> None:
        """Throw away the last commits of `main`, as somebody who forces a push does."""
        self.fetch()
        git(self.clone, "reset", "--quiet", "--hard", f"HEAD~{commits}")
        git(self.clone, "commit", "--quiet", "--allow-empty", "-m", "Something else")
        git(self.clone, "push", "--quiet", "--force", "origin", "HEAD:main")

    def hook(self, text: str) -> None:
        """Let the server judge every push by a shell script."""
        path = self.path / "hooks" / "pre-receive"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        path.chmod(0o755)

    def files(self, branch: str = "main") -> list[str]:
        """Return the paths of all files of a branch."""
        return git(self.path, "ls-tree", "-r", "--name-only", branch).split("\n")[:-1]

    def read(self, path: str, branch: str = "main") -> str:
        """Return a file of a branch."""
        return git(self.path, "show", f"{branch}:{path}")

    def branches(self) -> list[str]:
        """Return the names of all branches."""
        return git(self.path, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads").split()

    def count(self, branch: str = "main") -> int:
        """Return how many commits a branch has."""
        return int(git(self.path, "rev-list", "--count", branch))

    def message(self, branch: str = "main") -> str:
        """Return what the last commit of a branch says."""
        return git(self.path, "log", "-1", "--format=%B", branch)


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that refuse the certificate hang up."""


class HttpServer:
    """`git http-backend` for one directory, behind a password. `status` answers everything with an error, `pause` is
    how many seconds each answer takes.
    """

    def __init__(self, root: Path, token: str, authority: Authority | None = None) -> None:
        self.root, self.token, self.status, self.pause = root, token, 0, 0.0
        self.asked: list[str] = []
        self._scheme = "http" if authority is None else "https"
        self._server = _Quiet(("127.0.0.1", 0), self._handler())
        if authority is not None:
            pair = authority.issue("git")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair.certificate, pair.key)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()

    def url(self, name: str = "fleet.git") -> str:
        """Return the address of a repository."""
        return f"{self._scheme}://127.0.0.1:{self.port}/{name}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _do(self) -> None:
                body = self._body()
                server.asked.append(self.path)
                time.sleep(server.pause)
                pair = base64.b64encode(f"git:{server.token}".encode()).decode()
                if server.status or (server.token and self.headers.get("Authorization") != f"Basic {pair}"):
                    self.send_response(server.status or 401)
                    self.send_header("WWW-Authenticate", 'Basic realm="git"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self._answer(subprocess.run(
                    ["git", "http-backend"], env=self._environment(len(body)), input=body, capture_output=True,
                    check=False,
                ).stdout)  # fmt: skip

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = []
                while size := int(self.rfile.readline().strip() or b"0", 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def _environment(self, length: int) -> dict[str, str]:
                parts = urlsplit(self.path)
                found = {
                    "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(server.root), "GIT_HTTP_EXPORT_ALL": "1",
                    "PATH_INFO": unquote(parts.path), "QUERY_STRING": parts.query, "REQUEST_METHOD": self.command,
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(length),
                    "REMOTE_USER": "git", "REMOTE_ADDR": "127.0.0.1", "HOME": str(server.root),
                    "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                    "GIT_CONFIG_NOSYSTEM": "1",
                }  # fmt: skip
                return {name: value for name, value in found.items() if value}

            def _answer(self, said: bytes) -> None:
                head, _, body = said.partition(b"\r\n\r\n")
                headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
                self.send_response(int(headers.pop("Status", "200").split()[0]))
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                with suppress(BrokenPipeError, ConnectionResetError):
                    self.wfile.write(body)

            do_GET = do_POST = _do

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        return Handler


def new_key() -> tuple[str, str]:
    """Return a private key as OpenSSH writes it, and its public half."""
    made = Ed25519PrivateKey.generate()
    private = made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    public = made.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return private, public


class SshServer:
    """An sshd of our own: one key may come in, as the account of the test."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        host, self.host_key = new_key()
        self.key, own = new_key()
        for name, text in {"host": host, "keys": f"{own} deploy\n"}.items():
            (directory / name).write_text(text, encoding="ascii")
            (directory / name).chmod(0o600)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        options = {
            "ListenAddress": f"127.0.0.1:{self.port}", "HostKey": directory / "host", "PidFile": "none",
            "AuthorizedKeysFile": directory / "keys", "StrictModes": "no", "UsePAM": "no",
            "PasswordAuthentication": "no", "KbdInteractiveAuthentication": "no", "LogLevel": "ERROR",
        }  # fmt: skip
        (directory / "config").write_text(
            "".join(f"{name} {value}\n" for name, value in options.items()), encoding="ascii"
        )
        with suppress(OSError):
            Path("/run/sshd").mkdir(mode=0o755)  # where it insists on it, it may be made
        self._process = subprocess.Popen(
            [str(SSHD), "-D", "-e", "-f", str(directory / "config")], stdin=subprocess.DEVNULL,
            stdout=(directory / "log").open("wb"), stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._log = directory / "log"
        self._wait()

    def _wait(self) -> None:
        ends = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert self._process.poll() is None and time.monotonic() < ends, self._log.read_text(errors="replace")
                time.sleep(0.02)
            else:
                return

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)

    @property
    def known_hosts(self) -> str:
        """The host key as known_hosts has it."""
        return f"[127.0.0.1]:{self.port} {self.host_key}\n"

    def url(self, path: Path) -> str:
        """Return the address of a repository."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{path}"


@contextmanager
def http_server(root: Path, token: str, authority: Authority | None = None) -> Iterator[HttpServer]:
    """Serve the repositories in `root`, over TLS with an authority."""
    server = HttpServer(root, token, authority)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def ssh_server(directory: Path) -> Iterator[SshServer]:
    """Serve by SSH; skips the test where there is no sshd (a failure with REQUIRE_ALL=1)."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("sshd or ssh is not installed: the packages openssh-server and openssh-client")
    server = SshServer(directory)
    try:
        yield server
    finally:
        server.close()


def built(remote: Remote, branch: str = "main", root: str = "gatehouse") -> list[dict[str, Any]]:
    """Return the objects that a branch says are to be, as whoever applies it builds them from its kustomizations."""
    there = set(remote.files(branch))
    listing = f"{root}/kustomization.yaml"
    if listing not in there:
        return []
    found = []
    for name in yaml.safe_load(remote.read(listing, branch))["resources"]:
        path = f"{root}/{name}"
        if path in there:
            found.append(yaml.safe_load(remote.read(path, branch)))
        else:
            assert f"{path}/kustomization.yaml" in there, f"{listing} names {name}, which is not there"
            found += built(remote, branch, path)
    return found
