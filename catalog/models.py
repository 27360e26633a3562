"""What may be asked for: assets (models and MCP servers), their immutable versions, evidence, and the hardware they
run on.
"""

import re
from typing import TYPE_CHECKING, Self

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Case, IntegerField, OuterRef, Q, Subquery, Value, When

from portal.states import arrows
from projects.models import AUDITORS, GOVERNANCE_LEADS, PLATFORM_ENGINEERS, User, slug_validator

if TYPE_CHECKING:
    from projects.principal import Principal


# Model names carry dots: granite-3.3-2b-instruct.
ASSET_SLUG = r"^[a-z0-9]([a-z0-9.-]{0,38}[a-z0-9])?$"
asset_slug_validator = RegexValidator(
    ASSET_SLUG,
    "Use 1 to 40 lower-case letters, digits, dots and hyphens, starting and ending with a letter or digit.",
)


def is_asset_slug(text: str) -> bool:
    """Whether `text` can be a slug at all.

    What cannot is not looked up: PostgreSQL refuses a NUL where it should find nothing.
    """
    return len(text) <= 40 and re.fullmatch(ASSET_SLUG, text) is not None


class Kind(models.TextChoices):
    """What an asset is."""

    MODEL = "model"
    MCP_SERVER = "mcp-server", "MCP server"


class VersionState(models.TextChoices):
    """Life of a version; only an approved one can be requested."""

    DRAFT = "draft"
    IN_REVIEW = "in_review"
    APPROVED = "approved"
    DEPRECATED = "deprecated"
    RETIRED = "retired"
    BLOCKED = "blocked"


# An asset has no state of its own: it shows the best one among its versions, in this order.
STATE_ORDER = (
    VersionState.APPROVED,
    VersionState.DEPRECATED,
    VersionState.IN_REVIEW,
    VersionState.DRAFT,
    VersionState.RETIRED,
    VersionState.BLOCKED,
)
# Who sees what nobody has approved yet. Everybody else sees what was approved once: also when it is retired or blocked
# by now, because the people who run it must be able to read why.
REVIEWERS = frozenset({PLATFORM_ENGINEERS, GOVERNANCE_LEADS, AUDITORS})


def rank_of_state() -> Case:
    """Return the place of a version's state in STATE_ORDER, as an expression."""
    whens = [When(state=state, then=Value(rank)) for rank, state in enumerate(STATE_ORDER)]
    return Case(*whens, output_field=IntegerField())


class VersionQuerySet(models.QuerySet["Version"]):
    """Reading versions."""

    def visible_to(self, principal: "Principal") -> Self:
        """Return what `principal` may read: everything for reviewers, else what was approved once and own proposals."""
        if principal.groups & REVIEWERS:
            return self
        own = Q(proposed_by=principal.user) if principal.user else Q()
        return self.filter(Q(approved_at__isnull=False) | own)


class AssetQuerySet(models.QuerySet["Asset"]):
    """Reading assets."""

    def visible_to(self, principal: "Principal") -> Self:
        """Return the assets with a version that `principal` may read, annotated with `rank`, that of the best state.

        Reviewers, and whoever proposed it, also see an asset without any version; it has no rank.
        """
        versions = Version.objects.visible_to(principal).filter(asset=OuterRef("pk")).annotate(rank=rank_of_state())
        versions = versions.order_by("rank", "-created_at", "-id")
        assets = self.annotate(rank=Subquery(versions.values("rank")[:1], output_field=IntegerField()))
        if principal.groups & REVIEWERS:
            return assets
        own = Q(proposed_by=principal.user) if principal.user else Q()
        return assets.filter(Q(rank__isnull=False) | own)


class Asset(models.Model):
    """A model or an MCP server."""

    slug = models.CharField(max_length=40, unique=True, validators=[asset_slug_validator])
    kind = models.CharField(max_length=12, choices=Kind.choices)
    name = models.CharField(max_length=80)
    publisher = models.CharField(max_length=80, blank=True)
    summary = models.CharField(max_length=300, blank=True)
    description = models.TextField(blank=True)  # Markdown, rendered through a sanitiser
    tasks = models.JSONField(default=list)
    languages = models.JSONField(default=list)
    homepage = models.URLField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    proposed_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")

    objects = AssetQuerySet.as_manager()

    class Meta:
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.slug


class Version(models.Model):
    """An immutable version of an asset: `runtime` says how it is started, `needs` what it takes, `facts` what its
    publisher says.
    """

    ARROWS = {
        "state": arrows(
            {
                VersionState.DRAFT: {VersionState.IN_REVIEW, VersionState.BLOCKED},
                VersionState.IN_REVIEW: {VersionState.APPROVED, VersionState.DRAFT, VersionState.BLOCKED},
                VersionState.APPROVED: {VersionState.DEPRECATED, VersionState.BLOCKED},
                VersionState.DEPRECATED: {VersionState.RETIRED, VersionState.BLOCKED},
                VersionState.RETIRED: {VersionState.BLOCKED},
                VersionState.BLOCKED: {VersionState.IN_REVIEW},
            }
        )
    }

    asset = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="versions")
    version = models.CharField(max_length=40)
    state = models.CharField(max_length=12, choices=VersionState.choices, default=VersionState.DRAFT)
    source = models.CharField(max_length=300)  # hf://org/model@revision, …
    digest = models.CharField(max_length=80, blank=True)  # of the specification below; set when loaded, never changed
    licence = models.CharField(max_length=80)  # SPDX expression
    # The shapes of these four stand in catalog/specs.py. `runtimes` holds the same version under other engines, by
    # name: to switch, an operator loads a new version with that runtime.
    runtime = models.JSONField(default=dict)  # {engine, model, image, command: [template…], health_path, demo: bool, …}
    runtimes = models.JSONField(default=dict)
    needs = models.JSONField(default=dict)  # {parameters, bytes_per_parameter, layers, kv_heads, head_dim, kv_bytes, …}
    facts = models.JSONField(
        default=dict
    )  # configuration excerpt with what is unverified; for MCP servers remotes, tools
    created_at = models.DateTimeField(auto_now_add=True)
    approved_at = models.DateTimeField(null=True)  # the last approval; set once, it never becomes empty again
    state_reason = models.CharField(max_length=300, blank=True)  # why it was rejected, deprecated, retired or blocked
    successor = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="+")
    proposed_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")

    objects = VersionQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["asset", "version"], name="one_version_per_name")]
        indexes = [
            models.Index(fields=["state", "asset"], name="version_state"),
            models.Index(fields=["state", "-approved_at", "-id"], name="version_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.asset_id}@{self.version}"

    def latest_evidence(self) -> list["Evidence"]:
        """Return the latest finding of each kind, by kind; prefetch `evidence` where there is more than one version."""
        latest: dict[str, Evidence] = {}
        for item in sorted(self.evidence.all(), key=lambda row: (row.collected_at, row.pk)):
            latest[item.kind] = item
        return [latest[kind] for kind in sorted(latest)]


class Verdict(models.TextChoices):
    """What a check of evidence found."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    WARN = "warn"
    FAIL = "fail"


class Evidence(models.Model):
    """What a named tool found about a version, with its raw report."""

    version = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="evidence")
    kind = models.CharField(max_length=20)  # licence | card | pin | …
    verdict = models.CharField(max_length=8, choices=Verdict.choices)
    summary = models.CharField(max_length=300)
    tool = models.CharField(max_length=60)
    report = models.JSONField(default=dict)
    collected_at = models.DateTimeField()

    class Meta:
        ordering = ["kind", "-collected_at"]
        indexes = [models.Index(fields=["version", "kind", "-collected_at"], name="evidence_latest")]

    def __str__(self) -> str:
        return f"{self.kind}: {self.verdict}"


class Audience(models.TextChoices):
    """Whom a listing is for; VersionQuerySet.visible_to says which versions each of them sees."""

    PUBLIC = "public"
    REVIEWERS = "reviewers"
    OWN = "own"  # one person, who proposed what is not approved yet


class ListingQuerySet(models.QuerySet["Listing"]):
    """Reading listings."""

    def visible_to(self, principal: "Principal", *, proposed: bool | None = None) -> Self:
        """Return one listing for each asset that `principal` may see.

        `proposed`: whether there are listings of their own, where the caller knows (one query otherwise). Hardly
        anybody has any, and without them the database walks an index instead of the table.
        """
        if principal.groups & REVIEWERS:
            return self.filter(audience=Audience.REVIEWERS)
        own = Listing.objects.own(principal)
        if not (own.exists() if proposed is None else proposed):
            return self.filter(audience=Audience.PUBLIC)
        return self.filter(
            Q(audience=Audience.PUBLIC) & ~Q(asset__in=own.values("asset"))
            | Q(audience=Audience.OWN, person=principal.user)
        )

    def own(self, principal: "Principal") -> Self:
        """Return the listings that only `principal` sees: of what they proposed and nobody has approved yet."""
        return self.filter(audience=Audience.OWN, person=principal.user) if principal.user else self.none()


class Listing(models.Model):
    """How an asset stands in the lists of one audience: the facts of its best version, flat.

    A copy, so that 10,000 assets are filtered, sorted and counted by one query each; catalog/listings.py writes it in
    the transaction of every change.
    """

    asset = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="listings")
    audience = models.CharField(max_length=10, choices=Audience.choices)
    person = models.ForeignKey(User, null=True, on_delete=models.CASCADE, related_name="+")  # of OWN
    version = models.ForeignKey(Version, null=True, on_delete=models.CASCADE, related_name="+")  # the one that is shown
    kind = models.CharField(max_length=12)
    name = models.CharField(max_length=80)  # lower case, for the order
    state = models.CharField(max_length=12)
    rank = models.PositiveSmallIntegerField()  # place of `state` in STATE_ORDER
    licence = models.CharField(max_length=80)
    evidence = models.CharField(max_length=8)  # the worst verdict among the latest findings, or none
    parameters = models.BigIntegerField(null=True)
    context_tokens = models.BigIntegerField(null=True)  # the longest that the model takes
    needed_bytes = models.BigIntegerField(null=True)  # of one replica at the size that pages assume
    tasks = models.TextField()  # "|chat|code|"
    text = models.TextField()  # what the search looks in, lower case
    created_at = models.DateTimeField()

    objects = ListingQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["asset", "audience"], condition=Q(person__isnull=True), name="one_listing_per_audience"
            ),
            models.UniqueConstraint(
                fields=["asset", "person"], condition=Q(person__isnull=False), name="one_listing_per_person"
            ),
        ]
        indexes = [
            models.Index(fields=["audience", "rank", "name", "asset"], name="listing_by_name"),
            models.Index(fields=["audience", "-created_at", "asset"], name="listing_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.name} for {self.audience}"


class HardwareProfile(models.Model):
    """What a replica may run on. `memory_bytes` is per accelerator, or of the machine's memory where there is none."""

    slug = models.CharField(max_length=40, unique=True, validators=[slug_validator])
    name = models.CharField(max_length=80)
    accelerator = models.CharField(max_length=40, blank=True)  # "" = none
    accelerator_count = models.PositiveSmallIntegerField(default=0)
    memory_bytes = models.BigIntegerField()
    price_per_hour = models.DecimalField(max_digits=10, decimal_places=4)
    currency = models.CharField(max_length=3)
    enabled = models.BooleanField(default=True)
    order = models.PositiveSmallIntegerField(default=100)

    class Meta:
        ordering = ["order", "slug"]
        constraints = [
            models.CheckConstraint(condition=Q(price_per_hour__gte=0), name="profile_price_not_negative"),
            models.CheckConstraint(condition=Q(memory_bytes__gt=0), name="profile_memory_positive"),
        ]

    def __str__(self) -> str:
        return self.slug
