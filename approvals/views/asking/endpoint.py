"""A new endpoint: model, place, size; choosing a model narrows the rest."""

from collections.abc import Mapping
from functools import cached_property

from django.utils import timezone

from approvals.bodies import EndpointBody
from approvals.kinds import adoption, promotion
from approvals.kinds.endpoint import Resolved
from approvals.models import DataClassification
from approvals.planning.sharing import Running, running
from approvals.views import choices, fields
from approvals.views.asking.base import DAYS, KindForm, days_from
from approvals.views.choices import Offer
from approvals.views.fields import Shape
from catalog import fit
from endpoints.models import Endpoint
from endpoints.rogue.models import RogueWorkload
from projects.models import Project


class EndpointForm(KindForm):
    """The form for a new endpoint."""

    KIND = "endpoint"
    TAB = "New endpoint"
    TITLE = "Request an endpoint"
    LEAD = "Fill in the left side; the plan on the right recalculates with every change and is frozen when you send it."
    LABELS = {
        "asset": "Model",
        "version": "Version",
        "name": "Endpoint name",
        "project": "Project",
        "hardware_profile": "Hardware profile",
        "environment": "Environment",
        "replicas": "Replicas",
        "concurrency": "Parallel calls",
        "context_tokens": "Context tokens",
        "ends_on": "Runs until",
        "purpose": "Purpose",
        "data_classification": "Data classification",
        "promoted_from": "Promoted from",
        "adopts": "Adopts",
    }
    SECTIONS = (
        ("What to run", (("asset", "version"), ("name", "project"), ("adopts",))),
        (
            "Where and how big",
            (("hardware_profile", "environment"), ("replicas", "concurrency", "context_tokens"), ("ends_on",)),
        ),
        ("Why, and with which data", (("purpose",), ("data_classification",), ("promoted_from",))),
    )
    NEEDS = (
        "project", "asset", "version", "hardware_profile", "environment", "replicas", "concurrency", "context_tokens",
    )  # fmt: skip
    FOLLOWS = ("asset", "version", "hardware_profile", "environment")
    BEGINS = "promoted_from"
    FILLED = (
        "project", "name", "asset", "version", "hardware_profile", "replicas", "concurrency", "context_tokens",
        "purpose", "data_classification",
    )  # fmt: skip
    source: Endpoint | None = None
    running: RogueWorkload | None = None

    @classmethod
    def blank(cls, asked: Mapping[str, str], project: Project | None) -> dict[str, str]:
        """Return a small endpoint in dev for three months, or what is promoted."""
        start = {
            "environment": "dev",
            "replicas": "1",
            "concurrency": str(fit.DEFAULT_CONCURRENCY),
            "context_tokens": str(fit.DEFAULT_CONTEXT),
            "data_classification": DataClassification.INTERNAL.value,
            "ends_on": days_from(timezone.now().date(), DAYS),
        } | super().blank(asked, project)
        if not asked.get("promoted_from"):
            return start
        # What is promoted says the rest.
        return {name: text for name, text in start.items() if name not in cls.FILLED or asked.get(name)}

    def load(self) -> None:
        """Read models, profiles, pools and clusters (four queries, five where a model is not for everyone), and what is
        promoted (one).
        """
        self.offer = Offer.load(self.by, self.own)
        if self.values["promoted_from"]:
            self.source = promotion.find(self.by, self.values["promoted_from"])
        if self.values["adopts"].isdecimal():
            self.running = adoption.find(self.by, int(self.values["adopts"][:18]), {})

    def filled(self) -> dict[str, str]:
        """Return what the endpoint that is promoted has, under the name that it gets."""
        if self.source is None:
            return {}
        return self.text_of(promotion.start(self.source, self.values["environment"] or "staging"))

    def narrow(self) -> None:
        """Choose a project in which the model may be asked for, its newest version, the first profile that fits."""
        self.values["project"] = self.values["project"] or self.offer.home_of(self.values["asset"])
        self.offer = self.offer.within(self.values["project"])
        self.values = choices.narrow(self.offer, self.values)
        self.profile = self.offer.profile(self.values["hardware_profile"])

    @cached_property
    def around(self) -> list[Running]:
        """What runs the chosen version and has room, for the plan and for what is offered first (two queries)."""
        version = self.offer.version(self.values["asset"], self.values["version"])
        project = self.offer.project(self.values["project"])
        if version is None:
            return []
        besides = str(self.source.pk) if self.source else ""
        return running(version, [one.pk for one in self.offer.projects], project, besides=besides)

    def shapes(self) -> dict[str, Shape]:
        """Return all fields of the body."""
        values = self.values
        cluster = choices.cluster_of(self.offer, self.profile, values["environment"])
        return {
            **fields.model(self.offer, values["asset"], values["version"]),
            "name": {
                "help": "Calls name it project/name. Lower-case letters, digits and hyphens.",
                "attrs": {"maxlength": 40, "autocomplete": "off"},
            },
            "project": fields.project(self.roles, values["project"], "Where you are owner or developer."),
            "hardware_profile": fields.select(
                choices.profile_choices(self.offer, values), "Profiles that are too small say why."
            ),
            "environment": fields.select(
                choices.environment_choices(self.offer, values),
                f"Runs on the cluster {cluster.slug}." if cluster else "",
            ),
            **fields.sizes(),
            "ends_on": fields.end_date(),
            "purpose": fields.purpose(),
            "data_classification": fields.data_class(),
            **fields.promoted(self.values["promoted_from"], self.source),
            **fields.adopted(self.values["adopts"], self.running),
            **fields.environment_of(self.running),
        }

    def resolve(self, body: EndpointBody) -> Resolved | None:
        """Return what the body names when all of it is on offer."""
        return None if body.adopts is not None else self.offer.resolve(body)
