"""Writing, sealing and verifying the memory."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.db.models import Max, Model
from django.utils import timezone

from audit.models import Row, Seal, Subject

GENESIS = "0" * 64
FORBIDDEN_WORDS = frozenset({"secret", "password", "token", "hash", "credential", "credentials"})


class Actor(Protocol):
    """Who acts: what a Principal is, without importing it."""

    @property
    def key(self) -> str:
        """Stable identity: "user:<uuid>", "system:<part>"."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def via(self) -> str:
        """session, token, key, command or system."""

    @property
    def request_id(self) -> str:
        """Id of the HTTP request or task."""

    @property
    def address(self) -> str:
        """Network address, "" where there is none."""


@dataclass(frozen=True)
class System:
    """A part of the portal that acts by itself."""

    part: str
    via: str = "system"
    request_id: str = ""
    address: str = ""

    @property
    def key(self) -> str:
        """Identity of the part."""
        return f"system:{self.part}"

    @property
    def name(self) -> str:
        """Shown name of the part."""
        return f"Gatehouse ({self.part})"


def system(part: str) -> System:
    """Return the actor for background work, for example system("reconcile")."""
    return System(part)


def _json(value: Mapping[str, object] | None) -> str:
    if not value:
        return ""
    for key in value:
        if FORBIDDEN_WORDS & set(key.lower().split("_")):
            raise ValueError(f"audit rows never hold secrets: {key}")
    return json.dumps(value, cls=DjangoJSONEncoder, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def record(
    action: str,
    *,
    by: Actor,
    obj: Model | tuple[str, str],
    project: str = "",
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
    reason: str = "",
) -> None:
    """Write one audit row in the caller's transaction.

    `action` is "<app>.<verb>", the same word as the service; `obj` the changed object or its (kind, id); `before`
    and `after` hold the
    changed fields only. Raises RuntimeError outside a transaction and ValueError for a key that smells of a secret.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("audit.record needs the transaction of the change")
    kind, identifier = obj if isinstance(obj, tuple) else (obj._meta.model_name or "", str(obj.pk))
    fields = {
        "at": timezone.now(),
        "actor": by.key,
        "via": by.via,
        "action": action,
        "object_kind": kind,
        "object_id": identifier,
        "project": project,
        "before": _json(before),
        "after": _json(after),
        "reason": reason,
        "request_id": by.request_id,
        "address": by.address,
    }
    Subject.objects.bulk_create([Subject(key=by.key, name=by.name)], ignore_conflicts=True)
    Row.objects.create(**fields, canonical=canonical(fields))


def canonical(fields: Mapping[str, object]) -> str:
    """Return the bytes (as text) that a seal hashes: JSON with sorted keys, without the columns that only exist in
    the database.
    """
    return json.dumps(dict(fields), cls=DjangoJSONEncoder, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def link(sequence: int, row_id: int, row_hash: str, previous: str) -> str:
    """Return the hash of one link of the chain."""
    return hashlib.sha256(f"{sequence}:{row_id}:{row_hash}:{previous}".encode()).hexdigest()


def row_hash(canonical_text: str) -> str:
    """Return the SHA-256 of a row's canonical text."""
    return hashlib.sha256(canonical_text.encode()).hexdigest()


def seal(limit: int = 5000) -> int:
    """Append up to `limit` rows that have no seal to the chain and return how many.

    Rows are sealed in the order of their ids as they become visible: on PostgreSQL a long transaction may commit a
    lower id later; it
    is then sealed later, and the chain's own sequence stays without gaps. Two sealers at once: the primary key lets
    one win.
    """
    with transaction.atomic():
        last = Seal.objects.order_by("-sequence").first()
        sequence, previous = (last.sequence, last.hash) if last else (0, GENESIS)
        floor = max((Seal.objects.aggregate(top=Max("row_id"))["top"] or 0) - 10_000, 0)
        sealed = Seal.objects.filter(row_id__gt=floor).values("row_id")
        rows = (
            Row.objects.filter(id__gt=floor)
            .exclude(id__in=sealed)
            .order_by("id")
            .values_list("id", "canonical")[:limit]
        )
        seals = []
        for row_id, text in rows:
            sequence += 1
            digest = row_hash(text)
            previous_now, previous = previous, link(sequence, row_id, digest, previous)
            seals.append(
                Seal(sequence=sequence, row_id=row_id, row_hash=digest, previous_hash=previous_now, hash=previous)
            )
        Seal.objects.bulk_create(seals)
        return len(seals)


@dataclass(frozen=True)
class Verdict:
    """What verification found: how many rows hold, and the first broken one."""

    rows: int
    unsealed: int
    broken_row: int | None = None
    why: str = ""


COLUMNS = (
    "at",
    "actor",
    "via",
    "action",
    "object_kind",
    "object_id",
    "project",
    "before",
    "after",
    "reason",
    "request_id",
    "address",
)


def export() -> Iterator[dict[str, object]]:
    """Yield every sealed row with its seal, in the order of the chain, as `verify` reads it back."""
    for item in Seal.objects.order_by("sequence").iterator(chunk_size=1000):
        row = Row.objects.filter(id=item.row_id).values("canonical").first()
        yield {
            "sequence": item.sequence,
            "row_id": item.row_id,
            "row_hash": item.row_hash,
            "previous_hash": item.previous_hash,
            "hash": item.hash,
            "canonical": row["canonical"] if row else None,
        }


def verify(entries: Iterable[Mapping[str, object]]) -> Verdict:
    """Walk the chain of `entries` (the shape of `export`) and return the verdict; needs no database."""
    count, previous = 0, GENESIS
    for entry in entries:
        row_id = int(str(entry.get("row_id", 0)))
        text = entry.get("canonical")
        if not isinstance(text, str):
            return Verdict(count, 0, row_id, "the row is missing")
        if row_hash(text) != entry.get("row_hash"):
            return Verdict(count, 0, row_id, "the row was changed after it was sealed")
        if entry.get("sequence") != count + 1 or entry.get("previous_hash") != previous:
            return Verdict(count, 0, row_id, "a link before this row is missing")
        if link(count + 1, row_id, str(entry["row_hash"]), previous) != entry.get("hash"):
            return Verdict(count, 0, row_id, "the seal does not match the row")
        previous = str(entry["hash"])
        count += 1
    return Verdict(count, 0)


def verify_database() -> Verdict:
    """Verify the chain in the database, and that each row's columns still say what its sealed text says."""
    found = verify(export())
    if found.broken_row is not None:
        return found
    for row in Row.objects.order_by("id").iterator(chunk_size=1000):
        if canonical({name: getattr(row, name) for name in COLUMNS}) != row.canonical:
            return Verdict(found.rows, 0, row.id, "a column differs from the sealed text")
    return Verdict(found.rows, Row.objects.count() - found.rows)
