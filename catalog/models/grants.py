"""Who may see and ask for an asset that is not for everyone: projects, named groups, and single people for a while.

People and groups are guardian's direct foreign-key tables: real joins, no casts. Projects are not Django groups, so
theirs is a table of ours with the same facts. An expired grant never counts, swept or not.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Q, QuerySet
from django.utils import timezone
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from projects.models import Project, User

if TYPE_CHECKING:
    from projects.principal import Principal

USE = "use_asset"
ASSET = "catalog.Asset"  # by name: the assets ask the grants below who sees them


class Access(models.TextChoices):
    """Whom an asset is for."""

    EVERYONE = "everyone", "everyone"
    LISTED = "listed", "only those who are listed"


class Facts(models.Model):
    """Why a grant was given, by whom, until when."""

    reason = models.CharField(max_length=300, blank=True)
    ends_at = models.DateTimeField(null=True)  # none: until somebody takes it away
    granted_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        abstract = True


class AssetUserGrant(Facts, UserObjectPermissionBase):
    """One person may see and ask for an asset."""

    content_object = models.ForeignKey(ASSET, on_delete=models.CASCADE, related_name="user_grants")

    class Meta(UserObjectPermissionBase.Meta):
        abstract = False
        indexes = [models.Index(fields=["user", "ends_at", "content_object"], name="assetusergrant_holder")]

    def __str__(self) -> str:
        return f"{self.content_object_id} for {self.user_id}"


class AssetGroupGrant(Facts, GroupObjectPermissionBase):
    """The people of a named group may see and ask for an asset."""

    content_object = models.ForeignKey(ASSET, on_delete=models.CASCADE, related_name="group_grants")

    class Meta(GroupObjectPermissionBase.Meta):
        abstract = False
        indexes = [models.Index(fields=["group", "ends_at", "content_object"], name="assetgroupgrant_holder")]

    def __str__(self) -> str:
        return f"{self.content_object_id} for {self.group_id}"


class AssetProjectGrant(Facts):
    """The members of a project may see an asset and ask for it in that project."""

    content_object = models.ForeignKey(ASSET, on_delete=models.CASCADE, related_name="project_grants")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="asset_grants")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "content_object"], name="one_grant_per_project")]
        indexes = [models.Index(fields=["project", "ends_at", "content_object"], name="assetprojectgrant_holder")]

    def __str__(self) -> str:
        return f"{self.content_object_id} for {self.project_id}"


def living(grants: QuerySet[Any]) -> QuerySet[Any]:
    """Return those of `grants` that hold now."""
    return grants.filter(Q(ends_at__isnull=True) | Q(ends_at__gt=timezone.now()))


def naming(principal: "Principal", projects: Iterable[int] | None = None) -> dict[type[Any], QuerySet[Any]]:
    """Return the grants that hold now and name `principal`, by their model; `projects`: only these of the own ones, to
    ask whether somebody may ask for something there.

    The projects come first, which are few and known already, the grants second. A credential that is bound to a
    project has what that project has: what a person or a group was given is for the people themselves, and must not
    travel in the key of a team.
    """
    wanted = principal.roles if projects is None else projects
    mine = [pk for pk in wanted if principal.role_in(pk) is not None]
    free = principal.user is not None and principal.project_id is None
    names = sorted(principal.groups) if free else []
    return {
        AssetProjectGrant: living(AssetProjectGrant.objects.filter(project__in=mine)),
        AssetGroupGrant: living(AssetGroupGrant.objects.filter(group__name__in=names)),
        AssetUserGrant: living(AssetUserGrant.objects.filter(user__in=[principal.user] if free else [])),
    }


def granted_to(principal: "Principal", asset: str = "pk", projects: Iterable[int] | None = None) -> Q:
    """Return the condition that an asset is granted to `principal`; `asset` is the column with its id. `projects`: as
    in `naming`, to ask whether somebody may ask for it there.
    """
    first, *others = (grants.order_by().values("content_object") for grants in naming(principal, projects).values())
    return Q(**{f"{asset}__in": first.union(*others, all=True)})  # one look into one set for each asset
