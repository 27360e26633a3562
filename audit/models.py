"""The append-only memory. Strings, no foreign keys; triggers on both databases forbid to update, delete or truncate
(audit/triggers.py).
"""

from django.db import models


class Row(models.Model):
    """One change: who did what to which object, before and after, why, in which request."""

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(db_index=True)
    actor = models.CharField(
        max_length=80, db_index=True
    )  # "user:<uuid>", "key:<id>", "system:<part>": names stand in Subject
    via = models.CharField(max_length=20, default="session")  # session | token | key | system | command
    action = models.CharField(max_length=80, db_index=True)  # "<app>.<verb>", the same word as the service
    object_kind = models.CharField(max_length=40)
    object_id = models.CharField(max_length=64)
    project = models.CharField(max_length=64, blank=True, db_index=True)
    before = models.TextField(blank=True)
    after = models.TextField(blank=True)
    reason = models.TextField(blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    address = models.CharField(max_length=64, blank=True)
    canonical = models.TextField()  # the bytes that the seal hashes

    class Meta:
        indexes = [models.Index(fields=["object_kind", "object_id", "id"], name="audit_row_object")]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.id} {self.action} {self.object_kind}:{self.object_id}"


class Subject(models.Model):
    """The erasable half: what an actor key stands for. Erasing a person's name leaves the rows and their seals
    whole.
    """

    key = models.CharField(max_length=80, primary_key=True)
    name = models.CharField(max_length=200)

    class Meta:
        default_permissions = ("view",)

    def __str__(self) -> str:
        return self.name


class Seal(models.Model):
    """A link of the hash chain over the rows, append-only like them."""

    sequence = models.BigIntegerField(primary_key=True)
    row_id = models.BigIntegerField(unique=True)
    row_hash = models.CharField(max_length=64)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.sequence}: {self.hash[:12]}"
