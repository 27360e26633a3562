"""Collecting evidence: what is to be looked at, and documents that people add for the checks to judge."""

from django.db import models
from django.db.models import Q

from catalog.models.assets import Version
from projects.models import User


class Job(models.Model):
    """One check of one version that a worker has to run. The row is the queue: it is wanted from `due_at` on, and a
    claim is a lease that its holder renews.
    """

    version = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="jobs")
    kind = models.CharField(max_length=20)  # as Evidence.kind; "pin" resolves or verifies the source
    due_at = models.DateTimeField(null=True)  # none: nothing to do
    wanted_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")  # none: the schedule
    claimed_by = models.CharField(max_length=64, blank=True)
    claimed_until = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)  # since it last came to an end
    problem = models.CharField(max_length=300, blank=True)  # why the last attempt came to no verdict
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "kind"], name="one_job_per_check")]
        indexes = [models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="job_due")]

    def __str__(self) -> str:
        return f"{self.kind} of {self.version_id}"


class Attachment(models.Model):
    """A document about a version that somebody added: a signature, a vendor's ML-BOM, a Scorecard result, provenance, a
    measurement. A version never changes; what is known about it may grow.
    """

    version = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="attachments")
    kind = models.CharField(max_length=20)  # signature | ml-bom | scorecard | provenance | performance
    name = models.CharField(max_length=120)
    content = models.TextField()  # JSON as it came, at most 1 MB
    digest = models.CharField(max_length=80)  # sha256:… of the content's bytes
    added_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    added_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["kind", "-added_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["version", "kind", "digest"], name="one_attachment_once")]

    def __str__(self) -> str:
        return f"{self.kind} of {self.version_id}: {self.name}"
