"""Another version, profile or size of an endpoint: the form begins with what the endpoint runs now."""

from approvals.bodies import RevisionBody
from approvals.kinds import promotion, revision
from approvals.kinds.revision import Resolved
from approvals.views import choices, fields
from approvals.views.asking.base import KindForm
from approvals.views.choices import Offer
from approvals.views.fields import Shape
from approvals.views.living import endpoint_choices, own_endpoints
from endpoints.models import Endpoint

CANARIES = [
    ("", "It takes over as soon as it is ready", False),
    *((str(percent), f"As a canary, with {percent} % of the calls", False) for percent in (1, 5, 10, 25, 50)),
]


class RevisionForm(KindForm):
    """The form for a change of an endpoint that runs."""

    KIND = "revision"
    TAB = "Change an endpoint"
    TITLE = "Change an endpoint"
    LEAD = "The form begins with what runs now. The new revision starts beside it, and takes over when it works."
    LABELS = {
        "endpoint": "Endpoint",
        "asset": "Model",
        "version": "Version",
        "hardware_profile": "Hardware profile",
        "replicas": "Replicas",
        "concurrency": "Parallel calls",
        "context_tokens": "Context tokens",
        "canary_percent": "Rolled out",
        "purpose": "Purpose",
        "promoted_from": "Promoted from",
    }
    SECTIONS = (
        ("Which endpoint", (("endpoint",),)),
        (
            "What it shall run",
            (("asset", "version"), ("hardware_profile",), ("replicas", "concurrency", "context_tokens")),
        ),
        ("How it comes", (("canary_percent",),)),
        ("Why", (("purpose",), ("promoted_from",))),
    )
    NEEDS = ("endpoint", "version", "hardware_profile", "replicas", "concurrency", "context_tokens")
    FOLLOWS = ("asset", "version", "hardware_profile")
    BEGINS = "endpoint"
    source: Endpoint | None = None
    FILLED = ("asset", "version", "hardware_profile", "replicas", "concurrency", "context_tokens")

    def load(self) -> None:
        """Read what may be run (three queries, four where a model is not for everyone) and the own endpoints (one)."""
        self.offer = Offer.load(self.by, self.own, placed=False)  # it stays on its cluster
        self.endpoints = own_endpoints(self.own, self.values["endpoint"])
        chosen = self.values["endpoint"]
        self.endpoint = next((item for item in self.endpoints if str(item.pk) == chosen and item.revision), None)
        self.offer = self.offer.within(self.endpoint.project.slug if self.endpoint else "")
        if self.values["promoted_from"]:
            self.source = promotion.find(self.by, self.values["promoted_from"])

    def filled(self) -> dict[str, str]:
        """Return what the endpoint runs now, with what it takes along from the one that is promoted."""
        if self.endpoint is None:
            return {}
        along = promotion.taken(self.source) if self.source is not None else {}
        return self.text_of(revision.start(self.endpoint) | along)

    def narrow(self) -> None:
        """Choose the newest version of another model; what runs now stays chosen, whatever became of its version."""
        values, now = self.values, self.endpoint.revision if self.endpoint else None
        offered = self.offer.versions_of(values["asset"])
        stays = now is not None and (values["asset"], values["version"]) == (
            now.version.asset.slug,
            now.version.version,
        )
        if offered and not stays and values["version"] not in {version.version for version in offered}:
            values["version"] = offered[0].version
        self.profile = self.offer.profile(values["hardware_profile"])

    def shapes(self) -> dict[str, Shape]:
        """Return all fields of the body."""
        values, endpoint = self.values, self.endpoint
        runs = f"Runs revision {endpoint.revision.number} now." if endpoint and endpoint.revision else ""
        return {
            "endpoint": fields.select(
                endpoint_choices(self.endpoints, values["endpoint"]), runs or "Those of your projects."
            ),
            **fields.model(self.offer, values["asset"], values["version"]),
            "hardware_profile": fields.select(
                choices.profile_choices(self.offer, values), "Profiles that are too small say why."
            ),
            **fields.sizes("More takes more GPUs."),
            "canary_percent": fields.select(
                CANARIES, "A canary is raised, promoted or aborted by hand.", required=False
            ),
            "purpose": fields.purpose("Reviewers read this first: what changes for whom, and why now."),
            **fields.promoted(self.values["promoted_from"], self.source),
        }

    def resolve(self, body: RevisionBody) -> Resolved | None:
        """Return what the body names when all of it is on offer."""
        endpoint, profile = self.endpoint, self.profile
        version = self.offer.version(body.asset or "", body.version or "")
        if endpoint is None or endpoint.revision is None or version is None or profile is None:
            return None
        pools = sorted(profile.pools.all(), key=lambda pool: pool.slug) if profile.accelerator_count else []
        pool = next((pool for pool in pools if pool.cluster == endpoint.cluster.slug), None)
        line = self.offer.lines.get(pool.pk) if pool else None
        return Resolved(endpoint, endpoint.revision, version, profile, pool, line)
