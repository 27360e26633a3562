"""The hands of the tests on an API server: plain JSON over HTTP, so that what a test sees and writes is exactly what
the server has, whatever the portal's own client makes of it.
"""

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml

Object = dict[str, Any]
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
TIMEOUT_SECONDS = 60


class Refused(Exception):
    """The server said no: its status and the Status object that came along."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(f"{status}: {body.get('message') or body}")
        self.status, self.body = status, body


@dataclass
class Api:
    """An API server as one identity sees it; may be used from several threads."""

    server: str
    ca: Path
    token: str = field(default="", repr=False)
    client_certificate: tuple[str, str] | None = None
    _local: threading.local = field(default_factory=threading.local, repr=False)
    _kinds: dict[tuple[str, str], tuple[str, bool]] = field(default_factory=dict, repr=False)

    @property
    def session(self) -> requests.Session:
        """The connections of this thread."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False
            session.verify, session.cert = str(self.ca), self.client_certificate
            if self.token:
                session.headers["Authorization"] = f"Bearer {self.token}"
        return session

    def raw(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request, whatever it answers; raises requests.RequestException when nothing does."""
        options.setdefault("timeout", TIMEOUT_SECONDS)
        return self.session.request(method, self.server + path, **options)

    def call(self, method: str, path: str, body: Any = None, *, kind: str = "application/json", **query: Any) -> Object:
        """One request and the object it answers; raises Refused."""
        data = body if isinstance(body, str | bytes | None) else json.dumps(body)
        response = self.raw(method, path, params=query, data=data, headers={"Content-Type": kind})
        try:
            answer: Object = response.json()
        except ValueError:
            answer = {"message": response.text}
        if response.status_code >= 400:
            raise Refused(response.status_code, answer)
        return answer

    def get(self, path: str, **query: Any) -> Object:
        """An object or a list."""
        return self.call("GET", path, **query)

    def find(self, path: str) -> Object | None:
        """An object, or None where there is none."""
        try:
            return self.get(path)
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def items(self, path: str, **query: Any) -> list[Object]:
        """The members of a list."""
        return list(self.get(path, **query)["items"])

    def post(self, path: str, body: Object, **query: Any) -> Object:
        """Create."""
        return self.call("POST", path, body, **query)

    def patch(self, path: str, body: Object, **query: Any) -> Object:
        """Merge into an object."""
        return self.call("PATCH", path, body, kind=MERGE, **query)

    def delete(self, path: str, **options: Any) -> Object | None:
        """Delete; None when it was gone already."""
        try:
            return self.call("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", **options})
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def path(self, thing: Object, namespace: str = "") -> str:
        """Where an object lives; `namespace` counts where it names none itself."""
        version, kind = thing["apiVersion"], thing["kind"]
        base = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        if (version, kind) not in self._kinds:
            for found in self.get(base)["resources"]:
                if "/" not in found["name"]:
                    self._kinds[version, found["kind"]] = (found["name"], found["namespaced"])
        plural, namespaced = self._kinds[version, kind]
        if namespaced:
            base += f"/namespaces/{thing['metadata'].get('namespace') or namespace or 'default'}"
        return f"{base}/{plural}/{thing['metadata']['name']}"

    def apply(
        self, manifests: str | Object | Iterable[Object], namespace: str = "", *, by: str = "tests"
    ) -> list[Object]:
        """Apply YAML text, an object or several server-side, in their order, as the field manager `by`."""
        if isinstance(manifests, str):
            manifests = yaml.safe_load_all(manifests)
        elif isinstance(manifests, dict):
            manifests = [manifests]
        return [
            self.call("PATCH", self.path(thing, namespace), thing, kind=APPLY, fieldManager=by, force="true")
            for thing in manifests
            if thing
        ]

    def watch(self, path: str, *, since: str = "", seconds: int = 300, **query: Any) -> Iterator[tuple[str, Object]]:
        """What happens to the members of a list: (type, object) until the server ends it after `seconds`."""
        query |= {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": seconds}
        if since:
            query["resourceVersion"] = since
        with self.raw("GET", path, params=query, stream=True, timeout=(10, seconds + 30)) as response:
            if response.status_code >= 400:
                raise Refused(response.status_code, response.json())
            for line in response.iter_lines(chunk_size=65536):
                if line:
                    event = json.loads(line)
                    yield event["type"], event["object"]
