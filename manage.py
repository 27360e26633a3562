#!/usr/bin/env python3
"""Django's command-line utility."""

import os
import sys

from portal.env import EnvError


def main() -> None:
    """Run the command; a wrong setting or an empty database ends with one sentence instead of a traceback."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    from django.core.management import execute_from_command_line
    from django.db.utils import OperationalError, ProgrammingError

    try:
        execute_from_command_line(sys.argv)
    except EnvError as error:
        sys.exit(f"gatehouse: {error}")
    except (OperationalError, ProgrammingError) as error:
        if "no such table" not in str(error) and "does not exist" not in str(error):
            raise
        sys.exit(
            "gatehouse: This database has no tables yet. Start the portal once with `make run`, or run "
            "`./manage.py migrate`; check DATABASE_URL and GATEHOUSE_STATE_DIR if it should have some."
        )


if __name__ == "__main__":
    main()
