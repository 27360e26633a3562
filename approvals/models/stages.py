"""Who must say yes, in which order; on whose behalf; and what each submission held."""

from django.db import models
from django.db.models import F, Q

from approvals.models.requests import Request
from portal.states import arrows
from projects.models import User


class Submission(models.Model):
    """What was sent, each time it was sent: a re-submission shows what changed since the one before."""

    request = models.ForeignKey(Request, on_delete=models.CASCADE, related_name="submissions")
    number = models.PositiveSmallIntegerField()
    body = models.JSONField(default=dict)
    plan = models.JSONField(default=dict)
    plan_digest = models.CharField(max_length=80)
    at = models.DateTimeField()
    # When it came back to the requester, or was decided: the objective's clock runs from `at` to here.
    closed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["request", "number"], name="one_row_per_submission")]

    def __str__(self) -> str:
        return f"{self.request_id}.{self.number}"


class StageState(models.TextChoices):
    """Life of a stage."""

    WAITING = "waiting"  # an earlier one is not done
    OPEN = "open"
    PASSED = "passed"
    CLOSED = "closed"  # the request was answered or taken back before it was passed


class Stage(models.Model):
    """One step of a review: `count` different people who have one of `roles` must approve. `roles` are platform groups,
    or `owner`: an owner of the project that is asked.
    """

    ARROWS = {
        "state": arrows(
            {
                StageState.WAITING: {StageState.OPEN, StageState.CLOSED},
                StageState.OPEN: {StageState.PASSED, StageState.CLOSED},
            }
        )
    }

    request = models.ForeignKey(Request, on_delete=models.CASCADE, related_name="stages")
    submission = models.PositiveSmallIntegerField()
    position = models.PositiveSmallIntegerField()  # 1 first
    rule = models.CharField(max_length=60)  # the stage rule of the bundle; "default" where none matched
    name = models.CharField(max_length=80)
    reason = models.CharField(max_length=300, blank=True)  # why it is needed, in a sentence
    roles = models.JSONField(default=list)
    count = models.PositiveSmallIntegerField(default=1)
    human = models.BooleanField(default=False)  # no envelope passes it
    state = models.CharField(max_length=8, choices=StageState.choices, default=StageState.WAITING)
    opened_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    escalate_after_hours = models.PositiveSmallIntegerField(null=True)  # business hours
    escalate_to = models.JSONField(default=list)  # roles that may decide it, too, once it is escalated
    escalated_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["submission", "position"]
        constraints = [
            models.UniqueConstraint(fields=["request", "submission", "position"], name="one_stage_per_position"),
            models.UniqueConstraint(fields=["request"], condition=Q(state="open"), name="one_open_stage_per_request"),
            models.UniqueConstraint(
                fields=["id", "request"], name="stage_request"
            ),  # target of Decision's composite key
            models.CheckConstraint(condition=Q(count__gte=1), name="a_stage_needs_somebody"),
        ]
        indexes = [models.Index(fields=["state", "opened_at"], name="stage_open")]

    def __str__(self) -> str:
        return self.name


class Delegation(models.Model):
    """Somebody decides for somebody else for some time. It hands on the delegator's own roles, never ones that were
    delegated to them.
    """

    delegator = models.ForeignKey(User, on_delete=models.CASCADE, related_name="delegations_given")
    delegate = models.ForeignKey(User, on_delete=models.CASCADE, related_name="delegations_got")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    reason = models.CharField(max_length=300)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=~Q(delegator=F("delegate")), name="nobody_delegates_to_oneself"),
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="a_delegation_ends_after_it_starts"),
        ]
        indexes = [models.Index(fields=["delegate", "ends_at"], name="delegation_delegate")]

    def __str__(self) -> str:
        return f"{self.delegator_id} → {self.delegate_id}"
