"""How assets stand in lists."""

from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import Q

from catalog.models.assets import Asset, Version, reviews
from catalog.models.grants import granted_to
from projects.models import User

if TYPE_CHECKING:
    from projects.principal import Principal


class Audience(models.TextChoices):
    """Whom a listing is for; VersionQuerySet.visible_to says which versions each of them sees."""

    PUBLIC = "public"
    REVIEWERS = "reviewers"
    OWN = "own"  # one person, who proposed what is not approved yet


class ListingQuerySet(models.QuerySet["Listing"]):
    """Reading listings."""

    def visible_to(self, principal: "Principal", *, proposed: bool | None = None, granted: bool | None = None) -> Self:
        """Return one listing for each asset that `principal` may see.

        `proposed`: whether there are listings of their own, where the caller knows (one query otherwise). Hardly
        anybody has any, and without them the database walks an index instead of the table. `granted`: False where the
        caller knows that `self.granted` is empty; nobody then looks at the grants.
        """
        if reviews(principal):
            return self.filter(audience=Audience.REVIEWERS)
        own = Listing.objects.own(principal)
        if not (own.exists() if proposed is None else proposed):
            public = self.filter(audience=Audience.PUBLIC)
            if granted is False:
                return public.filter(listed=False)
            return public.filter(Q(listed=False) | granted_to(principal, "asset"))
        return self.filter(
            Q(audience=Audience.PUBLIC) & ~Q(asset__in=own.values("asset"))
            | Q(audience=Audience.OWN, person=principal.user),
            Q(listed=False) | granted_to(principal, "asset"),
        )

    def granted(self, principal: "Principal") -> Self:
        """Return the listings of assets that are not for everyone and that a grant opens to `principal`."""
        return self.filter(granted_to(principal, "asset"), audience=Audience.PUBLIC, listed=True)

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
    listed = models.BooleanField(
        default=False, db_default=False
    )  # a copy of the asset's access: only for those whom a grant names
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
            models.Index(fields=["audience", "listed", "asset"], name="listing_by_access"),
        ]

    def __str__(self) -> str:
        return f"{self.name} for {self.audience}"
