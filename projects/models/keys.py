"""API keys, the epoch that gateways follow, and the answers that an Idempotency-Key repeats."""

import uuid

from django.db import models

from portal.states import arrows
from projects.models.people import Project, User


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
    status = models.PositiveSmallIntegerField(default=0)  # 0 only within the transaction of the first call
    body = models.TextField(blank=True)
    secret = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["principal", "key"], name="one_answer_per_key")]

    def __str__(self) -> str:
        return self.key
