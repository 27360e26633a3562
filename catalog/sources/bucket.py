"""s3://bucket/prefix: a bucket of the one server that GATEHOUSE_BUCKET_URL names, addressed by path."""

import contextlib
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from typing import BinaryIO
from urllib.parse import quote

from django.conf import settings
from django.utils import timezone

from catalog.sources import paths, remote, sigv4
from catalog.sources.tree import Entry, SourceDenied, SourceError, SourceMissing, SourceRefused

PURPOSE = "bucket"
MAX_PAGE = 4 * 1024**2  # bytes of one page of a list; a thousand keys take a fraction
MAX_PAGES = 2 * paths.MAX_FILES // 1000
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def of(rest: str) -> "BucketTree":
    """Return the tree for `rest` (bucket/prefix). Raises SourceDenied without a server, and SourceRefused."""
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        raise SourceRefused("A source in a bucket looks like s3://bucket/prefix.")
    if not settings.BUCKET_URL:
        raise SourceDenied("The portal reads no bucket. Whoever runs it can name a server in GATEHOUSE_BUCKET_URL.")
    trimmed = prefix.rstrip("/")
    return BucketTree(bucket, f"{paths.clean(trimmed)}/" if trimmed else "")


class BucketTree:
    """The objects below a prefix. A bucket has no revision; the ETag of each object says when it is another one."""

    revision = ""

    def __init__(self, bucket: str, prefix: str) -> None:
        self._base, self._prefix = f"{settings.BUCKET_URL}/{bucket}", prefix
        self._what = f"s3://{bucket}/{prefix}"
        self._etags: dict[str, str] = {}

    def entries(self) -> Iterator[Entry]:
        """Return the objects, page by page. Raises SourceError; SourceMissing where there are none."""
        entry = None
        for entry in paths.bounded(self._listed()):
            self._etags[entry.path] = entry.mark
            yield entry
        if entry is None:
            raise SourceMissing(f"{self._what} holds no objects.")

    @contextlib.contextmanager
    def open(self, path: str, start: int = 0) -> Iterator[BinaryIO]:
        """Give the object at `path` from byte `start` on; one that changed since it was listed is refused."""
        url = f"{self._base}/{quote(self._prefix + paths.clean(path), safe='-_.~/')}"
        wanted = {"If-Match": self._etags[path]} if self._etags.get(path) else {}
        what = f"“{path}” of {self._what}"
        with remote.answered(url, what, purpose=PURPOSE, headers=_signed(url, wanted), start=start) as download:
            yield download.body

    def _listed(self) -> Iterator[Entry]:
        token = ""
        for _ in range(MAX_PAGES):
            values = {"list-type": "2", "prefix": self._prefix} | ({"continuation-token": token} if token else {})
            url = f"{self._base}?{sigv4.query(values)}"
            with remote.answered(url, self._what, purpose=PURPOSE, headers=_signed(url, {}), most=MAX_PAGE) as download:
                page = _parsed(download.body.read(MAX_PAGE + 1), self._what)
            for item in _all(page, "Contents"):
                key, size = _text(item, "Key"), _text(item, "Size")
                if not key.startswith(self._prefix) or not re.fullmatch(r"[0-9]{1,16}", size):
                    raise SourceRefused(f"The list of {self._what} holds a line that does not belong there.")
                if not (key.endswith("/") and size == "0"):  # what marks a folder
                    yield Entry(key.removeprefix(self._prefix), int(size), mark=_text(item, "ETag")[:80])
            token = _text(page, "NextContinuationToken")
            if _text(page, "IsTruncated") != "true" or not token:
                return
        raise SourceRefused(f"{self._what} lists more than {paths.MAX_FILES:,} objects, which is the limit.")


def _signed(url: str, headers: dict[str, str]) -> dict[str, str]:
    """Return `headers` signed where there is a key. The range of a rest is added later, and need not be signed."""
    if not settings.BUCKET_ACCESS_KEY:
        return headers
    return sigv4.sign(
        url,
        headers,
        region=settings.BUCKET_REGION,
        access_key=settings.BUCKET_ACCESS_KEY,
        secret_key=settings.BUCKET_SECRET_KEY,
        now=timezone.now(),
    )


def _parsed(body: bytes, what: str) -> ElementTree.Element:
    """Return the list as XML; one that declares a document type could grow without end, so none may."""
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise SourceError(f"{what}: the answer is no list of objects.")
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - no document type, at most 4 MiB
    except ElementTree.ParseError as error:
        raise SourceError(f"{what}: the answer is no list of objects.") from error
    if root.tag.rpartition("}")[2] != "ListBucketResult":
        raise SourceError(f"{what}: the answer is no list of objects.")
    return root


def _all(node: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    return (child for child in node if child.tag.rpartition("}")[2] == name)


def _text(node: ElementTree.Element, name: str) -> str:
    return next((child.text or "" for child in _all(node, name)), "")
