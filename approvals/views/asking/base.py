"""What the form of a kind is made of. One class per kind; forms.py and live.py know nothing else of it."""

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.utils import timezone

from approvals.bodies import MAX_DAYS
from approvals.kinds.base import Found
from approvals.views.fields import LONGEST, Shape
from catalog.models import HardwareProfile
from projects.models import Project
from projects.principal import Principal

BEGUN = "begun"  # the value of the field BEGINS from which the others were filled
ADDRESS = 80  # characters of a value that the address of a new form may give
DAYS = 90  # how long something runs unless said otherwise
Section = tuple[str, Sequence[Sequence[str]]]


class KindForm(ABC):
    """The form of one kind: what is `typed`, and `values`, narrowed to what follows from it.

    The plan and the fields show `values`; only what was typed is saved and sent, so that nobody asks for what they have
    not seen.

    `projects`: those in which the person may ask. `FOLLOWS`: fields whose choices follow from others, drawn anew with
    every plan. `BEGINS`: the field whose value the fields in `FILLED` begin from; they are filled when it changes, so
    that a form about an endpoint starts with what that endpoint is.
    """

    KIND: ClassVar[str]
    TAB: ClassVar[str]
    TITLE: ClassVar[str]
    LEAD: ClassVar[str]
    LABELS: ClassVar[Mapping[str, str]]
    SECTIONS: ClassVar[Sequence[Section]]
    NEEDS: ClassVar[tuple[str, ...]]  # without these there is no plan
    FOLLOWS: ClassVar[tuple[str, ...]] = ()
    BEGINS: ClassVar[str] = ""
    FILLED: ClassVar[tuple[str, ...]] = ()

    profile: HardwareProfile | None = None

    def __init__(self, by: Principal, projects: Sequence[Project], typed: Mapping[str, str]) -> None:
        self.by, self.own = by, projects
        self.typed = {name: typed.get(name, "") for name in (*self.LABELS, BEGUN)}
        self.values = dict(self.typed)
        self.load()
        self.refilled = bool(self.BEGINS) and self.values[self.BEGINS] != self.values[BEGUN]
        if self.refilled:
            kept = {} if self.values[BEGUN] else {name: text for name, text in self.values.items() if text}
            start = self.filled()
            self.values |= {name: start[name] for name in self.FILLED if name in start} | kept
            self.values[BEGUN] = self.values[self.BEGINS]
        self.narrow()

    @classmethod
    def blank(cls, asked: Mapping[str, str], project: Project | None) -> dict[str, str]:
        """Return what a new form starts with: defaults, the project of the switcher, what the address says."""
        start = {"project": project.slug} if project is not None and "project" in cls.LABELS else {}
        return start | {name: asked[name][:ADDRESS] for name in cls.LABELS if asked.get(name)}

    @classmethod
    def text_of(cls, body: Mapping[str, Any]) -> dict[str, str]:
        """Return a stored body as it is typed."""
        typed = {name: "" if body.get(name) is None else str(body[name]) for name in cls.LABELS}
        return typed | {BEGUN: typed.get(cls.BEGINS, "")}

    @property
    def roles(self) -> list[tuple[str, str]]:
        """The projects in which the person may ask, each with the own role there."""
        return [(project.slug, self.by.roles.get(project.pk, "")) for project in self.own]

    @abstractmethod
    def load(self) -> None:
        """Read what is on offer, with a constant number of queries."""

    def filled(self) -> dict[str, str]:
        """Return what the fields in FILLED begin with."""
        return {}

    def narrow(self) -> None:  # noqa: B027 - most kinds have nothing to narrow
        """Put into `values` what follows from the others."""

    @abstractmethod
    def shapes(self) -> dict[str, Shape]:
        """Return the fields by name; one that does not apply is left out."""

    def data(self, values: Mapping[str, str]) -> dict[str, Any]:
        """Return the body that `values` say; an empty field is None."""
        return {"kind": self.KIND} | {name: values[name] or None for name in self.LABELS}

    def place(self, field: str) -> str:
        """Return the field of the form at which a sentence about `field` of the body stands."""
        return field

    def resolve(self, body: Any) -> Found | None:
        """Return what a body names as far as it is known without a query; None: the plan looks it up."""
        return None

    def fields(self, wrong: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        """Return the fields for _field.html, with the sentences of `wrong` at theirs."""
        return {
            name: {
                "name": name,
                "label": self.LABELS[name],
                "kind": "text",
                "value": self.values[name][:LONGEST],
                "required": True,
                "error": wrong.get(name, ""),
                **shape,
            }
            for name, shape in self.shapes().items()
        }


def days_from(start: dt.date, days: int) -> str:
    """Return the day `days` after `start` as it is typed, not later than a request may ask for."""
    return min(start + dt.timedelta(days=days), timezone.now().date() + dt.timedelta(days=MAX_DAYS)).isoformat()
