"""Requests as code: making the requests of a person be what a directory of files says, as often as one likes.

A file is known by its `metadata.name`. What is sent cannot be changed by a file until a reviewer asks for changes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import transaction

from approvals import interchange, services
from approvals.bodies import parse
from approvals.deciding import slug_of
from approvals.interchange import Manifest
from approvals.models import Request, RequestFile, RequestState
from approvals.representation import with_related
from audit.services import record
from portal.errors import Conflict, GatehouseError, Invalid
from projects.principal import Principal

MOST_FILES = 500
ENDINGS = frozenset({".yaml", ".yml", ".json"})
CLOSED = frozenset({RequestState.REJECTED, RequestState.WITHDRAWN, RequestState.EXPIRED})
CREATED, CHANGED, SENT, UNCHANGED, REFUSED = "created", "changed", "sent", "unchanged", "refused"


@dataclass(frozen=True)
class Applied:
    """What became of one file: a verb of the ones above, with the sentence, and the fields that it changes."""

    file: str
    verb: str
    sentence: str
    number: str = ""
    changes: list[tuple[str, Any, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Source:
    """A file with what it says, or why it says nothing."""

    file: str
    manifest: Manifest | None
    problem: str = ""


def read(directory: Path) -> list[Source]:
    """Return the files of `directory` and below, by path; raises Invalid when there is none, or too many.

    A link that leads out of the directory is not followed.
    """
    root = directory.resolve()
    if not root.is_dir():
        raise Invalid(f"{directory} is not a directory. Give one that holds files with requests.")
    paths = sorted(path for path in root.rglob("*") if path.suffix in ENDINGS and path.is_file())
    if not paths or len(paths) > MOST_FILES:
        raise Invalid(f"{directory} holds {len(paths):,} files that end in .yaml, .yml or .json; 1 to {MOST_FILES} do.")
    return _unique(_source(root, path) for path in paths)


def _source(root: Path, path: Path) -> Source:
    name = path.relative_to(root).as_posix()
    if not path.resolve().is_relative_to(root):
        return Source(name, None, "It is a link that leads out of the directory.")
    try:
        with path.open("rb") as file:
            found = interchange.read(file.read(interchange.MOST_BYTES + 1))
    except OSError as error:
        return Source(name, None, f"It cannot be read: {error.strerror}.")
    except Invalid as error:
        return Source(name, None, error.sentence)
    if not found.name:
        return Source(name, None, "metadata.name is missing: the file is known by it from one run to the next.")
    return Source(name, found)


def _unique(sources: Iterable[Source]) -> list[Source]:
    """Refuse the second file of a name: which one counts would be a guess."""
    first: dict[str, str] = {}
    found = []
    for source in sources:
        name = source.manifest.name if source.manifest else ""
        if name and name in first:
            source = Source(source.file, None, f"metadata.name {name} stands in {first[name]}, too. Change one.")
        elif name:
            first[name] = source.file
        found.append(source)
    return found


def apply(by: Principal, sources: Iterable[Source], *, submit: bool = False, dry_run: bool = False) -> list[Applied]:
    """Make each file's request be what the file says, each in a transaction of its own, and return what was done.

    `submit`: send what is a draft or was sent back and differs; else new ones stay drafts. `dry_run`: do all of it, and
    take it back.
    """
    return [_apply(by, source, submit, dry_run) for source in sources]


def _apply(by: Principal, source: Source, submit: bool, dry_run: bool) -> Applied:
    if source.manifest is None:
        return Applied(source.file, REFUSED, source.problem)
    try:
        with transaction.atomic():
            done = _one(by, source.file, source.manifest, submit and not source.manifest.draft)
            if dry_run:
                transaction.set_rollback(True)
    except GatehouseError as error:
        said = [text for text in error.fields.values() if text != error.sentence]
        return Applied(source.file, REFUSED, " ".join([error.sentence, *said]))
    number = "" if dry_run and done.verb == CREATED else done.number
    return Applied(done.file, done.verb, done.sentence, number, done.changes)


def _one(by: Principal, file: str, manifest: Manifest, submit: bool) -> Applied:
    current = _known(by, manifest.name)
    if current is None:
        return _create(by, file, manifest, submit)
    if current.state in {*CLOSED, RequestState.SUBMITTED, RequestState.APPROVED} and _says_the_same(current, manifest):
        return Applied(file, UNCHANGED, f"It is {current.get_state_display().lower()}.", current.number)
    changes = interchange.difference(current.body, parse(manifest.body).stored())
    if current.state in CLOSED:
        made = _create(by, file, manifest, submit)
        return Applied(file, CREATED, f"{current} is over; this one differs.", made.number, changes)
    if current.state not in services.CHANGEABLE:
        raise Conflict(_fixed(current, changes))
    if changes:
        services.change(by, current, manifest.body)
    if submit and (changes or current.state == RequestState.DRAFT):
        services.submit(by, current)
        return Applied(file, SENT, "It waits for its review.", current.number, changes)
    waits = "A reviewer asks for changes." if current.state == RequestState.CHANGES_REQUESTED else "It is a draft."
    return Applied(file, CHANGED if changes else UNCHANGED, waits, current.number, changes)


def _known(by: Principal, name: str) -> Request | None:
    rows = with_related(Request.objects.filter(files__person=by.person, files__name=name))
    found: Request | None = rows.first()
    return found


def _create(by: Principal, file: str, manifest: Manifest, submit: bool) -> Applied:
    made = (services.send if submit else services.draft)(by, manifest.body)
    RequestFile.objects.update_or_create(person=by.person, name=manifest.name, defaults={"request": made})
    record(
        "approvals.apply", by=by, obj=made, project=slug_of(made),
        after={"file": manifest.name, "sent": submit},
    )  # fmt: skip
    return Applied(file, CREATED, "It is sent." if submit else "It is a draft.", made.number)


def _says_the_same(current: Request, manifest: Manifest) -> bool:
    """Whether the file says nothing else than what was sent; not judged anew, since its end date may have passed."""
    given: Mapping[str, Any] = manifest.body
    return all(_text(current.body.get(name)) == _text(value) for name, value in given.items())


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(sorted(str(item) for item in value))
    return "" if value is None else str(value).strip()


def _fixed(current: Request, changes: list[tuple[str, Any, Any]]) -> str:
    names = ", ".join(name for name, _, _ in changes) or "it"
    what = "withdraw it, or have a reviewer ask for changes" if current.state == RequestState.SUBMITTED else (
        "ask for a revision, or use another metadata.name"
    )  # fmt: skip
    return f"{current} is {current.get_state_display().lower()}, and the file changes {names}: {what}."
