"""`manage.py create_token USER --scope S [--scope S] [--project P] [--ttl 1h]`: the token is the last line."""

import datetime as dt
import re
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal.errors import GatehouseError
from projects import tokens
from projects.models import Project, User

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def duration(text: str) -> dt.timedelta:
    """Return "90s", "30m", "1h" or "7d" as a timedelta; raises CommandError otherwise."""
    match = re.fullmatch(r"([1-9][0-9]{0,7})([smhd])", text)
    if match is None:
        raise CommandError(f"--ttl is {text!r}; write a number and a unit, for example 30m, 1h or 7d.")
    return dt.timedelta(seconds=int(match[1]) * UNITS[match[2]])


class Command(BaseCommand):
    """Mint an API token on the host."""

    help = "Print an API token for a person or service account on the last line."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("user")
        parser.add_argument("--scope", action="append", required=True, dest="scopes", metavar="S")
        parser.add_argument("--project", metavar="P", help="bind the token to this project")
        parser.add_argument("--ttl", default="1h", help="how long it lives: 30m, 1h, 7d (default 1h)")

    def handle(self, *args: Any, user: str, scopes: list[str], project: str | None, ttl: str, **options: Any) -> None:
        """Create the token."""
        person = User.objects.filter(username=user).first()
        if person is None:
            raise CommandError(f"There is no user {user}.")
        bound = Project.objects.filter(slug=project).first() if project else None
        if project and bound is None:
            raise CommandError(f"There is no project {project}.")
        try:
            secret = tokens.create(person, scopes=scopes, project=bound, ttl=duration(ttl))
        except GatehouseError as error:
            raise CommandError(error.sentence) from error
        self.stderr.write(f"Token for {user}, scopes {' '.join(sorted(set(scopes)))}, for {ttl}. It is shown once:")
        self.stdout.write(secret)
