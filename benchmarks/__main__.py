"""`make bench`: run the benchmarks, all or those named on the command line; print a table and write results.json."""

import importlib
import sys
from pathlib import Path

from benchmarks.results import Result, keep, table
from benchmarks.stores import sqlite, stores

ALONE = ("gateway",)  # modules beside this one with run() -> list[Result]
ON_STORES = (
    "usage",
    "metering",
    "pages",
    "audience",
    "credentials",
    "hashing",
    "policies",
    "queue",
)  # with measure(store) -> list[Result], run in a process of its own per database
# The same on SQLite alone, whose share of the cost is the larger one: it takes minutes.
ON_SQLITE = ("fleet", "gitops", "drift", "rogue")
BENCHES = (*ALONE, *ON_STORES, *ON_SQLITE)


def main(wanted: list[str]) -> int:
    """Run the benchmarks in `wanted`, or all; returns the exit code."""
    unknown = [name for name in wanted if name not in BENCHES]
    if unknown:
        print(f"No benchmark is called {unknown[0]!r}; there are: {', '.join(BENCHES)}.", file=sys.stderr)
        return 2
    found: dict[str, list[Result]] = {}
    for name in wanted or BENCHES:
        print(f"{name} …", flush=True)
        found[name] = _measured(name)
        print(table(found[name]), flush=True)
    if not wanted:
        keep(Path(__file__).parent / "results.json", found)
    return 0


def _measured(name: str) -> list[Result]:
    if name in ON_SQLITE:
        with sqlite() as database:
            return database.measure(name)
    if name in ON_STORES:
        with stores() as databases:
            return [result for database in databases for result in database.measure(name)]
    found: list[Result] = importlib.import_module(f"benchmarks.{name}").run()
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
