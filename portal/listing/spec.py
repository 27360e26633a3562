"""What a list is: its columns, filters and sizes, written down once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet

SIZES = (25, 50, 100)
CSV_ROWS = 10_000  # an export of a list page; who needs more reads the REST API page by page
COUNTED = 10_000  # totals are exact up to here: counting millions for a number that nobody reads is waste
RESERVED = frozenset({"sort", "columns", "size", "after", "before", "format"})

Line = Mapping[str, Any]  # what the view has worked out of one row, for its cells and for the CSV
Choices = Sequence[tuple[str, str]]  # (value in the address, label)


@dataclass(frozen=True)
class Column:
    """One column. `sort`: paths to order by when it is sorted ascending ("-" turns one around), none: not sortable.

    `csv` maps a header to the key of the line, or to a function of it, so that a cell of two facts becomes two columns
    of the file.
    """

    name: str
    label: str
    sort: tuple[str, ...] = ()
    csv: Mapping[str, str | Callable[[Line], object]] = field(default_factory=dict)
    default: bool = True
    fixed: bool = False  # always there: what names the row
    numeric: bool = False
    sort_label: str = ""  # in the sort menu of phones; the label otherwise
    first: str = "ascending"  # what the first click does
    css: str = ""


@dataclass(frozen=True)
class Filter:
    """One filter of the address. `apply` narrows the rows by a value that was checked before: one of `choices`, a text
    of at most `length` characters, "1" for a flag, an ISO date for a day.

    `apply(rows, value, request)`; `choices` may be a function of the request.
    """

    name: str
    label: str
    apply: Callable[[QuerySet[Any], str, Any], QuerySet[Any]]
    kind: str = "choice"  # choice | search | text | flag | day
    choices: Choices | Callable[[Any], Choices] = ()
    every: str = ""  # label of no choice: "Every state"
    length: int = 80
    more: bool = False  # folded under "More filters" until it is used


_known: set[str] = set()


@dataclass(frozen=True)
class Listing:
    """One list page. `route` is its route name and the key of its saved views; `sort` the name of the column that is
    sorted without being asked, "-" for descending.
    """

    route: str
    nouns: tuple[str, str]  # one, many
    columns: tuple[Column, ...]
    filters: tuple[Filter, ...] = ()
    sort: str = ""
    size: int = 50
    file: str = "list"  # name of the CSV, without date and ending

    def __post_init__(self) -> None:
        taken = RESERVED & {one.name for one in self.filters}
        if taken or self.column(self.sort.lstrip("-")) is None:
            raise ValueError(f"{self.route}: {sorted(taken) or self.sort} cannot be used like this")
        _known.add(self.route)

    def column(self, name: str) -> Column | None:
        """Return the column of this name, or None."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def defaults(self) -> tuple[str, ...]:
        """Names of the columns that show when the address chooses none."""
        return tuple(column.name for column in self.columns if column.default or column.fixed)


def known(route: str) -> bool:
    """Whether a list page with this route name exists, so that a view of it can be saved."""
    return route in _known
