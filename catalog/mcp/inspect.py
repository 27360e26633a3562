"""Asking an MCP server what it offers: out of process, at addresses that were checked, within limits.

The name is resolved and checked here; the child (child.py) gets the address and connects to nothing else, so that
neither a redirect nor another answer of the DNS leads anywhere. Whatever the server does ends in an `Outcome`.
"""

import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from portal import outbound
from portal.outbound import Destination, OutboundError, OutboundRefused

PURPOSE = "mcp"
SECONDS = 30.0  # for the whole inspection of one address
START_SECONDS = 10  # of processor time for the child's own start: by the clock, the parent ends it
WAIT = 10.0  # for one answer of the server
BYTES = 2 * 1024 * 1024  # of all answers of the server together
OUTPUT = 8 * 1024 * 1024  # of the child
MEMORY = 1024 * 1024 * 1024  # address space of the child
PAGES, TOOLS = 50, 500
CHILD = Path(__file__).with_name("child.py")
_METADATA = re.compile(r'resource_metadata="([^"\s]{1,500})"')
_SCOPE = re.compile(r'scope="([^"]{1,300})"')
SENTENCES = {
    "slow": "It did not answer in time.",
    "too_large": "Its answers are larger than {megabytes} MiB.",
    "too_many": "It lists more than {most:,} {what}.",
    "endless": "Its list of {what} does not end within {most} pages.",
    "redirect": "It sends callers elsewhere, to {to}; redirects are not followed.",
    "unreachable": "It could not be reached: {why}.",
    "refused": "It answered with an error: {why}.",
    "broke_off": "The connection broke off: {why}.",
    "not_mcp": "Its answer is not one of an MCP server: {why}.",
    "crashed": "Reading its answer failed.",
    "outbound": "{why}",
}


@dataclass(frozen=True)
class Outcome:
    """What came of it: `code` "" with what the server offers in `found`, or why it was not inspected."""

    code: str
    sentence: str = ""
    found: Mapping[str, Any] = field(default_factory=dict)


def ask(url: str, *, seconds: float = SECONDS) -> Outcome:
    """Return what the MCP server at `url` offers over streamable HTTP. Never raises for what the server does."""
    try:
        goal = outbound.destination(url, purpose=PURPOSE)
    except OutboundError as error:
        return Outcome("refused_address" if isinstance(error, OutboundRefused) else "unreachable", str(error))
    ends, outcome = time.monotonic() + seconds, Outcome("slow", SENTENCES["slow"])
    for address in goal.addresses[:3]:
        left = ends - time.monotonic()
        if left <= 0:
            break
        answer = _child(_order(url, goal, address, left), left)
        if answer.get("code") == "sign_in":
            return _sign_in(url, answer)
        outcome = _outcome(answer)
        if outcome.code != "unreachable":
            break  # it answered: another address of it would answer the same
    return outcome


def _order(url: str, goal: Destination, address: str, left: float) -> dict[str, Any]:
    return {
        "url": url, "scheme": goal.scheme, "host": goal.host, "port": goal.port, "address": address,
        "seconds": int(left) + START_SECONDS, "wait": min(WAIT, left), "bytes": BYTES, "memory": MEMORY,
        "pages": PAGES, "tools": TOOLS,
    }  # fmt: skip


def _outcome(answer: Mapping[str, Any]) -> Outcome:
    found = answer.get("found")
    if isinstance(found, dict):
        return Outcome("", "", found)
    code = str(answer.get("code", "crashed"))
    words = {"megabytes": BYTES // 1024**2, "what": "rows", "most": PAGES, "to": "another address", "why": "no reason"}
    said = {name: _plain(value) for name, value in answer.items() if value not in ("", None)}
    template = SENTENCES.get(code, SENTENCES["crashed"])
    return Outcome(code, template.format(**{**words, **said}).replace("..", "."))


def _plain(value: object) -> Any:
    """Return what the server may have chosen as one printable line."""
    if isinstance(value, int):
        return value
    return "".join(char if char.isprintable() else " " for char in str(value))[:200].strip().rstrip(".")


def _child(order: dict[str, Any], left: float) -> dict[str, Any]:
    """Run the child and return its answer; it is gone afterwards, whatever it did."""
    environment = {name: os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, "-I", "-B", str(CHILD)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        cwd="/", env=environment, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101 - both are pipes
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.close()
        text = _read(process.stdout.fileno(), time.monotonic() + left)
        if text is None:
            return {"code": "slow"}
        answer = json.loads(text)
        return answer if isinstance(answer, dict) else {"code": "crashed"}
    except (ValueError, RecursionError):
        return {"code": "crashed"}
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _read(source: int, ends: float) -> bytes | None:
    """Return everything that comes until the end; None when time is up. Too much of it is cut, and no JSON then."""
    parts: list[bytes] = []
    size = 0
    with selectors.DefaultSelector() as selector:
        selector.register(source, selectors.EVENT_READ)
        while size <= OUTPUT:
            left = ends - time.monotonic()
            if left <= 0 or not selector.select(left):
                return None
            part = os.read(source, 65_536)
            if not part:
                break
            parts.append(part)
            size += len(part)
    return b"".join(parts)


# --- Servers that ask callers to sign in ------------------------------------------------------------------------------


def _sign_in(url: str, answer: Mapping[str, Any]) -> Outcome:
    """Return what the server says about signing in (RFC 9728): where from, with which scopes."""
    challenge = str(answer.get("challenge", ""))
    named = _METADATA.search(challenge)
    scope = _SCOPE.search(challenge)
    metadata = _metadata(url, named.group(1) if named else "")
    scopes = metadata["scopes"] or ([_plain(scope.group(1))] if scope else [])
    issuers = ", ".join(metadata["issuers"])
    words = [f"from {issuers}" if issuers else "", f"with the scope {' '.join(scopes)}" if scopes else ""]
    tail = " ".join(word for word in words if word)
    sentence = f"It asks callers to sign in{f' {tail}' if tail else ''}, so that its tools could not be listed."
    return Outcome("sign_in", sentence, {"status": answer.get("status"), **metadata, "scopes": scopes})


def _metadata(url: str, named: str) -> dict[str, Any]:
    """Return issuers and scopes from the server's own metadata document; empty where it has none."""
    parts = urlsplit(url)
    own = f"{parts.scheme}://{parts.netloc}"
    well_known = "/.well-known/oauth-protected-resource"
    tried = [f"{own}{well_known}{parts.path.rstrip('/')}", f"{own}{well_known}"]
    if named.startswith(f"{own}/"):  # it speaks for itself, and for nobody else
        tried.insert(0, named)
    for place in dict.fromkeys(tried):
        try:
            answer = outbound.send("GET", place, purpose=PURPOSE, timeout=5)
            document = json.loads(answer.body) if answer.status == 200 else None
        except (OutboundError, ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            return {
                "metadata": place,
                "issuers": _texts(document.get("authorization_servers")),
                "scopes": _texts(document.get("scopes_supported")),
            }
    return {"metadata": "", "issuers": [], "scopes": []}


def _texts(value: object) -> list[str]:
    return [_plain(item) for item in value[:10] if isinstance(item, str)] if isinstance(value, list) else []
