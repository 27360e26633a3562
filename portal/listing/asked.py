"""What the address of a list page asks for. Whatever is unknown or malformed falls back to the default, and is said in
one sentence.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import HttpRequest

from portal.errors import Invalid
from portal.http import clean_text
from portal.listing.spec import CSV_ROWS, RESERVED, SIZES, Choices, Column, Filter, Listing

FIRST_YEAR, LAST_YEAR = 1970, 9998
LONGEST_CURSOR = 1000
MOST_NAMED = 3  # left-out parameters that the sentence names


@dataclass(frozen=True)
class Asked:
    """The address, read: only values that the list knows."""

    listing: Listing
    path: str
    request: HttpRequest
    values: Mapping[str, str]  # filter → value, only what narrows
    choices: Mapping[str, Choices]
    sort: str
    columns: tuple[str, ...]
    size: int
    after: str = ""
    before: str = ""
    csv: bool = False
    notices: list[str] = field(default_factory=list)

    @property
    def filtered(self) -> bool:
        """Whether any filter narrows the rows."""
        return bool(self.values)

    @property
    def shown(self) -> list[Column]:
        """The columns to show, in the order of the list."""
        return [column for column in self.listing.columns if column.name in self.columns]

    @property
    def order(self) -> tuple[str, ...]:
        """The paths to order by."""
        column = self.listing.column(self.sort.lstrip("-"))
        paths = column.sort if column else ()
        if not self.sort.startswith("-"):
            return paths
        return tuple(path[1:] if path.startswith("-") else f"-{path}" for path in paths)

    def rows(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return `queryset` narrowed by every filter of the address."""
        for one in self.listing.filters:
            if one.name in self.values:
                queryset = one.apply(queryset, self.values[one.name], self.request)
        return queryset

    def query(self, **changes: Any) -> list[tuple[str, str]]:
        """Return the parameters of this view of the list, without what is the default anyway and without a cursor.

        `changes`: `values`, `sort`, `columns`, `size`, or further parameters such as `after`.
        """
        values: Mapping[str, str] = changes.pop("values", self.values)
        sort, columns = changes.pop("sort", self.sort), changes.pop("columns", self.columns)
        size = changes.pop("size", self.size)
        found = [(one.name, values[one.name]) for one in self.listing.filters if values.get(one.name)]
        found += [("sort", sort)] if sort != self.listing.sort else []
        found += [("columns", ",".join(columns))] if tuple(columns) != self.listing.defaults else []
        found += [("size", str(size))] if size != self.listing.size else []
        return found + [(name, str(value)) for name, value in changes.items() if value]

    @property
    def _cursors(self) -> tuple[tuple[str, str], ...]:
        return ("after", self.after), ("before", self.before)

    @property
    def here(self) -> str:
        """The address of this very page, in its short form."""
        # No cursor of ours is that long; whatever somebody made up is not carried from link to link.
        return self.url(**{name: text for name, text in self._cursors if len(text) <= LONGEST_CURSOR})

    def url(self, **changes: Any) -> str:
        """Return the address of this list with `changes` as `query` takes them."""
        text = urlencode(self.query(**changes))
        return f"{self.path}?{text}" if text else self.path


def read(request: HttpRequest, listing: Listing, *, path: str = "", also: frozenset[str] = frozenset()) -> Asked:
    """Read what the address asks of `listing`. `path`: where its links lead, the request's own otherwise; `also`:
    further parameters that the page itself knows.

    Never raises: what is not known becomes a sentence in `notices`.
    """
    query, notices = request.GET, []
    values: dict[str, str] = {}
    choices: dict[str, Choices] = {}
    for one in listing.filters:
        choices[one.name] = one.choices(request) if callable(one.choices) else one.choices
        text = query.get(one.name, "").strip()
        if not text:
            continue
        try:
            values[one.name] = _checked(one, text, choices[one.name])
        except Invalid as error:
            notices.append(f"{error.sentence} The filter was left out.")
    names = RESERVED | also | {one.name for one in listing.filters}
    unknown = [name for name in query if name not in names]
    if unknown:
        notices.append(_left_out(unknown))
    return Asked(
        listing=listing,
        path=path or request.path,
        request=request,
        values=values,
        choices=choices,
        sort=_sort(listing, query.get("sort", ""), notices),
        columns=chosen_columns(listing, query.getlist("columns"), notices),
        size=_size(listing, query.get("size", ""), notices),
        after=query.get("after", ""),
        before=query.get("before", "") if not query.get("after") else "",
        csv=_format(query.get("format", ""), notices),
        notices=notices,
    )


def _short(text: str) -> str:
    plain = "".join(char if char.isprintable() else "?" for char in text[:40])
    return f"“{plain}…”" if len(text) > 40 else f"“{plain}”"


def _left_out(names: list[str]) -> str:
    shown = ", ".join(_short(name) for name in names[:MOST_NAMED])
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return f"The address asks for {shown}{more}, which this list does not know; that was left out."


def _checked(one: Filter, text: str, choices: Choices) -> str:
    if one.kind == "choice":
        if text not in {value for value, _ in choices}:
            raise Invalid(f"{one.label} has no choice {_short(text)}.")
        return text
    if one.kind == "flag":
        if text != "1":
            raise Invalid(f"{one.label} is on with 1, not with {_short(text)}.")
        return text
    if one.kind == "day":
        return _day(one, text)
    return clean_text(text, field=one.label, high=one.length)


def _day(one: Filter, text: str) -> str:
    try:
        day = dt.date.fromisoformat(text)
    except ValueError as error:
        raise Invalid(f"{one.label} is {_short(text)}; write a date as YYYY-MM-DD.") from error
    if not FIRST_YEAR <= day.year <= LAST_YEAR:  # beyond, a zone could push midnight out of the calendar
        raise Invalid(f"{one.label} is {_short(text)}; choose a day from {FIRST_YEAR} to {LAST_YEAR}.")
    return day.isoformat()


def _sort(listing: Listing, text: str, notices: list[str]) -> str:
    if not text:
        return listing.sort
    column = listing.column(text[1:] if text.startswith("-") else text)
    if column is not None and column.sort:
        return text
    default = listing.column(listing.sort.lstrip("-"))
    notices.append(f"The list cannot be sorted by {_short(text)}; it is sorted by {default.label if default else ''}.")
    return listing.sort


def chosen_columns(listing: Listing, texts: Sequence[str], notices: list[str]) -> tuple[str, ...]:
    """Return the columns that an address chooses (names, with or without commas), in the order of the list; those that
    show anyway when it chooses none. What is unknown is said in one sentence in `notices`.
    """
    wanted = [name for text in texts for name in text[:2000].split(",") if name]
    if not wanted:
        return listing.defaults
    unknown = [name for name in wanted if listing.column(name) is None]
    if unknown:
        others = "the others" if len(unknown) < len(wanted) else "the usual ones"
        notices.append(f"There is no column {_short(unknown[0])}; {others} are shown.")
        if len(unknown) == len(wanted):
            return listing.defaults
    return tuple(one.name for one in listing.columns if one.name in wanted or one.fixed)


def _size(listing: Listing, text: str, notices: list[str]) -> int:
    if not text or text in {str(size) for size in SIZES}:
        return int(text or listing.size)
    notices.append(f"A page has {SIZES[0]}, {SIZES[1]} or {SIZES[2]} rows, not {_short(text)}.")
    return listing.size


def _format(text: str, notices: list[str]) -> bool:
    if text and text != "csv":
        notices.append(f"The list comes as a page or as csv (at most {CSV_ROWS:,} rows), not as {_short(text)}.")
    return text == "csv"
