"""To call an endpoint of another project: only what its owners offer is named here."""

from collections.abc import Mapping

from django.utils import timezone

from approvals.views import fields
from approvals.views.asking.base import DAYS, KindForm, days_from
from approvals.views.fields import Shape
from approvals.views.living import offered_choices, offered_endpoints
from portal.templatetags.gatehouse import day
from projects.models import Project


class AccessForm(KindForm):
    """The form for access to a shared endpoint."""

    KIND = "access"
    TAB = "Use a shared endpoint"
    TITLE = "Ask to use a shared endpoint"
    LEAD = "Owners offer these endpoints to other projects. You call one with keys of your own project."
    LABELS = {
        "project": "Your project",
        "endpoint": "Endpoint",
        "ends_on": "Until",
        "data_classification": "Data classification",
        "purpose": "Purpose",
    }
    SECTIONS = (
        ("Who wants to call what", (("project", "endpoint"), ("ends_on", "data_classification"))),
        ("Why", (("purpose",),)),
    )
    NEEDS = ("project", "endpoint", "ends_on")
    FOLLOWS = ("endpoint", "data_classification")

    @classmethod
    def blank(cls, asked: Mapping[str, str], project: Project | None) -> dict[str, str]:
        """Return three months from now."""
        return {"ends_on": days_from(timezone.now().date(), DAYS)} | super().blank(asked, project)

    def load(self) -> None:
        """Read the endpoints that are offered (one query)."""
        if not self.values["project"] and self.own:
            self.values["project"] = self.own[0].slug
        project = next((item for item in self.own if item.slug == self.values["project"]), None)
        self.endpoints = offered_endpoints(self.by, self.values["endpoint"], project) if project else []
        chosen = self.values["endpoint"]
        self.endpoint = next((item for item in self.endpoints if str(item.pk) == chosen), None)

    def shapes(self) -> dict[str, Shape]:
        """Return all fields of the body."""
        found = self.endpoint
        until = f"It runs until {day(found.ends_on)}." if found and found.ends_on else ""
        approved = found.data_classification if found else ""
        return {
            "project": fields.project(self.roles, self.values["project"], "The project that wants to call."),
            "endpoint": fields.select(
                offered_choices(self.endpoints, self.values["endpoint"]),
                until or "What owners offer to other projects.",
            ),
            "ends_on": fields.end_date(),
            "data_classification": fields.data_class(
                f"It was approved for {approved} data; send nothing more sensitive." if approved else "",
                empty=("", f"That of the endpoint{f': {approved}' if approved else ''}", False),
                required=False,
            ),
            "purpose": fields.purpose("Its owner reads this first: what you will send, how much, for whom."),
        }
