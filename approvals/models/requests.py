"""Asking and deciding: requests with their frozen plan, decisions, comments."""

import datetime as dt
from typing import Any

from django.db import models
from django.db.models import F, Q, Value

from catalog.models import HardwareProfile, Version
from endpoints.models import Endpoint, Environment
from portal.states import arrows
from projects.models import Project, User


class RequestKind(models.TextChoices):
    """What can be asked for in this release."""

    ENDPOINT = "endpoint"
    ADMISSION = "admission"
    REVISION = "revision"  # another version, profile or size of a running endpoint
    RENEWAL = "renewal"  # a later end date
    ACCESS = "access"  # to call another project's endpoint
    QUOTA = "quota"  # more GPUs or tokens until a day
    MCP_ACCESS = "mcp-access", "MCP access"  # to use tools of an MCP server
    WAIVER = "waiver"  # to go on although one rule fails, for a reason and until a day


def kept_once_sent(collector: Any, field: Any, requests: Any, using: str) -> None:
    """Keep a version for as long as a request was sent for it; a draft of a request does not keep a draft of a version
    (an on_delete handler of the ORM).
    """
    keep = models.PROTECT if any(request.submission for request in requests) else models.SET_NULL
    keep(collector, field, requests, using)


class RequestState(models.TextChoices):
    """Life of a request."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    CHANGES_REQUESTED = "changes_requested", "changes requested"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class DataClassification(models.TextChoices):
    """How sensitive the data is that the endpoint will see."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    RESTRICTED = "restricted"


class Request(models.Model):
    """A question to the platform with its answer. `body` is what was asked, `plan` what was computed and frozen at
    submission.
    """

    ARROWS = {
        "state": arrows(
            {
                RequestState.DRAFT: {RequestState.SUBMITTED, RequestState.WITHDRAWN, RequestState.EXPIRED},
                RequestState.SUBMITTED: {
                    RequestState.CHANGES_REQUESTED,
                    RequestState.APPROVED,
                    RequestState.REJECTED,
                    RequestState.WITHDRAWN,
                    RequestState.EXPIRED,
                },
                RequestState.CHANGES_REQUESTED: {
                    RequestState.SUBMITTED,
                    RequestState.WITHDRAWN,
                    RequestState.EXPIRED,
                },
            }
        )
    }

    kind = models.CharField(max_length=12, choices=RequestKind.choices)
    project = models.ForeignKey(
        Project, null=True, on_delete=models.PROTECT, related_name="requests"
    )  # none for admission
    requester = models.ForeignKey(User, on_delete=models.PROTECT, related_name="requests")
    name = models.CharField(max_length=40, blank=True)
    state = models.CharField(max_length=20, choices=RequestState.choices, default=RequestState.DRAFT)
    submission = models.PositiveSmallIntegerField(default=0)  # 1 after the first submit, 2 after a re-submission, …
    body = models.JSONField(default=dict)
    version = models.ForeignKey(Version, null=True, on_delete=kept_once_sent, related_name="requests")
    profile = models.ForeignKey(HardwareProfile, null=True, on_delete=models.PROTECT, related_name="requests")
    environment = models.CharField(max_length=8, choices=Environment.choices, blank=True)
    plan = models.JSONField(default=dict)
    plan_digest = models.CharField(max_length=80, blank=True)
    # of kind endpoint: what the approval opened; of the other kinds: what is asked about
    endpoint = models.ForeignKey(Endpoint, null=True, on_delete=models.SET_NULL, related_name="requests")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    submitted_at = models.DateTimeField(null=True)  # first submission: the lead time starts here
    triaged_at = models.DateTimeField(null=True)  # somebody else first opened, assigned or answered it
    decided_at = models.DateTimeField(null=True)
    # The business clock (approvals/objective/): seconds that count against the objective, up to `clock_since`, which is
    # None while the clock stands still: it is the requester's turn, or it is over.
    clock_seconds = models.PositiveIntegerField(default=0, db_default=0)
    clock_since = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True)  # while it runs: when the objective is reached; the queue goes by it
    # When people were told that the objective is near, and again when it was passed: then it lies behind `due_at`.
    alerted_at = models.DateTimeField(null=True)
    first_token_at = models.DateTimeField(null=True)  # of kind endpoint: the first call that it answered
    # What the queue filters by (approvals/stages/standing.py): who may decide the open stage, as |group|owner:7|*|, and
    # who said yes to this submission already, themselves or through a delegate, as |12|15|; both empty when it is over.
    waiting_on = models.CharField(max_length=400, blank=True, default="", db_default="")
    answered_by = models.CharField(max_length=400, blank=True, default="", db_default="")
    assignee = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["id", "requester"], name="request_requester"
            ),  # target of Decision's composite key
            models.CheckConstraint(
                condition=Q(kind="admission") | Q(project__isnull=False), name="request_has_a_project"
            ),
            models.UniqueConstraint(  # two that are sent at the same instant; approvals/kinds/base.py says it in words
                fields=["kind", "endpoint", "project"],
                condition=Q(state="submitted", kind__in=["revision", "renewal", "access"]),
                name="one_open_request_per_endpoint",
            ),
        ]
        indexes = [
            models.Index(fields=["state", "submitted_at"], name="request_queue"),
            models.Index(fields=["project", "-id"], name="request_project"),
            models.Index(  # every page counts them
                fields=["state", "waiting_on", "requester", "answered_by"], name="request_waiting_on"
            ),
            models.Index(fields=["state", "due_at"], name="request_due"),
            models.Index(fields=["state", "decided_at"], name="request_decided"),  # insights count by day
        ]

    def __str__(self) -> str:
        return self.number

    @property
    def number(self) -> str:
        """What people call it: R-12."""
        return f"R-{self.pk}"

    @property
    def waiting_roles(self) -> list[str]:
        """The roles that may decide the open stage; `owner`: of the project that is asked. None when nothing waits."""
        words = self.waiting_on.strip("|").split("|")
        return sorted({word.partition(":")[0] for word in words} - {"", "*"})

    @property
    def ready_at(self) -> dt.datetime | None:
        """When what was asked for could be used: the lead time ends here. Wants `endpoint` selected.

        A new endpoint, when it answered for the first time; everything else counts from the approval.
        """
        if self.kind == RequestKind.ENDPOINT:
            return self.endpoint.ready_at if self.endpoint else None
        return self.decided_at if self.state == RequestState.APPROVED else None

    @property
    def lead_time(self) -> dt.timedelta | None:
        """From the first submission until it could be used; None while it lasts."""
        return self.ready_at - self.submitted_at if self.ready_at and self.submitted_at else None


class Choice(models.TextChoices):
    """What a reviewer may say."""

    APPROVE = "approve"
    REJECT = "reject"
    REQUEST_CHANGES = "request_changes", "request changes"


class Decision(models.Model):
    """One per person and submission. Carries a copy of the requester so that the database itself refuses a decision
    on an own request:
    approvals/triggers.py keeps the copy true."""

    request = models.ForeignKey(Request, on_delete=models.PROTECT, related_name="decisions")
    requester = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    reviewer = models.ForeignKey(User, on_delete=models.PROTECT, related_name="decisions")
    on_behalf_of = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    submission = models.PositiveSmallIntegerField()
    decision = models.CharField(max_length=16, choices=Choice.choices)
    reason = models.TextField(blank=True)
    plan_digest = models.CharField(max_length=80, blank=True)  # frozen at submission
    plan_digest_now = models.CharField(max_length=80, blank=True)  # re-checked at the decision
    via = models.CharField(max_length=20, default="session")
    second_factor = models.CharField(max_length=40, blank=True, db_default="")  # totp, webauthn, sso, host; or none
    stage = models.ForeignKey("Stage", null=True, on_delete=models.PROTECT, related_name="decisions")
    rule = models.CharField(
        max_length=60, blank=True, default="", db_default=""
    )  # the envelope that approved by itself
    # The record: what the decision was taken from. `inputs` is the document that the rules read, `verdicts` what they
    # said of it, `evidence` the digest of each finding about the version, all as of the decision.
    bundle_digest = models.CharField(max_length=80, blank=True, default="", db_default="")
    inputs = models.JSONField(default=dict, db_default=Value("{}", models.JSONField()))
    verdicts = models.JSONField(default=list, db_default=Value("[]", models.JSONField()))
    evidence = models.JSONField(default=dict, db_default=Value("{}", models.JSONField()))
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["request", "reviewer", "submission"], name="one_decision_per_person"),
            models.CheckConstraint(condition=~Q(reviewer=F("requester")), name="nobody_decides_an_own_request"),
            models.CheckConstraint(
                condition=Q(on_behalf_of__isnull=True) | ~Q(on_behalf_of=F("requester")),
                name="nobody_decides_for_the_requester",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.decision} on {self.request_id}"


class Comment(models.Model):
    """A remark on a request."""

    request = models.ForeignKey(Request, on_delete=models.CASCADE, related_name="comments")
    author = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    text = models.TextField()
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.text[:40]
