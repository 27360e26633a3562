"""The data path: `/v1/*` as a raw ASGI application.

Nothing here touches the database, a template or Django's middleware.
"""

import asyncio
import hashlib
import json
import logging
import re
import secrets
import time
from contextlib import suppress

from django.conf import settings

from endpoints.gateways.builtin import body as bodies
from endpoints.gateways.builtin import metrics
from endpoints.gateways.builtin.body import ClientGone, Receive, Scope, Send
from endpoints.gateways.builtin.budget import Budgets
from endpoints.gateways.builtin.bus import listen
from endpoints.gateways.builtin.directory import Directory
from endpoints.gateways.builtin.errors import (
    Headers,
    Refusal,
    control_plane_unavailable,
    error_body,
    invalid_key,
    model_not_found,
    retry_later,
)
from endpoints.gateways.builtin.leftovers import Leftovers
from endpoints.gateways.builtin.meter import Call, Journal
from endpoints.gateways.builtin.records import SCOPE, EndpointRecord, KeyRecord
from endpoints.gateways.builtin.relay import Relay
from endpoints.gateways.builtin.source import DatabaseSource
from endpoints.gateways.builtin.upstream import Pool
from projects.keys import well_formed
from quotas import journal as journals

__all__ = ["Gateway", "Receive", "Scope", "Send", "gateway", "gateway_shutdown", "gateway_startup"]

OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
    "/v1/responses": "responses",
}
DRAIN_SECONDS = 10.0  # how long running answers may take when the server stops
RETRY_AFTER = {
    "pending": 10,
    "provisioning": 5,
    "ready": 2,
    "degraded": 2,
}  # seconds by phase; 60 for those that need a person
UNKNOWN = "The API key is not known; check that it was copied whole."
FORWARDED = frozenset({b"traceparent", b"tracestate", b"openai-beta"})  # request headers; all others end here

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

log = logging.getLogger(__name__)


class Gateway:
    """Everything that one gateway process holds: the directory, the connections to engines, the journal, the running
    calls.
    """

    def __init__(
        self, directory: Directory, pool: Pool, journal: Journal, *, stall_seconds: float, bus: str = ""
    ) -> None:
        """`stall_seconds`: how long a client may take for one piece of an answer; `bus`: URL of Redis, or "" for
        polling alone.
        """
        self._directory, self._pool, self._journal = directory, pool, journal
        self._budgets, self._leftovers = Budgets(directory), Leftovers(directory)
        self._stall, self._bus = stall_seconds, bus
        self._running: set[asyncio.Task[object]] = set()
        self._listener: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to follow the epoch and the bus."""
        await self._directory.start()
        self._leftovers.start()
        if self._bus:
            self._listener = asyncio.create_task(listen(self._bus, self._directory.nudge), name="gateway-bus")

    async def stop(self) -> None:
        """Let running answers end for up to DRAIN_SECONDS, then cut them off, each with its record; let go of
        everything.
        """
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=DRAIN_SECONDS)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=1)
        if self._listener is not None:
            self._listener.cancel()
            with suppress(asyncio.CancelledError):
                await self._listener
        self._budgets.stop()
        self._leftovers.stop()
        await self._directory.stop()
        self._pool.close()
        self._journal.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        request_id = _request_id(scope)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._running.add(task)
        try:
            await self._route(scope, receive, send, request_id)
        except Refusal as refusal:
            metrics.REFUSALS.labels(refusal.code).inc()
            await _answer(send, refusal.status, refusal.body(), request_id, refusal.headers)
        except ClientGone:
            log.info("gateway.client_gone request=%s", request_id)
        except Exception:
            # Whatever this is, it is ours: the server closes the connection when the answer had begun, else this is the
            # answer.
            log.exception("gateway.bug request=%s", request_id)
            sentence = f"The gateway failed; give the platform team the request id {request_id}."
            with suppress(RuntimeError):
                await _answer(send, 500, error_body(500, "internal_error", sentence), request_id)
        finally:
            self._running.discard(task)

    async def _route(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        path, method = scope["path"], scope["method"]
        operation = OPERATIONS.get(path)
        models = path == "/v1/models" or path.startswith("/v1/models/")
        if operation is None and not models:
            raise Refusal(404, "unknown_url", f"Nothing answers at {path[:100]!r}; the paths are "
                          f"{', '.join(OPERATIONS)} and /v1/models.")  # fmt: skip
        wanted = "GET" if models else "POST"
        if method != wanted:
            raise Refusal(
                405, "method_not_allowed", f"{path[:100]} takes {wanted}.", headers=[(b"allow", wanted.encode())]
            )
        digest = self._digest(scope)
        key = await self._key(digest)
        if operation is None:
            await _answer(send, 200, await self._models(key, path[len("/v1/models/") :]), request_id)
        else:
            await self._infer(operation, digest, scope, receive, send, request_id)

    def _digest(self, scope: Scope) -> str:
        """Return the SHA-256 of the call's key. Raises Refusal (401) for what cannot be one."""
        secret = _bearer(scope)
        digest = hashlib.sha256(secret).hexdigest()
        # A mistyped key costs no query, and a known one no arithmetic.
        if not self._directory.knows(digest) and not _looks_right(secret):
            raise invalid_key(UNKNOWN)
        return digest

    async def _key(self, digest: str) -> KeyRecord:
        """Return the key of a call.

        Raises Refusal: 401 for the key itself, 403 for its scope, 503 when nobody can tell.
        """
        key = await self._directory.key(digest)
        if key is None:
            raise invalid_key(UNKNOWN)
        if why := key.why_not(time.time()):
            raise invalid_key(why)
        if SCOPE not in key.scopes:
            raise Refusal(
                403, "insufficient_scope", f"The key {key.prefix} lacks the scope {SCOPE}; create one that has it."
            )
        return key

    async def _models(self, key: KeyRecord, only: str) -> bytes:
        """Return the list of what the key may call, or the one model `only`; raises Refusal when the key may not see
        that.
        """
        endpoints = await self._directory.endpoints(key)
        visible = [(name, one) for name, one in sorted(endpoints.items()) if key.may_call(one)]
        if not only:
            return json.dumps({"object": "list", "data": [_model(one) for _, one in visible]}).encode()
        for name, one in visible:
            if only in {one.model, name}:
                return json.dumps(_model(one)).encode()
        raise model_not_found(only[: bodies.MAX_MODEL_LENGTH])

    async def _infer(
        self, operation: str, digest: str, scope: Scope, receive: Receive, send: Send, request_id: str
    ) -> None:
        arrived = time.monotonic()
        body = bodies.parse(await bodies.read(scope, receive))
        key = await self._key(digest)  # once more: a body may take a minute, and its key may end meanwhile
        endpoint = await self._endpoint(key, body)
        budget = await self._budgets.of(key, endpoint)
        raw, strip = body.for_engine(endpoint.served_name, operation)
        call = Call(operation, body.stream, key, endpoint, request_id, body.estimated_tokens, arrived, budget)
        if budget is not None:
            budget.check()
            call.estimated_output = body.estimated_output(endpoint.context_tokens)
        call.begin(self._journal)
        relay = Relay(self._pool, self._journal, call, send, strip_usage=strip, stall=self._stall)
        headers = [
            (b"content-type", b"application/json"),
            (b"accept", b"text/event-stream" if body.stream else b"application/json"),
            (b"x-request-id", request_id.encode()),
            *((name, value) for name, value in scope["headers"] if name in FORWARDED),
        ]
        try:
            with self._leftovers.watching(relay, digest):
                await relay.run(scope["path"], headers, raw, receive)
        except Refusal as refusal:
            refusal.headers = (*refusal.headers, *(budget.headers() if budget is not None else ()))
            raise

    async def _endpoint(self, key: KeyRecord, body: bodies.Body) -> EndpointRecord:
        """Return the endpoint that `model` names, ready to be called. Raises Refusal."""
        name = body.endpoint_name(key)
        endpoint = await self._directory.endpoint(key, name) if name else None
        if endpoint is None or not key.may_call(endpoint):
            raise model_not_found(body.model)
        if not endpoint.admits:
            what = endpoint.phase if endpoint.running else "suspended"
            raise retry_later(503, "endpoint_not_ready", f"{endpoint.model} is {what}: {endpoint.reason}",
                              RETRY_AFTER.get(what, 60))  # fmt: skip
        return endpoint


def _bearer(scope: Scope) -> bytes:
    """Return the bearer of a request. Raises Refusal unless there is exactly one."""
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    kind, _, secret = given[0].strip().partition(b" ") if len(given) == 1 else (b"", b"", b"")
    if kind.lower() != b"bearer" or not secret.strip():
        raise invalid_key("Send the API key in one header, Authorization: Bearer gth_…")
    secret = secret.strip()
    if secret.startswith(b"gtt_"):
        raise invalid_key("This is an access token for /api/v1; inference takes an API key (gth_…) of a project.")
    return bytes(secret)


def _looks_right(secret: bytes) -> bool:
    """Whether the checksum fits."""
    return secret.isascii() and well_formed(secret.decode("ascii"))


def _request_id(scope: Scope) -> str:
    """Return the caller's x-request-id when it is sane, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value.decode("ascii"))
    return secrets.token_hex(16)


def _model(endpoint: EndpointRecord) -> dict[str, object]:
    model: dict[str, object] = {
        "id": endpoint.model, "object": "model", "created": endpoint.created, "owned_by": endpoint.project,
    }  # fmt: skip
    if endpoint.context_tokens:
        model["max_model_len"] = endpoint.context_tokens
    return model


async def _answer(send: Send, status: int, body: bytes, request_id: str, headers: Headers = ()) -> None:
    fixed = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", request_id.encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})


# --- The one gateway of this process, for portal.asgi -----------------------------------------------------------------

_instance: Gateway | None = None


def _create() -> Gateway:
    """Return a gateway as the settings want it. Raises OSError when the journal has no room."""
    patience = float(settings.GATEWAY_UPSTREAM_TIMEOUT_SECONDS)
    return Gateway(
        Directory(DatabaseSource(), grace_seconds=float(settings.GATEWAY_GRACE_SECONDS)),
        Pool(patience=patience),
        journals.Journal(settings.STATE_DIR / "journal"),
        stall_seconds=patience,
        bus=settings.REDIS_CLIENT_URL,
    )


async def gateway_startup() -> None:
    """Start this process' gateway, unless it runs. Raises OSError when the journal has no room."""
    global _instance
    if _instance is None:
        _instance = _create()
        await _instance.start()


async def gateway_shutdown() -> None:
    """Stop this process' gateway, if it runs."""
    global _instance
    if _instance is not None:
        stopping, _instance = _instance, None
        await stopping.stop()


async def gateway(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application of a process that is nothing but gateway, and the part of `portal.asgi` below /v1."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
    elif scope["type"] == "http":
        try:
            await gateway_startup()  # for servers that have no lifespan
        except OSError as error:
            log.error("gateway.no_journal error=%s", error)
            refusal = control_plane_unavailable()
            await _answer(send, refusal.status, refusal.body(), _request_id(scope), refusal.headers)
        else:
            assert _instance is not None  # noqa: S101 - started above
            await _instance(scope, receive, send)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        if kind == "lifespan.startup":
            try:
                await gateway_startup()
                await send({"type": "lifespan.startup.complete"})
            except OSError as error:
                await send({"type": "lifespan.startup.failed", "message": f"The journal cannot be written: {error}"})
        elif kind == "lifespan.shutdown":
            await gateway_shutdown()
            await send({"type": "lifespan.shutdown.complete"})
            return
