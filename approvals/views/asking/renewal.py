"""A later end date of an endpoint."""

from approvals.bodies import RenewalBody
from approvals.kinds.renewal import Resolved
from approvals.views import fields
from approvals.views.asking.base import DAYS, KindForm, days_from
from approvals.views.fields import Shape
from approvals.views.living import endpoint_choices, own_endpoints
from portal.templatetags.gatehouse import day


class RenewalForm(KindForm):
    """The form for a renewal."""

    KIND = "renewal"
    TAB = "Extend an endpoint"
    TITLE = "Extend an endpoint"
    LEAD = "An endpoint is suspended when its end date has passed. The plan says how it was used and what it will cost."
    LABELS = {"endpoint": "Endpoint", "ends_on": "Runs until", "purpose": "Purpose"}
    SECTIONS = (("Which endpoint, until when", (("endpoint", "ends_on"),)), ("Why", (("purpose",),)))
    NEEDS = ("endpoint", "ends_on")
    BEGINS = "endpoint"
    FILLED = ("ends_on",)

    def load(self) -> None:
        """Read the own endpoints that end (one query)."""
        self.endpoints = own_endpoints(self.own, self.values["endpoint"], ending=True)
        chosen = self.values["endpoint"]
        self.endpoint = next((item for item in self.endpoints if str(item.pk) == chosen), None)
        self.profile = self.endpoint.revision.profile if self.endpoint and self.endpoint.revision else None

    def filled(self) -> dict[str, str]:
        """Return an end date three months after the present one."""
        ends_on = self.endpoint.ends_on if self.endpoint else None
        return {"ends_on": days_from(ends_on, DAYS)} if ends_on else {}

    def shapes(self) -> dict[str, Shape]:
        """Return all fields of the body."""
        now = self.endpoint.ends_on if self.endpoint else None
        return {
            "endpoint": fields.select(
                endpoint_choices(self.endpoints, self.values["endpoint"], ending=True),
                "Those of your projects that end.",
            ),
            "ends_on": fields.end_date(f"Now until {day(now)}." if now else "", after=now),
            "purpose": fields.purpose("Reviewers read this first: who still needs it, and what for."),
        }

    def resolve(self, body: RenewalBody) -> Resolved | None:
        """Return endpoint and revision, unless a sentence about them is due."""
        endpoint = self.endpoint
        if endpoint is None or endpoint.revision is None or endpoint.ends_on is None or body.ends_on is None:
            return None
        return Resolved(endpoint, endpoint.revision) if body.ends_on > endpoint.ends_on else None
