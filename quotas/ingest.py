"""From the journals into the ledger, exactly once.

A batch of whole lines is one transaction: the offset moves by compare-and-set from the value that was read, then events
and sums are written. Whoever loses the compare-and-set writes nothing; whoever dies anywhere has written nothing.
"""

import logging
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from projects.models import ApiKey
from quotas import records, rollups
from quotas.journal import SUFFIX, is_alive
from quotas.models import JournalOffset, UsageEvent
from quotas.records import CorruptRecord

log = logging.getLogger(__name__)

BATCH_LINES = 2000  # so at most as many calls in one transaction
READ_BYTES = 4 * 1024 * 1024
NAME = re.compile(r"[A-Za-z0-9._-]{1,40}")


@dataclass
class Batch:
    """Whole lines of one journal: the calls that ended in them, and where the next batch begins."""

    offset: int
    events: list[UsageEvent] = field(default_factory=list)
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
            record = records.read(line)
            if record.get("t") == "end":
                batch.events.append(records.ended(gateway, record))
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
        return _write(gateway, batch.events)


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


def _unfinished(path: Path, gateway: str, end: int) -> Iterator[UsageEvent]:
    """Yield the calls of the first `end` bytes that have a start and no readable end."""
    running: dict[object, UsageEvent] = {}
    try:
        with path.open("rb") as file:
            for line in file:
                if file.tell() > end:
                    break
                try:
                    record = records.read(line)
                    if record.get("t") == "start":
                        running[record["s"]] = records.interrupted(gateway, record)
                    elif record.get("t") == "end":
                        records.ended(gateway, record)
                        running.pop(record["s"], None)
                except CorruptRecord:
                    continue  # counted when it was read
    except FileNotFoundError:
        return
    yield from running.values()


def _write(gateway: str, events: Iterable[UsageEvent]) -> int:
    """Write the events that the ledger does not have, and what is derived from them, in the caller's transaction.

    The caller holds the journal's offset, so nobody else writes rows of this gateway between the look and the insert.
    """
    wanted = {event.sequence: event for event in events}
    if not wanted:
        return 0
    span = {"sequence__gte": min(wanted), "sequence__lte": max(wanted)}
    present = set(UsageEvent.objects.filter(gateway=gateway, **span).values_list("sequence", flat=True))
    fresh = [event for sequence, event in sorted(wanted.items()) if sequence not in present]
    UsageEvent.objects.bulk_create(fresh)
    rollups.add(fresh)
    _touch_keys(fresh)
    return len(fresh)


def _touch_keys(events: Iterable[UsageEvent]) -> None:
    """Move `last_used_at` of the keys forward (two statements), never backward."""
    used: dict[uuid.UUID, UsageEvent] = {}
    for event in events:
        try:
            key = uuid.UUID(event.key_id)
        except ValueError:
            continue
        if key not in used or used[key].at < event.at:
            used[key] = event
    stale = []
    for found in ApiKey.objects.select_for_update().filter(pk__in=used).order_by("pk").only("pk", "last_used_at"):
        if found.last_used_at is None or found.last_used_at < used[found.pk].at:
            found.last_used_at = used[found.pk].at
            stale.append(found)
    ApiKey.objects.bulk_update(stale, ["last_used_at"], batch_size=200)
