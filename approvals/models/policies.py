"""Policy bundles as they were published, drafts of the next one, and previews of what it would change."""

from django.db import models

from portal.states import arrows
from projects.models import User


class Bundle(models.Model):
    """The files of a policy bundle, once and for all: the digest is over them. Never changed, never deleted."""

    digest = models.CharField(max_length=80, unique=True)
    name = models.CharField(max_length=80)
    files = models.JSONField(default=dict)  # {path: text}
    rules = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Publication(models.Model):
    """One publishing of a bundle; the newest one counts. Rolling back publishes an earlier bundle again."""

    number = models.PositiveIntegerField(unique=True)  # 1, 2, 3 …
    version = models.CharField(max_length=20)  # 2026.11.2: year, month, the how-manieth in it
    bundle = models.ForeignKey(Bundle, on_delete=models.PROTECT, related_name="publications")
    reason = models.CharField(max_length=2000)
    rolled_back = models.BooleanField(default=False)
    by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-number"]

    def __str__(self) -> str:
        return self.version


class PolicyDraft(models.Model):
    """The next bundle while one person writes it; `base` is the digest of the bundle that it began with."""

    owner = models.OneToOneField(User, on_delete=models.CASCADE, related_name="policy_draft")
    base = models.CharField(max_length=80)
    files = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"draft of {self.owner_id}"


class PreviewState(models.TextChoices):
    """Life of an impact preview."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Preview(models.Model):
    """What a bundle would change: its rules over every live endpoint and the last requests, against those that count
    today.
    """

    ARROWS = {
        "state": arrows(
            {
                PreviewState.QUEUED: {PreviewState.RUNNING, PreviewState.FAILED},
                PreviewState.RUNNING: {PreviewState.DONE, PreviewState.FAILED, PreviewState.QUEUED},
            }
        )
    }

    files = models.JSONField(default=dict)
    digest = models.CharField(max_length=80)  # of what is tried
    against = models.CharField(max_length=80)  # of what counted then
    state = models.CharField(max_length=8, choices=PreviewState.choices, default=PreviewState.QUEUED)
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    result = models.JSONField(default=dict)  # {"endpoints": n, "requests": n, "changes": […]}
    sentence = models.CharField(max_length=500, blank=True)  # why it failed
    by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    claimed_until = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"preview {self.pk}"
