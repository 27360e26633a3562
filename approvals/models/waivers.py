"""Exceptions from a rule, and findings on what runs."""

from django.db import models
from django.db.models import F, Q

from approvals.models.requests import Request
from endpoints.models import Endpoint
from portal.states import arrows
from projects.models import Project, User


class WaiverState(models.TextChoices):
    """Life of a waiver. What is only asked for is a request of the kind waiver."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Waiver(models.Model):
    """One failed check may be passed, for one request or one endpoint, until a day. It is never extended: a longer one
    is another waiver.
    """

    ARROWS = {"state": arrows({WaiverState.ACTIVE: {WaiverState.EXPIRED, WaiverState.REVOKED}})}

    asked = models.OneToOneField(Request, on_delete=models.PROTECT, related_name="waiver")  # the request that asked
    check_id = models.CharField(max_length=60)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="waivers")
    request = models.ForeignKey(Request, null=True, on_delete=models.PROTECT, related_name="waivers")
    endpoint = models.ForeignKey(Endpoint, null=True, on_delete=models.PROTECT, related_name="waivers")
    # What `request` asked for when it was granted, as far as the rule looks at it (approvals/waiving.py): for something
    # else the waiver does not count.
    asks = models.JSONField(default=dict, blank=True)
    reason = models.TextField()
    compensating_control = models.TextField()
    owner = models.ForeignKey(User, on_delete=models.PROTECT, related_name="waivers_owned")
    requested_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    approved_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    # Who asked for what it is about: the requester of `request`, or of the one that opened `endpoint`.
    beneficiary = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    ends_on = models.DateField()
    state = models.CharField(max_length=8, choices=WaiverState.choices, default=WaiverState.ACTIVE)
    created_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True)
    reminded_on = models.DateField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=~Q(approved_by=F("requested_by")), name="nobody_waives_for_oneself"),
            models.CheckConstraint(condition=~Q(approved_by=F("owner")), name="no_owner_approves_the_own_waiver"),
            models.CheckConstraint(
                condition=Q(beneficiary__isnull=True) | ~Q(approved_by=F("beneficiary")),
                name="nobody_waives_for_the_own_request",
            ),
            models.CheckConstraint(
                condition=Q(request__isnull=False) | Q(endpoint__isnull=False), name="a_waiver_is_about_something"
            ),
            models.UniqueConstraint(
                fields=["request", "check_id"], condition=Q(state="active"), name="one_active_waiver_per_request"
            ),
            models.UniqueConstraint(
                fields=["endpoint", "check_id"], condition=Q(state="active"), name="one_active_waiver_per_endpoint"
            ),
        ]
        indexes = [models.Index(fields=["state", "ends_on"], name="waiver_ends")]

    def __str__(self) -> str:
        return f"W-{self.pk}"


class Finding(models.Model):
    """A rule that fails or warns on a running endpoint, from the day it was seen until it holds again."""

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="findings")
    check_id = models.CharField(max_length=60)
    title = models.CharField(max_length=120)
    verdict = models.CharField(max_length=8)  # fail | warn | waived
    reason = models.CharField(max_length=500)
    fix = models.CharField(max_length=500, blank=True)
    waiver = models.ForeignKey(Waiver, null=True, on_delete=models.SET_NULL, related_name="findings")
    opened_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["endpoint", "check_id"], condition=Q(closed_at__isnull=True), name="one_open_finding"
            )
        ]

    def __str__(self) -> str:
        return f"{self.check_id} on {self.endpoint_id}"
