"""Moving states. The arrows stand beside each enum as data; `move` is the only thing that changes a state. And
claims of work that comes by the clock: of one thing one worker at a time.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import models

from portal.errors import Conflict

Arrows = Mapping[str, frozenset[str]]


def arrows(table: Mapping[str, Iterable[str]]) -> Arrows:
    """Return `table` (state → states that may follow) in the frozen form that `move` reads."""
    return {str(source): frozenset(str(target) for target in targets) for source, targets in table.items()}


def move(queryset: models.QuerySet[Any], source: str, target: str, *, field: str = "state", **also: object) -> bool:
    """Compare-and-set `field` from `source` to `target` on the rows of `queryset`; return whether a row moved.

    `also` are further columns set in the same UPDATE. False means that somebody else was faster: the caller decides
    what
    that means. Raises Conflict when the model's ARROWS do not allow the step at all.
    """
    table: Mapping[str, Arrows] = getattr(queryset.model, "ARROWS", {})
    if str(target) not in table.get(field, {}).get(str(source), frozenset()):
        raise Conflict(f"{queryset.model._meta.verbose_name} cannot go from {source} to {target}.")
    return queryset.filter(**{field: source}).update(**{field: target}, **also) > 0


def take(row: models.Model, now: datetime, span: timedelta, *, until: str, began: str) -> bool:
    """Claim `row` for `span`, unless somebody has it; whether it is ours now. A worker that dies costs one claim.

    `until` names the column of the claim's end, `began` that of the last beginning, which moves with the claim:
    whatever is wanted from here on is wanted anew. Who read the row before another one took it gets nothing.
    """
    free = models.Q(**{until: None}) | models.Q(**{f"{until}__lte": now})
    same = type(row)._default_manager.filter(free, pk=row.pk, **{began: getattr(row, began)})
    return bool(same.update(**{until: now + span, began: now}))
