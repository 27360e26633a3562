"""`manage.py catalog load DIR`, `catalog import-odh FILE`, `catalog export`: the catalog as code, and for others."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from approvals.admission import admit
from catalog import loader
from catalog.interchange import exporting, odh
from portal.errors import GatehouseError
from projects.models import User
from projects.principal import Principal

CYCLONEDX = "cyclonedx"  # the ML-BOM of one asset


class Command(BaseCommand):
    """Load assets, versions and hardware profiles from files, and write assets for other programs."""

    help = "Load files into the catalog as drafts, idempotent; or write the catalog for Backstage or Open Data Hub."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the verbs and their arguments."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        for verb, what in (
            ("load", "a directory of YAML documents"),
            ("import-odh", "a model catalog source of Open Data Hub"),
        ):
            one = verbs.add_parser(verb, help=f"load {what} as drafts; idempotent")
            one.add_argument("source", type=Path, help=what)
            one.add_argument("--dry-run", action="store_true", help="print what would change, change nothing")
            one.add_argument("--as", dest="user", help="who loads (an engineer); default: the one of --approve-as")
            one.add_argument(
                "--approve-as", metavar="USER", help="approve the drafts as this person (never in production)"
            )
        export = verbs.add_parser("export", help="write what may be asked for, to standard output or a file")
        export.add_argument("--format", dest="form", choices=(*exporting.FORMATS, CYCLONEDX), required=True)
        export.add_argument("--as", dest="user", help="write what this person sees; default: what is for everyone")
        export.add_argument("--asset", default="", help="only this one")
        export.add_argument("--to", type=Path, help="the file to write")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        """Run the verb."""
        try:
            if verb == "export":
                self._export(options["form"], options["user"], options["asset"], options["to"])
            else:
                self._load(verb, options["source"], options["dry_run"], options["user"], options["approve_as"])
        except GatehouseError as error:
            lines = "\n".join(f"  {item['message']}" for item in error.errors[:50])
            raise CommandError(f"{error.sentence}\n{lines}" if len(error.errors) > 1 else error.sentence) from error

    def _load(self, verb: str, source: Path, dry_run: bool, user: str | None, approve_as: str | None) -> None:
        if approve_as and not settings.EMBEDDED:
            raise CommandError(
                "--approve-as is refused in production: versions are approved by a person in the portal."
            )
        documents, said = (loader.read(source), []) if verb == "load" else self._odh(source)
        for sentence in said:
            self.stdout.write(f"note {sentence}")
        if dry_run:
            self._print(loader.plan(documents))
            return
        loads = self._principal(user or approve_as)
        approves = self._principal(approve_as) if approve_as else None
        approved = 0
        with transaction.atomic():
            loaded = loader.apply(loads, documents)
            if approves:
                reason = f"Loaded from {source.name} with --approve-as"
                approved = sum(admit(approves, version, reason=reason) for version in loaded.versions)
        self._print(loaded.changes)
        if approves:
            self.stdout.write(f"{approved} versions approved as {approve_as}.")

    def _odh(self, source: Path) -> tuple[loader.Documents, list[str]]:
        assets, said = odh.read(source)
        return loader.Documents(assets=assets, files={spec.slug: source.name for spec in assets}), said

    def _export(self, form: str, user: str | None, asset: str, to: Path | None) -> None:
        principal = self._principal(user) if user else Principal(via="command")
        write = exporting.ml_bom(principal, asset) if form == CYCLONEDX else exporting.export(principal, form, asset)
        pieces = list(write)
        if to is None:
            for piece in pieces:
                self.stdout.write(piece, ending="")
            return
        try:
            with to.open("w", encoding="utf-8") as file:
                file.writelines(pieces)
        except OSError as error:
            raise CommandError(f"{to} cannot be written ({error.strerror}).") from error

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
                self.stdout.write(f"{change.action} {change.kind} {change.name} {'; '.join(change.detail)}".rstrip())
        same = sum(change.action == "same" for change in changes)
        self.stdout.write(f"{len(changes) - same} changes, {same} unchanged.")
