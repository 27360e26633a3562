"""docs/oauth.md as it stands: every command of it, in one shell, against a real portal.

What a person does there is done in a real browser; what an issuer outside says comes from one over HTTP.
"""

import datetime as dt
import json
import os
import queue
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.projects.sso_kit import issuing
from tests.stack.browser_kit import PATIENCE_MS, Visitor, launch
from tests.stack.conftest import ROOT, Stack

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.processes,
    pytest.mark.xdist_group("processes"),
]
expect.set_options(timeout=PATIENCE_MS)
GUIDE, PIPELINES = ROOT / "docs" / "oauth.md", ROOT / "examples" / "pipelines"
MARK = "-- end of the block --"


def blocks() -> list[tuple[str, str]]:
    """The heading above and the text of every block of commands."""
    found, heading = [], ""
    for match in re.finditer(r"^## (?P<heading>[^\n]+)$|^```sh\n(?P<code>.*?)^```$", GUIDE.read_text(), re.M | re.S):
        heading = match["heading"] or heading
        if match["code"]:
            found.append((heading, match["code"]))
    return found


class Shell:
    """One shell that lives through the whole guide, as a reader's does."""

    def __init__(self, env: dict[str, str]) -> None:
        path = f"{ROOT / '.venv' / 'bin'}:{env.get('PATH', '')}"
        self.process = subprocess.Popen(
            ["/bin/sh"], cwd=ROOT, env=env | {"PATH": path}, text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)

    def send(self, code: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f'{code}\necho "{MARK}$?"\n')
        self.process.stdin.flush()

    def answer(self, seconds: float = 120) -> str:
        """What the block printed; its last command succeeded."""
        said, end = "", time.monotonic() + seconds
        while MARK not in said:
            try:
                said += self.lines.get(timeout=max(0.1, end - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"the block did not end in {seconds:.0f} s; it said:\n{said}")
        text, _, code = said.partition(MARK)
        assert code.strip() == "0", text
        return text

    def run(self, code: str) -> str:
        self.send(code)
        return self.answer()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, dict[str, str]]]:
    """A running portal that takes tokens of an issuer outside, and what the shell knows of that issuer."""
    with issuing() as issuer:
        now = int(time.time())
        claims = {
            "iss": issuer.url, "aud": "gatehouse-api", "azp": "gatehouse-pipeline", "sub": "machine", "iat": now,
            "exp": now + 3600, "scope": "requests:read usage:read",
        }  # fmt: skip
        issuer.raw["/token"] = (200, json.dumps({"access_token": issuer.sign(claims)}).encode())
        stack = Stack(tmp_path_factory.mktemp("state"))
        stack.env |= {"GATEHOUSE_JWT_ISSUER": issuer.url, "GATEHOUSE_JWT_AUDIENCE": "gatehouse-api"}
        outside = {
            "ISSUER_TOKEN_ENDPOINT": f"{issuer.url}/token", "ISSUER_CLIENT_ID": "gatehouse-pipeline",
            "ISSUER_CLIENT_SECRET": "word",
        }  # fmt: skip
        try:
            stack.start()
            yield stack, outside
        finally:
            if stack.launcher and stack.launcher.poll() is None:
                stack.stop()
            for pid in stack.processes():
                os.kill(pid, 9)


@pytest.fixture(scope="module")
def chrome(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch(playwright, chromium)
        yield browser
        browser.close()


class Callback:
    """A program on the person's machine that waits for its code."""

    def __init__(self) -> None:
        self.got: list[dict[str, list[str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if urlsplit(self.path).path == "/callback":
                    outer.got.append(parse_qs(urlsplit(self.path).query))
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(b"<!DOCTYPE html><html lang=en><title>Done</title><h1>Back in the program</h1>")

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/callback"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def callback() -> Iterator[Callback]:
    made = Callback()
    yield made
    made.close()


def approve_device(dana: Visitor, address: str) -> None:
    """Dana opens the address, compares the code and says yes."""
    dana.page.goto(address)
    expect(dana.page.get_by_role("heading", level=1)).to_have_text("Connect command line?")
    expect(dana.main()).to_contain_text("Read requests")
    expect(dana.main()).to_contain_text(address.rpartition("code=")[2])
    dana.look("device, confirm")
    dana.follow(dana.page.get_by_role("button", name="Connect", exact=True))
    expect(dana.page.get_by_role("heading", level=1)).to_have_text("command line is connected")
    dana.check("device, confirmed")


def allow(dana: Visitor, address: str, callback: Callback) -> str:
    """Dana opens the address, lets the program act for her, and comes back to it with a code."""
    dana.page.goto(address)
    expect(dana.page.get_by_role("heading", level=1)).to_have_text("Allow desktop?")
    expect(dana.main()).to_contain_text(callback.url.rpartition("/")[0])
    dana.check("consent")
    dana.page.get_by_role("button", name="Allow", exact=True).click()
    expect(dana.page.get_by_role("heading", level=1)).to_have_text("Back in the program")
    assert dana.problems == [], "the content security policy of the page lets its form lead on to the program"
    return callback.got[-1]["code"][0]


def opened(said: str) -> str:
    """The address that a block says to open."""
    found = re.search(r"^Open (\S+)$", said, re.M)
    assert found, said
    return found[1]


def test_every_command_of_the_guide(portal: tuple[Stack, dict[str, str]], chrome: Browser, callback: Callback) -> None:
    stack, outside = portal
    shell = Shell(stack.env | outside | {"GATEHOUSE": stack.url, "CALLBACK": callback.url})
    dana = Visitor.arrive(chrome, stack.url)
    said: dict[str, list[str]] = {}
    try:
        dana.sign_in("dana")
        for heading, code in blocks():
            if "while :; do" in code:  # the program waits while the person is asked
                shell.send(code)
                approve_device(dana, opened(said[heading][-1]))
                text = shell.answer()
            else:
                text = shell.run(code)
            said.setdefault(heading, []).append(text)
            if "$PROVIDER/authorize" in code:
                shell.run(f"CODE={allow(dana, opened(text), callback)}")
    finally:
        shell.close()
        dana.leave()
    _judge(said)


def _judge(said: dict[str, list[str]]) -> None:
    """What the reader sees at the end of each part."""
    assert json.loads(said["Client credentials"][-1])["principal"]["user"] == "svc-merge-checks"
    device = json.loads(said["Device code"][2])
    assert device["principal"]["user"] == "dana" and device["credential"]["application"]["name"] == "command line"
    info = json.loads(said["Authorization code with PKCE"][-1])
    assert info["preferred_username"] == "dana"
    active = [json.loads(part)["active"] for part in re.findall(r'\{"active".*?\}|\{[^{}]*"active"[^{}]*\}',
              said["Ask about a token, end a token"][-1])]  # fmt: skip
    assert active == [True, False]
    machine = said["Tokens of an issuer outside"][-1]
    assert '"svc-corporate-pipeline"' in machine and '"kind":"external"' in machine
    assert re.search(r"^0 of \d+ checks fail\.$", said["In a pipeline"][-1], re.M), said["In a pipeline"][-1]


def test_the_pipeline_fails_when_the_request_would(portal: tuple[Stack, dict[str, str]], tmp_path: Path) -> None:
    """And it takes a token that it is given, says what is wrong, and tells a refused token from a refused request."""
    stack, _ = portal
    ends_on = (dt.date.today() + dt.timedelta(days=90)).isoformat()
    good = json.loads((PIPELINES / "request.json").read_text()) | {"ends_on": ends_on}
    files = {"good": good, "big": good | {"hardware_profile": "l4-24gb", "replicas": 64}, "odd": good | {"name": "A B"}}
    for word, body in files.items():
        (tmp_path / f"{word}.json").write_text(json.dumps(body))
    env = stack.env | {"GATEHOUSE": stack.url, "GATEHOUSE_TOKEN": stack.token("dana", "requests:read")}
    check = [str(PIPELINES / "gatehouse-check.sh")]

    def run(name: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*check, str(tmp_path / f"{name}.json")],
            env=env | more,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=ROOT,
        )

    assert run("good").returncode == 0
    failed = run("big")
    assert failed.returncode == 1 and "fail " in failed.stdout, failed.stdout + failed.stderr
    odd = run("odd")
    assert odd.returncode == 2 and "lower-case letters" in odd.stderr
    refused = run("good", GATEHOUSE_TOKEN="nonsense")
    assert refused.returncode == 2 and "unknown, expired or revoked" in refused.stderr


def test_no_secret_stands_in_an_argument() -> None:
    """Everybody on a machine reads the arguments of every process; printf is part of the shell."""
    for path in (GUIDE, *PIPELINES.iterdir()):
        for line in path.read_text().splitlines():
            if re.search(r"SECRET\"|\$TOKEN|\$GATEHOUSE_TOKEN|\$REFRESH_TOKEN", line):
                assert "printf" in line or "export" in line or "-z" in line or "field" in line, f"{path.name}: {line}"
            assert not re.search(r"curl[^|]*(--user|-u |Authorization)", line), f"{path.name}: {line}"
