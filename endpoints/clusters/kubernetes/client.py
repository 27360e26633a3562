"""Calls of one cluster's API server: its own identity, checked addresses, deadlines, and errors that people can read.

Answers are plain dictionaries: the models of the library would be built for nothing. A server that is away is left
alone for a moment, so that a dead cluster costs a worker one deadline and not one for each of its endpoints.
"""

import builtins
import json
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from time import monotonic
from typing import Any, TypeVar, cast

from kubernetes.client import ApiClient

from endpoints.clusters import ClusterError, Place
from endpoints.clusters.kubernetes import connecting, errors
from endpoints.clusters.kubernetes.kinds import Kind, kind_of
from endpoints.clusters.kubernetes.owned import MANAGER
from endpoints.clusters.kubernetes.streaming import Answer

T = TypeVar("T")
MOST_KEPT = 512  # answers
CONNECT_SECONDS = 3.0
READ_SECONDS = 8.0  # of silence, and of the whole answer
PAGE = 500  # objects of one answer
MAX_BYTES = 64 * 2**20  # of one answer
REST_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)  # after failure 1, 2, … in a row; the last one repeats
APPLY = "application/apply-patch+yaml"  # JSON is YAML, too
MERGE = "application/merge-patch+json"


class Client:
    """The API server of one place; may be used by several threads."""

    def __init__(self, place: Place) -> None:
        """Raises ClusterError when the place cannot be called at all: no server, no credential, a broken one."""
        self._place = place
        self._api: ApiClient = connecting.api_client(place)
        self._lock = threading.Lock()
        self._failures = 0
        self._rests_until = 0.0
        self._last_error: ClusterError | None = None
        self._offset = timedelta()
        self._kept: dict[str, tuple[float, Any]] = {}

    def now(self) -> datetime:
        """Return the time by the clock of the server, as its last answer told it."""
        return datetime.now(UTC) + self._offset

    def kept(self, name: str, seconds: float, read: Callable[[], T]) -> T:
        """Return what `read` returned for `name` in the last `seconds`, or read it now; raises what it raises."""
        with self._lock:
            ends, value = self._kept.get(name, (0.0, None))
        if monotonic() < ends:
            return cast(T, value)
        fresh = read()
        with self._lock:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[name] = (monotonic() + seconds, fresh)
        return fresh

    def get(self, kind: Kind, name: str, namespace: str = "") -> dict[str, Any] | None:
        """Return one object, None when it is not there; raises ClusterError."""
        return self.found("GET", kind.path(namespace, name))

    def list(
        self, kind: Kind, *, namespace: str = "", labels: str = "", fields: str = "", size: int = PAGE,
        each: Callable[[dict[str, Any]], Any] = dict,
    ) -> builtins.list[Any]:  # fmt: skip
        """Return all objects that a label and a field selector choose, of one namespace or of all, `size` in one
        answer, and of each what `each` makes of it; raises ClusterError.

        A list that the server forgets between two pages is begun again.
        """
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(size)}
        query = {key: value for key, value in query.items() if value}
        found: builtins.list[Any] = []
        following = ""
        while True:
            try:
                answer = self.ask("GET", kind.path(namespace), query | ({"continue": following} if following else {}))
            except ClusterError as error:
                if error.code != "history_gone" or not following:
                    raise
                found, following = [], ""
                continue
            # A list leaves out what all of its objects have in common.
            found += [each({"apiVersion": kind.api, "kind": kind.name, **item}) for item in answer.get("items") or []]
            following = str((answer.get("metadata") or {}).get("continue") or "")
            if not following:
                return found

    def apply(self, manifest: Mapping[str, Any], *, force: bool, dry: bool = False) -> dict[str, Any]:
        """Apply `manifest` on the server's side under the portal's field manager, unknown fields refused; `force` takes
        fields that somebody else holds, `dry` changes nothing. Returns the object as it is then; raises ClusterError.
        """
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict", "force": "true" if force else "false"}
        query |= {"dryRun": "All"} if dry else {}
        return self.ask("PATCH", self._path(manifest), query, manifest, APPLY)

    def annotate(self, kind: Kind, name: str, namespace: str, annotations: Mapping[str, str]) -> None:
        """Set annotations of an object, if it is there; raises ClusterError."""
        body = {"metadata": {"annotations": dict(annotations)}}
        self.found("PATCH", kind.path(namespace, name), {"fieldManager": MANAGER}, body, MERGE)

    def delete(self, found: Mapping[str, Any]) -> None:
        """Delete the object that was read as `found`, and what belongs to it in the background; one that is gone
        already, or stands there anew, is no error. Raises ClusterError.
        """
        meta = found["metadata"]
        body = {"propagationPolicy": "Background", "preconditions": {"uid": meta["uid"]}}
        try:
            self.found("DELETE", kind_of(found).path(meta.get("namespace", ""), meta["name"]), None, body)
        except ClusterError as error:
            if error.code not in {"changed_meanwhile", "field_conflict"}:
                raise

    def text(self, path: str, query: Mapping[str, str]) -> str:
        """Return what lies at `path` as text, "" when it is not there; raises ClusterError."""
        try:
            return self._call("GET", path, query, None, "").decode("utf-8", "replace")
        except ClusterError as error:
            if error.code in errors.MISSING:
                return ""
            raise

    def found(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None, kind: str = ""
    ) -> dict[str, Any] | None:
        """Return the answer of a call, None when what it is about is not there; raises ClusterError."""
        try:
            return self.ask(method, path, query, body, kind)
        except ClusterError as error:
            if error.code in errors.MISSING:
                return None
            raise

    def ask(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None, kind: str = ""
    ) -> dict[str, Any]:
        """Return the object that the server answers to a call with a body of the media type `kind` (default: JSON);
        raises ClusterError with the reason in words.
        """
        return _understood(self._call(method, path, query or {}, body, kind))

    def page(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        """Return one page of a list, whether or not the server should rest: for who waits between two calls by itself.
        Raises ClusterError.
        """
        return _understood(_told(lambda: self._exchange("GET", path, query, None, "")))

    def open(self, path: str, query: Mapping[str, str], silence: float) -> Answer:
        """Return an answer that goes on for as long as the server has something to tell; `silence` is how many seconds
        it may say nothing. The server never rests here either. Raises ClusterError.
        """
        answer = _told(lambda: self._send("GET", path, query, None, ""))
        if 200 <= answer.status <= 299:
            return Answer(answer.response, silence)
        ends = monotonic() + READ_SECONDS
        data = _told(lambda: connecting.read(answer.response, ends, MAX_BYTES))
        raise errors.answered(answer.status, data, answer.headers)

    def _path(self, manifest: Mapping[str, Any]) -> str:
        meta = manifest["metadata"]
        return kind_of(manifest).path(meta.get("namespace", ""), meta["name"])

    def _call(self, method: str, path: str, query: Mapping[str, str], body: Any, kind: str) -> bytes:
        with self._lock:
            last, left = self._last_error, self._rests_until - monotonic()
        if last is not None and left > 0:
            wait = min(left, last.wait_seconds)
            raise ClusterError(last.code, last.sentence, last.turn, last.retry, wait, last.next)
        try:
            data = self._exchange(method, path, query, body, kind)
        except ClusterError as refusal:
            self._remember(refusal)
            raise
        except Exception as problem:
            failure = errors.told(problem)
            self._remember(failure)
            raise failure from problem
        self._remember(None)
        return data

    def _exchange(self, method: str, path: str, query: Mapping[str, str], body: Any, kind: str) -> bytes:
        ends = monotonic() + CONNECT_SECONDS + READ_SECONDS
        answer = self._send(method, path, query, body, kind)
        data = connecting.read(answer.response, ends, MAX_BYTES)
        self._set_clock(answer.headers.get("Date", ""))
        if not 200 <= answer.status <= 299:
            raise errors.answered(answer.status, data, answer.headers)
        return data

    def _send(self, method: str, path: str, query: Mapping[str, str], body: Any, kind: str) -> Any:
        """Return the answer of a call, whose body was not read yet."""
        headers = {"Accept": "application/json, */*;q=0.8"}
        if body is not None:
            headers["Content-Type"] = kind or "application/json"
        token = connecting.token(self._place)  # read for each call: that of a pod is renewed under it
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = self._api.param_serialize(method, path, query_params=list(query.items()), header_params=headers)
        method, url, sent, _, _ = request
        # The library serialises it, whatever kind of JSON the media type says.
        return self._api.call_api(method, url, sent, body, None, _request_timeout=(CONNECT_SECONDS, READ_SECONDS))

    def _set_clock(self, date: str) -> None:
        try:
            self._offset = parsedate_to_datetime(date).astimezone(UTC) - datetime.now(UTC)
        except (TypeError, ValueError):
            return  # a proxy that tells no time

    def _remember(self, error: ClusterError | None) -> None:
        """Let the server rest after what says nothing about the call and everything about the server."""
        with self._lock:
            if error is None or error.code not in errors.RESTS:
                self._failures, self._last_error = 0, None
                return
            pause = REST_SECONDS[min(self._failures, len(REST_SECONDS) - 1)]
            self._failures += 1
            self._last_error = error
            self._rests_until = monotonic() + max(pause, error.wait_seconds)


def _told(call: Callable[[], T]) -> T:
    """Return what `call` returns; raises ClusterError for what goes wrong."""
    try:
        return call()
    except Exception as problem:
        raise errors.told(problem) from problem


def _understood(data: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise errors.not_an_api(200)
    return answer


_kept: connecting.Kept[Client] = connecting.Kept(Client)


def client_of(place: Place) -> Client:
    """Return this process's client of `place`; raises ClusterError when it cannot be called at all."""
    return _kept.of(place)
