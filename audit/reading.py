"""Reading the memory about single objects, newest first. Who may read what is for the caller to decide."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from audit.models import Row, Subject


@dataclass(frozen=True)
class Change:
    """One row, read: `before` and `after` hold the fields that changed."""

    id: int
    at: datetime
    actor: str
    via: str
    action: str
    object_kind: str
    object_id: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    reason: str
    request_id: str


def about(
    objects: Mapping[str, Sequence[str]], *, before: int | None = None, most: int, actions: Iterable[str] | None = None
) -> list[Change]:
    """Return at most `most` rows about objects (kind → ids) that are older than row `before`; `actions`: only these.

    One query for each kind, each along the index of objects.
    """
    found: list[Row] = []
    for kind, ids in objects.items():
        rows = Row.objects.filter(object_kind=kind, object_id__in=ids)
        rows = rows.filter(id__lt=before) if before is not None else rows
        rows = rows.filter(action__in=list(actions)) if actions is not None else rows
        found += rows.defer("canonical").order_by("-id")[:most] if ids else []
    return [_read(row) for row in sorted(found, key=lambda row: -row.id)[:most]]


def names(actors: Iterable[str]) -> dict[str, str]:
    """Return what the keys of actors stand for (one query); erased ones are missing."""
    return dict(Subject.objects.filter(key__in=set(actors)).values_list("key", "name"))


def _read(row: Row) -> Change:
    return Change(
        row.id, row.at, row.actor, row.via, row.action, row.object_kind, row.object_id,
        _fields(row.before), _fields(row.after), row.reason, row.request_id,
    )  # fmt: skip


def _fields(text: str) -> Mapping[str, Any]:
    value = json.loads(text) if text else {}
    return value if isinstance(value, dict) else {}
