"""Pages by keyset: a cursor holds the sort values of a row, so that no row is skipped or shown twice while others come
and go. Works in both directions and with columns that may be null.

Null comes last in both sort directions, on both databases; columns that cannot be null are ordered plainly, so that an
index can serve them.
"""

import base64
import datetime as dt
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db.models import F, Field, Q, QuerySet
from django.db.models.expressions import OrderBy

BIGGEST = 2**63 - 1


class BadCursor(ValueError):
    """The cursor is not one that this list has given out for this order."""


@dataclass(frozen=True)
class Key:
    """One column of the order."""

    path: str
    descending: bool
    nullable: bool
    field: "Field[Any, Any]"

    def ordering(self, *, backwards: bool) -> OrderBy:
        """Return the expression for order_by, turned around for a page before."""
        down = self.descending != backwards
        nulls = {"nulls_first" if backwards else "nulls_last": True} if self.nullable else {}
        return F(self.path).desc(**nulls) if down else F(self.path).asc(**nulls)

    def equal(self, value: object) -> Q:
        """Rows with the same value."""
        return Q(**{f"{self.path}__isnull": True}) if value is None else Q(**{self.path: value})

    def beyond(self, value: object, *, backwards: bool) -> Q | None:
        """Rows strictly behind `value` (before it when `backwards`); None when there can be none."""
        if value is None:
            return Q(**{f"{self.path}__isnull": False}) if backwards else None
        step = Q(**{f"{self.path}__{'lt' if self.descending != backwards else 'gt'}": value})
        return step | Q(**{f"{self.path}__isnull": True}) if self.nullable and not backwards else step


def keys(queryset: QuerySet[Any], order: Sequence[str]) -> list[Key]:
    """Return the columns of `order` with the primary key behind them, which makes the order total."""
    descending = bool(order) and order[0].startswith("-")
    found = [_key(queryset, path.lstrip("-"), path.startswith("-")) for path in order]
    primary = queryset.model._meta.pk
    if primary is None:
        raise FieldDoesNotExist("pk")
    return [*found, Key("pk", descending, False, primary)]


def _key(queryset: QuerySet[Any], path: str, descending: bool) -> Key:
    annotation = queryset.query.annotations.get(path)
    if annotation is not None:
        return Key(path, descending, True, annotation.output_field)
    model: Any = queryset.model
    nullable = False
    steps = path.split("__")
    for step in steps[:-1]:
        relation = model._meta.get_field(step)
        nullable = nullable or relation.null
        model = relation.related_model
    last = model._meta.get_field(steps[-1])
    if not isinstance(last, Field):
        raise FieldDoesNotExist(path)
    return Key(path, descending, nullable or last.null, last)


def ordered(queryset: QuerySet[Any], columns: Sequence[Key], *, backwards: bool = False) -> QuerySet[Any]:
    """Return `queryset` in the order of `columns`, or exactly turned around."""
    return queryset.order_by(*(key.ordering(backwards=backwards) for key in columns))


def beyond(columns: Sequence[Key], values: Sequence[object], *, backwards: bool = False, inclusive: bool = False) -> Q:
    """Return the condition for rows behind the row of `values` (before it when `backwards`); `inclusive` keeps it."""
    condition, same = Q(pk__in=[]), Q()
    for key, value in zip(columns, values, strict=True):
        step = key.beyond(value, backwards=backwards)
        if step is not None:
            condition |= same & step
        same &= key.equal(value)
    return condition | same if inclusive else condition


def values_of(row: object, columns: Sequence[Key]) -> list[object]:
    """Return the sort values of a loaded row; relations on the way must be selected."""
    values = []
    for key in columns:
        value: Any = row
        for step in key.path.split("__"):
            value = getattr(value, step) if value is not None else None
        values.append(value)
    return values


def encode(order: str, position: int | None, values: Sequence[object]) -> str:
    """Return the cursor of a row: the order it belongs to, where the row stood (for the pager only), its values."""
    plain = [value if value is None or type(value) is int else _text(value) for value in values]
    text = json.dumps([order, position, *plain], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, dt.date) else str(int(value) if isinstance(value, bool) else value)


def decode(cursor: str, order: str, columns: Sequence[Key]) -> tuple[int | None, list[object]]:
    """Return position and values of a cursor that `encode` has made for `order`; raises BadCursor for anything else."""
    try:
        parts = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        if not isinstance(parts, list) or len(parts) != len(columns) + 2 or parts[0] != order:
            raise ValueError("shape")
        position = parts[1]
        if position is not None and (type(position) is not int or not 0 < position <= BIGGEST):
            raise ValueError("position")
        return position, [_value(key, part) for key, part in zip(columns, parts[2:], strict=True)]
    except (ValueError, TypeError, OverflowError, RecursionError, ValidationError) as error:
        raise BadCursor(cursor[:20]) from error


def _value(key: Key, part: object) -> object:
    if part is None and key.nullable:
        return None
    if type(part) not in {str, int} or b"\0" in str(part).encode():  # half a surrogate pair cannot be encoded
        raise ValueError("no column holds that")
    value = key.field.to_python(part)
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        value = value.astimezone(dt.UTC)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not a number")
    if isinstance(value, int) and abs(value) > BIGGEST:
        raise ValueError("too large")
    if value is None:
        raise ValueError("null in a column without null")
    return value
