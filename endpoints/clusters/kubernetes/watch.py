"""The watches of one cluster: list, then follow what changes, resume where a stream ended, list again where the server
has forgotten what was (410).

Only digests are kept of what passes by: of all that an object says, what matters for its endpoint, without the times
and texts that change while nothing does.
"""

import hashlib
import json
import random
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from urllib3.exceptions import ReadTimeoutError

from endpoints.clusters import ClusterError, Place
from endpoints.clusters.explaining.cases import refused
from endpoints.clusters.explaining.reading import at
from endpoints.clusters.feeds import Mark, Told
from endpoints.clusters.kubernetes import errors, owned
from endpoints.clusters.kubernetes.client import Client
from endpoints.clusters.kubernetes.kinds import Kind
from endpoints.clusters.kubernetes.streaming import Answer

STREAM_SECONDS = (240, 300)  # after so many the server ends a stream in order
SILENCE_SECONDS = 75.0  # a server with bookmarks says something once a minute
PAGE = 250  # objects of one answer: a page is held in memory as a whole
MOST_LINE = 8 * 2**20  # bytes of one event; the API takes no object of more than 1.5 MB
PAUSE_AFTER_GONE = 1.0
_NOISE = ("Time", "At", "Timestamp")  # ends of the names of fields that tell a time


class KindFeed:
    """Implements `Feed` for one kind of objects that the portal has labelled."""

    def __init__(self, place: Place, kind: Kind, labels: str, client: Client | None = None) -> None:
        """Raises ClusterError when the place cannot be called at all."""
        # A client of its own: what rests after a failed call is not the watch, which has a patience of its own.
        self._client = client or Client(place)
        self._kind, self._labels = kind, labels
        self._version = ""  # where to go on; "" = list first
        self._closed = threading.Event()
        self._answer: Answer | None = None

    @property
    def name(self) -> str:
        """The plural of the kind."""
        return self._kind.plural

    def follow(self, told: Told) -> None:
        """Go on until the stream ends in order. Raises ClusterError."""
        if self._closed.is_set():
            return
        try:
            if not self._version:
                self._list(told)
            self._stream(told)
        except ClusterError as error:
            if error.code != "history_gone":
                raise
            self._version = ""
            self._closed.wait(PAUSE_AFTER_GONE * random.uniform(0.5, 1.5))  # noqa: S311 - no secret

    def close(self) -> None:
        """End `follow` at once."""
        self._closed.set()
        if (answer := self._answer) is not None:
            answer.interrupt()

    def _list(self, told: Told) -> None:
        query = {"labelSelector": self._labels, "limit": str(PAGE)}
        found: dict[str, Mark] = {}
        following = version = ""
        while not self._closed.is_set():
            more = {"continue": following} if following else {}
            answer = self._client.page(self._kind.path(), query | more)
            for item in answer.get("items") or []:
                found[_key(item)] = mark(item)
            meta = answer.get("metadata") or {}
            version, following = str(meta.get("resourceVersion") or ""), str(meta.get("continue") or "")
            if not following:
                break
        else:
            return
        told.listed(self.name, found)
        self._version = version

    def _stream(self, told: Told) -> None:
        query = {
            "watch": "1", "labelSelector": self._labels, "resourceVersion": self._version,
            "allowWatchBookmarks": "true", "timeoutSeconds": str(random.randint(*STREAM_SECONDS)),  # noqa: S311
        }  # fmt: skip
        answer = self._client.open(self._kind.path(), query, SILENCE_SECONDS)
        self._answer = answer
        try:
            if self._closed.is_set():
                return
            told.sign(self.name)
            for event in self._events(answer):
                self._take(event, told)
        except ReadTimeoutError:
            return  # too long a silence: a new stream tells whether the server is still there
        except Exception as problem:
            if self._closed.is_set():
                return
            raise errors.told(problem) from problem
        finally:
            self._answer = None
            answer.close()

    def _take(self, event: Mapping[str, Any], told: Told) -> None:
        what, found = str(event.get("type")), event.get("object")
        if not isinstance(found, dict):
            raise errors.not_an_api(200)
        if what == "ERROR":
            raise errors.answered(_status(found), json.dumps(found).encode(), {})
        version = at(found, "metadata", "resourceVersion")
        if not version:
            raise errors.not_an_api(200)
        told.sign(self.name)
        if what in ("ADDED", "MODIFIED"):
            told.changed(self.name, _key(found), mark(found))
        elif what == "DELETED":
            told.changed(self.name, _key(found), None)
        self._version = str(version)  # of a bookmark, too

    def _events(self, answer: Answer) -> Iterator[dict[str, Any]]:
        """Yield what stands in the lines of a stream; raises ClusterError for what is no event, and what reading
        raises.
        """
        rest = b""
        while not self._closed.is_set():
            chunk = answer.read()
            if not chunk:
                if rest.strip():
                    raise errors.told(ConnectionError("The stream ended in the middle of an event."))
                return
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > MOST_LINE:
                raise refused("answer_too_large", what="An event", limit=f"{MOST_LINE:,}")
            for line in lines:
                if line.strip():
                    yield _event(line)


def mark(found: Mapping[str, Any]) -> Mark:
    """Return what is remembered of an object."""
    meta = found.get("metadata") or {}
    matters = [
        meta.get("generation"), bool(meta.get("deletionTimestamp")), meta.get("labels"),
        {key: value for key, value in (meta.get("annotations") or {}).items() if key.startswith(owned.DOMAIN)},
        _still(found.get("status")),
    ]  # fmt: skip
    text = json.dumps(matters, sort_keys=True, separators=(",", ":")).encode()
    return Mark(owned.label(found, owned.ENDPOINT), hashlib.blake2b(text, digest_size=12).digest())


def _still(value: Any) -> Any:
    """Return a status without what changes while nothing does: times, and texts for people."""
    if isinstance(value, dict):
        return {
            key: _still(one) for key, one in value.items() if key != "message" and not str(key).endswith(_NOISE)
        }  # fmt: skip
    return [_still(one) for one in value] if isinstance(value, list) else value


def _key(found: Mapping[str, Any]) -> str:
    return str(at(found, "metadata", "uid") or at(found, "metadata", "name"))


def _status(found: Mapping[str, Any]) -> int:
    code = found.get("code")
    return code if isinstance(code, int) and 400 <= code <= 599 else 500


def _event(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        raise errors.not_an_api(200) from None
    if not isinstance(event, dict):
        raise errors.not_an_api(200)
    return event
