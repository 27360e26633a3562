"""The definitions of tools: what of them is pinned, under which digest, and what has changed since.

A definition is what a model is shown and what a client acts on; the digest is taken over its canonical form (RFC
8785), so that neither the order of keys nor the way a number is written makes a difference, and a word does.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import rfc8785
from django.db import transaction

from audit.services import record, system
from catalog.models import Tool, Version

KEYS = ("name", "title", "description", "inputSchema", "outputSchema", "annotations", "icons")
LONGEST_NAME = 128
HINTS = {
    "readOnlyHint": "read_only_hint",
    "destructiveHint": "destructive_hint",
    "idempotentHint": "idempotent_hint",
    "openWorldHint": "open_world_hint",
}
Definition = dict[str, Any]


class Unfit(Exception):
    """A definition that cannot be pinned; the text is one sentence."""


@dataclass(frozen=True)
class Difference:
    """What a server offers now beside what is pinned, by name."""

    changed: dict[str, tuple[Definition, Definition]] = field(default_factory=dict)  # before, after
    new: dict[str, Definition] = field(default_factory=dict)
    missing: dict[str, Definition] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.changed or self.new or self.missing)


def definition(tool: Mapping[str, Any]) -> Definition:
    """Return the part of a listed tool that is pinned; what is volatile, like `_meta`, is left out."""
    return {name: tool[name] for name in KEYS if name in tool}


def digest(found: Definition) -> str:
    """Return "sha256:…" over the canonical form of a definition. Raises Unfit for what has none."""
    try:
        return "sha256:" + hashlib.sha256(rfc8785.dumps(found)).hexdigest()
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError, ValueError) as error:
        raise Unfit(f"The definition of {shown(found)} has no canonical form, so that it cannot be pinned.") from error


def whole_digest(digests: Mapping[str, str]) -> str:
    """Return "sha256:…" over name and digest of every tool, by name."""
    lines = "\n".join(f"{name}:{digests[name]}" for name in sorted(digests))
    return "sha256:" + hashlib.sha256(lines.encode()).hexdigest()


def checked(tools: Iterable[Mapping[str, Any]]) -> dict[str, Definition]:
    """Return the definitions by name. Raises Unfit for names that are missing, twice there, or too long, and for what
    no database keeps.
    """
    found: dict[str, Definition] = {}
    for tool in tools:
        one = definition(tool)
        name = one.get("name")
        if not isinstance(name, str) or not name.strip():
            raise Unfit("A tool has no name.")
        if len(name) > LONGEST_NAME:
            raise Unfit(f"The tool {shown(one)} has a name of {len(name):,} characters; the limit is {LONGEST_NAME}.")
        if name in found:
            raise Unfit(f"Two tools are called {shown(one)}.")
        digest(one)
        if b"\\u0000" in rfc8785.dumps(one):
            raise Unfit(f"The definition of {shown(one)} holds a NUL character, which no client should be given.")
        found[name] = one
    return found


def shown(found: Mapping[str, Any]) -> str:
    """Return the name of a tool as one printable line."""
    return "".join(char if char.isprintable() else "�" for char in str(found.get("name", "?")))[:60]


def difference(pinned: Mapping[str, Definition], now: Mapping[str, Definition]) -> Difference:
    """Return what changed, by digest."""
    both = [name for name in pinned if name in now]
    return Difference(
        changed={
            name: (pinned[name], now[name]) for name in both if digest(pinned[name]) != digest(now[name])
        },
        new={name: now[name] for name in now if name not in pinned},
        missing={name: pinned[name] for name in pinned if name not in now},
    )  # fmt: skip


def pinned(version: Version) -> dict[str, Definition]:
    """Return the pinned definitions of a version by name (one query)."""
    return dict(Tool.objects.filter(version=version).values_list("name", "definition"))


def pin(version: Version, found: Mapping[str, Definition]) -> bool:
    """Keep the definitions of a version that nobody has approved and that has none yet; whether it was done.

    What is approved was approved with the pins that it had: none are added to it afterwards.
    """
    with transaction.atomic():
        current = Version.objects.select_for_update().select_related("asset").get(pk=version.pk)
        if current.approved_at is not None or current.tools.exists() or not found:
            return False
        digests = {name: digest(one) for name, one in found.items()}
        Tool.objects.bulk_create(
            Tool(version=current, name=name, digest=digests[name], definition=one) for name, one in found.items()
        )
        after = {"asset": current.asset.slug, "version": current.version, "tools": len(found)}
        record("catalog.pin_tools", by=system("catalog"), obj=current, after=after | {"digest": whole_digest(digests)})
    return True


def hints(found: Definition) -> dict[str, bool]:
    """Return the hints that a definition gives, as facts.tools names them."""
    given = found.get("annotations")
    if not isinstance(given, dict):
        return {}
    return {ours: given[theirs] for theirs, ours in HINTS.items() if isinstance(given.get(theirs), bool)}
