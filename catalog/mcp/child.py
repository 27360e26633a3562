"""Lists what one MCP server offers, in a process of its own that reaches nothing but one checked address.

Started as a script by catalog/mcp/inspect.py, which writes one JSON document to its input and reads one from its
output; nothing of the portal is imported here. Limits are set before anything of the server is read.
"""

import asyncio
import json
import resource
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

MOST_ITEMS = 500  # of resources and of prompts, each; of tools the parent says how many
MOST_TEXT = 20_000  # characters of the server's own instructions
SHORT = 300  # characters of one text of a resource or prompt


class Stop(Exception):
    """The inspection ends here; `code` says why, `more` what the parent may show."""

    def __init__(self, code: str, **more: Any) -> None:
        super().__init__(code)
        self.code, self.more = code, more


class Counted(httpx2.AsyncByteStream):
    """The body of an answer, of which only so many bytes are read over the whole inspection."""

    def __init__(self, inner: Any, spend: Callable[[int], None]) -> None:
        self.inner, self.spend = inner, spend

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the parts; raises Stop when there are too many bytes."""
        async for part in self.inner:
            self.spend(len(part))
            yield part

    async def aclose(self) -> None:
        """Close the connection's side of it."""
        await self.inner.aclose()


class Pinned(httpx2.AsyncBaseTransport):
    """Sends every request of one origin to one address, and none elsewhere: no redirect, no name that is looked up."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order, self.left, self.stop = order, int(order["bytes"]), None
        self.inner = httpx2.AsyncHTTPTransport(verify=ssl.create_default_context(), trust_env=False, retries=0)

    stop: Stop | None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send it with the name in the Host header and in the certificate check."""
        order, url = self.order, request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        if (url.scheme, url.host, port) != (order["scheme"], order["host"].strip("[]"), order["port"]):
            raise self._end("redirect", to=str(url)[:SHORT])
        request.url = url.copy_with(host=order["address"])
        request.headers["accept-encoding"] = "identity"
        request.extensions = {**request.extensions, "sni_hostname": order["host"].rstrip(".")}
        try:
            response = await self.inner.handle_async_request(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise self._end("unreachable", why=_innermost(error)) from error
        return self._checked(response)

    def _checked(self, response: httpx2.Response) -> httpx2.Response:
        status, headers = response.status_code, response.headers
        if status in {401, 403}:
            raise self._end("sign_in", status=status, challenge=headers.get("www-authenticate", "")[:2000])
        if 300 <= status < 400:
            raise self._end("redirect", to=headers.get("location", "")[:SHORT])
        if headers.get("content-encoding", "identity").lower() not in {"", "identity"}:
            raise self._end("too_large")  # nobody asked for it, and what it unpacks to is not known
        response.stream = Counted(response.stream, self._spend)
        return response

    def _spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise self._end("too_large")

    def _end(self, code: str, **more: Any) -> httpx2.TransportError:
        """Remember why it ends, since the SDK may turn the error into another one on its way."""
        self.stop = self.stop or Stop(code, **more)
        return httpx2.TransportError(code)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.inner.aclose()


def confine(order: dict[str, Any]) -> None:
    """Refuse, for the rest of this process, to connect elsewhere, to look names up, and to start anything."""
    goal = (order["address"], order["port"])

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and tuple(arguments[1][:2]) != goal:
            raise PermissionError("Only the checked address is called.")
        if event in {"subprocess.Popen", "os.exec", "os.fork", "os.posix_spawn", "os.system", "socket.gethostbyname"}:
            raise PermissionError("Nothing is started here.")
        if event == "socket.getaddrinfo" and str(arguments[0]) != goal[0]:
            raise PermissionError("No name is looked up here.")

    sys.addaudithook(watch)


def limit(order: dict[str, Any]) -> None:
    """Bound memory, processor time and files of this process."""
    for what, most in (
        (resource.RLIMIT_AS, order["memory"]), (resource.RLIMIT_CPU, order["seconds"]), (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        hard = resource.getrlimit(what)[1]
        lower = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (lower, lower))


async def look(order: dict[str, Any]) -> dict[str, Any]:
    """Return what the server offers; raises Stop."""
    transport = Pinned(order)
    timeout = httpx2.Timeout(order["wait"])
    try:
        async with httpx2.AsyncClient(transport=transport, timeout=timeout, trust_env=False) as http:
            wire = streamable_http_client(order["url"], http_client=http, max_sse_event_size=order["bytes"])
            async with Client(wire, mode="auto", read_timeout_seconds=order["wait"], cache=None) as client:
                return await _listed(client, order)
    except BaseException as error:
        if isinstance(error, MemoryError):
            raise Stop("too_large") from error
        raise transport.stop or _stop_of(error) from error


async def _listed(client: Client, order: dict[str, Any]) -> dict[str, Any]:
    able = client.server_capabilities
    info = client.server_info
    found: dict[str, Any] = {
        "protocol": str(client.protocol_version),
        "server": {"name": str(info.name)[:SHORT], "version": str(info.version)[:SHORT]} if info else {},
        "instructions": (getattr(client, "instructions", None) or "")[:MOST_TEXT],
        "tools": [], "resources": [], "prompts": [],
    }  # fmt: skip
    if able is None or able.tools is not None:
        found["tools"] = [_dump(tool) for tool in await _all(client.list_tools, "tools", order, order["tools"])]
    if able is not None and able.resources is not None:
        rows = await _all(client.list_resources, "resources", order, MOST_ITEMS)
        found["resources"] = [_brief(row, "uri") for row in rows]
    if able is not None and able.prompts is not None:
        rows = await _all(client.list_prompts, "prompts", order, MOST_ITEMS)
        found["prompts"] = [_brief(row, "name") for row in rows]
    return found


async def _all(ask: Callable[..., Awaitable[Any]], name: str, order: dict[str, Any], most: int) -> list[Any]:
    """Return every page of a list; raises Stop for too many pages or rows, and for one page again and again."""
    rows: list[Any] = []
    seen: set[str] = set()
    cursor: str | None = None
    for _ in range(order["pages"]):
        page = await ask(cursor=cursor, cache_mode="refresh")
        rows += getattr(page, name)
        if len(rows) > most:
            raise Stop("too_many", what=name, most=most)
        cursor = page.next_cursor
        if cursor is None:
            return rows
        if cursor in seen:
            break
        seen.add(cursor)
    raise Stop("endless", what=name, most=order["pages"])


def _dump(item: Any) -> dict[str, Any]:
    return dict(item.model_dump(mode="json", by_alias=True, exclude_none=True))


def _brief(item: Any, key: str) -> dict[str, str]:
    dumped = _dump(item)
    kept = {name: str(dumped[name])[:SHORT] for name in (key, "name", "title", "description") if name in dumped}
    return {key: kept.get(key, ""), **kept}


def _stop_of(error: BaseException) -> Stop:
    """Return why the inspection ended, out of whatever the SDK and its task groups made of it."""
    leaf = error
    while isinstance(leaf, BaseExceptionGroup):
        inner = [one for one in leaf.exceptions if not isinstance(one, asyncio.CancelledError)]
        leaf = inner[0] if inner else leaf.exceptions[0]
    if isinstance(leaf, Stop):
        return leaf
    if isinstance(leaf, MemoryError):
        return Stop("too_large")
    words = f"{type(leaf).__name__}: {str(leaf)[:SHORT]}"
    if isinstance(leaf, TimeoutError | httpx2.TimeoutException) or "timed out" in words.lower():
        return Stop("slow")
    if isinstance(leaf, MCPError):
        return Stop("refused", why=str(leaf)[:SHORT])
    if isinstance(leaf, httpx2.TransportError | anyio.ClosedResourceError | anyio.BrokenResourceError):
        return Stop("broke_off", why=words)
    return Stop("not_mcp", why=words)


def _innermost(error: BaseException) -> str:
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return f"{type(error).__name__}: {error}"[:SHORT]


def main() -> None:
    """Read the order, look, answer."""
    order = json.loads(sys.stdin.readline())
    limit(order)
    confine(order)
    answer: dict[str, Any]
    try:
        answer = {"found": asyncio.run(look(order))}
    except Stop as stop:
        answer = {"code": stop.code, **stop.more}
    except MemoryError:
        answer = {"code": "too_large"}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
