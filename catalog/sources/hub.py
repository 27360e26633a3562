"""hf://org/model@revision: a hub with the API of Hugging Face."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any, BinaryIO
from urllib.parse import quote

from django.conf import settings

from catalog.sources import paths, remote
from catalog.sources.tree import Entry, NotResumed, SourceError, SourceRefused

PURPOSE = "hub"
DEFAULT = "main"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,119}")
COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def of(rest: str, revision: str) -> "HubTree":
    """Return the tree for `rest` (org/model@revision), at `revision` where one is given. Raises SourceError."""
    name, _, named = rest.partition("@")
    parts = name.split("/")
    if len(parts) > 2 or not all(_NAME.fullmatch(part) and ".." not in part for part in parts):
        raise SourceRefused("A source of the hub looks like hf://organisation/model@revision.")
    wanted = revision or named or DEFAULT
    if not _REVISION.fullmatch(wanted) or any(part in {"", ".", ".."} for part in wanted.split("/")):
        raise SourceRefused(f"“{paths.shown(wanted)}” is no revision of a hub.")
    return HubTree(name, wanted)


def _headers() -> dict[str, str]:
    return {"Authorization": f"Bearer {settings.HUB_TOKEN}"} if settings.HUB_TOKEN else {}


class HubTree:
    """The files of one commit; what a name stands for is asked once, when it is opened."""

    def __init__(self, name: str, wanted: str) -> None:
        self._name = name
        self._etags: dict[str, str] = {}
        url = f"{settings.HUB_URL}/api/models/{name}/revision/{quote(wanted, safe='')}?blobs=true"
        what = f"{name} at {wanted}"
        self._about = remote.document(url, what, purpose=PURPOSE, headers=_headers())
        commit = self._about.get("sha") if isinstance(self._about, dict) else None
        if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
            raise SourceError(f"{what}: the answer of the hub names no commit.")
        if COMMIT.fullmatch(wanted) and commit != wanted:
            raise SourceRefused(f"The hub answers with commit {commit} where {wanted} was asked for.")
        self.revision = commit

    def entries(self) -> Iterator[Entry]:
        """Return the files as the hub lists them. Raises SourceRefused for a list that cannot be right."""
        files = self._about.get("siblings")
        if not isinstance(files, list):
            raise SourceError(f"The hub lists no files of {self._name}.")
        return paths.bounded(_entry(item) for item in files)

    @contextlib.contextmanager
    def open(self, path: str, start: int = 0) -> Iterator[BinaryIO]:
        """Give the file at `path` of this commit, from byte `start` on. Raises SourceError."""
        url = f"{settings.HUB_URL}/{self._name}/resolve/{self.revision}/{quote(paths.clean(path))}"
        with remote.answered(
            url, f"“{path}” of {self._name}", purpose=PURPOSE, headers=_headers(), start=start, hops=remote.HOPS
        ) as download:
            tag = download.headers.get("etag", "")
            if start and tag != self._etags.get(path, tag):
                raise NotResumed(f"“{path}” of {self._name} is another file than when it was begun.")
            self._etags[path] = tag
            yield download.body


def _entry(item: Any) -> Entry:
    """Return one line of the hub's list; raises SourceRefused for a line without name or size."""
    found = item if isinstance(item, dict) else {}
    path, size, large = found.get("rfilename"), found.get("size"), found.get("lfs")
    large = large if isinstance(large, dict) else {}
    size = large.get("size", size)
    claim, blob = large.get("sha256", ""), found.get("blobId", "")
    if not isinstance(path, str) or type(size) is not int or size < 0:
        raise SourceRefused("The hub lists a file without a name or a size.")
    if claim and not (isinstance(claim, str) and _SHA256.fullmatch(claim)):
        raise SourceRefused(f"The hub gives no proper SHA-256 for “{paths.shown(path)}”.")
    return Entry(path, size, claim or "", mark=str(blob)[:80])
