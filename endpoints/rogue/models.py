"""What a scan of a cluster found, and when each cluster was scanned."""

from django.db import models
from django.db.models import Q

from portal.states import arrows
from projects.models import Project, User


class RogueState(models.TextChoices):
    """What became of a workload that runs without approval."""

    OPEN = "open", "Open"
    NOTICED = "noticed", "Owner told"
    ADOPTING = "adopting", "Adoption asked for"
    ADOPTED = "adopted", "Adopted"
    WAIVED = "waived", "Waived"
    GONE = "gone", "Gone"


RUNNING = (RogueState.OPEN, RogueState.NOTICED, RogueState.ADOPTING, RogueState.WAIVED)  # without approval, that is
UNANSWERED = (RogueState.OPEN, RogueState.NOTICED)


class RogueWorkload(models.Model):
    """A workload that holds accelerators or runs an inference engine without the portal's approval, known by its uid:
    what was deleted and made anew under the same name is another one.
    """

    ARROWS = {
        "state": arrows(
            {
                RogueState.OPEN: {RogueState.NOTICED, RogueState.ADOPTING, RogueState.WAIVED, RogueState.GONE},
                RogueState.NOTICED: {RogueState.OPEN, RogueState.ADOPTING, RogueState.WAIVED, RogueState.GONE},
                RogueState.ADOPTING: {RogueState.OPEN, RogueState.ADOPTED, RogueState.GONE},
                RogueState.WAIVED: {RogueState.OPEN, RogueState.ADOPTING, RogueState.GONE},
                RogueState.ADOPTED: {RogueState.OPEN, RogueState.GONE},
                RogueState.GONE: {RogueState.OPEN, RogueState.WAIVED, RogueState.ADOPTING},
            }
        )
    }

    cluster = models.ForeignKey("endpoints.Cluster", on_delete=models.CASCADE, related_name="rogues")
    api = models.CharField(max_length=80)  # group and version, as apps/v1
    kind = models.CharField(max_length=60)
    namespace = models.CharField(max_length=63)
    name = models.CharField(max_length=253)
    uid = models.CharField(max_length=36)

    # Why it is here.
    by_accelerators = models.BooleanField(default=False)
    by_image = models.BooleanField(default=False)
    by_kserve = models.BooleanField(default=False)
    claim = models.CharField(max_length=16, blank=True)  # whose labels it bears: "", imitated, other-portal
    claim_says = models.CharField(max_length=300, blank=True)
    engine = models.CharField(max_length=60, blank=True)
    images = models.JSONField(default=list)
    accelerators = models.PositiveIntegerField(default=0)  # that it holds now
    resources = models.JSONField(default=dict)  # the same by resource
    facts = models.JSONField(default=dict)  # endpoints/adopting/guessing.py

    started_at = models.DateTimeField(null=True)  # of its oldest pod
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    # accelerators × seconds, integrated up to `counted_at`; endpoints/rogue/hours.py
    device_seconds = models.BigIntegerField(default=0)
    counted_at = models.DateTimeField(null=True)

    # Whose it probably is.
    owner_name = models.CharField(max_length=200, blank=True)
    owner_source = models.CharField(max_length=120, blank=True)
    owner = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    project = models.ForeignKey(Project, null=True, on_delete=models.SET_NULL, related_name="+")
    tool = models.CharField(max_length=60, blank=True)  # what wrote it last

    state = models.CharField(max_length=8, choices=RogueState.choices, default=RogueState.OPEN)
    noticed_at = models.DateTimeField(null=True)
    waived_until = models.DateField(null=True)  # the last day
    waived_reason = models.CharField(max_length=500, blank=True)
    waived_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    request = models.BigIntegerField(null=True)  # of adoption: a reference upwards, so no foreign key
    endpoint = models.ForeignKey("endpoints.Endpoint", null=True, on_delete=models.SET_NULL, related_name="+")
    timeline = models.JSONField(default=list)  # [{at, sentence}], the newest 50

    class Meta:
        ordering = ["-device_seconds", "id"]
        constraints = [models.UniqueConstraint(fields=["cluster", "uid"], name="one_rogue_per_object")]
        indexes = [models.Index(fields=["cluster", "state"], name="rogue_cluster_state")]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def device_hours(self) -> float:
        """Accelerators × hours, as far as they were counted."""
        return self.device_seconds / 3600


class RogueScan(models.Model):
    """When a cluster was scanned. `scanning_until` is a claim of the worker that does it now."""

    cluster = models.OneToOneField(
        "endpoints.Cluster", primary_key=True, on_delete=models.CASCADE, related_name="rogue_scan"
    )
    scanning_until = models.DateTimeField(null=True)
    scanned_at = models.DateTimeField(null=True)  # begin of the last one; None = wanted now
    done_at = models.DateTimeField(null=True)  # begin of the last one that came to its end
    seconds = models.FloatField(default=0)  # that it took
    pods = models.PositiveIntegerField(default=0)  # that were listed
    failures = models.PositiveSmallIntegerField(default=0)  # in a row
    problem = models.CharField(max_length=500, blank=True)  # why the last one failed, or what it could not see

    def __str__(self) -> str:
        return f"scan of {self.cluster_id}"


class ProposalState(models.TextChoices):
    """What became of a proposal."""

    PROPOSED = "proposed", "Proposed"
    TAKEN = "taken", "Taken"
    DISMISSED = "dismissed", "Dismissed"
    GONE = "gone", "Gone"


class ProposalKind(models.TextChoices):
    """What is proposed."""

    HARDWARE_PROFILE = "hardware-profile", "Hardware profile"
    PROJECT = "project", "Project"


class Proposal(models.Model):
    """Something of a cluster that could become part of the portal: an engineer takes it, or dismisses it."""

    ARROWS = {
        "state": arrows(
            {
                ProposalState.PROPOSED: {ProposalState.TAKEN, ProposalState.DISMISSED, ProposalState.GONE},
                ProposalState.DISMISSED: {ProposalState.PROPOSED, ProposalState.GONE},
                ProposalState.GONE: {ProposalState.PROPOSED},
            }
        )
    }

    cluster = models.ForeignKey("endpoints.Cluster", on_delete=models.CASCADE, related_name="proposals")
    kind = models.CharField(max_length=16, choices=ProposalKind.choices)
    namespace = models.CharField(max_length=63, blank=True)
    name = models.CharField(max_length=253)
    uid = models.CharField(max_length=36)
    content = models.JSONField(default=dict)
    state = models.CharField(max_length=9, choices=ProposalState.choices, default=ProposalState.PROPOSED)
    became = models.CharField(max_length=40, blank=True)  # slug of what it became
    seen_at = models.DateTimeField()

    class Meta:
        ordering = ["kind", "namespace", "name"]
        constraints = [
            models.UniqueConstraint(fields=["cluster", "kind", "uid"], name="one_proposal_per_object"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Mapped(models.Model):
    """A namespace of a cluster that belongs to a project of the portal, as an engineer said."""

    cluster = models.ForeignKey("endpoints.Cluster", on_delete=models.CASCADE, related_name="mapped")
    namespace = models.CharField(max_length=63)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cluster", "namespace"], name="one_project_per_namespace"),
            models.CheckConstraint(condition=~Q(namespace=""), name="a_mapping_names_a_namespace"),
        ]

    def __str__(self) -> str:
        return f"{self.namespace} of {self.cluster_id}"
