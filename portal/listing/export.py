"""CSV that opens in a spreadsheet without running anything."""

import csv
import datetime as dt
import io
from collections.abc import Iterable, Mapping, Sequence

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def to_csv(rows: Iterable[Mapping[str, object]], columns: Sequence[str]) -> str:
    """Return `rows` as CSV with a header of `columns`; text that a spreadsheet would run as a formula is disarmed."""
    return csv_lines([columns]) + csv_lines([csv_cell(row.get(name)) for name in columns] for row in rows)


def csv_lines(rows: Iterable[Sequence[object]]) -> str:
    """Return `rows` of cells as lines of CSV."""
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


def csv_cell(value: object) -> object:
    """Return `value` for a cell: nothing for None, RFC 3339 for a time, and text disarmed that begins as a formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dt.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value
