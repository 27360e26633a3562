"""oci://registry/name@sha256:… or oci://registry/name:tag: an OCI registry, whose layers are the files."""

import contextlib
import hashlib
import re
from collections.abc import Iterator
from typing import Any, BinaryIO
from urllib.parse import urlencode, urlsplit

from catalog.sources import paths, remote
from catalog.sources.tree import Entry, SourceDenied, SourceError, SourceRefused
from portal import streaming

PURPOSE = "registry"
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
TITLE = "org.opencontainers.image.title"
MAX_TOKEN = 65_536  # bytes
_PLACE = re.compile(r"([A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?|\[[0-9a-f:.]{2,45}\](?::[0-9]{1,5})?)/(.{1,255})")
_NAME = re.compile(r"[a-z0-9]+(?:[._-]{1,2}[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]{1,2}[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PARAMETER = re.compile(r'([A-Za-z_]{1,40})="([^"]{0,2000})"')
_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})  # by convention without TLS


def of(rest: str, revision: str) -> "RegistryTree":
    """Return the tree for `rest` (registry/name@digest or :tag), at `revision` where one is given."""
    place, _, digest = rest.partition("@")
    found = _PLACE.fullmatch(place)
    registry, name = (found[1], found[2]) if found else ("", "")
    name, _, tag = name.partition(":")
    wanted = revision or digest or tag or "latest"
    if not _NAME.fullmatch(name) or not (DIGEST.fullmatch(wanted) or (_TAG.fullmatch(wanted) and not digest)):
        raise SourceRefused("A source in a registry looks like oci://registry.example.com/name@sha256:… or …/name:tag.")
    return RegistryTree(registry, name, wanted)


class RegistryTree:
    """The layers of one manifest, whose digest is the revision."""

    def __init__(self, registry: str, name: str, wanted: str) -> None:
        scheme = "http" if registry.rpartition(":")[0] in _LOCAL or registry in _LOCAL else "https"
        self._base, self._name, self._token = f"{scheme}://{registry}/v2/{name}", name, ""
        what = f"{name} at {wanted}"
        with self._get(f"{self._base}/manifests/{wanted}", what, most=remote.MAX_DOCUMENT) as download:
            body = download.body.read(remote.MAX_DOCUMENT + 1)
        self.revision = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if DIGEST.fullmatch(wanted) and wanted != self.revision:
            raise SourceRefused(f"The registry answers with {self.revision} where {wanted} was asked for.")
        self._layers = _layers(remote.parsed(body, what), name)

    def entries(self) -> Iterator[Entry]:
        """Return the layers as files. Raises SourceRefused for a manifest that cannot be right."""
        return paths.bounded(Entry(path, size, digest[7:], digest) for path, (digest, size) in self._layers.items())

    @contextlib.contextmanager
    def open(self, path: str, start: int = 0) -> Iterator[BinaryIO]:
        """Give the layer that is called `path` from byte `start` on. Raises SourceError."""
        if path not in self._layers:
            raise SourceRefused(f"{self._name} has no layer “{paths.shown(path)}”.")
        digest, _ = self._layers[path]
        what = f"“{path}” of {self._name}"
        with self._get(f"{self._base}/blobs/{digest}", what, start=start) as download:
            yield download.body

    @contextlib.contextmanager
    def _get(self, url: str, what: str, *, start: int = 0, most: int | None = None) -> Iterator[streaming.Download]:
        """GET with the registry's token; when it wants another one, that is fetched and the call made once more."""
        for attempt in range(2):
            headers = {"Accept": ", ".join(MANIFESTS)} if most else {}
            if self._token:
                headers["Authorization"] = f"Bearer {self._token}"
            with contextlib.ExitStack() as stack:
                stack.enter_context(remote.said())
                download = stack.enter_context(
                    streaming.stream(
                        url,
                        purpose=PURPOSE,
                        headers=headers,
                        start=start,
                        most=most,
                        hops=remote.HOPS,
                        idle=remote.idle(),
                    )
                )
                if download.status == 401 and not attempt:
                    challenge = download.headers.get("www-authenticate", "")
                else:
                    remote.refuse(download.status, what, download.headers)
                    yield download
                    return
            self._token = _token(challenge, what, self._name)


def _token(challenge: str, what: str, name: str) -> str:
    """Return the token that `challenge` leads to; its realm is an address like any other, and checked like one."""
    kind, _, rest = challenge.partition(" ")
    asked = dict(_PARAMETER.findall(rest))
    realm = asked.get("realm", "")
    if kind.lower() != "bearer" or not realm:
        raise SourceDenied(f"{what} is not for us: the registry wants another way of signing in than a bearer token.")
    query = urlencode({"service": asked.get("service", ""), "scope": f"repository:{name}:pull"})
    url = f"{realm}{'&' if urlsplit(realm).query else '?'}{query}"
    with remote.answered(url, f"A token for {what}", purpose=PURPOSE, headers={}, most=MAX_TOKEN) as download:
        found = remote.parsed(download.body.read(MAX_TOKEN), f"The token for {what}")
    token = (found.get("token") or found.get("access_token")) if isinstance(found, dict) else None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
        raise SourceError(f"The registry gives no token for {what}.")
    return token


def _layers(manifest: Any, name: str) -> dict[str, tuple[str, int]]:
    """Return file name → digest and size; raises SourceRefused for what is no manifest of one artefact."""
    if not isinstance(manifest, dict):
        raise SourceRefused(f"The manifest of {name} is no object.")
    if "manifests" in manifest:
        raise SourceRefused(f"{name} is a list of manifests for several platforms. Name one of them by its digest.")
    layers = manifest.get("layers")
    if not isinstance(layers, list) or not layers:
        raise SourceRefused(f"The manifest of {name} lists no layers.")
    found: dict[str, tuple[str, int]] = {}
    for layer in layers:
        facts = layer if isinstance(layer, dict) else {}
        digest, size, notes = facts.get("digest"), facts.get("size"), facts.get("annotations")
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest) or type(size) is not int or size < 0:
            raise SourceRefused(f"The manifest of {name} lists a layer without a SHA-256 digest or a size.")
        title = notes.get(TITLE) if isinstance(notes, dict) else None
        path = title if isinstance(title, str) and title else digest.replace(":", "-")
        if path in found:
            raise SourceRefused(f"The manifest of {name} names “{paths.shown(path)}” twice.")
        found[path] = (digest, size)
    return found
