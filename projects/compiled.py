"""Queries that every call of the API asks, with their SQL made once: building it anew costs more than the answer.

What comes back is what the ordinary queryset gives; tests compare the two.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model, QuerySet
from django.db.models.query import get_related_populators

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class _Plan:
    sql: str
    params: tuple[tuple[int | None, Any], ...]  # place among the values, or None; what it is then
    compiler: Any
    converters: dict[int, Any]


class Compiled:
    """A queryset that depends on one value, or on several. `build` makes it for `markers`, one for each, which nothing
    else in it equals.
    """

    def __init__(self, build: Callable[..., "QuerySet[Any, Any]"], *markers: Any) -> None:
        self._build, self._markers = build, markers
        self._plans: dict[str, _Plan] = {}

    def _plan(self, vendor: str) -> _Plan:
        """Return the SQL for this kind of database. Two threads may make it twice, which does no harm."""
        plan = self._plans.get(vendor)
        if plan is None:
            compiler = self._build(*self._markers).query.get_compiler(DEFAULT_DB_ALIAS)
            sql, params = compiler.as_sql()
            expressions = [one[0] for one in compiler.select[: compiler.col_count]]
            markers = [_adapted(marker) for marker in self._markers]
            known = tuple((markers.index(param) if param in markers else None, param) for param in params)
            plan = _Plan(sql, known, compiler, compiler.get_converters(expressions))
            if set(range(len(markers))) - {place for place, _ in known}:
                raise LookupError("the query does not depend on each of its values")
            self._plans[vendor] = plan
        return plan

    def rows(self, *values: Any) -> Rows:
        """Return the rows for `values` as tuples (one query)."""
        connection = connections[DEFAULT_DB_ALIAS]
        plan = self._plan(connection.vendor)
        with connection.cursor() as cursor:
            given = [_adapted(value) for value in values]
            cursor.execute(plan.sql, [param if place is None else given[place] for place, param in plan.params])
            found: Rows = cursor.fetchall()
        if not plan.converters:
            return found
        return [_converted(row, plan.converters, connection) for row in found]

    def first(self, value: Any) -> Any:
        """Return the first object for `value` with what the queryset selects along, None without one (one query)."""
        found = self.rows(value)
        return self._object(found[0]) if found else None

    def _object(self, row: tuple[Any, ...]) -> Model:
        compiler = self._plan(connections[DEFAULT_DB_ALIAS].vendor).compiler
        info, select = compiler.klass_info, compiler.select
        start, end = info["select_fields"][0], info["select_fields"][-1] + 1
        names = [one[0].target.attname for one in select[start:end]]
        model: type[Model] = info["model"]
        made = model.from_db(DEFAULT_DB_ALIAS, names, row[start:end])
        populators = get_related_populators(info, select, DEFAULT_DB_ALIAS)  # type: ignore[call-arg] # of Django 5
        for populator in populators:
            populator.populate(row, made)
        return made


def _adapted(value: Any) -> Any:
    """Return `value` as lookups hand it to the database."""
    if isinstance(value, dt.datetime):
        return connections[DEFAULT_DB_ALIAS].ops.adapt_datetimefield_value(value)
    return value


def _converted(row: tuple[Any, ...], converters: dict[int, Any], connection: Any) -> tuple[Any, ...]:
    values = list(row)
    for place, (steps, expression) in converters.items():
        for step in steps:
            values[place] = step(values[place], expression, connection)
    return tuple(values)
