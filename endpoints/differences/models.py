"""What was found to differ, and when each cluster was compared."""

from django.db import models
from django.db.models import Q

from endpoints.models import Cluster, Endpoint


class Resolution(models.TextChoices):
    """How a difference ended."""

    REAPPLIED = "reapplied", "written again"  # somebody asked for it
    TAKEN_BACK = "taken_back", "taken back"  # by the portal itself, at once
    GONE = "gone", "no longer there"
    REPLACED = "replaced", "another revision runs"


class LiveDifference(models.Model):
    """One field of one object of an endpoint that is not as it was approved: one open row for each, and what became of
    earlier ones.
    """

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="differences")
    revision = models.PositiveIntegerField()
    mark = models.CharField(max_length=64)  # digest of object and field
    kind = models.CharField(max_length=63)
    namespace = models.CharField(max_length=63, blank=True)
    name = models.CharField(max_length=253)
    field = models.CharField(max_length=300, blank=True)  # "": the whole object
    # As people read it, shortened; None: it is not there, which is not the same as being empty.
    wanted = models.TextField(null=True)  # noqa: DJ001
    found = models.TextField(null=True)  # noqa: DJ001
    # Who changed it, as the cluster remembers: a field manager, and whether it holds this very field.
    manager = models.CharField(max_length=120, blank=True)
    operation = models.CharField(max_length=20, blank=True)
    changed_at = models.DateTimeField(null=True)
    sure = models.BooleanField(default=True)
    guarded = models.BooleanField(default=True)  # it never stays
    own = models.BooleanField(default=False)  # the portal itself would write it otherwise today
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()
    times = models.PositiveIntegerField(default=1)  # that it was taken back within a short time
    accepted_at = models.DateTimeField(null=True)  # somebody began a request that asks for what was found
    accepted_by = models.CharField(max_length=150, blank=True)
    resolved_at = models.DateTimeField(null=True)
    resolution = models.CharField(max_length=10, choices=Resolution.choices, blank=True)
    resolved_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-first_seen", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["endpoint", "mark"], condition=Q(resolved_at__isnull=True), name="one_open_difference_per_field"
            )
        ]
        indexes = [
            models.Index(fields=["endpoint", "resolved_at"], name="difference_endpoint"),
            models.Index(fields=["resolved_at", "-first_seen"], name="difference_open"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name} {self.field}"

    @property
    def by_hand(self) -> bool:
        """Whether somebody changed it, and not the portal its mind."""
        return not self.own


class DriftLook(models.Model):
    """When a cluster was compared: `looking_until` is the claim of a worker, `looked_at` when it began."""

    cluster = models.OneToOneField(Cluster, primary_key=True, on_delete=models.CASCADE, related_name="drift_look")
    looking_until = models.DateTimeField(null=True)
    looked_at = models.DateTimeField(null=True)  # None = wanted now
    finished_at = models.DateTimeField(null=True)  # the last comparison that reached the end
    seconds = models.FloatField(default=0)
    compared = models.PositiveIntegerField(default=0)  # endpoints
    failures = models.PositiveSmallIntegerField(default=0)  # in a row
    problem = models.CharField(max_length=500, blank=True)  # why the last one failed
    after = models.UUIDField(null=True)  # the endpoint with which the next one begins, where time was too short

    def __str__(self) -> str:
        return f"comparison of {self.cluster_id}"
