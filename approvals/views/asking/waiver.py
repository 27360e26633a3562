"""An exception from a rule: for one request or endpoint, one of the checks that fail there now."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.utils import timezone

from approvals.bodies import MAX_WAIVER_DAYS, WaiverBody
from approvals.kinds.waiver import About, Resolved, about, asked_for
from approvals.models import RequestState
from approvals.views import fields
from approvals.views.asking.base import KindForm, days_from
from approvals.views.choices import NOTHING, Choice
from approvals.views.fields import Shape
from approvals.views.living import own_endpoints
from approvals.waivers import judging
from portal.errors import Invalid
from projects.models import Project, User

DAYS = 30
MOST = 100


class WaiverForm(KindForm):
    """The form for a waiver. What it is for, `r:12` or `e:<id>`, is one choice here and two fields of the body."""

    KIND = "waiver"
    TAB = "Waiver"
    TITLE = "Ask for a waiver"
    LEAD = "A waiver lets one rule pass that fails, for one request or endpoint, until a day. Somebody else decides."
    LABELS = {
        "thing": "For",
        "check": "Rule that fails",
        "owner": "Owner of the waiver",
        "ends_on": "Last day",
        "purpose": "Reason",
        "compensating_control": "What is done instead",
    }
    SECTIONS = (
        ("Which rule, for what", (("thing", "check"),)),
        ("Until when, and who answers for it", (("ends_on", "owner"),)),
        ("Why", (("purpose",), ("compensating_control",))),
    )
    NEEDS = ("check", "owner", "ends_on")
    FOLLOWS = ("check", "owner")

    @classmethod
    def blank(cls, asked: Mapping[str, str], project: Project | None) -> dict[str, str]:
        """Return a month from now; the address names the request or the endpoint with the fields of the body."""
        start = {"ends_on": days_from(timezone.now().date(), DAYS)}
        start |= {name: asked[name][:80] for name in ("check", "owner") if asked.get(name)}
        return start | {"thing": _thing(asked.get("request", "")[:20], asked.get("endpoint", "")[:40])}

    @classmethod
    def text_of(cls, body: Mapping[str, Any]) -> dict[str, str]:
        """Return a stored body as it is typed."""
        return super().text_of({**body, "thing": _thing(body.get("request"), body.get("endpoint"))})

    def load(self) -> None:
        """Read what is on offer: own open requests and endpoints, and what fails on the chosen one."""
        self.about: About | None = None
        self.checks: judging.Checks = []
        self.people: list[User] = []
        self.trouble = ""
        body = _body(self.values["thing"])
        if body is not None:
            self._look(body)

    def _look(self, body: WaiverBody) -> None:
        try:
            self.about = about(self.by, body)
            self.checks = (
                judging.checks_of_request(self.about.request, self.by)
                if self.about.request is not None
                else judging.checks_of_endpoint(self.about.endpoint)
                if self.about.endpoint is not None
                else []
            )
        except Invalid as error:
            self.trouble = error.sentence
        if self.about is not None:
            members = User.objects.filter(memberships__project=self.about.project, is_active=True, is_service=False)
            self.people = list(members.distinct().order_by("username")[:MOST])

    def narrow(self) -> None:
        """Choose the only rule that fails, and the person who asks where they are of the project."""
        failing = judging.failing(self.checks)
        if not self.values["check"] and len(failing) == 1:
            self.values["check"] = str(failing[0]["id"])
        if not self.values["owner"] and self.by.name in {person.username for person in self.people}:
            self.values["owner"] = self.by.name

    def shapes(self) -> dict[str, Shape]:
        """Return all fields of the body."""
        today = timezone.now().date()
        end = fields.end_date(f"At most {MAX_WAIVER_DAYS} days. It is never extended: a longer one is another waiver.")
        end["attrs"]["max"] = days_from(today, MAX_WAIVER_DAYS)
        chosen = next((one for one in self.checks if one["id"] == self.values["check"]), None)
        why = f"{chosen['reason']} {chosen['fix']}".strip() if chosen else self.trouble
        return {
            "thing": fields.select(self._things(), "Your open requests and endpoints, or what waits for you."),
            "check": fields.select(self._rules(), why or "Rules that fail there now and may be waived."),
            "owner": fields.select(self._owners(), "Answers for what is done instead; cannot approve the waiver."),
            "ends_on": end,
            "purpose": fields.purpose("The approver reads this first: why it cannot be mended now."),
            "compensating_control": fields.purpose("What keeps the risk small until then, and how one can see that."),
        }

    def _things(self) -> list[Choice]:
        requests = self.by.person.requests.filter(
            state__in=(RequestState.DRAFT, RequestState.CHANGES_REQUESTED), project__in=[one.pk for one in self.own]
        ).exclude(kind__in=judging.NEVER)
        found = [(f"r:{one.pk}", f"{one} {one.name} · request", False) for one in requests.order_by("-pk")[:MOST]]
        living = own_endpoints(self.own, self.values["thing"].removeprefix("e:"))
        found += [(f"e:{one.pk}", f"{one.project.slug}/{one.name} · endpoint", False) for one in living]
        value = self.values["thing"]
        if value and value not in {one[0] for one in found}:
            label = self.about.label if self.about else f"{value[2:42]} · not yours"
            found.append((value, label, False))
        return [NOTHING, *found]

    def _rules(self) -> list[Choice]:
        found = [(str(one["id"]), f"{one['id']} · {one['title']}", False) for one in judging.failing(self.checks)]
        value = self.values["check"]
        if value and value not in {one[0] for one in found}:
            found.append((value, f"{value[:60]} · does not fail now", False))
        return [NOTHING, *found]

    def _owners(self) -> list[Choice]:
        found = [(one.username, one.username, False) for one in self.people]
        value = self.values["owner"]
        if value and value not in {one[0] for one in found}:
            found.append((value, f"{value[:60]} · nobody of the project", False))
        return [NOTHING, *found]

    def data(self, values: Mapping[str, str]) -> dict[str, Any]:
        """Return the body: the choice taken apart."""
        kind, _, key = values["thing"].partition(":")
        named = {"request": key if kind == "r" else None, "endpoint": key if kind == "e" else None}
        rest = {name: values[name] or None for name in self.LABELS if name != "thing"}
        return {"kind": self.KIND} | {name: text or None for name, text in named.items()} | rest

    def place(self, field: str) -> str:
        """Sentences about request and endpoint stand at the choice of what it is for."""
        return "thing" if field in {"request", "endpoint"} else field

    def resolve(self, body: WaiverBody) -> Resolved | None:
        """Return what the body names, unless a sentence about it is due."""
        check = next((one for one in judging.failing(self.checks) if one["id"] == body.check), None)
        owner = next((one for one in self.people if one.username == body.owner), None)
        same = self.about is not None and body.conflicts() == {}
        if not (same and self.about and check and owner):
            return None
        return Resolved(self.about, check, owner, asked_for(self.about.request, str(check["id"])))


def _thing(request: Any, endpoint: Any) -> str:
    return f"r:{request}" if request else f"e:{endpoint}" if endpoint else ""


def _body(thing: str) -> WaiverBody | None:
    """Return a body that is only about `thing`; None for what names nothing."""
    kind, _, key = thing.partition(":")
    try:
        if kind == "r" and key.isascii() and key.isdigit() and len(key) <= 18:
            return WaiverBody.model_validate({"request": int(key)})
        return WaiverBody.model_validate({"endpoint": str(UUID(key))}) if kind == "e" else None
    except ValueError:  # no number that a request has, no id of an endpoint
        return None
