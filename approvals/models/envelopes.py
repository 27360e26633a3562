"""Approval by rule: which envelope is on, and what each said of each request."""

from django.db import models
from django.db.models import Q

from approvals.models.requests import Request
from portal.states import arrows
from projects.models import User


class Mode(models.TextChoices):
    """What an envelope of the published bundle does."""

    OFF = "off"
    SHADOW = "shadow"  # it only records what it would have decided
    LIVE = "live"


class EnvelopeMode(models.Model):
    """The mode of one envelope, for exactly the text that `digest` is over: another text begins in shadow again."""

    rule = models.CharField(max_length=60, unique=True)
    digest = models.CharField(max_length=80)
    mode = models.CharField(max_length=6, choices=Mode.choices, default=Mode.SHADOW)
    sample_percent = models.PositiveSmallIntegerField(default=10)  # of what it approved, to be read later by a person
    reason = models.CharField(max_length=2000, blank=True)
    changed_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["rule"]
        constraints = [
            models.CheckConstraint(condition=Q(sample_percent__lte=100), name="a_sample_is_at_most_everything")
        ]

    def __str__(self) -> str:
        return f"{self.rule} {self.mode}"


class Reading(models.TextChoices):
    """What became of the later review of an approval by rule."""

    NONE = "none"  # not in the sample
    WAITING = "waiting"
    CONFIRMED = "confirmed"
    OBJECTED = "objected"


class Verdict(models.Model):
    """What one envelope said of one submission, in which mode: in shadow beside the people, live instead of them."""

    ARROWS = {"reading": arrows({Reading.WAITING: {Reading.CONFIRMED, Reading.OBJECTED}})}

    request = models.ForeignKey(Request, on_delete=models.CASCADE, related_name="verdicts")
    submission = models.PositiveSmallIntegerField()
    rule = models.CharField(max_length=60)
    digest = models.CharField(max_length=80)  # of the envelope
    mode = models.CharField(max_length=6, choices=Mode.choices)
    approves = models.BooleanField()
    why = models.CharField(max_length=500)  # what stood in the way, or that nothing did
    at = models.DateTimeField(auto_now_add=True)
    reading = models.CharField(max_length=10, choices=Reading.choices, default=Reading.NONE)
    read_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    read_at = models.DateTimeField(null=True)
    remark = models.CharField(max_length=2000, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["request", "submission", "rule"], name="one_verdict_per_envelope")
        ]
        indexes = [models.Index(fields=["rule", "digest", "mode"], name="verdict_envelope")]

    def __str__(self) -> str:
        return f"{self.rule} on {self.request_id}"
