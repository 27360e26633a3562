"""What may be asked for: assets (models and MCP servers), their immutable versions, and evidence."""

import re
from typing import TYPE_CHECKING, Any, Self

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Case, Exists, IntegerField, OuterRef, Q, Subquery, Value, When

from catalog.models.grants import Access, granted_to
from portal.http import digest
from portal.states import arrows
from projects.models import User
from projects.permissions import allows

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


# What people read of an asset before they ask for it. It may change after the asset was proposed; slug and kind do not.
CARD_FIELDS = ("name", "publisher", "summary", "description", "tasks", "languages", "homepage")


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


def rank_of_state() -> Case:
    """Return the place of a version's state in STATE_ORDER, as an expression."""
    whens = [When(state=state, then=Value(rank)) for rank, state in enumerate(STATE_ORDER)]
    return Case(*whens, output_field=IntegerField())


def reviews(principal: "Principal") -> bool:
    """Whether `principal` reads the whole catalog: what nobody has approved yet, and what is for others. No query.

    Everybody else sees what was approved once: also when it is retired or blocked by now, because the people who run
    it must be able to read why.
    """
    return allows(principal, "review", Version, None)


def _readable(principal: "Principal") -> Q:
    """Return which versions of an asset that they see other people than reviewers read: approved once, or their own."""
    approved = Q(approved_at__isnull=False)
    return approved | Q(proposed_by=principal.user) if principal.user else approved


def _reached(principal: "Principal", access: str, asset: str) -> Q:
    """Return the condition that an asset is for everyone or, by a grant, for `principal`; by columns of the model."""
    return Q(**{access: Access.EVERYONE}) | granted_to(principal, asset)


def asset_audience(principal: "Principal") -> Q | None:
    """Return which assets `principal` sees; None: all. Whoever proposed one sees it also before it has a version."""
    if reviews(principal):
        return None
    shown = Q(Exists(Version.objects.filter(_readable(principal), asset=OuterRef("pk"))))
    own = Q(proposed_by=principal.user) if principal.user else Q(pk__in=[])
    return _reached(principal, "access", "pk") & (shown | own)


def version_audience(principal: "Principal") -> Q | None:
    """Return which versions `principal` reads; None: all."""
    if reviews(principal):
        return None
    return _reached(principal, "asset__access", "asset") & _readable(principal)


def evidence_audience(principal: "Principal") -> Q | None:
    """Return which findings `principal` reads: those about versions that they read; None: all."""
    mine = version_audience(principal)
    return None if mine is None else Q(version__in=Version.objects.filter(mine))


class VersionQuerySet(models.QuerySet["Version"]):
    """Reading versions."""

    def visible_to(self, principal: "Principal") -> Self:
        """Return what `principal` may read: everything for reviewers, else what was approved once and own proposals,
        of assets that are for them.
        """
        mine = version_audience(principal)
        return self if mine is None else self.filter(mine)


class AssetQuerySet(models.QuerySet["Asset"]):
    """Reading assets."""

    def visible_to(self, principal: "Principal") -> Self:
        """Return the assets that `principal` sees, annotated with `rank`, that of the best state of their versions.

        Reviewers, and whoever proposed it, also see an asset without any version; it has no rank.
        """
        read = Q() if reviews(principal) else _readable(principal)
        versions = Version.objects.filter(read, asset=OuterRef("pk")).annotate(rank=rank_of_state())
        versions = versions.order_by("rank", "-created_at", "-id")
        assets = self.annotate(rank=Subquery(versions.values("rank")[:1], output_field=IntegerField()))
        if reviews(principal):
            return assets
        # As asset_audience, but asking for a version of those assets only that a page comes to.
        own = Q(proposed_by=principal.user) if principal.user else Q(pk__in=[])
        return assets.filter(_reached(principal, "access", "pk"), Q(rank__isnull=False) | own)

    def open_in(self, principal: "Principal", project: int) -> Self:
        """Return the assets for which `principal` may ask in one of their projects: those for everyone, granted to that
        project, or granted to the person. To see an asset through another project, or as a reviewer, is not enough.
        """
        return self.filter(Q(access=Access.EVERYONE) | granted_to(principal, projects=[project]))


class Asset(models.Model):
    """A model or an MCP server. `access` says whether everyone signed in may see and ask for it, or only those whom a
    grant names: catalog/models/grants.py.
    """

    slug = models.CharField(max_length=40, unique=True, validators=[asset_slug_validator])
    kind = models.CharField(max_length=12, choices=Kind.choices)
    name = models.CharField(max_length=80)
    publisher = models.CharField(max_length=80, blank=True)
    summary = models.CharField(max_length=300, blank=True)
    description = models.TextField(blank=True)  # Markdown, rendered through a sanitiser
    tasks = models.JSONField(default=list)
    languages = models.JSONField(default=list)
    homepage = models.URLField(max_length=300, blank=True)
    access = models.CharField(max_length=8, choices=Access.choices, default=Access.EVERYONE, db_default=Access.EVERYONE)
    # An MCP server that anybody may read of, without signing in: /mcp/registry/v0.1/servers.
    registry_public = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    proposed_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")

    objects = AssetQuerySet.as_manager()

    class Meta:
        ordering = ["name", "id"]
        indexes = [models.Index(fields=["name", "id"], name="asset_by_name")]  # a page ends after 50, not after all
        permissions = [("use_asset", "Can see and ask for the asset")]

    def __str__(self) -> str:
        return self.slug

    def card(self) -> dict[str, Any]:
        """Return what the card says, by field."""
        return {field: getattr(self, field) for field in CARD_FIELDS}

    def card_digest(self) -> str:
        """Return "sha256:…" over the card: a finding and a decision name the text that they are about."""
        return digest(self.card())


class Version(models.Model):
    """An immutable version of an asset: `runtime` says how it is started, `needs` what it takes, `facts` what its
    publisher says.
    """

    ARROWS = {
        "state": arrows(
            {
                # A draft that was sent once and then discarded is retired, and never was approved.
                VersionState.DRAFT: {VersionState.IN_REVIEW, VersionState.BLOCKED, VersionState.RETIRED},
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
    changed_at = models.DateTimeField(null=True)  # the last step of its state
    state_reason = models.CharField(max_length=300, blank=True)  # why it was rejected, deprecated, retired or blocked
    successor = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="+")
    retires_on = models.DateField(null=True)  # announced when it is deprecated; a sweep retires it on that day
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

    def successor_for(self, principal: "Principal | None") -> "Version | None":
        """Return what to move to, where it may be used and `principal` (None: anybody) sees it: at most one query, none
        where it is for everyone.
        """
        found = self.successor
        if found is None or found.state not in {VersionState.APPROVED, VersionState.DEPRECATED}:
            return None
        if found.asset_id == self.asset_id or found.asset.access == Access.EVERYONE:
            return found
        known = principal is not None and Version.objects.visible_to(principal).filter(pk=found.pk).exists()
        return found if known else None

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
    tool = models.CharField(max_length=60)  # with its version
    report = models.JSONField(default=dict)
    content = models.CharField(
        max_length=80, blank=True, db_default="", default=""
    )  # digest of the pinned content that was judged; "" where only the specification was
    digest = models.CharField(max_length=80, blank=True, db_default="", default="")  # sha256:… of verdict and report
    collected_at = models.DateTimeField()  # the last time that it came to this finding
    expires_at = models.DateTimeField(null=True)  # from then on it counts no more; none: it does not age

    class Meta:
        ordering = ["kind", "-collected_at"]
        indexes = [models.Index(fields=["version", "kind", "-collected_at"], name="evidence_latest")]

    def __str__(self) -> str:
        return f"{self.kind}: {self.verdict}"
