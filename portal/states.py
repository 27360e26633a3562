"""Moving states. The arrows stand beside each enum as data; `move` is the only thing that changes a state."""

from collections.abc import Iterable, Mapping
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
