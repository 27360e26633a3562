"""Access reviews: a campaign and its entries."""

from django.db import models

from portal.states import arrows
from projects.models import Project, User


class ReviewState(models.TextChoices):
    """Life of an access review."""

    OPEN = "open"
    CLOSED = "closed"


class AccessReview(models.Model):
    """A campaign: everybody who answers for access says of each entry whether it is still needed."""

    ARROWS = {"state": arrows({ReviewState.OPEN: {ReviewState.CLOSED}})}

    name = models.CharField(max_length=80)
    project = models.ForeignKey(Project, null=True, on_delete=models.CASCADE, related_name="+")  # none: all of them
    state = models.CharField(max_length=6, choices=ReviewState.choices, default=ReviewState.OPEN)
    due_on = models.DateField()
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True)
    reminded_on = models.DateField(null=True)  # the last day on which reviewers were reminded

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name


class Outcome(models.TextChoices):
    """What was said of an entry of a review."""

    WAITING = "waiting"
    KEEP = "keep"
    REVOKE = "revoke"
    GONE = "gone"  # it had ended by itself before anybody said anything


class AccessReviewItem(models.Model):
    """One membership, grant, share, key or application, as it stood when the review began; its reviewer says keep or
    revoke.
    """

    ARROWS = {
        "outcome": arrows(
            {
                Outcome.WAITING: {Outcome.KEEP, Outcome.REVOKE, Outcome.GONE},
                Outcome.KEEP: {Outcome.REVOKE},
            }
        )
    }

    review = models.ForeignKey(AccessReview, on_delete=models.CASCADE, related_name="items")
    reviewer = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="access_reviews")
    kind = models.CharField(max_length=20)  # membership | group | asset-user | asset-group | asset-project | share | …
    target_id = models.CharField(max_length=64)
    project = models.ForeignKey(Project, null=True, on_delete=models.CASCADE, related_name="+")  # where it counts
    holder = models.CharField(max_length=150)  # who has it
    words = models.CharField(max_length=300)  # what it allows, as a sentence
    outcome = models.CharField(max_length=8, choices=Outcome.choices, default=Outcome.WAITING)
    reason = models.CharField(max_length=300, blank=True)
    decided_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    decided_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["review", "kind", "target_id"], name="one_item_per_entry"),
        ]
        indexes = [models.Index(fields=["reviewer", "outcome"], name="reviewitem_reviewer")]

    def __str__(self) -> str:
        return self.words[:60]
