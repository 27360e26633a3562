"""What a check of evidence looks at."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from catalog.evidence.finding import Finding
from catalog.models import Pin, Version
from catalog.sources.tree import Tree


@dataclass(frozen=True)
class Case:
    """A version (with its asset), its pin once its content is resolved, and a way to read that content.

    `open_tree` raises SourceError; whoever reads through it checks what it reads against the digests of the pin.
    """

    version: Version
    pin: Pin | None
    open_tree: Callable[[], Tree]


class Driver(Protocol):
    """One check of evidence, a module. It never raises for what it was given: bad content is a verdict.

    A module with `WORKER = True` beside these reads no content but asks somebody else: a worker runs it, at any time.
    """

    KIND: str  # Evidence.kind
    TITLE: str  # what people call it
    CONTENT: bool  # whether it reads the content: then a worker runs it once the pin is resolved
    DAYS: int | None  # after so many days the finding expires; None: it does not age

    def applies(self, version: Version) -> bool:
        """Return whether the check has anything to say about `version`."""

    def check(self, case: Case) -> Finding:
        """Return what was found. Raises SourceError when the content cannot be read now."""
