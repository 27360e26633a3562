"""`manage.py policies check DIR`, `show`, `export DIR`, `publish DIR`: rules as code, for people and machines."""

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from approvals.policies import publishing
from approvals.policies.active import active
from approvals.policies.bundle import Bundle, TestResult, files_of, read, run_tests
from portal.errors import GatehouseError, Invalid
from projects.models import User
from projects.principal import Principal

FAILED = 1


class Command(BaseCommand):
    """Check a bundle before it is published; show and write the one that counts."""

    help = "Check the files of a policy bundle and run their tests; show or export the bundle that counts."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the verbs and their arguments."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        check = verbs.add_parser("check", help="read a directory, run its tests; ends with 1 when anything is wrong")
        check.add_argument("directory", type=Path)
        check.add_argument("--json", action="store_true", help="for a pipeline")
        show = verbs.add_parser("show", help="list what counts now")
        show.add_argument("--json", action="store_true", help="for a pipeline")
        export = verbs.add_parser("export", help="write the files that count now into a new or empty directory")
        export.add_argument("directory", type=Path)
        publish = verbs.add_parser("publish", help="let a directory count from now on")
        publish.add_argument("directory", type=Path)
        publish.add_argument("--as", dest="user", required=True, help="the governance lead who answers for it")
        publish.add_argument("--reason", required=True, help="kept in the record; people read it")
        publish.add_argument("--base", default="", help="digest of the bundle that must count now")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        """Run the verb."""
        try:
            if verb == "check":
                self._check(options["directory"], options["json"])
            elif verb == "show":
                self._show(options["json"])
            elif verb == "publish":
                self._publish(options["directory"], options["user"], options["reason"], options["base"])
            else:
                self._export(options["directory"])
        except GatehouseError as error:
            lines = "\n".join(f"  {sentence}" for sentence in error.fields.values())
            raise CommandError(f"{error.sentence}\n{lines}" if len(error.fields) > 1 else error.sentence) from error

    def _check(self, directory: Path, as_json: bool) -> None:
        try:
            bundle = read(files_of(directory))
        except Invalid as error:
            self._problems(error, as_json)
            raise CommandError(f"{directory} is no bundle that can be published.", returncode=FAILED) from error
        results = run_tests(bundle)
        red = [result for result in results if not result.passed]
        if as_json:
            self.stdout.write(json.dumps(_report(bundle, results), indent=2, ensure_ascii=False))
        else:
            for result in red:
                why = f" ({result.why})" if result.why else ""
                self.stdout.write(
                    f"{result.path}: test {result.name!r} expects {result.expect} and gets {result.got}{why}"
                )
            self.stdout.write(f"{_counts(bundle)}; {len(results) - len(red)} of {len(results)} tests pass.")
            self.stdout.write(bundle.digest)
        if red:
            raise CommandError(f"{len(red)} of {len(results)} tests fail.", returncode=FAILED)

    def _problems(self, error: Invalid, as_json: bool) -> None:
        found = error.fields or {"": error.sentence}
        if as_json:
            problems = [{"where": where, "problem": sentence} for where, sentence in found.items()]
            self.stdout.write(json.dumps({"ok": False, "problems": problems}, indent=2, ensure_ascii=False))
            return
        for sentence in found.values():
            self.stdout.write(sentence)

    def _show(self, as_json: bool) -> None:
        now = active()
        bundle = now.bundle
        if as_json:
            about = {
                **now.json(),
                "rules": [
                    {"id": one.id, "title": one.title, "severity": one.severity, "applies_to": one.applies_to,
                     "kinds": list(one.kinds), "controls": one.controls, "path": one.path}
                    for one in bundle.rules
                ],
                "stages": [{"id": one.id, "name": one.name, "roles": list(one.roles), "count": one.count}
                           for one in bundle.stages],
                "envelopes": [{"id": one.id, "title": one.title, "kinds": list(one.kinds)} for one in bundle.envelopes],
            }  # fmt: skip
            self.stdout.write(json.dumps(about, indent=2, ensure_ascii=False))
            return
        self.stdout.write(f"{bundle.name}, version {now.version}: {_counts(bundle)}.")
        self.stdout.write(bundle.digest)
        for rule in bundle.rules:
            self.stdout.write(f"{rule.severity:5} {rule.applies_to:8} {rule.id:12} {rule.title}")
        for stage in bundle.stages or (bundle.default_stage,):
            self.stdout.write(f"stage {stage.id:12} {stage.count} of {', '.join(stage.roles)}: {stage.name}")
        for envelope in bundle.envelopes:
            self.stdout.write(f"envelope {envelope.id:12} {envelope.title}")

    def _publish(self, directory: Path, username: str, reason: str, base: str) -> None:
        user = User.objects.filter(username=username, is_active=True).first()
        if user is None:
            raise CommandError(f"There is no active user {username}.")
        by = Principal.of(user, via="command")
        made = publishing.publish(by, files_of(directory), reason=reason, expected=base)
        self.stdout.write(f"Version {made.version} counts from now on.")
        self.stdout.write(made.bundle.digest)

    def _export(self, directory: Path) -> None:
        files = active().bundle.files
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if any(directory.iterdir()):
                raise CommandError(f"{directory} is not empty. Give a new directory, so that nothing is overwritten.")
            for path, text in files.items():
                (directory / path).parent.mkdir(parents=True, exist_ok=True)
                (directory / path).write_bytes(text.encode())
        except OSError as error:
            raise CommandError(f"{directory} cannot be written ({error.strerror}).") from error
        self.stdout.write(f"{len(files)} files in {directory}.")


def _counts(bundle: Bundle) -> str:
    parts = ((len(bundle.rules), "rule"), (len(bundle.stages), "stage"), (len(bundle.envelopes), "envelope"))
    return ", ".join(f"{number} {word}{'' if number == 1 else 's'}" for number, word in parts)


def _report(bundle: Bundle, results: Sequence[TestResult]) -> dict[str, Any]:
    red = [result.json() for result in results if not result.passed]
    return {
        "ok": not red,
        "name": bundle.name,
        "digest": bundle.digest,
        "rules": len(bundle.rules),
        "stages": len(bundle.stages),
        "envelopes": len(bundle.envelopes),
        "tests": len(results),
        "failed": red,
        "problems": [],
    }
