"""The engine of every list page: filters, sort, columns and page size in the address, stable pages by keyset, CSV, and
actions on many rows. It knows no model and no domain word; docs/pages.md says how a list is built.
"""

from portal.listing.asked import Asked, chosen_columns, read
from portal.listing.bulk import (
    MAX_TICKED,
    BulkAction,
    Outcome,
    back_to,
    bulk_bar,
    chosen_action,
    outcome_context,
    outcome_page,
    perform,
    ticked,
)
from portal.listing.export import csv_cell, to_csv
from portal.listing.page import Found, column_menu, find, following
from portal.listing.spec import CSV_ROWS, SIZES, Column, Filter, Listing, known
from portal.listing.stream import csv_response

__all__ = [
    "CSV_ROWS",
    "MAX_TICKED",
    "SIZES",
    "Asked",
    "BulkAction",
    "Column",
    "Filter",
    "Found",
    "Listing",
    "Outcome",
    "back_to",
    "bulk_bar",
    "chosen_action",
    "chosen_columns",
    "column_menu",
    "csv_cell",
    "csv_response",
    "find",
    "following",
    "known",
    "outcome_context",
    "outcome_page",
    "perform",
    "read",
    "ticked",
    "to_csv",
]
