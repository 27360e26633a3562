"""Reading one file of a bundle with suspicion: people and pipelines send them, and what they say decides.

Plain YAML only: no aliases (a few lines could stand for gigabytes), no tags, no key twice, bounded depth.
"""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from approvals.bodies import BODIES
from approvals.policies.engine import MAX_EXPRESSION
from portal.http import field_errors

DEPTH, NODES = 12, 20_000
DIGITS = 40  # of a number: one that cannot even be written down ends the process of the runtime that is given it
MOST_TESTS, MOST_PEOPLE = 60, 5
PATH = re.compile(r"bundle\.yaml|(rules|stages|envelopes)/[a-z0-9][a-z0-9-]{0,59}\.yaml")
PLACES = "bundle.yaml, or rules, stages or envelopes/<id>.yaml; an id is lower-case letters, digits and hyphens"
KINDS = frozenset({*BODIES, "waiver"})
INTEGER = "tag:yaml.org,2002:int"
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same in C, where PyYAML was built with it


def _identifier(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", value):
        raise _wrong("use lower-case letters, digits and hyphens, starting with a letter")
    return value


def _line(value: str) -> str:
    if any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) < 0xE000 for char in value):
        raise _wrong("it holds a control character or a line break. Remove it")
    return value.strip()


def _kind(value: str) -> str:
    if value not in KINDS:
        raise _wrong(f"{value[:40]!r} is not a kind of request; choose among {', '.join(sorted(KINDS))}")
    return value


def _wrong(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("policies", "{sentence}", {"sentence": sentence})


def _as_text(value: Any) -> Any:
    """YAML reads true as a value; here it is an expression."""
    return str(value).lower() if isinstance(value, bool) else value


def _yes_or_no(value: Any) -> Any:
    """YAML reads yes and no as values, unless they stand in quotes."""
    return ("yes" if value else "no") if isinstance(value, bool) else value


def _length(low: int, high: int) -> Any:
    return Field(min_length=low, max_length=high)


Id = Annotated[StrictStr, _length(2, 60), AfterValidator(_identifier)]
Title = Annotated[StrictStr, _length(3, 120), AfterValidator(_line)]
TestName = Annotated[StrictStr, _length(1, 120), AfterValidator(_line)]
Words = Annotated[StrictStr, _length(0, 300), AfterValidator(_line)]
Expression = Annotated[StrictStr, _length(1, MAX_EXPRESSION), BeforeValidator(_as_text)]
Kinds = Annotated[list[Annotated[StrictStr, AfterValidator(_kind)]], Field(max_length=len(KINDS))]
Roles = list[Literal["platform-engineers", "governance-leads", "owner"]]
Controls = Annotated[
    dict[Annotated[Title, _length(2, 60)], Annotated[list[Annotated[Title, _length(1, 80)]], _length(1, 20)]],
    Field(max_length=12),
]
Given = dict[StrictStr, Any]


class Strict(BaseModel):
    """Unknown fields are an error: a misspelt one would never be missed."""

    model_config = ConfigDict(extra="forbid")


class RuleTest(Strict):
    """A test of a rule."""

    name: TestName
    given: Given
    expect: Literal["pass", "fail", "skip"]


class YesTest(Strict):
    """A test of a stage or an envelope."""

    name: TestName
    given: Given
    expect: Annotated[Literal["yes", "no"], BeforeValidator(_yes_or_no)]


class HeadFile(Strict):
    """bundle.yaml."""

    name: Annotated[Title, _length(3, 80)]
    description: Annotated[StrictStr, _length(0, 2000)] = ""


class RuleFile(Strict):
    """A file in rules/."""

    id: Id
    title: Title
    severity: Literal["deny", "warn", "info"]
    applies_to: Literal["request", "asset", "workload"]
    kinds: Kinds = []
    when: Annotated[StrictStr, _length(0, MAX_EXPRESSION), BeforeValidator(_as_text)] = ""
    expression: Expression
    message: Annotated[Words, _length(3, 300)]
    fix: Words = ""
    field: Annotated[StrictStr, Field(max_length=40, pattern=r"^[a-z_]*$")] = ""
    waivable: StrictBool = True
    controls: Controls = {}
    tests: Annotated[list[RuleTest], Field(max_length=MOST_TESTS)]


class StageFile(Strict):
    """A file in stages/."""

    id: Id
    name: Annotated[Title, _length(3, 80)]
    when: Expression
    reason: Annotated[Words, _length(3, 300)]
    roles: Annotated[Roles, _length(1, 3)]
    count: Annotated[StrictInt, Field(ge=1, le=MOST_PEOPLE)] = 1
    order: Annotated[StrictInt, Field(ge=0, le=1000)] = 50
    human: StrictBool = False
    escalate_after_hours: Annotated[StrictInt, Field(ge=1, le=1000)] | None = None
    escalate_to: Annotated[Roles, Field(max_length=3)] = []
    tests: Annotated[list[YesTest], Field(max_length=MOST_TESTS)]


class EnvelopeFile(Strict):
    """A file in envelopes/."""

    id: Id
    title: Title
    when: Expression
    kinds: Annotated[Kinds, Field(min_length=1)] = ["endpoint"]
    tests: Annotated[list[YesTest], Field(max_length=MOST_TESTS)]


SHAPES: Mapping[str, type[Strict]] = {"rules": RuleFile, "stages": StageFile, "envelopes": EnvelopeFile}
Say = Callable[[str, str], None]  # (field, sentence)


def shaped(path: str, text: str, say: Say) -> Any:
    """Return what the file at `path` says as its shape, or None after each problem was said, with its field."""
    shape = SHAPES.get(path.partition("/")[0], HeadFile)
    data = plain(text, say)
    if data is None:
        return None
    if not isinstance(data, dict):
        say("", "it must hold fields, such as id: and expression:, and holds something else. Write field: value.")
        return None
    try:
        return shape.model_validate(data)
    except ValidationError as error:
        for name, sentence in field_errors(error.errors(include_url=False)).fields.items():
            say(name, sentence.replace("is not a field of this request", "is not a field of such a file"))
        return None


def plain(text: str, say: Say) -> Any:
    """Return the YAML in `text` as plain values, or None after saying what is wrong with it."""
    try:
        wrong = _shape_of(text)
        if not wrong:
            node = yaml.compose(text, Loader=Loader)
            wrong = _strange(node) if node is not None else "it is empty. Write its fields, or remove the file"
        if not wrong:
            # A subclass of SafeLoader: plain values, never an object.
            return yaml.load(text, Loader=Loader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        wrong = f"{place}{error.problem or 'it cannot be read'}. Mend the YAML"
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        wrong = f"it is no YAML that can be read ({str(error)[:100] or type(error).__name__}). Mend it"
    say("", f"{wrong}.")
    return None


def _shape_of(text: str) -> str:
    """Return what keeps `text` from being composed at all, or ""; reads events one by one."""
    depth = documents = 0
    for count, event in enumerate(yaml.parse(text, Loader=Loader), 1):
        tag = getattr(event, "tag", None)
        wrong = ""
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            wrong = "anchors and aliases (& and *) are not allowed. Write it out"
        elif tag:
            wrong = f"the tag {str(tag)[:40]} is not allowed. Remove it"
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            wrong = f"it nests deeper than {DEPTH} levels. Flatten it" if depth > DEPTH else ""
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            wrong = "a second document begins. Write one a file" if documents > 1 else ""
        if count > NODES:
            wrong = f"it holds more than {NODES:,} values. Split it"
        if wrong:
            return f"line {_row(event)}: {wrong}"
    return ""


def _strange(node: yaml.Node) -> str:
    """Return which key stands twice in a mapping, or which number is too long, or ""."""
    if isinstance(node, yaml.ScalarNode) and node.tag == INTEGER and len(node.value) > DIGITS:
        return f"line {_row(node)}: a number has more than {DIGITS} digits. Shorten it"
    if isinstance(node, yaml.SequenceNode):
        return next((found for item in node.value if (found := _strange(item))), "")
    if not isinstance(node, yaml.MappingNode):
        return ""
    seen = set()
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else None
        if name is None or name in seen:
            what = "a key is no text" if name is None else f"the key {name[:40]!r} stands twice. Keep one"
            return f"line {_row(key)}: {what}"
        seen.add(name)
        found = _strange(key) or _strange(value)
        if found:
            return found
    return ""


def _row(thing: yaml.Event | yaml.Node) -> int:
    return thing.start_mark.line + 1 if thing.start_mark else 1
