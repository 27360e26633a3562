"""Queries that every call of the API asks, with their SQL made once: building it anew costs more than the answer.

What comes back is what the ordinary queryset gives; tests compare the two.
"""

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
    params: tuple[Any, ...]
    compiler: Any
    converters: dict[int, Any]


class Compiled:
    """A queryset that depends on one value. `build` makes it for `marker`, a value that nothing else in it equals."""

    def __init__(self, build: Callable[[Any], "QuerySet[Any, Any]"], marker: Any) -> None:
        self._build, self._marker = build, marker
        self._plans: dict[str, _Plan] = {}

    def _plan(self, vendor: str) -> _Plan:
        """Return the SQL for this kind of database. Two threads may make it twice, which does no harm."""
        plan = self._plans.get(vendor)
        if plan is None:
            compiler = self._build(self._marker).query.get_compiler(DEFAULT_DB_ALIAS)
            sql, params = compiler.as_sql()
            expressions = [one[0] for one in compiler.select[: compiler.col_count]]
            plan = _Plan(sql, tuple(params), compiler, compiler.get_converters(expressions))
            if self._marker not in plan.params:
                raise LookupError("the query does not depend on its value")
            self._plans[vendor] = plan
        return plan

    def rows(self, value: Any) -> Rows:
        """Return the rows for `value` as tuples (one query)."""
        connection = connections[DEFAULT_DB_ALIAS]
        plan = self._plan(connection.vendor)
        with connection.cursor() as cursor:
            cursor.execute(plan.sql, [value if param == self._marker else param for param in plan.params])
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


def _converted(row: tuple[Any, ...], converters: dict[int, Any], connection: Any) -> tuple[Any, ...]:
    values = list(row)
    for place, (steps, expression) in converters.items():
        for step in steps:
            values[place] = step(values[place], expression, connection)
    return tuple(values)
