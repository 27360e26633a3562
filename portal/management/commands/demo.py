"""`manage.py demo`: the whole journey over HTTP against the running portal, each step with its time."""

import datetime as dt
import json
import time
import urllib.error
import urllib.request
import uuid
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from portal.launcher.record import read as read_run
from projects import tokens
from projects.models import User

ASSET, VERSION, PROFILE, PROJECT = "granite-3.3-2b-instruct", "1.0", "cpu-demo", "fraud-detection"
READY_SECONDS, USAGE_SECONDS, POLL_SECONDS = 90, 30, 0.25
Answer = dict[str, Any]


class Command(BaseCommand):
    """Walk catalog → plan → request → approval → endpoint → key → completion → usage, as two people would."""

    help = "Run the demo journey against the running portal; exits 0 when every step worked."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--url", help="address of the portal; default: the one that runs on this state directory")
        parser.add_argument("--keep", action="store_true", help="leave the endpoint running")

    def handle(self, *args: Any, url: str | None, keep: bool, **options: Any) -> None:
        """Run all steps."""
        if not settings.DEMO:
            raise CommandError("The demo runs on the embedded stack with GATEHOUSE_DEMO=1.")
        run = read_run(settings.STATE_DIR / "run.json")
        self.base = (url or (run.url if run else "") or settings.BASE_URL).rstrip("/")
        self.started = time.monotonic()
        asks = self._token(
            "dana",
            "catalog:read",
            "requests:read",
            "requests:write",
            "endpoints:read",
            "endpoints:write",
            "usage:read",
            "inference:invoke",
        )
        decides = self._token("pat", "requests:read", "approvals:decide")
        name = f"demo-{uuid.uuid4().hex[:8]}"
        body = self._body(name)
        endpoint = ""
        try:
            self._step("catalog", lambda: self._catalog(asks))
            self._step("plan", lambda: self._plan(asks, body))
            request = self._step("request", lambda: self._request(asks, body))
            self._step("approval", lambda: self._approve(decides, request["id"]))
            live = self._step("live endpoint", lambda: self._wait_ready(asks, request["id"]))
            endpoint = live["id"]
            key = self._step("key", lambda: self._key(asks, name))
            told = self._step("streamed completion", lambda: self._stream(key["secret"], name))
            self._step("usage", lambda: self._usage(asks, name, told))
            self._step("key revoked", lambda: self._revoke(asks, key["id"]))
        finally:
            if endpoint and not keep:
                self._step("endpoint deleted", lambda: self._call("DELETE", f"/endpoints/{endpoint}", asks))
        self.stdout.write(f"Done in {time.monotonic() - self.started:.1f} s. Every step worked.")

    # --- Steps
    # ----------------------------------------------------------------------------------------------------------------

    def _body(self, name: str) -> Answer:
        return {
            "kind": "endpoint",
            "project": PROJECT,
            "name": name,
            "asset": ASSET,
            "version": VERSION,
            "hardware_profile": PROFILE,
            "environment": "dev",
            "replicas": 1,
            "concurrency": 8,
            "context_tokens": 4096,
            "purpose": "Show the journey.",
            "data_classification": "internal",
            "ends_on": (timezone.now().date() + dt.timedelta(days=30)).isoformat(),
        }

    def _catalog(self, token: str) -> Answer:
        asset = self._call("GET", f"/catalog/assets/{ASSET}", token)
        states = [version["state"] for version in asset["versions"] if version["version"] == VERSION]
        if states != ["approved"]:
            raise CommandError(f"{ASSET} {VERSION} is not approved: {states}")
        return {"says": f"{asset['name']} {VERSION} is approved"}

    def _plan(self, token: str, body: Answer) -> Answer:
        plan = self._call("POST", "/requests/check", token, body)
        cost = plan["cost"]
        verdicts = [check["verdict"] for check in plan["checks"]]
        counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in ("pass", "warn", "fail"))
        return {
            "says": f"{plan['memory']['sentence']} {cost['currency']} {cost['per_hour']} per hour, "
            f"{cost['per_month']} per month. Checks: {counts}."
        }

    def _request(self, token: str, body: Answer) -> Answer:
        made = self._call("POST", "/requests", token, body, **{"Idempotency-Key": uuid.uuid4().hex})
        return {"says": f"{made['number']} is {made['state']}, plan {made['plan_digest'][:19]}…", **made}

    def _approve(self, token: str, request: int) -> Answer:
        made = self._call(
            "POST", f"/requests/{request}/decisions", token, {"decision": "approve", "reason": "Small and safe."}
        )
        return {"says": "pat approved", **made}

    def _wait_ready(self, token: str, request: int) -> Answer:
        identifier = self._call("GET", f"/requests/{request}", token)["endpoint"]

        def ready() -> Answer | None:
            found = self._call("GET", f"/endpoints/{identifier}", token)
            if found["phase"] == "failed":
                raise CommandError(f"The endpoint failed: {found['reason']['sentence']}")
            return found if found["phase"] == "ready" else None

        found = self._wait(ready, READY_SECONDS, "the endpoint to be ready")
        return {"says": f"{found['model']} answers at {found['url']}", **found}

    def _key(self, token: str, name: str) -> Answer:
        made = self._call(
            "POST",
            f"/projects/{PROJECT}/keys",
            token,
            {"name": name, "endpoints": [name], "scopes": ["inference:invoke"]},
        )
        return {"says": f"{made['prefix']}… was shown once", **made}

    def _stream(self, secret: str, name: str) -> Answer:
        body = {
            "model": f"{PROJECT}/{name}",
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": 60,
            "messages": [{"role": "user", "content": "Why does a bank review card payments?"}],
        }
        sent, first, text = time.monotonic(), 0.0, ""
        usage: Answer = {}
        for chunk in self._events("/v1/chat/completions", secret, body):
            for choice in chunk.get("choices", []):
                if choice["delta"].get("content"):
                    first = first or time.monotonic() - sent
                    text += choice["delta"]["content"]
            usage = chunk.get("usage") or usage
        if not text or not usage:
            raise CommandError("The stream ended without text or usage.")
        self.stdout.write(f"      “{text.strip()[:200]}”")
        return {
            "says": f"first token after {first * 1000:.0f} ms, "
            f"{usage['prompt_tokens']} in, {usage['completion_tokens']} out",
            **usage,
        }

    def _usage(self, token: str, name: str, told: Answer) -> Answer:
        def counted() -> Answer | None:
            rows = self._call(
                "GET", f"/usage?project={PROJECT}&endpoint={name}&interval=hour&group_by=endpoint", token
            )["items"]
            return rows[0] if rows else None

        row = self._wait(counted, USAGE_SECONDS, "the call to be counted")
        if (row["input_tokens"], row["output_tokens"]) != (told["prompt_tokens"], told["completion_tokens"]):
            raise CommandError(f"The portal counted {row}, but the client was told {told}.")
        return {
            "says": f"{row['requests']} request, "
            f"{row['input_tokens']} tokens in and {row['output_tokens']} out: what the client was told"
        }

    def _revoke(self, token: str, key: str) -> Answer:
        self._call("DELETE", f"/projects/{PROJECT}/keys/{key}", token)
        return {"says": "it works no more"}

    # --- Plumbing
    # --------------------------------------------------------------------------------------------------------------

    def _token(self, username: str, *scopes: str) -> str:
        user = User.objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"The demo person {username} is missing. Start the portal once with: make run")
        return tokens.create(user, scopes=scopes, project=None, ttl=dt.timedelta(minutes=10))

    def _step(self, title: str, run: Callable[[], Answer]) -> Answer:
        began = time.monotonic()
        result = run()
        self.stdout.write(f"{time.monotonic() - began:7.2f} s  {title}: {result.get('says', 'done')}")
        return result

    def _wait(self, probe: Callable[[], Answer | None], seconds: float, what: str) -> Answer:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = probe()
            if found is not None:
                return found
            time.sleep(POLL_SECONDS)
        raise CommandError(f"Waited {seconds:.0f} s for {what}.")

    def _open(self, method: str, path: str, secret: str, body: Answer | None, headers: dict[str, str]) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the portal's own address
            self.base + path,
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"Bearer {secret}", "Content-Type": "application/json", **headers},
        )
        try:
            return urllib.request.urlopen(request, timeout=60)  # noqa: S310 - as above
        except urllib.error.HTTPError as error:
            raise CommandError(f"{method} {path} answered {error.code}: {error.read().decode()[:500]}") from error
        except OSError as error:
            raise CommandError(f"No portal answers at {self.base} ({error}). Start it with: make run") from error

    def _call(self, method: str, path: str, secret: str, body: Answer | None = None, **headers: str) -> Answer:
        with self._open(method, f"/api/v1{path}", secret, body, headers) as response:
            text = response.read()
        return dict(json.loads(text)) if text else {}

    def _events(self, path: str, secret: str, body: Answer) -> Iterator[Answer]:
        with self._open("POST", path, secret, body, {}) as response:
            for line in response:
                data = line.decode().strip().removeprefix("data: ")
                if data and data != "[DONE]":
                    yield json.loads(data)
