"""Reads the settings and stops with one sentence when a value is wrong: `python -m portal.launcher.preflight`.

A process of its own, because settings pull in parts of Django that the launcher does not want to keep in memory.
"""

import importlib
import sys

from portal.env import EnvError


def main() -> None:
    """Import the settings; exit 1 with the sentence of a wrong variable."""
    try:
        importlib.import_module("portal.settings")
    except EnvError as error:
        sys.exit(f"gatehouse: {error}")


if __name__ == "__main__":
    main()
