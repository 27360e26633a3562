"""A bundle: the files of a directory, read with bounds and suspicion, under one digest; and its own tests."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from approvals.policies import judging, linting, sample
from approvals.policies.reading import PATH, PLACES, EnvelopeFile, HeadFile, RuleFile, StageFile, shaped
from approvals.policies.rules import DEFAULT_STAGE, Bundle, Envelope, Rule, StageRule, Test, TestResult
from portal.errors import Invalid
from portal.http import digest as digest_of

MAX_FILES, MAX_FILE, MAX_BUNDLE = 300, 64 * 1024, 2 * 1024 * 1024
HEAD = "bundle.yaml"
MOST_PROBLEMS = 200

__all__ = ["DEFAULT_STAGE", "MAX_BUNDLE", "MAX_FILE", "MAX_FILES", "Bundle", "TestResult", "files_of", "read",
           "run_tests"]  # fmt: skip


class Problems:
    """What is wrong with a bundle, in the order of its files: {"path: field": sentence}."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def say(self, path: str, field: str, sentence: str) -> None:
        """Note one; the first sentence about a field stays."""
        if len(self.found) < MOST_PROBLEMS:
            self.found.setdefault(f"{path}: {field}" if field else path, f"{path}: {sentence}")

    def raise_any(self) -> None:
        """Raise Invalid with all of them, if there are any."""
        if self.found:
            first, more = next(iter(self.found.values())), len(self.found) - 1
            raise Invalid(f"{first} ({more} more in errors.)" if more else first, fields=self.found)


def files_of(directory: Path) -> dict[str, str]:
    """Return the YAML files of a directory as {path: text}; raises Invalid naming each that a bundle may not hold."""
    if not directory.is_dir():
        raise Invalid.field("directory", f"{directory} is not a directory. Give the directory of the bundle.")
    problems, found = Problems(), dict[str, str]()
    paths = sorted(path for path in directory.rglob("*") if path.suffix in {".yaml", ".yml"})
    if len(paths) > MAX_FILES:
        raise Invalid.field("directory", f"{directory} has {len(paths):,} files; the limit is {MAX_FILES}.")
    for path in paths:
        name = path.relative_to(directory).as_posix()
        linked = any(part.is_symlink() for part in (path, *path.parents) if directory in part.parents)
        if linked or not path.is_file():
            problems.say(name, "", "it is not a plain file: a link or a device. Put the file itself there.")
        elif path.stat().st_size > MAX_FILE:
            problems.say(name, "", f"it has {path.stat().st_size:,} bytes; the limit is {MAX_FILE:,}. Split it.")
        else:
            try:
                found[name] = path.read_bytes().decode("utf-8")
            except (UnicodeDecodeError, OSError) as error:
                problems.say(name, "", f"it is not readable as UTF-8 ({type(error).__name__}). Save it as UTF-8.")
    problems.raise_any()
    return found


def read(files: Mapping[str, str], *, checked: bool = True) -> Bundle:
    """Return the bundle in `files`; raises Invalid naming everything that is wrong, by file and field.

    `checked` False: of a bundle that was published once only the shape is read. An expression that compiles no more
    then fails where it is evaluated.
    """
    problems = Problems()
    if _too_much(files, problems):
        problems.raise_any()
    head, found = HeadFile(name="bundle"), list[tuple[str, Any]]()
    for path in sorted(files):
        if not _readable(path, files[path], problems):
            continue
        shape = shaped(path, files[path], lambda field, sentence, path=path: problems.say(path, field, sentence))  # type: ignore[misc]
        if isinstance(shape, HeadFile):
            head = shape
        elif shape is not None:
            found.append((path, shape))
    made = [_made(path, shape, files[path]) for path, shape in found]
    if checked:
        linting.lint(made, files, problems.say)
    problems.raise_any()
    return Bundle(
        head.name,
        digest_of(dict(files)),
        dict(files),
        tuple(one for one in made if isinstance(one, Rule)),
        tuple(one for one in made if isinstance(one, StageRule)),
        tuple(one for one in made if isinstance(one, Envelope)),
    )


def _too_much(files: Mapping[str, str], problems: Problems) -> bool:
    """Say what is wrong with the files as a whole; whether it is too much to look at each of them."""
    total = sum(len(text.encode("utf-8", "surrogatepass")) for text in files.values())
    if HEAD not in files:
        problems.say(HEAD, "", "it is missing. Write one with name: and the name of the bundle.")
    if len(files) > MAX_FILES:
        problems.say(HEAD, "", f"the bundle has {len(files):,} files; the limit is {MAX_FILES}. Remove some.")
    elif total > MAX_BUNDLE:
        problems.say(HEAD, "", f"the bundle has {total:,} bytes; the limit is {MAX_BUNDLE:,}. Shorten it.")
    else:
        return False
    return True


def _readable(path: str, text: str, problems: Problems) -> bool:
    """Whether a file lies where one may lie and is a text of a bearable size; else it is said."""
    size = len(text.encode("utf-8", "surrogatepass"))
    shown = path[:80].encode("utf-8", "replace").decode()
    if not PATH.fullmatch(path):
        problems.say(shown, "", f"no bundle has such a path. Use {PLACES}.")
    elif size > MAX_FILE:
        problems.say(shown, "", f"it has {size:,} bytes; the limit is {MAX_FILE:,}. Split it.")
    elif any(0xD800 <= ord(char) < 0xE000 or char == "\0" for char in text):
        problems.say(shown, "", "it holds a character that is none (NUL or half a surrogate pair). Remove it.")
    else:
        return True
    return False


def _made(path: str, shape: RuleFile | StageFile | EnvelopeFile, text: str) -> Rule | StageRule | Envelope:
    """Return what a file says as rules, stages and envelopes are used."""
    data = shape.model_dump()
    tests = tuple(Test(one["name"], one["given"], one["expect"]) for one in data.pop("tests"))
    data |= {name: tuple(data[name]) for name in ("kinds", "roles", "escalate_to") if name in data}
    if isinstance(shape, RuleFile):
        return Rule(**data, tests=tests, path=path)
    if isinstance(shape, StageFile):
        return StageRule(**data, tests=tests, path=path)
    mark = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return Envelope(**data, digest=mark, tests=tests, path=path)


def run_tests(bundle: Bundle) -> list[TestResult]:
    """Return what comes out of every test of every file of `bundle`, in their order."""
    results: list[TestResult] = []
    parts: Iterable[Rule | StageRule | Envelope] = (*bundle.rules, *bundle.stages, *bundle.envelopes)
    for part in parts:
        for test in part.tests:
            got, why = judging.answer(bundle, part, sample.given(test.given))
            results.append(TestResult(part.path, part.id, test.name, test.expect, got, why))
    return results
