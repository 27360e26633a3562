"""Who may see and ask for an asset that is not for everyone: projects, named groups, and single people for a while.

People and groups are guardian's direct foreign-key tables: real joins, no casts. Projects are not Django groups, so
theirs is a table of ours with the same facts. An expired grant never counts, swept or not.
"""

from typing import Any

from django.db import models
from django.db.models import Q, QuerySet
from django.utils import timezone
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from catalog.models.assets import Asset
from projects.models import Project, User

USE = "use_asset"


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

    content_object = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="user_grants")

    class Meta(UserObjectPermissionBase.Meta):
        abstract = False
        indexes = [models.Index(fields=["user", "ends_at", "content_object"], name="assetusergrant_holder")]

    def __str__(self) -> str:
        return f"{self.content_object_id} for {self.user_id}"


class AssetGroupGrant(Facts, GroupObjectPermissionBase):
    """The people of a named group may see and ask for an asset."""

    content_object = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="group_grants")

    class Meta(GroupObjectPermissionBase.Meta):
        abstract = False
        indexes = [models.Index(fields=["group", "ends_at", "content_object"], name="assetgroupgrant_holder")]

    def __str__(self) -> str:
        return f"{self.content_object_id} for {self.group_id}"


class AssetProjectGrant(Facts):
    """The members of a project may see an asset and ask for it in that project."""

    content_object = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="project_grants")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="asset_grants")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "content_object"], name="one_grant_per_project")]
        indexes = [models.Index(fields=["project", "ends_at", "content_object"], name="assetprojectgrant_holder")]

    def __str__(self) -> str:
        return f"{self.content_object_id} for {self.project_id}"


def living(grants: QuerySet[Any]) -> QuerySet[Any]:
    """Return those of `grants` that hold now."""
    return grants.filter(Q(ends_at__isnull=True) | Q(ends_at__gt=timezone.now()))
