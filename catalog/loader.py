"""Catalog as code: a directory of YAML documents, one asset a file, and hardware-profiles.yaml.

The files come from people and pipelines, so they are read with suspicion: safe tags only, no anchors or aliases (the
"billion laughs" need them), bounded size, depth and number, and nothing outside the directory.
"""

import os
import stat
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from django.conf import settings
from django.db import transaction
from pydantic import ValidationError

from catalog import services
from catalog.holders import HOLDERS, holding
from catalog.models import CARD_FIELDS, Asset, HardwareProfile, Version
from catalog.specs import AssetSpec, Profiles, ProfileSpec, VersionSpec, fingerprint
from portal.errors import Invalid
from portal.http import digest, field_errors
from projects.permissions import require_anywhere
from projects.principal import Principal

FILE_BYTES = 1_000_000
FILES = 1000
DEPTH = 20
PROFILES_FILE = "hardware-profiles.yaml"
SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Change:
    """What loading does, or would do, to one thing."""

    kind: str  # asset | grant | version | hardware-profile
    name: str
    action: str  # create | change | same
    detail: tuple[str, ...] = ()  # "field: before → after"


@dataclass
class Documents:
    """The documents of a directory, validated."""

    assets: list[AssetSpec] = field(default_factory=list)
    profiles: list[ProfileSpec] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)  # slug of an asset → the file that describes it


@dataclass(frozen=True)
class Loaded:
    """What was done, and the versions that the documents name as they stand now."""

    changes: list[Change]
    versions: list[Version]


class _Loader(yaml.SafeLoader):
    """The safe loader without aliases, without duplicate keys, and with bounded depth."""

    depth = 0

    def compose_node(self, parent: yaml.nodes.Node | None, index: int) -> yaml.nodes.Node | None:
        """Refuse aliases, and nesting deeper than any document of the catalog."""
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("anchors and aliases (& and *) are not allowed. Write the value out")
        self.depth += 1
        if self.depth > DEPTH:
            raise yaml.YAMLError(f"it nests deeper than {DEPTH} levels. Flatten it")
        node: yaml.nodes.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.nodes.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a key that stands twice: which one counts would be a guess."""
        keys = [item.value for item, _ in node.value if isinstance(item, yaml.nodes.ScalarNode)]
        twice = {key for key in keys if keys.count(key) > 1} if len(keys) <= 1000 else {"more than 1,000 keys"}
        if twice:
            raise yaml.YAMLError(f"the key {sorted(twice)[0]!r} stands twice. Keep one")
        return super().construct_mapping(node, deep=deep)


def read(directory: Path) -> Documents:
    """Return the validated documents of `directory`, its subdirectories included.

    Raises Invalid with one sentence per finding, each naming the file, the field, the limit and the fix.
    """
    root = directory.resolve()
    if not root.is_dir():
        raise Invalid.field(
            "directory", f"{directory} is not a directory. Name the directory that holds the YAML files."
        )
    found, problems = Documents(), dict[str, str]()
    for path in _files(root):
        name = path.relative_to(root).as_posix()
        try:
            _parse(path, name, found)
        except Invalid as error:
            problems.update({f"{name}: {where}": f"{name}: {text}" for where, text in error.fields.items()})
    for what, names in (
        ("asset", [item.slug for item in found.assets]),
        ("profile", [item.slug for item in found.profiles]),
    ):
        for slug in sorted({item for item in names if names.count(item) > 1}):
            problems[slug] = f"The {what} {slug} is described twice. Keep one document."
    if problems:
        raise _invalid(problems)
    return found


def plan(source: Path | Documents) -> list[Change]:
    """Return what `apply` would do, without doing it. Raises Invalid as `read` does, and for versions that would
    change.
    """
    return _changes(source if isinstance(source, Documents) else read(source))


def apply(by: Principal, source: Path | Documents) -> Loaded:
    """Load the documents, or those of a directory, in one transaction: assets with their new versions as drafts, and
    hardware profiles.

    Idempotent. Raises Invalid as `plan` does, and Forbidden when `by` may not write what changes.
    """
    documents = source if isinstance(source, Documents) else read(source)
    with transaction.atomic():
        if documents.assets:  # a person proposes one by one; a directory is the stewards'
            require_anywhere(by, "create", Asset)
        changes = _changes(documents)
        for spec in documents.profiles:
            services.save_profile(by, spec)
        for asset in documents.assets:
            services.load_asset(by, asset)
        wanted = {(asset.slug, item.version) for asset in documents.assets for item in asset.versions}
        versions = Version.objects.filter(asset__slug__in=[slug for slug, _ in wanted]).select_related("asset")
    return Loaded(changes, [row for row in versions.order_by("pk") if (row.asset.slug, row.version) in wanted])


def _invalid(problems: dict[str, str]) -> Invalid:
    first = next(iter(problems.values()))
    more = f" And {len(problems) - 1} more." if len(problems) > 1 else ""
    return Invalid(first + more, fields=problems)


def _files(root: Path) -> Iterator[Path]:
    count = 0
    for folder, folders, names in os.walk(root):  # does not follow symbolic links to directories
        folders.sort()
        for name in sorted(names):
            if not name.endswith(SUFFIXES):
                continue
            count += 1
            if count > FILES:
                raise Invalid.field("directory", f"The directory holds more than {FILES:,} YAML files. Split it.")
            yield Path(folder, name)


def _parse(path: Path, name: str, found: Documents) -> None:
    """Read one file into `found`; raises Invalid with sentences that do not name the file yet."""
    text = read_file(path)
    document = parse(text)
    if not isinstance(document, dict):
        raise Invalid.field("file", "it holds no fields. Write it as a mapping of field: value.")
    try:
        if path.name == PROFILES_FILE:
            found.profiles += Profiles.model_validate(document).profiles
        else:
            found.assets.append(AssetSpec.model_validate(document))
            found.files.setdefault(found.assets[-1].slug, name)
    except ValidationError as error:
        raise _placed(text, error) from error


def _placed(text: str, error: ValidationError) -> Invalid:
    """Return what is wrong with a document, each sentence with the line of `text` that it is about."""
    root, fields = yaml.compose(text, Loader=_Loader), dict[str, str]()
    for detail in error.errors(include_url=False):
        for name, sentence in field_errors([detail]).fields.items():
            fields.setdefault(name, f"line {_line_of(root, detail['loc'])}: {sentence}")
    return Invalid(next(iter(fields.values())), fields=fields)


def _line_of(node: yaml.nodes.Node | None, place: Sequence[int | str]) -> int:
    """Return the line of the deepest part of `place` that the document holds, from 1 on."""
    line = 1
    for step in place:
        if isinstance(node, yaml.nodes.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        elif isinstance(node, yaml.nodes.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(step)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
    return line


def read_file(path: Path, *, most: int = FILE_BYTES) -> str:
    """Return the text of a regular file of at most `most` bytes. Raises Invalid `file`."""
    try:
        if path.is_symlink():
            raise Invalid.field("file", "it is a symbolic link. Put the file itself into the directory.")
        # O_NOFOLLOW: the link may have come after the look; O_NONBLOCK: opening a pipe must not hang.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Invalid.field("file", "it is not a regular file. Remove it from the directory.")
            raw = file.read(most + 1)
    except OSError as error:
        raise Invalid.field("file", f"it cannot be read ({error.strerror}).") from error
    if len(raw) > most:
        raise Invalid.field("file", f"it is larger than {most:,} bytes. Split or shorten it.")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Invalid.field("file", "it is not UTF-8 text. Save it as UTF-8.") from error


def parse(text: str) -> Any:
    """Return the YAML document in `text`; raises Invalid `file` for what is none, and for what this module refuses."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise Invalid.field("file", f"it is not valid YAML{line}: {error.problem or error.context}.") from error
    except yaml.YAMLError as error:
        raise Invalid.field("file", f"{str(error).splitlines()[0][:200]}.") from error
    except (
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
    ) as error:  # dates like 2026-99-99, numbers of 10,000 digits
        raise Invalid.field("file", f"it holds a value that cannot be read: {str(error)[:120]}.") from error


# --- What would change ------------------------------------------------------------------------------------------------


def _changes(documents: Documents) -> list[Change]:
    slugs = [spec.slug for spec in documents.assets]
    assets = {row.slug: row for row in Asset.objects.filter(slug__in=slugs).prefetch_related("versions")}
    profiles = {
        row.slug: row for row in HardwareProfile.objects.filter(slug__in=[spec.slug for spec in documents.profiles])
    }
    problems: dict[str, str] = {}
    changes = [_profile_change(spec, profiles.get(spec.slug)) for spec in documents.profiles]
    for spec in documents.assets:
        asset = assets.get(spec.slug)
        if asset is not None and asset.kind != spec.kind:
            problems[spec.slug] = (
                f"{spec.slug} is a {asset.kind} and cannot become a {spec.kind}. Give it another slug."
            )
        changes += [_asset_change(spec, asset), *_grant_changes(spec, problems)]
        digests = {row.version: row.digest for row in asset.versions.all()} if asset else {}
        for item in spec.versions:
            change = _version_change(spec.slug, item, digests)
            if change is None:
                problems[f"{spec.slug}@{item.version}"] = (
                    f"Version {item.version} of {spec.slug} is loaded with other content, and versions never change. "
                    "Give the new content another version name."
                )
            else:
                changes.append(change)
    if problems:
        files = {key: documents.files.get(key.partition("@")[0].partition(":")[0], "") for key in problems}
        raise _invalid({key: f"{files[key]}: {text}" if files[key] else text for key, text in problems.items()})
    return changes


def _difference(before: object, after: object) -> str:
    """Return "before → after", long values shortened to the neighbourhood of their first difference."""
    texts = (repr(before), repr(after))
    same = len(os.path.commonprefix(texts))  # noqa: RUF071 - character by character is what is meant
    start = same - 20 if same > 40 else 0
    return " → ".join(
        f"{'…' if start else ''}{text[start : start + 60]}{'…' * (len(text) > start + 60)}" for text in texts
    )


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:59]}…"


def _compare(kind: str, name: str, row: Any, wanted: dict[str, Any]) -> Change:
    if row is None:
        return Change(kind, name, "create", tuple(f"{key}: {_short(value)}" for key, value in wanted.items() if value))
    differing = {key: value for key, value in wanted.items() if getattr(row, key) != value}
    detail = tuple(f"{key}: {_difference(getattr(row, key), value)}" for key, value in differing.items())
    return Change(kind, name, "change" if detail else "same", detail)


def _asset_change(spec: AssetSpec, asset: Asset | None) -> Change:
    wanted = {key: getattr(spec, key) for key in CARD_FIELDS}
    return _compare("asset", spec.slug, asset, wanted if spec.access is None else wanted | {"access": spec.access})


def _grant_changes(spec: AssetSpec, problems: dict[str, str]) -> list[Change]:
    """Return the grants that the document gives or that are there; adds to `problems` whom nobody knows."""
    changes = []
    for kind, names in (("project", spec.projects), ("group", spec.groups)):
        present = holding(spec.slug, kind) if names else set()
        for name in dict.fromkeys(names):
            if HOLDERS[kind].find(name) is None:
                problems[f"{spec.slug}: {kind} {name}"] = (
                    f"{spec.slug} is to be granted to the {kind} {name!r}, which does not exist. {HOLDERS[kind].fix}"
                )
            changes.append(Change("grant", f"{spec.slug} for {kind} {name}", "same" if name in present else "create"))
    return changes


def _profile_change(spec: ProfileSpec, profile: HardwareProfile | None) -> Change:
    wanted = spec.model_dump(exclude={"slug"})
    wanted["currency"] = wanted["currency"] or settings.CURRENCY
    return _compare("hardware-profile", spec.slug, profile, wanted)


def _version_change(slug: str, spec: VersionSpec, digests: dict[str, str]) -> Change | None:
    """Return the change, or None when the version is loaded with other content."""
    name = f"{slug}@{spec.version}"
    if spec.version not in digests:
        return Change("version", name, "create", (f"source: {spec.source}", f"licence: {spec.licence}"))
    return Change("version", name, "same") if digests[spec.version] == digest(fingerprint(slug, spec)) else None
