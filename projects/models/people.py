"""People, projects and membership: who someone is and where they belong."""

import re
import uuid
from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.core.validators import RegexValidator
from django.db import models
from guardian.mixins import GuardianUserMixin

SLUG = r"\A[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?\Z"
slug_validator = RegexValidator(
    SLUG,
    "Use 1 to 40 lower-case letters, digits and hyphens, starting and ending with a letter or digit.",
)

PLATFORM_ENGINEERS = "platform-engineers"
GOVERNANCE_LEADS = "governance-leads"
AUDITORS = "auditors"
PLATFORM_GROUPS = (PLATFORM_ENGINEERS, GOVERNANCE_LEADS, AUDITORS)


def is_slug(text: str) -> bool:
    """Whether `text` is a name as slug_validator wants it."""
    return re.match(SLUG, text) is not None


class User(GuardianUserMixin, AbstractUser):
    """A person, or a service account (`is_service`), which has no password and signs in nowhere."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    is_service = models.BooleanField(default=False)
    zone = models.CharField(max_length=64, default="UTC")
    left_at = models.DateTimeField(null=True)  # when the person left: inactive for good

    held: Sequence[tuple[Any, ...]] | None = None  # what `projects.principal.holder` read along, until it is used

    @property
    def display_name(self) -> str:
        """The full name, or the user name where there is none."""
        return self.get_full_name() or self.username


class Project(models.Model):
    """A team's room: endpoints, keys, requests and usage belong to one."""

    slug = models.CharField(max_length=40, unique=True, validators=[slug_validator])
    name = models.CharField(max_length=80)
    description = models.CharField(max_length=500, blank=True)
    cost_centre = models.CharField(max_length=40, blank=True)
    owner_team = models.CharField(max_length=80, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug


class Role(models.TextChoices):
    """What a member may do; each role holds all that the ones below it hold."""

    OWNER = "owner"
    DEVELOPER = "developer"
    VIEWER = "viewer"


class Source(models.TextChoices):
    """Who gave a role: somebody, or the identity provider's groups."""

    HAND = "hand"
    SSO = "sso"


class Membership(models.Model):
    """A person's role in a project."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=40)  # a Role, or the slug of a preset that is held in projects
    source = models.CharField(max_length=4, choices=Source.choices, default=Source.HAND, db_default=Source.HAND)
    by_hand = models.CharField(
        max_length=40, blank=True, db_default=""
    )  # the role that comes back when the identity provider's goes
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "user"], name="one_membership_per_person")]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role} in {self.project_id}"
