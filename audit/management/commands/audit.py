"""`manage.py audit verify [FILE]` and `manage.py audit export FILE`."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit import services


def _read(path: Path) -> Iterator[dict[str, object]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
            except ValueError as error:
                raise CommandError(f"{path}, line {number}: not JSON.") from error
            if not isinstance(entry, dict):
                raise CommandError(f"{path}, line {number}: not an audit entry.")
            yield entry


class Command(BaseCommand):
    """Verify or export the audit chain."""

    help = (
        "verify [FILE]: check the chain in the database or in an export (exit 1 and the first broken row); export FILE"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("verb", choices=["verify", "export"])
        parser.add_argument("file", nargs="?", type=Path)

    def handle(self, *args: Any, verb: str, file: Path | None, **options: Any) -> None:
        """Run the verb."""
        if verb == "export":
            if file is None:
                raise CommandError("Name the file to write, for example: manage.py audit export audit.jsonl")
            services.seal()
            with file.open("w", encoding="utf-8") as out:
                for entry in services.export():
                    out.write(json.dumps(entry, sort_keys=True, ensure_ascii=False) + "\n")
            self.stdout.write(f"Written: {file}")
            return
        if file is not None and not file.is_file():
            raise CommandError(f"There is no file {file}.")
        verdict = services.verify(_read(file)) if file else services.verify_database()
        if verdict.broken_row is not None:
            self.stderr.write(
                f"Broken at audit row {verdict.broken_row}: {verdict.why}. {verdict.rows} rows before it hold."
            )
            sys.exit(1)
        waiting = f"; {verdict.unsealed} not sealed yet" if verdict.unsealed else ""
        self.stdout.write(f"The chain holds: {verdict.rows} rows{waiting}.")
