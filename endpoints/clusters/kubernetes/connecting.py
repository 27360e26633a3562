"""How the portal gets to one API server and shows who it is: a configuration of its own, nothing from the environment.

`load_kube_config` is not used: it installs a hook that silently puts the kubeconfig's identity back. Each connection
goes to an address that portal/outbound.py has checked, over TLS with the pinned authorities.
"""

import os
import ssl
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from kubernetes.client import ApiClient, Configuration
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from endpoints.clusters import Place
from endpoints.clusters.explaining.cases import refused
from portal import outbound

PURPOSE = "cluster"
POOL = 8  # connections that are kept
T = TypeVar("T")
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")  # where a pod finds its own identity


def api_client(place: Place) -> ApiClient:
    """Return a client that calls `place` and nothing else; raises ClusterError for what can never be called."""
    parts = urlsplit(place.server)
    if parts.scheme != "https" or not parts.hostname:
        raise refused("server_invalid", cluster=place.slug)
    configuration = Configuration(
        host=place.server.rstrip("/"), retries=False, proxy="", no_proxy="", connection_pool_maxsize=POOL
    )
    client = ApiClient(configuration)
    client.user_agent = "Gatehouse"
    manager = client.rest_client.pool_manager
    manager.connection_pool_kw["ssl_context"] = _tls(place)
    manager.pool_classes_by_scheme = {"https": _Pool}
    return client


def token(place: Place) -> str:
    """Return the token to show now, "" where a certificate is shown; raises ClusterError when a pod has none."""
    if not place.in_cluster:
        return place.token
    try:
        return (ACCOUNT / "token").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        raise refused("no_service_account", cluster=place.slug) from None


def read(response: Any, ends: float, most: int) -> bytes:
    """Return the body of an answer that came before `ends` of the monotonic clock and has at most `most` bytes; raises
    TimeoutError, ClusterError and what urllib3 raises.
    """
    chunks, size = [], 0
    try:
        while chunk := response.read1(65_536):
            chunks.append(chunk)
            size += len(chunk)
            if monotonic() > ends:
                raise TimeoutError("timed out in the middle of an answer")
            if size > most:
                raise refused("answer_too_large", what="An answer", limit=f"{most:,}")
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return b"".join(chunks)


class _Connection(HTTPSConnection):
    """Connects to checked addresses only, whatever a name stands for a moment later."""

    def _new_conn(self) -> Any:
        url = f"https://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"
        parts, addresses = outbound.checked(url, PURPOSE)
        seconds = self.timeout if isinstance(self.timeout, int | float) else outbound.CONNECT_SECONDS
        failure: Exception | None = None
        for address in addresses[:3]:
            try:
                return outbound.connect(parts, address, seconds / len(addresses[:3]))
            except outbound.NoConnection as error:
                failure = error
        raise NewConnectionError(self, f"{outbound.why(failure)} ({failure})") from failure


class _Pool(HTTPSConnectionPool):
    ConnectionCls = _Connection


def _tls(place: Place) -> ssl.SSLContext:
    """Return the pinned authorities, or those of this machine, and the client certificate if there is one."""
    try:
        pem = place.ca or ((ACCOUNT / "ca.crt").read_text(encoding="ascii") if place.in_cluster else "")
    except (OSError, ValueError):
        raise refused("no_service_account", cluster=place.slug) from None
    try:
        context = ssl.create_default_context(cadata=pem or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if place.certificate:
            _show(context, place)
    except (ssl.SSLError, ValueError) as error:
        raise refused("credential_invalid", cluster=place.slug) from error
    return context


def _show(context: ssl.SSLContext, place: Place) -> None:
    """Load the client certificate; OpenSSL reads it from a file only, which is gone a moment later."""
    descriptor, path = tempfile.mkstemp(prefix="gatehouse-")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{place.certificate.strip()}\n{place.key.strip()}\n")
        context.load_cert_chain(path)
    finally:
        Path(path).unlink()


class Kept(Generic[T]):
    """One value for each place, process and ten minutes: connections stay warm, and new authorities are seen."""

    SECONDS = 600
    MOST = 64

    def __init__(self, make: Callable[[Place], T]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._values: dict[tuple[Any, ...], T] = {}

    def of(self, place: Place) -> T:
        """Return the value of `place`, made when there is none; raises what making it raises."""
        identity = (place.slug, place.server, place.ca, place.token, place.certificate, place.key, place.in_cluster)
        key = (*identity, os.getpid(), int(monotonic()) // self.SECONDS)
        with self._lock:
            if key not in self._values:
                if len(self._values) >= self.MOST:
                    self._values.clear()
                self._values[key] = self._make(place)
            return self._values[key]
