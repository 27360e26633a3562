"""What hub, registry and bucket share: asking through portal/streaming.py, and its errors as those of a source."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings

from catalog.sources.tree import NotResumed, SourceDenied, SourceError, SourceMissing, SourceRefused
from portal import streaming
from portal.outbound import OutboundFailed, OutboundRefused

MAX_DOCUMENT = 8 * 1024**2  # bytes of a list of files
HOPS = 5


@contextlib.contextmanager
def said() -> Iterator[None]:
    """Turn what the way out says into what a source says."""
    try:
        yield
    except streaming.NotResumed as error:
        raise NotResumed(str(error)) from error
    except OutboundRefused as error:
        raise SourceDenied(str(error)) from error
    except OutboundFailed as error:
        raise SourceError(str(error)) from error


def idle() -> float:
    """Return the seconds without enough bytes after which a download counts as broken off."""
    return float(settings.SOURCE_IDLE_SECONDS)


@contextlib.contextmanager
def answered(
    url: str,
    what: str,
    *,
    purpose: str,
    headers: Mapping[str, str],
    start: int = 0,
    most: int | None = None,
    hops: int = 0,
) -> Iterator[streaming.Download]:
    """GET `url` and give a good answer; `what` names it in the sentence of any other. Raises SourceError."""
    with (
        said(),
        streaming.stream(
            url, purpose=purpose, headers=headers, start=start, most=most, hops=hops, idle=idle()
        ) as download,
    ):
        refuse(download.status, what, download.headers)
        yield download


def refuse(status: int, what: str, headers: Mapping[str, str]) -> None:
    """Raise what an answer with `status` means for `what`, unless it is good."""
    if status in {200, 206}:
        return
    code = headers.get("x-error-code", "")[:40]  # a hub says 401 for what is not there
    if status in {404, 410} or code in {"RepoNotFound", "RevisionNotFound", "EntryNotFound"}:
        raise SourceMissing(f"{what} is not there (answer {status}).")
    if status in {401, 403}:
        raise SourceDenied(f"{what} is not for us (answer {status}). It needs another credential.")
    if status == 416:
        raise NotResumed(f"{what} is shorter than it was.")
    if status == 412:
        raise SourceError(f"{what} has changed while it was read.")
    if status == 429 or status >= 500:
        raise SourceError(f"{what} cannot be read now (answer {status}).")
    raise SourceRefused(f"{what} cannot be read (answer {status}).")


def document(url: str, what: str, *, purpose: str, headers: Mapping[str, str]) -> Any:
    """Return the JSON at `url`, at most MAX_DOCUMENT bytes. Raises SourceError, also for what is no JSON."""
    with answered(url, what, purpose=purpose, headers=headers, most=MAX_DOCUMENT, hops=HOPS) as download:
        body = download.body.read(MAX_DOCUMENT + 1)
    return parsed(body, what)


def parsed(body: bytes, what: str) -> Any:
    """Return the JSON in `body`; raises SourceError when it is none, as an error page of a proxy is."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{what}: the answer is no JSON.") from error
