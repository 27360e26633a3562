"""More GPUs or tokens: one of the quotas that the project has, and the number that shall count."""

from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from approvals.bodies import MAX_QUOTA
from approvals.views import fields
from approvals.views.asking.base import BEGUN, KindForm, days_from
from approvals.views.fields import Shape
from approvals.views.living import Limited, quota_choices, quotas_of
from projects.models import Project
from quotas.words import amount

PARTS = ("quota", "target", "target_name", "window")  # of the body; one choice in the form
DAYS = 30


class QuotaForm(KindForm):
    """The form for a larger quota."""

    KIND = "quota"
    TAB = "Larger quota"
    TITLE = "Ask for a larger quota"
    LEAD = "A raise counts from its approval until its last day; afterwards the present numbers count again."
    LABELS = {
        "project": "Project",
        "limit": "Quota",
        "hard": "Refuses above",
        "soft": "Warns above",
        "ends_on": "Until",
        "purpose": "Purpose",
    }
    SECTIONS = (
        ("Which quota", (("project", "limit"),)),
        ("How much, until when", (("hard", "soft"), ("ends_on",))),
        ("Why", (("purpose",),)),
    )
    NEEDS = ("project", "quota", "ends_on")
    FOLLOWS = ("limit",)
    BEGINS = "limit"
    FILLED = ("hard", "soft")

    @classmethod
    def blank(cls, asked: Mapping[str, str], project: Project | None) -> dict[str, str]:
        """Return a month from now; the address names the quota with the fields of the body."""
        start = {"ends_on": days_from(timezone.now().date(), DAYS)} | super().blank(asked, project)
        wanted = [asked.get(name, "")[:80].replace("|", "") for name in PARTS]
        return start | ({"limit": "|".join(wanted)} if wanted[0] else {})

    @classmethod
    def text_of(cls, body: Mapping[str, Any]) -> dict[str, str]:
        """Return a stored body as it is typed."""
        limit = "|".join(str(body.get(name) or "") for name in PARTS) if body.get("quota") else ""
        return super().text_of({**body, "limit": limit})

    def load(self) -> None:
        """Read the quotas of the chosen project (at most three queries)."""
        if not self.values["project"] and self.own:
            self.values["project"] = self.own[0].slug
        chosen = next((project for project in self.own if project.slug == self.values["project"]), None)
        self.quotas: list[Limited] = quotas_of(chosen) if chosen else []
        self.quota = self._chosen()
        if self.quota is not None:
            self.values["limit"] = self.quota.value

    def _chosen(self) -> Limited | None:
        """Return the quota that is chosen, or the first that the address means: what it leaves open matches all."""
        limit = self.values["limit"]
        exact = next((item for item in self.quotas if item.value == limit), None)
        if exact is not None or not limit:
            return exact or (self.quotas[0] if len(self.quotas) == 1 else None)
        wanted = limit.split("|")
        open_ended = (
            item for item in self.quotas if all(a in ("", b) for a, b in zip(wanted, item.parts, strict=False))
        )
        return next(open_ended, None) if not self.values[BEGUN] else None

    def filled(self) -> dict[str, str]:
        """Return the numbers as they are typed: another quota changes only what stands beside them."""
        return {name: self.values[name] for name in self.FILLED}

    def shapes(self) -> dict[str, Shape]:
        """Return the fields; a number that the quota leaves open cannot be raised, and is left out."""
        shapes: dict[str, Shape] = {
            "project": fields.project(self.roles, self.values["project"], "Where you are owner or developer."),
            "limit": fields.select(
                quota_choices(self.quotas, self.values["limit"], self.values["project"]),
                "What an administrator set for the project, its endpoints and its keys.",
            ),
            "ends_on": fields.end_date(),
            "purpose": fields.purpose("Reviewers read this first: what needs it, and what happens afterwards."),
        }
        for name in self._numbers():
            now = getattr(self.quota, name) if self.quota else None
            help_text = f"Now {amount(self.quota.kind, now)}." if self.quota and now is not None else ""
            both = len(self._numbers()) == 2
            shapes[name] = fields.number(MAX_QUOTA, help_text, least=(now or 0) + 1, required=not both)
        return shapes

    def _numbers(self) -> list[str]:
        quota = self.quota
        if quota is None:
            return ["hard"]
        return [name for name in ("hard", "soft") if getattr(quota, name) is not None]

    def data(self, values: Mapping[str, str]) -> dict[str, Any]:
        """Return the body: the choice taken apart, and a number only where the quota has one."""
        parts = dict(zip(PARTS, [*values["limit"].split("|", 3), "", "", "", ""][:4], strict=True))
        shown = {name: values[name] or None for name in self.LABELS if name not in {"limit", "hard", "soft"}}
        numbers = {name: values[name] or None for name in self._numbers()}
        parts["target"] = parts["target"] or "project"
        return {"kind": self.KIND} | {name: text or None for name, text in parts.items()} | numbers | shown

    def place(self, field: str) -> str:
        """Sentences about what is limited stand at the choice; about a number that is not asked for, at the other."""
        if field in PARTS:
            return "limit"
        numbers = self._numbers()
        return numbers[0] if field in {"hard", "soft"} and field not in numbers else field
