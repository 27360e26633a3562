"""A bundle: the files of a directory, read with bounds, under one digest."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from approvals.policies import engine
from approvals.policies.rules import Envelope, Rule, StageRule, Test
from portal.errors import Invalid
from portal.http import digest as digest_of

MAX_FILES, MAX_FILE, MAX_BUNDLE = 300, 64 * 1024, 2 * 1024 * 1024
DEFAULT_STAGE = StageRule(
    id="default", name="Review", when="true", reason="Every request is decided by somebody.",
    roles=("platform-engineers", "governance-leads"),
)  # fmt: skip


@dataclass(frozen=True)
class Bundle:
    """Rules, stages and envelopes of one set of files. `version` is set by publishing."""

    name: str
    digest: str
    files: Mapping[str, str]
    rules: tuple[Rule, ...] = ()
    stages: tuple[StageRule, ...] = ()
    envelopes: tuple[Envelope, ...] = ()
    programs: dict[str, Any] = field(default_factory=dict, compare=False)
    default_stage: StageRule = DEFAULT_STAGE

    def program(self, text: str) -> Any:
        """Return the compiled form of one of its expressions, compiled once; raises ExpressionError."""
        if text not in self.programs:
            self.programs[text] = engine.compile_(text)
        return self.programs[text]


def files_of(directory: Path) -> dict[str, str]:
    """Return the YAML files of a directory as {path: text}; raises Invalid for what a bundle may not hold."""
    if not directory.is_dir():
        raise Invalid.field("directory", f"{directory} is not a directory. Give the directory of the bundle.")
    found: dict[str, str] = {}
    for path in sorted(directory.rglob("*")):
        if path.suffix not in {".yaml", ".yml"}:
            continue
        name = path.relative_to(directory).as_posix()
        if path.is_symlink() or not path.is_file():
            raise Invalid.field(name, f"{name} is not a plain file. Put the file itself there.")
        if path.stat().st_size > MAX_FILE:
            raise Invalid.field(name, f"{name} has {path.stat().st_size:,} bytes; the limit is {MAX_FILE:,}. Split it.")
        found[name] = path.read_text(encoding="utf-8")
    return found


def read(files: Mapping[str, str]) -> Bundle:
    """Return the bundle in `files`; raises Invalid naming each file and field that is wrong."""
    problems: dict[str, str] = {}
    rules: list[Rule] = []
    stages: list[StageRule] = []
    envelopes: list[Envelope] = []
    for path in sorted(files):
        data = yaml.safe_load(files[path])
        if path.startswith("rules/"):
            rules.append(_rule(path, data))
        elif path.startswith("stages/"):
            stages.append(_stage(path, data))
        elif path.startswith("envelopes/"):
            envelopes.append(_envelope(path, data, files[path]))
    if problems:
        raise Invalid(next(iter(problems.values())), fields=problems)
    name = (yaml.safe_load(files.get("bundle.yaml", "{}")) or {}).get("name", "bundle")
    return Bundle(name, digest_of(dict(files)), dict(files), tuple(rules), tuple(stages), tuple(envelopes))


def _tests(data: Iterable[Mapping[str, Any]]) -> tuple[Test, ...]:
    return tuple(Test(one["name"], dict(one.get("given") or {}), str(one["expect"])) for one in data or ())


def _rule(path: str, data: Mapping[str, Any]) -> Rule:
    known = {name: data[name] for name in data if name not in {"tests", "kinds"}}
    return Rule(**known, kinds=tuple(data.get("kinds") or ()), tests=_tests(data.get("tests") or ()), path=path)


def _stage(path: str, data: Mapping[str, Any]) -> StageRule:
    known = {name: data[name] for name in data if name not in {"tests", "roles", "escalate_to"}}
    roles, escalate = tuple(data["roles"]), tuple(data.get("escalate_to") or ())
    return StageRule(**known, roles=roles, escalate_to=escalate, tests=_tests(data.get("tests") or ()), path=path)


def _envelope(path: str, data: Mapping[str, Any], text: str) -> Envelope:
    known = {name: data[name] for name in data if name not in {"tests", "kinds"}}
    kinds = tuple(data.get("kinds") or ("endpoint",))
    mark = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return Envelope(**known, kinds=kinds, digest=mark, tests=_tests(data.get("tests") or ()), path=path)
