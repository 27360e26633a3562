"""A list as a file: every row that the filters keep, up to a limit, with the columns of the page."""

import re
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone
from django.utils.cache import patch_vary_headers

from portal.listing import keyset
from portal.listing.asked import Asked
from portal.listing.export import csv_cell, csv_lines
from portal.listing.spec import CSV_ROWS, Line

BATCH = 500
GZIP = re.compile(r"\bgzip\b")  # what Django's own middleware looks for


def csv_response(
    asked: Asked, queryset: QuerySet[Any], lines: Callable[[Sequence[Any]], Sequence[Line]]
) -> StreamingHttpResponse:
    """Return the rows of `queryset` that `asked` keeps as a file that streams, at most 10,000 of them.

    `lines` works out what the page shows of some rows. Rows are read by keyset in batches, so that neither memory nor
    an open statement grows with the list.
    """
    chunks: Iterator[str] | Iterator[bytes] = _chunks(asked, queryset, lines)
    gzip = GZIP.search(asked.request.headers.get("Accept-Encoding", "")) is not None
    if gzip:
        chunks = _gzipped(chunks)
    content = _unblocked(chunks) if isinstance(asked.request, ASGIRequest) else chunks
    name = f"{asked.listing.file}-{timezone.localdate().isoformat()}.csv"
    response = StreamingHttpResponse(content, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store"
    patch_vary_headers(response, ["Accept-Encoding"])
    if gzip:
        response["Content-Encoding"] = "gzip"
    return response


def _chunks(asked: Asked, queryset: QuerySet[Any], lines: Callable[[Sequence[Any]], Sequence[Line]]) -> Iterator[str]:
    cells = [pair for column in asked.shown for pair in column.csv.items()]
    yield csv_lines([[header for header, _ in cells]])
    rows = asked.rows(queryset)
    columns = keyset.keys(rows, asked.order)
    ordered = keyset.ordered(rows, columns)
    left, part = CSV_ROWS, ordered
    while left > 0:
        batch = list(part[: min(BATCH, left)])
        if batch:
            made = lines(batch)
            yield csv_lines([csv_cell(_value(line, what)) for _, what in cells] for line in made)
        if len(batch) < BATCH:
            return
        left -= len(batch)
        part = ordered.filter(keyset.beyond(columns, keyset.values_of(batch[-1], columns)))


def _value(line: Line, what: str | Callable[[Line], object]) -> object:
    return line[what] if isinstance(what, str) else what(line)


def _gzipped(chunks: Iterator[str] | Iterator[bytes]) -> Iterator[bytes]:
    """Compress as one stream. Django's middleware makes one of every chunk of an asynchronous answer, and browsers
    read only the first one of several.
    """
    packer = zlib.compressobj(wbits=31)
    for chunk in chunks:
        yield packer.compress(chunk.encode() if isinstance(chunk, str) else chunk) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()


async def _unblocked(chunks: Iterator[str] | Iterator[bytes]) -> AsyncIterator[str | bytes]:
    """Walk `chunks`, which query, in the thread that may: Django would otherwise hold the whole file in memory."""

    def following() -> str | bytes | None:
        return next(chunks, None)

    while (chunk := await sync_to_async(following)()) is not None:
        yield chunk
