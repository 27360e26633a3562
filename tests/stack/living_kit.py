"""A running portal with its surroundings: a mail server and an HTTP receiver of the test's own, people with tokens and
browser sessions, projects and endpoints made over REST, and calls through `/v1`.
"""

import http.client
import http.cookiejar
import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from tests.projects.notify_kit import Calls, Mailbox, mail_server, receiver
from tests.projects.test_notify_webhooks import verify
from tests.stack.conftest import PASSWORD, Stack, wait_for

ASSET = "granite-3.3-2b-instruct"
MAKE_TOKENS = """
import datetime as dt
from projects import tokens
from projects.models import User
from projects.permissions import SCOPES
hour = dt.timedelta(hours=1)
people = User.objects.filter(username__in=["dana", "omar", "pat", "ravi"])
found = {one.username: tokens.create(one, scopes=SCOPES, project=None, ttl=hour) for one in people}
"""


@dataclass(frozen=True)
class Told:
    """What one call to `/v1` answered. `headers` in lower case."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]
    input_tokens: int = 0
    output_tokens: int = 0
    began: float = 0.0
    ended: float = 0.0

    @property
    def tokens(self) -> int:
        """Input and output together, as quotas count."""
        return self.input_tokens + self.output_tokens

    @property
    def code(self) -> str:
        """The code of a refusal."""
        return str(self.body.get("error", {}).get("code", ""))


@dataclass
class Living:
    """The portal, what it talks to, and everybody's credentials."""

    stack: Stack
    box: Mailbox
    hook: Calls
    post: ExitStack  # holds the mail server
    tokens: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, http.cookiejar.CookieJar] = field(default_factory=dict)

    # --- REST --------------------------------------------------------------------------------------------------------

    def api(self, who: str, method: str, path: str, body: Any = None, *, status: int = 200, **headers: str) -> Any:
        """One REST call of somebody: the JSON of its answer, which must have `status`."""
        found, answer, _ = self.raw(who, method, path, body, **headers)
        assert found == status, f"{method} {path} by {who}: {found}, not {status}: {answer.decode()[:600]}"
        return json.loads(answer) if answer else None

    def raw(
        self, who: str, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of one REST call."""
        if not self.tokens:
            self.tokens = self.rows(MAKE_TOKENS)
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=30)
        try:
            sent = {"Authorization": f"Bearer {self.tokens[who]}", "Content-Type": "application/json"}
            sent |= {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), sent)
            response = connection.getresponse()
            return response.status, response.read(), {name.lower(): text for name, text in response.getheaders()}
        finally:
            connection.close()

    def quotas(self, project: str, tokens: list[dict[str, Any]], by: str = "pat") -> Any:
        """Replace the token quotas of a project."""
        _, _, headers = self.raw(by, "GET", f"/projects/{project}/quotas")
        body = {"tokens": tokens}
        return self.api(by, "PUT", f"/projects/{project}/quotas", body, If_Match=headers["etag"])

    def project(self, slug: str, **members: str) -> str:
        """A project of its own for a test: pat makes it and leaves."""
        self.api("pat", "POST", "/projects", {"slug": slug, "name": slug.capitalize()}, status=201)
        for name, role in (members or {"omar": "owner", "dana": "developer"}).items():
            self.api("pat", "PUT", f"/projects/{slug}/members/{name}", {"role": role}, status=201)
        self.api("pat", "DELETE", f"/projects/{slug}/members/pat", status=204)
        return slug

    def webhook(self, project: str, *kinds: str, name: str = "hook") -> tuple[str, str]:
        """A webhook of a project on the receiver, made by omar: its id and secret."""
        body = {"project": project, "name": name, "url": self.hook.url, "kinds": list(kinds)}
        made = self.api("omar", "POST", "/webhooks", body, status=201)
        return made["id"], made["secret"]

    def wanted(self, project: str, name: str, **changes: Any) -> dict[str, Any]:
        """The body of a request for an endpoint, as a pipeline would send it."""
        return {
            "kind": "endpoint", "project": project, "name": name, "asset": ASSET, "version": "1.0",
            "hardware_profile": "cpu-demo", "environment": "dev", "replicas": 1, "concurrency": 8,
            "context_tokens": 4096, "purpose": "See how it lives.", "data_classification": "internal",
            "ends_on": day(60),
        } | changes  # fmt: skip

    def granted(self, who: str, body: dict[str, Any], *, by: str = "pat") -> dict[str, Any]:
        """Ask and approve; returns the request as it is afterwards."""
        made = self.api(who, "POST", "/requests", body, status=201)
        self.api(by, "POST", f"/requests/{made['id']}/decisions", {"decision": "approve", "reason": "Fine."})
        return dict(self.api(who, "GET", f"/requests/{made['id']}"))

    def open(self, project: str, name: str, **changes: Any) -> str:
        """A ready endpoint of dana's; returns its id."""
        identifier = str(self.granted("dana", self.wanted(project, name, **changes))["endpoint"])
        self.until(identifier, "ready")
        return identifier

    def endpoint(self, identifier: str, who: str = "pat") -> dict[str, Any]:
        """An endpoint as the API shows it."""
        return dict(self.api(who, "GET", f"/endpoints/{identifier}"))

    def until(self, identifier: str, *phases: str) -> dict[str, Any]:
        """Wait for an endpoint to be in one of `phases`."""

        def there() -> dict[str, Any] | None:
            now = self.endpoint(identifier)
            assert now["phase"] != "failed" or "failed" in phases, now["reason"]
            return now if now["phase"] in phases else None

        return dict(wait_for(there, 60, f"{identifier} to be {' or '.join(phases)}"))

    def key(self, project: str, who: str = "dana", **fields: Any) -> dict[str, Any]:
        """A key for calls, with its secret."""
        body = {"name": "traffic", "scopes": ["inference:invoke"], **fields}
        return dict(self.api(who, "POST", f"/projects/{project}/keys", body, status=201))

    # --- Inference ---------------------------------------------------------------------------------------------------

    def chat(self, secret: str, model: str, *, most: int = 24, stream: bool = False, text: str = "Hello there") -> Told:
        """One completion with the tokens that the client is told."""
        body: dict[str, Any] = {
            "model": model, "max_tokens": most, "stream": stream, "messages": [{"role": "user", "content": text}]
        }  # fmt: skip
        if stream:
            body["stream_options"] = {"include_usage": True}
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=60)
        try:
            sent = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
            connection.request("POST", "/v1/chat/completions", json.dumps(body), sent)
            response = connection.getresponse()
            answer = response.read().decode()
        finally:
            connection.close()
        headers = {name.lower(): value for name, value in response.getheaders()}
        if stream and response.status == 200:
            lines = [line.removeprefix("data: ") for line in answer.splitlines() if line.startswith("data: ")]
            assert lines and lines[-1] == "[DONE]", answer[-300:]
            found = [chunk for chunk in map(json.loads, lines[:-1]) if chunk.get("usage")][-1]
        else:
            found = json.loads(answer)
        usage = found.get("usage", {"prompt_tokens": 0, "completion_tokens": 0})
        return Told(
            response.status, headers, found, usage["prompt_tokens"], usage["completion_tokens"], began, time.monotonic()
        )

    # --- Pages -------------------------------------------------------------------------------------------------------

    def page(self, who: str, path: str, form: dict[str, str] | None = None) -> tuple[int, str]:
        """A page as a signed-in browser gets it, or what a form answers; redirects are followed."""
        if who not in self.sessions:
            self._sign_in(who)
        return self._fetch(self.sessions[who], path, form)

    def _sign_in(self, who: str) -> None:
        jar = http.cookiejar.CookieJar()
        self._fetch(jar, "/accounts/login/", None)
        status, text = self._fetch(jar, "/accounts/login/", {"login": who, "password": PASSWORD})
        assert status == 200 and "/accounts/logout/" in text, (status, text[:300])
        self.sessions[who] = jar

    def _fetch(self, jar: http.cookiejar.CookieJar, path: str, form: dict[str, str] | None) -> tuple[int, str]:
        session = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        request = urllib.request.Request(self.stack.url + path, headers={"Referer": self.stack.url + path})
        if form is not None:
            token = next(cookie.value or "" for cookie in jar if cookie.name == "gatehouse_csrf")
            request.data = urllib.parse.urlencode({**form, "csrfmiddlewaretoken": token}).encode()
        try:
            with session.open(request, timeout=30) as response:
                return int(response.status), str(response.read().decode())
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    # --- Harm --------------------------------------------------------------------------------------------------------

    @contextmanager
    def mail_away(self) -> Iterator[None]:
        """Nothing listens where the mail server was; afterwards it is back, with what it had."""
        self.post.close()
        try:
            yield
        finally:
            self.post.enter_context(mail_server(self.box.port, self.box))

    def kill(self, child: str) -> None:
        """kill -9 one child of the launcher; the launcher starts it anew."""
        pid = self.stack.children()[child]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: self.stack.children().get(child, pid) != pid, 30, f"a new {child}")
        wait_for(lambda: self.stack.status("/health/live") == 200, 60, "the portal to answer again")

    # --- What came out -----------------------------------------------------------------------------------------------

    def rows(self, code: str) -> Any:
        """Run `code` in the portal's own shell; what it calls `found` comes back as JSON."""
        code = f"import json\n{code}\nprint(json.dumps(found, default=str))"
        return json.loads(self.stack.manage("shell", "-v", "0", "-c", code).strip().splitlines()[-1])

    def heard(self, kind: str, project: str) -> list[tuple[dict[str, str], bytes, dict[str, Any]]]:
        """The calls to the receiver about `project`: headers, body, document."""
        every = [(headers, body, json.loads(body)) for headers, body in list(self.hook.seen)]
        return [one for one in every if one[2]["type"] == kind and one[2]["data"]["project"] == project]

    def mails(self, who: str, words: str) -> list[EmailMessage]:
        """The mails to somebody in which `words` stand."""
        return [mail for mail in self.box.to(f"{who}@example.com") if words in flat(mail)]

    def notes(self, who: str, kind: str, project: str) -> list[dict[str, Any]]:
        """The notifications of somebody of one kind and project, newest first."""
        items = self.api(who, "GET", "/notifications?limit=200")["items"]
        return [item for item in items if (item["kind"], item["project"]) == (kind, project)]


def flat(mail: EmailMessage) -> str:
    """Subject and text of a mail on one line."""
    return " ".join(f"{mail['Subject']}\n{mail.get_content()}".split())


def signed(secret: str, calls: list[tuple[dict[str, str], bytes, dict[str, Any]]]) -> bool:
    """Whether every call carries the right signature over exactly what came."""
    return all(verify(secret, headers, body) for headers, body, _ in calls)


def day(ahead: int) -> str:
    """The date so many days from today, UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime(time.time() + ahead * 86_400))


def values(html: str) -> list[str]:
    """The machine-readable values in a piece of a page."""
    return re.findall(r'<data value="([^"]*)"', html)


@contextmanager
def living(state: Path) -> Iterator[Living]:
    """A portal of its own on `state` with a mail server and a receiver; all of it ends with the block."""
    with ExitStack() as post, receiver() as hook:
        box = post.enter_context(mail_server())
        stack = Stack(state)
        stack.env |= {
            "GATEHOUSE_SMTP_URL": f"smtp://127.0.0.1:{box.port}", "GATEHOUSE_WEBHOOK_ALLOW": "127.0.0.0/8"
        }  # fmt: skip
        try:
            stack.start()
            yield Living(stack, box, hook, post)
        finally:
            box.hold = hook.hold = None
            if stack.launcher and stack.launcher.poll() is None:
                try:
                    stack.stop()
                except subprocess.TimeoutExpired:
                    stack.launcher.kill()
            for pid in stack.processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
