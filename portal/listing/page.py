"""One page of a list, and everything that the templates of lists read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse

from portal.http import page
from portal.listing import keyset
from portal.listing.asked import Asked
from portal.listing.spec import COUNTED, CSV_ROWS, SIZES, Column, Filter, Listing

ARROWS = {"ascending": "sortdesc", "descending": "sortdesc", "none": "sort"}  # the style sheet turns the first one
OTHER = {"ascending": "descending", "descending": "ascending"}


@dataclass(frozen=True)
class Found:
    """The rows of one page. `total` is exact up to 10,000 and one more beyond; `start` None means that nobody counted
    how many rows stand before.
    """

    asked: Asked
    rows: list[Any]
    total: int
    start: int | None
    earlier: str  # cursors of the pages before and behind, or empty
    later: str

    def context(self) -> dict[str, Any]:
        """Return what `_list_toolbar.html`, `_list_head.html` and `_pagination.html` read, as `list` and `page`."""
        asked = self.asked
        return {"list": _frame(asked, self.total), "page": self.pager()}

    def render(self, template: str, context: Mapping[str, Any], *, status: int = 200) -> HttpResponse:
        """Return the page, or its partial `results` for htmx, with `list`, `page` and `context`."""
        asked = self.asked
        response = page(asked.request, template, {**self.context(), **context}, part="results", status=status)
        # A form sends every field, also the empty ones; the address bar gets the short form.
        response["HX-Push-Url"] = asked.here
        return response

    def pager(self) -> dict[str, Any]:
        """Return the context of `_pagination.html`."""
        asked = self.asked
        sizes = [{"n": size, "url": asked.url(size=size), "current": size == asked.size} for size in SIZES]
        return {
            "start": self.start,
            "end": self.start + len(self.rows) - 1 if self.start else len(self.rows),
            "total": min(self.total, COUNTED),
            "more": self.total > COUNTED,
            "noun": asked.listing.nouns[self.total != 1],
            "previous_url": asked.url(before=self.earlier) if self.earlier else "",
            "next_url": asked.url(after=self.later) if self.later else "",
            "sizes": sizes if self.total > SIZES[0] else [],
        }


def find(
    asked: Asked, queryset: QuerySet[Any], *, showing: Any = None, start: int | None = None, total: int | None = None
) -> Found:
    """Return the page that `asked` names, of `queryset` narrowed by its filters: one query for the rows and one for
    the total.

    With `showing`, a row that is open: when the page does not hold it, the page that begins with it comes instead, and
    `start` says how many rows stand before it plus one, if the caller knows (one query more). `total`: the number of
    rows, if the caller has counted them.
    """
    rows = asked.rows(queryset)
    columns = keyset.keys(rows, asked.order)
    if total is None:
        total = rows.order_by()[: COUNTED + 1].count()
    found = _by_cursor(asked, rows, columns)
    if found is None and start is not None and start > asked.size:
        found = [], None, False, False  # the open row is known to stand further down
    elif found is None:
        found = _slice(asked, rows, columns, None, 1)
    if showing is not None and showing.pk not in {row.pk for row in found[0]}:
        values = keyset.values_of(showing, columns)
        found = _slice(asked, rows, columns, values, start, inclusive=True)
    shown, position, before, behind = found
    if not before:
        position = 1
    elif not behind and total <= COUNTED:
        position = total - len(shown) + 1  # the end is known, whatever came and went while somebody paged
    if not shown or (position is not None and total <= COUNTED and position + len(shown) - 1 > total):
        position = None if shown else 0
    cursors = ["", ""]
    if shown and before:
        cursors[0] = keyset.encode(asked.sort, position, keyset.values_of(shown[0], columns))
    if shown and behind:
        last = position + len(shown) - 1 if position is not None else None
        cursors[1] = keyset.encode(asked.sort, last or None, keyset.values_of(shown[-1], columns))
    return Found(asked, shown, total, position, *cursors)


def following(asked: Asked, queryset: QuerySet[Any], row: Any) -> Any:
    """Return the row of `queryset`, narrowed and ordered as `asked` says, that comes behind `row`; else the first one,
    or None. `row` itself need not be there any more.
    """
    rows = asked.rows(queryset)
    columns = keyset.keys(rows, asked.order)
    ordered = keyset.ordered(rows, columns)
    behind = ordered.filter(keyset.beyond(columns, keyset.values_of(row, columns))).first()
    return behind or ordered.first()


_Slice = tuple[list[Any], int | None, bool, bool]  # rows, position of the first, whether more before, behind


def _by_cursor(asked: Asked, rows: QuerySet[Any], columns: Sequence[keyset.Key]) -> _Slice | None:
    """Return the page of the cursor, or None where there is no (good) one or nothing stands there any more."""
    if not (asked.after or asked.before):
        return None
    try:
        position, values = keyset.decode(asked.after or asked.before, asked.sort, columns)
    except keyset.BadCursor:
        asked.notices.append("The address names a page that this list has not given out; here is the first one.")
        return None
    if asked.before:
        found = _back(asked, rows, columns, values, position)
    else:
        found = _slice(asked, rows, columns, values, position + 1 if position else None)
    if not found[0]:
        asked.notices.append("Nothing is left on that page; here is the first one.")
        return None
    return found


def _slice(
    asked: Asked,
    rows: QuerySet[Any],
    columns: Sequence[keyset.Key],
    values: Sequence[object] | None,
    position: int | None,
    *,
    inclusive: bool = False,
) -> _Slice:
    if values is not None:
        rows = rows.filter(keyset.beyond(columns, values, inclusive=inclusive))
    found = list(keyset.ordered(rows, columns)[: asked.size + 1])
    return found[: asked.size], position, values is not None and position != 1, len(found) > asked.size


def _back(
    asked: Asked, rows: QuerySet[Any], columns: Sequence[keyset.Key], values: Sequence[object], position: int | None
) -> _Slice:
    rows = rows.filter(keyset.beyond(columns, values, backwards=True))
    found = list(keyset.ordered(rows, columns, backwards=True)[: asked.size + 1])
    before = len(found) > asked.size
    shown = found[: asked.size][::-1]
    start = position - len(shown) if position else None
    return shown, start if start is None or start > 0 else None, before, True


def _frame(asked: Asked, total: int) -> dict[str, Any]:
    listing = asked.listing
    named = asked.query(values={})
    one, many = listing.nouns
    # In a file as on the page: the same rows, up to the limit.
    rows = f"all {total:,}" if total <= CSV_ROWS else f"the first {CSV_ROWS:,}"
    return {
        "route": listing.route,
        "path": asked.path,
        "here": asked.here,
        "one": one,
        "many": many,
        "total": total,
        "columns": [_head(asked, column) for column in asked.shown],
        "span": len(asked.shown),
        "fields": [_field(asked, one) for one in listing.filters if not one.more],
        "more": [_field(asked, one) for one in listing.filters if one.more],
        "more_open": any(one.more and one.name in asked.values for one in listing.filters),
        "hidden": [(name, value) for name, value in named if name != "sort"],
        "sorts": _sorts(asked),
        "chips": [_chip(asked, one) for one in listing.filters if one.name in asked.values],
        "filtered": asked.filtered,
        "clear_url": asked.url(values={}),
        **column_menu(
            listing,
            asked.columns,
            hidden=asked.query(columns=listing.defaults),
            default_url=asked.url(columns=listing.defaults),
        ),
        "csv_url": asked.url(format="csv"),
        "csv_label": f"CSV of {rows} {one if total == 1 else many}",
        "notices": asked.notices,
    }


def column_menu(
    listing: Listing, columns: Sequence[str], *, hidden: Sequence[tuple[str, str]], default_url: str
) -> dict[str, Any]:
    """Return what `_list_columns.html` and the cells read of `columns`, the names of those that show. `hidden`: the
    other parameters of the address; `default_url`: the same list with the columns that show without being asked.
    """
    return {
        # Every column has its answer: a missing key costs a template twenty times as much.
        "shows": {one.name: one.name in columns for one in listing.columns},
        "choose": [
            {"name": one.name, "label": one.label, "checked": one.name in columns, "fixed": one.fixed}
            for one in listing.columns
        ],
        "choose_hidden": hidden,
        "chosen": tuple(columns) != listing.defaults,
        "default_url": default_url,
    }


def _head(asked: Asked, column: Column) -> dict[str, Any]:
    head = {"name": column.name, "label": column.label, "numeric": column.numeric, "css": column.css, "url": ""}
    if not column.sort:
        return head
    state = "none"
    if asked.sort.lstrip("-") == column.name:
        state = "descending" if asked.sort.startswith("-") else "ascending"
    following = OTHER.get(state, column.first)
    sort = f"-{column.name}" if following == "descending" else column.name
    return head | {"url": asked.url(sort=sort), "state": state, "icon": ARROWS[state], "next": following}


def _sorts(asked: Asked) -> list[tuple[str, str, bool]]:
    """Return every order as a choice: phones show no column heads."""
    found = []
    for column in asked.listing.columns:
        label = column.sort_label or column.label
        for value, direction in ((column.name, "ascending"), (f"-{column.name}", "descending")) if column.sort else ():
            found.append((value, f"{label}, {direction}", value == asked.sort))
    return found


def _field(asked: Asked, one: Filter) -> dict[str, Any]:
    value = asked.values.get(one.name, "")
    choices = [("", one.every or one.label), *asked.choices[one.name]]
    return {
        "name": one.name,
        "label": one.label,
        "kind": one.kind,
        "value": value,
        "length": one.length,
        "choices": [(key, label, key == value) for key, label in choices] if one.kind == "choice" else [],
    }


def _chip(asked: Asked, one: Filter) -> dict[str, str]:
    value = asked.values[one.name]
    label = dict(asked.choices[one.name]).get(value, value)
    rest = {name: text for name, text in asked.values.items() if name != one.name}
    words = one.label if one.kind == "flag" else f"{one.label}: {label}"
    return {"label": words, "url": asked.url(values=rest)}
