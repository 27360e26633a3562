"""MCP servers: the pinned definitions of their tools, and which project may use which of them."""

from django.db import models
from django.db.models import Q

from catalog.models.assets import Asset, Version
from projects.models import Project, User


class Tool(models.Model):
    """The definition of one tool as the server gave it when it was inspected; never changed."""

    version = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="tools")
    name = models.CharField(max_length=128)
    digest = models.CharField(max_length=80)  # sha256:… of the definition in canonical form (RFC 8785)
    definition = models.JSONField()  # name, title, description, inputSchema, outputSchema, annotations

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["version", "name"], name="one_tool_per_name")]

    def __str__(self) -> str:
        return self.name


class ServerGrant(models.Model):
    """A project may use some tools of a version of an MCP server. A later one for the same server takes its place."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="server_grants")
    asset = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="server_grants")
    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="server_grants")
    tools = models.JSONField(default=list)  # names, sorted
    ends_on = models.DateField(null=True)  # the last day; none: until somebody ends it
    reason = models.CharField(max_length=300, blank=True)
    reference = models.CharField(max_length=20, blank=True)  # what allowed it
    granted_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "asset"], condition=Q(ended_at__isnull=True), name="one_living_server_grant"
            )
        ]

    def __str__(self) -> str:
        return f"{self.asset_id} for {self.project_id}"
