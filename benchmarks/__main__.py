"""`make bench`: run the benchmarks, all or those named on the command line; print a table and write results.json."""

import importlib
import sys
from pathlib import Path

from benchmarks.results import Result, keep, table

BENCHES = ("gateway",)  # modules beside this one with run() -> list[Result]


def main(wanted: list[str]) -> int:
    """Run the benchmarks in `wanted`, or all; returns the exit code."""
    unknown = [name for name in wanted if name not in BENCHES]
    if unknown:
        print(f"No benchmark is called {unknown[0]!r}; there are: {', '.join(BENCHES)}.", file=sys.stderr)
        return 2
    found: dict[str, list[Result]] = {}
    for name in wanted or BENCHES:
        print(f"{name} …", flush=True)
        found[name] = importlib.import_module(f"benchmarks.{name}").run()
        print(table(found[name]), flush=True)
    if not wanted:
        keep(Path(__file__).parent / "results.json", found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
