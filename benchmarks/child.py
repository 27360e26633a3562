"""One benchmark on one database, in a process of its own: `python -m benchmarks.child usage SQLite`.

The last line on the standard output is the JSON of its results.
"""

import importlib
import json
import os
import sys
from dataclasses import asdict

import django


def main(bench: str, store: str) -> None:
    """Measure and print."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    results = importlib.import_module(f"benchmarks.{bench}").measure(store)
    print(json.dumps([asdict(result) for result in results]))


if __name__ == "__main__":
    main(*sys.argv[1:])
