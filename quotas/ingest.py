"""From the journals into the ledger, exactly once.

A batch of whole lines is one transaction: the offset moves by compare-and-set from the value that was read, then events
and sums are written. Whoever loses the compare-and-set writes nothing; whoever dies anywhere has written nothing.
"""

import datetime as dt
import logging
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from portal.http import uuid_or_none
from projects.models import ApiKey
from quotas import records, rollups
from quotas.journal import SUFFIX, is_alive
from quotas.models import JournalOffset, UsageEvent
from quotas.records import Call, CorruptRecord

log = logging.getLogger(__name__)

BATCH_LINES = 10_000  # so at most half as many calls in one transaction
READ_BYTES = 4 * 1024 * 1024
NAME = re.compile(r"[A-Za-z0-9._-]{1,40}")


@dataclass
class Batch:
    """Whole lines of one journal: the calls that ended in them, and where the next batch begins."""

    offset: int
    calls: list[Call] = field(default_factory=list)
    corrupt: int = 0


def ingest(directory: Path, *, seconds: float = 60) -> int:
    """Read every journal in `directory` as far as it is written and return how many calls were added to the ledger.

    `seconds` bounds the work of one call: a backlog continues with the next one. Safe to run several times at once.
    """
    deadline = time.monotonic() + seconds
    added = 0
    known = JournalOffset.objects.in_bulk([path.stem for path in journals(directory)])
    for path in journals(directory):
        added += _ingest_file(path, known.get(path.stem), deadline)
    return added


def journals(directory: Path) -> list[Path]:
    """Return the journals in `directory`, oldest name first; files with names that no gateway gives are left alone."""
    return sorted(path for path in directory.glob(f"*{SUFFIX}") if NAME.fullmatch(path.stem))


def _ingest_file(path: Path, known: JournalOffset | None, deadline: float) -> int:
    gateway = path.stem
    mark = known or JournalOffset.objects.get_or_create(gateway=gateway)[0]
    if mark.finished:
        path.unlink(missing_ok=True)  # the last one who finished it died before this
        return 0
    alive = is_alive(path)  # asked before reading: what a dead gateway wrote is then all there
    offset, added = mark.offset, 0
    while True:
        if time.monotonic() > deadline:
            return added
        batch = _read(path, gateway, offset)
        if batch is None:
            break
        stored = _store(gateway, offset, batch)
        if stored is None:
            return added  # somebody else reads this journal at this moment
        offset, added = batch.offset, added + stored
    if not alive:
        finished = _finish(path, gateway, offset)
        if finished is not None:
            added += finished
            path.unlink(missing_ok=True)
    return added


def _read(path: Path, gateway: str, offset: int) -> Batch | None:
    """Return the next batch, or None when there is no whole line. A last line without its end is left for later."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(READ_BYTES)
    except FileNotFoundError:
        return None
    lines = data.split(b"\n", BATCH_LINES)
    if len(lines) == 1:
        if len(data) < READ_BYTES:
            return None
        lines.append(b"")  # no record is that long: pass over it as over any line that cannot be read
        offset -= 1
    batch = Batch(offset)
    for line in lines[:-1]:
        batch.offset += len(line) + 1
        try:
            call = records.call(gateway, line)
            if call is not None:
                batch.calls.append(call)
        except CorruptRecord as error:
            batch.corrupt += 1
            log.error("quotas.corrupt_record gateway=%s before_offset=%s %s", gateway, batch.offset, error)
    return batch


def _store(gateway: str, offset: int, batch: Batch) -> int | None:
    """Write one batch; returns how many calls were new, or None when another ingester was faster."""
    with transaction.atomic():
        moved = JournalOffset.objects.filter(pk=gateway, offset=offset, finished=False).update(
            offset=batch.offset, corrupt=F("corrupt") + batch.corrupt, updated_at=timezone.now()
        )
        if not moved:
            return None
        return _write(gateway, batch.calls)


def _finish(path: Path, gateway: str, offset: int) -> int | None:
    """Close the journal of a dead gateway: calls that never ended are interrupted. None when somebody else did it."""
    calls = list(_unfinished(path, gateway, offset))
    with transaction.atomic():
        marked = JournalOffset.objects.filter(pk=gateway, offset=offset, finished=False).update(
            finished=True, updated_at=timezone.now()
        )
        if not marked:
            return None
        if calls:
            log.warning("quotas.interrupted gateway=%s calls=%s", gateway, len(calls))
        return _write(gateway, calls)


def _unfinished(path: Path, gateway: str, end: int) -> Iterator[Call]:
    """Yield the calls of the first `end` bytes that have a start and no readable end."""
    running: dict[int, bytes] = {}
    try:
        with path.open("rb") as file:
            for line in file:
                if file.tell() > end:
                    break
                try:
                    ended = records.call(gateway, line.rstrip(b"\n"))
                    if ended is not None:
                        running.pop(ended.sequence, None)
                    elif (sequence := records.started(line)) is not None:
                        running[sequence] = line
                except CorruptRecord:
                    continue  # counted when it was read
    except FileNotFoundError:
        return
    for line in running.values():
        try:
            yield records.interrupted(gateway, records.read(line))
        except CorruptRecord as error:
            log.error("quotas.corrupt_record gateway=%s a call without an end cannot be estimated: %s", gateway, error)


def _write(gateway: str, calls: Iterable[Call]) -> int:
    """Write the calls that the ledger does not have, and what is derived from them, in the caller's transaction.

    The caller holds the journal's offset, so nobody else writes rows of this gateway between the look and the insert.
    """
    wanted = {call.sequence: call for call in calls}
    if not wanted:
        return 0
    span = {"sequence__gte": min(wanted), "sequence__lte": max(wanted)}
    present = set(UsageEvent.objects.filter(gateway=gateway, **span).values_list("sequence", flat=True))
    fresh = [call for sequence, call in sorted(wanted.items()) if sequence not in present]
    _insert(fresh)
    rollups.add(fresh)
    _touch_keys(fresh)
    return len(fresh)


def _insert(calls: Sequence[Call]) -> None:
    """Write rows of the ledger the fastest way that each database has: COPY, or one prepared statement.

    Building a model and its parameters for every call would cost several times what the database needs for the row.
    """
    columns = ", ".join(Call._fields)
    table = UsageEvent._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for call in calls:
                    copy.write_row(call)
        else:
            moment, place = connection.ops.adapt_datetimefield_value, Call._fields.index("at")
            marks = ", ".join(["%s"] * len(Call._fields))
            rows = [(*call[:place], moment(call.at), *call[place + 1 :]) for call in calls]
            cursor.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)  # noqa: S608 - own names


def _touch_keys(calls: Iterable[Call]) -> None:
    """Move `last_used_at` of the keys forward (two statements), never backward."""
    last: dict[str, dt.datetime] = {}
    for call in calls:
        known = last.get(call.key_id)
        if known is None or known < call.at:
            last[call.key_id] = call.at
    used = {key: at for text, at in last.items() if (key := uuid_or_none(text)) is not None}
    stale = []
    for found in ApiKey.objects.select_for_update().filter(pk__in=used).order_by("pk").only("pk", "last_used_at"):
        if found.last_used_at is None or found.last_used_at < used[found.pk]:
            found.last_used_at = used[found.pk]
            stale.append(found)
    ApiKey.objects.bulk_update(stale, ["last_used_at"], batch_size=200)
