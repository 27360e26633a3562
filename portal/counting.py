"""How many rows there are, as an expression: several counts of different tables in one query."""

from typing import Any

from django.db.models import Count, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce


def number(rows: QuerySet[Any]) -> Coalesce:
    """Return how many `rows` there are as an expression: a subquery, which groups nothing of the row around it."""
    one = rows.order_by().annotate(all_of_them=Value(1)).values("all_of_them")
    return Coalesce(Subquery(one.annotate(how_many=Count("pk")).values("how_many")), 0)
