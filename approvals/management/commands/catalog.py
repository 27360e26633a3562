"""`manage.py catalog load DIR [--dry-run] [--approve-as USER]`: the catalog as code."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from approvals.admission import admit
from catalog import loader
from portal.errors import GatehouseError
from projects.models import User
from projects.principal import Principal


class Command(BaseCommand):
    """Load assets, versions and hardware profiles from files."""

    help = "Load a directory of YAML documents into the catalog as drafts; idempotent."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("verb", choices=["load"])
        parser.add_argument("directory", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="print what would change, change nothing")
        parser.add_argument(
            "--as", dest="user", help="who loads (a platform engineer); default: the one of --approve-as"
        )
        parser.add_argument(
            "--approve-as", metavar="USER", help="approve the drafts as this person (never in production)"
        )

    def handle(
        self, *args: Any, directory: Path, dry_run: bool, user: str | None, approve_as: str | None, **options: Any
    ) -> None:
        """Run the verb."""
        if approve_as and not settings.EMBEDDED:
            raise CommandError(
                "--approve-as is refused in production: versions are approved by a person in the portal."
            )
        try:
            if dry_run:
                self._print(loader.plan(directory))
                return
            loads = self._principal(user or approve_as)
            approves = self._principal(approve_as) if approve_as else None
            with transaction.atomic():
                loaded = loader.apply(loads, directory)
                if approves:
                    reason = f"Loaded from {directory.name} with --approve-as"
                    approved = sum(admit(approves, version, reason=reason) for version in loaded.versions)
        except GatehouseError as error:
            lines = "\n".join(f"  {item['message']}" for item in error.errors[:50])
            raise CommandError(f"{error.sentence}\n{lines}" if len(error.errors) > 1 else error.sentence) from error
        self._print(loaded.changes)
        if approves:
            self.stdout.write(f"{approved} versions approved as {approve_as}.")

    def _principal(self, username: str | None) -> Principal:
        found = User.objects.filter(username=username, is_active=True).first() if username else None
        if found is None:
            raise CommandError(
                f"There is no user {username}." if username else "Name who loads: --as USER or --approve-as USER."
            )
        return Principal.of(found, via="command")

    def _print(self, changes: list[loader.Change]) -> None:
        for change in changes:
            if change.action != "same":
                self.stdout.write(f"{change.action} {change.kind} {change.name} {' '.join(change.detail)}".rstrip())
        same = sum(change.action == "same" for change in changes)
        self.stdout.write(f"{len(changes) - same} changes, {same} unchanged.")
