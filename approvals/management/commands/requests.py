"""`manage.py requests apply DIR --as USER`: requests as code, for a pipeline that follows a repository."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from approvals import applying
from portal.errors import GatehouseError
from projects.models import User
from projects.principal import Principal


class Command(BaseCommand):
    """Make the requests of a person be what a directory of files says."""

    help = "Make a person's requests be what a directory of files says; idempotent."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the verb and its arguments."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        apply = verbs.add_parser("apply", help="make drafts of the files, or change those that are there; idempotent")
        apply.add_argument("source", type=Path, metavar="DIR", help="a directory of YAML files, one request each")
        apply.add_argument("--as", dest="user", required=True, help="the person, or service account, who asks")
        apply.add_argument("--submit", action="store_true", help="send them, too")
        apply.add_argument("--dry-run", action="store_true", help="print what would be done, change nothing")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        """Apply the files and print a line for each, with the fields that change below it."""
        user = User.objects.filter(username=options["user"], is_active=True).first()
        if user is None:
            raise CommandError(f"There is no active user {options['user'][:60]!r}.")
        try:
            sources = applying.read(options["source"])
        except GatehouseError as error:
            raise CommandError(error.sentence) from error
        by = Principal.of(user, via="command")
        done = applying.apply(by, sources, submit=options["submit"], dry_run=options["dry_run"])
        would = "would be " if options["dry_run"] else ""
        for one in done:
            prefix = "" if one.verb in {applying.REFUSED, applying.UNCHANGED} else would
            number = f" {one.number}" if one.number else ""
            self.stdout.write(f"{prefix}{one.verb}{number} {one.file}: {one.sentence}")
            for name, before, after in one.changes:
                self.stdout.write(f"  {name}: {_said(before)} → {_said(after)}")
        refused = [one for one in done if one.verb == applying.REFUSED]
        if refused:
            raise CommandError(f"{len(refused)} of {len(done)} files were refused; the others are done.")


def _said(value: Any) -> str:
    return "nothing" if value is None else str(value)[:200]
