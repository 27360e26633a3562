"""People, projects, membership, API keys: who someone is and where they belong."""

import re
import uuid

from django.contrib.auth.models import AbstractUser
from django.core.validators import RegexValidator
from django.db import models
from guardian.mixins import GuardianUserMixin

from portal.states import arrows

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


class Membership(models.Model):
    """A person's role in a project."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=12, choices=Role.choices)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "user"], name="one_membership_per_person")]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role} in {self.project_id}"


class KeyState(models.TextChoices):
    """Life of an API key."""

    ACTIVE = "active"
    ROTATING = "rotating"
    REVOKED = "revoked"
    EXPIRED = "expired"


class ApiKey(models.Model):
    """A bearer secret `gth_<8-char id>_<secret><checksum>`, bound to a project, endpoint ids and scopes. Only its
    SHA-256 is kept.
    """

    ARROWS = {
        "state": arrows(
            {
                KeyState.ACTIVE: {KeyState.ROTATING, KeyState.REVOKED, KeyState.EXPIRED},
                KeyState.ROTATING: {KeyState.REVOKED, KeyState.EXPIRED},
            }
        )
    }

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    prefix = models.CharField(max_length=16, unique=True)  # "gth_" + the 8-char id
    hash = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=80)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="keys")
    person = models.ForeignKey(User, on_delete=models.CASCADE, related_name="keys")
    scopes = models.JSONField(default=list)
    purpose = models.CharField(max_length=12, default="api")  # api | playground
    state = models.CharField(max_length=10, choices=KeyState.choices, default=KeyState.ACTIVE)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at", "id"]
        indexes = [models.Index(fields=["project", "-created_at"], name="apikey_project")]

    def __str__(self) -> str:
        return self.prefix


class KeyTarget(models.Model):
    """What a key may be used on. `projects` stores (kind, id) and cannot interpret it; no target at all means the
    whole project.
    """

    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="targets")
    kind = models.CharField(max_length=20)
    target_id = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["key", "kind", "target_id"], name="one_key_target")]
        indexes = [models.Index(fields=["kind", "target_id"], name="keytarget_target")]

    def __str__(self) -> str:
        return f"{self.kind}:{self.target_id}"


class Epoch(models.Model):
    """A counter that moves with every change that caches must notice; gateways poll it each second when the bus is
    silent.
    """

    name = models.CharField(max_length=20, primary_key=True)
    value = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name}={self.value}"


class IdempotentAnswer(models.Model):
    """The answer that was given to an Idempotency-Key, so that a retry gets the same one. Never holds a secret."""

    principal = models.CharField(max_length=80)
    key = models.CharField(max_length=200)
    digest = models.CharField(max_length=64)  # of method, path and body
    status = models.PositiveSmallIntegerField(default=0)  # 0 while the first call still runs
    body = models.TextField(blank=True)
    secret = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["principal", "key"], name="one_answer_per_key")]

    def __str__(self) -> str:
        return self.key
