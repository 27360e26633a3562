"""The way to identity providers: discovery documents, keys and calls, all through portal/outbound.py."""

import json
import time
from collections.abc import Mapping
from typing import Any

import requests
from django.conf import settings
from django.core.cache import cache
from requests.adapters import BaseAdapter

from portal import outbound
from portal.crypto import digest
from portal.errors import Unavailable

PURPOSE = "sso"
FRESH_SECONDS = 600  # a document younger than this is not fetched again
STALE_SECONDS = 3600  # an older one still serves so long while its provider does not answer
ASK_SECONDS = 60  # an unknown key has the keys fetched again at most this often
MAX_ANSWER = 1_048_576  # bytes: a token answer may name a person's thousand groups twice
DISCOVERY = "/.well-known/openid-configuration"


class Outlet(BaseAdapter):
    """Carries what a requests session sends through portal/outbound.py: checked addresses, no proxies, no redirects."""

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Return the answer; raises requests.ConnectionError where none came. `verify` and `proxies` change nothing."""
        body = request.body or b""
        headers = {name: str(value) for name, value in request.headers.items() if name.lower() not in _OWN}
        try:
            answer = outbound.send(
                str(request.method),
                str(request.url),
                purpose=PURPOSE,
                headers=headers,
                body=body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else b"",
                timeout=settings.SOCIALACCOUNT_REQUESTS_TIMEOUT,
                most=MAX_ANSWER,
            )
        except outbound.OutboundError as error:
            raise requests.ConnectionError(str(error), request=request) from error
        if 300 <= answer.status < 400:
            raise requests.ConnectionError("The identity provider sent the call elsewhere.", request=request)
        response = requests.Response()
        response.status_code = answer.status
        response.headers.update(answer.headers)
        response._content = answer.body
        response.encoding = "utf-8"
        response.url = str(request.url)
        response.request = request
        return response

    def close(self) -> None:
        """Nothing is kept open."""


_OWN = frozenset({"accept-encoding", "connection", "user-agent", "content-length", "host"})  # outbound's own words


def session() -> requests.Session:
    """Return a session of requests that knows no other way than the outlet, nor the environment's proxies."""
    made = requests.Session()
    made.trust_env = False
    made.max_redirects = 0
    made.mount("https://", Outlet())
    made.mount("http://", Outlet())
    return made


def document(url: str, *, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Fetch a JSON object; raises Unavailable where none comes."""
    status, found = call("GET", url, headers=headers)
    if status != 200:
        raise Unavailable(f"The identity provider answered {status}. Try again.", code="sso.unreachable")
    return found


def call(
    method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"", any_body: bool = False
) -> tuple[int, dict[str, Any]]:
    """Call an identity provider and return status and JSON object. Raises Unavailable where it does not answer, answers
    with a mistake of its own (5xx, 429), or with something else than an object; `any_body` returns {} for the last.
    """
    try:
        answer = outbound.send(
            method,
            url,
            purpose=PURPOSE,
            headers={"Accept": "application/json", **(headers or {})},
            body=body,
            timeout=settings.SOCIALACCOUNT_REQUESTS_TIMEOUT,
            most=MAX_ANSWER,
        )
    except outbound.OutboundError as error:
        raise Unavailable(f"The identity provider does not answer. {error}", code="sso.unreachable") from error
    if answer.status == 429 or answer.status >= 500:
        raise Unavailable(f"The identity provider answered {answer.status}. Try again.", code="sso.unreachable")
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) and any_body:
        found = {}
    if not isinstance(found, dict):
        raise Unavailable("The identity provider answered something unreadable. Try again.", code="sso.unreadable")
    return answer.status, found


def discovery(issuer: str) -> dict[str, Any]:
    """Return what the issuer says of itself, at most FRESH_SECONDS old (STALE_SECONDS while it is away); raises
    Unavailable without one, or when the document speaks for another issuer.
    """
    found = _kept(f"{issuer}{DISCOVERY}")
    if str(found.get("issuer", "")).rstrip("/") != issuer.rstrip("/"):
        raise Unavailable("The identity provider's discovery document is another issuer's.", code="sso.wrong_issuer")
    return found


def endpoint(issuer: str, name: str) -> str:
    """Return an address of the discovery document; "" where it has none."""
    found = discovery(issuer).get(name)
    return found if isinstance(found, str) else ""


def keys(url: str, *, again: bool = False) -> list[dict[str, Any]]:
    """Return the signing keys at `url`. `again`: fetch them anew, at most once in ASK_SECONDS. Raises Unavailable."""
    renew = again and cache.add(f"sso:asked:{digest(url)}", 1, ASK_SECONDS)
    found = _kept(url, renew=renew).get("keys")
    return [key for key in found if isinstance(key, dict)] if isinstance(found, list) else []


def _kept(url: str, *, renew: bool = False) -> dict[str, Any]:
    """Return a document from the cache, or fetch it."""
    name = f"sso:document:{digest(url)}"
    kept = cache.get(name)
    if kept is not None and not renew and time.time() - kept["at"] < FRESH_SECONDS:
        return dict(kept["document"])
    try:
        found = document(url)
    except Unavailable:
        if kept is None:
            raise
        cache.set(name, {**kept, "at": time.time() - FRESH_SECONDS + ASK_SECONDS}, STALE_SECONDS)
        return dict(kept["document"])
    cache.set(name, {"at": time.time(), "document": found}, STALE_SECONDS)
    return found
