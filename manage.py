#!/usr/bin/env python3
"""Django's command-line utility."""

import os
import sys

from portal.env import EnvError


def main() -> None:
    """Run the command; a wrong setting ends with its one sentence instead of a traceback."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except EnvError as error:
        sys.exit(f"gatehouse: {error}")


if __name__ == "__main__":
    main()
