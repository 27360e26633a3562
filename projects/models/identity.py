"""Who lets people in and what they become by it: role presets, group mappings, single sign-on sessions, OAuth
applications.
"""

import uuid

from allauth.idp.oidc.models import Client
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import Q

from projects.models.people import Project, User, slug_validator


class Where(models.TextChoices):
    """Where a preset is held."""

    PROJECT = "project", "in a project"
    PLATFORM = "platform", "on the whole platform"


class Preset(models.Model):
    """A role under the name that an organisation gives it: a set of permissions, held in a project as a member's role
    or platform-wide as a group of the same name.
    """

    slug = models.CharField(max_length=40, unique=True, validators=[slug_validator])
    name = models.CharField(max_length=80)
    description = models.CharField(max_length=500, blank=True)
    where = models.CharField(max_length=8, choices=Where.choices)
    permissions = models.TextField(blank=True)  # "app.model.action", one a line, sorted
    shipped = models.BooleanField(default=False)  # came with the portal and can be set back to what it was
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.slug

    @property
    def granted(self) -> frozenset[str]:
        """The permissions as a set."""
        return frozenset(self.permissions.split())


class GroupMapping(models.Model):
    """What a group of the identity provider makes of its people: members of a platform group, or of a project.

    A managed mapping also takes: who lost the group loses the role at the next sign-in.
    """

    group = models.CharField(max_length=200)  # exactly as the provider sends it
    into = models.ForeignKey(Group, null=True, on_delete=models.CASCADE, related_name="+")
    project = models.ForeignKey(Project, null=True, on_delete=models.CASCADE, related_name="group_mappings")
    role = models.CharField(max_length=40, blank=True)  # in `project`: a role or a preset of a project
    managed = models.BooleanField(default=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["group", "id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(into__isnull=False, project__isnull=True, role="")
                | (Q(into__isnull=True, project__isnull=False) & ~Q(role="")),
                name="mapping_leads_to_one_place",
            ),
            models.UniqueConstraint(
                fields=["group", "into"], condition=Q(into__isnull=False), name="one_mapping_per_group"
            ),
            models.UniqueConstraint(
                fields=["group", "project"], condition=Q(project__isnull=False), name="one_mapping_per_project"
            ),
        ]

    def __str__(self) -> str:
        return self.group


class SsoSession(models.Model):
    """A session of the portal that began at an identity provider, so that the provider can end it.

    The refresh token serves one purpose: asking the provider whether the person may still come in.
    """

    person = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sso_sessions")
    provider = models.CharField(max_length=40)
    subject = models.CharField(max_length=255)  # `sub` of the provider
    sid = models.CharField(max_length=255, blank=True)  # its session, where it names one
    session_key = models.CharField(max_length=40, unique=True)  # of Django's session
    id_token = models.TextField(blank=True)  # encrypted; the hint of a logout at the provider
    refresh_token = models.TextField(blank=True)  # encrypted
    checked_at = models.DateTimeField()  # when the provider last said yes
    claimed_until = models.DateTimeField(null=True)  # a lease of the worker that asks
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [
            models.Index(fields=["provider", "subject"], name="sso_session_subject"),
            models.Index(fields=["checked_at"], name="sso_session_checked"),
        ]

    def __str__(self) -> str:
        return f"{self.provider}:{self.subject}"


class UsedToken(models.Model):
    """A token that works once was used: the digest of its `jti`, until it would have expired anyway."""

    digest = models.CharField(max_length=64, primary_key=True)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.digest


class Application(models.Model):
    """What the portal knows of an OAuth client beyond the protocol: who answers for it, until when, and as which
    service account it acts when it comes without a person.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    client = models.OneToOneField(Client, on_delete=models.CASCADE, related_name="application")
    project = models.ForeignKey(Project, null=True, on_delete=models.CASCADE, related_name="applications")
    owner = models.ForeignKey(User, on_delete=models.PROTECT, related_name="applications")
    account = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="acts_for")
    description = models.CharField(max_length=300, blank=True)
    ends_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at", "id"]
        indexes = [models.Index(fields=["project", "-created_at"], name="application_project")]

    def __str__(self) -> str:
        return self.client_id
