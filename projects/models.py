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
    status = models.PositiveSmallIntegerField(default=0)  # 0 only within the transaction of the first call
    body = models.TextField(blank=True)
    secret = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["principal", "key"], name="one_answer_per_key")]

    def __str__(self) -> str:
        return self.key


class MailMode(models.TextChoices):
    """How a person wants mail."""

    AT_ONCE = "at_once", "at once"
    DAILY = "daily", "one digest a day"
    NEVER = "never", "never"


class Preference(models.Model):
    """How the portal speaks to one person. Without a row: mail at once, nothing muted."""

    person = models.OneToOneField(User, on_delete=models.CASCADE, related_name="preference")
    mail = models.CharField(max_length=8, choices=MailMode.choices, default=MailMode.AT_ONCE)
    muted = models.JSONField(default=list)  # kinds of notification that stay in the portal and send no mail
    digest_hour = models.PositiveSmallIntegerField(default=7)  # in the person's own zone
    digest_on = models.DateField(null=True)  # the person's day of the last digest
    seen_news = models.CharField(max_length=20, blank=True)  # the newest release whose news were read
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.person_id}: {self.mail}"


class Notification(models.Model):
    """One sentence for one person, with the page to go to. `once` makes it arrive once: storms become one row."""

    person = models.ForeignKey(User, on_delete=models.CASCADE, related_name="notifications")
    project = models.ForeignKey(Project, null=True, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=40)  # a key of projects.notify.kinds.KINDS
    title = models.CharField(max_length=200)
    text = models.CharField(max_length=1000, blank=True)
    url = models.CharField(max_length=300)  # path within the portal
    about_kind = models.CharField(max_length=20, blank=True)  # what it is about: (kind, id), a reference upwards
    about_id = models.CharField(max_length=64, blank=True)
    once = models.CharField(max_length=120)  # unique per person; the caller's window, or a random value
    created_at = models.DateTimeField(auto_now_add=True)
    read_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["person", "once"], name="one_notification_per_cause")]
        indexes = [
            models.Index(fields=["person", "-id"], name="notification_person"),
            models.Index(fields=["person"], condition=models.Q(read_at__isnull=True), name="notification_unread"),
        ]

    def __str__(self) -> str:
        return self.title


class Webhook(models.Model):
    """An address outside that is told about events, signed with a secret that both sides know."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, null=True, on_delete=models.CASCADE, related_name="webhooks")  # none: platform
    name = models.CharField(max_length=80)
    url = models.CharField(max_length=500)
    signing = models.TextField()  # the signing key, encrypted
    kinds = models.JSONField(default=list)  # which kinds of notification; empty: all
    enabled = models.BooleanField(default=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "id"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="one_webhook_per_name")]

    def __str__(self) -> str:
        return self.name


class DeliveryState(models.TextChoices):
    """Life of a delivery."""

    WAITING = "waiting"
    SENT = "sent"
    DEAD = "dead"


class Delivery(models.Model):
    """One mail or one webhook call that is to be made. The row is the queue; workers only empty it."""

    ARROWS = {
        "state": arrows(
            {
                DeliveryState.WAITING: {DeliveryState.SENT, DeliveryState.DEAD},
                DeliveryState.DEAD: {DeliveryState.WAITING},  # replay
                DeliveryState.SENT: {DeliveryState.WAITING},  # replay
            }
        )
    }

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)  # also the receiver's idempotency key
    channel = models.CharField(max_length=8)  # mail | webhook
    notification = models.ForeignKey(Notification, null=True, on_delete=models.CASCADE, related_name="deliveries")
    webhook = models.ForeignKey(Webhook, null=True, on_delete=models.CASCADE, related_name="deliveries")
    kind = models.CharField(max_length=40)
    payload = models.JSONField(default=dict)  # of a webhook
    once = models.CharField(max_length=120, blank=True)  # of a webhook, as of a notification
    state = models.CharField(max_length=8, choices=DeliveryState.choices, default=DeliveryState.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField()
    claimed_until = models.DateTimeField(null=True)  # a lease, so that two workers never send the same one
    last_status = models.PositiveSmallIntegerField(null=True)
    last_error = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["webhook", "once"], condition=~models.Q(once=""), name="one_delivery_per_cause"
            )
        ]
        indexes = [
            models.Index(fields=["state", "due_at"], name="delivery_due"),
            models.Index(fields=["webhook", "-created_at"], name="delivery_webhook"),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.kind} {self.state}"


class SavedView(models.Model):
    """A list as somebody likes to see it: its address after the question mark, under a name."""

    person = models.ForeignKey(User, on_delete=models.CASCADE, related_name="saved_views")
    page = models.CharField(max_length=40)  # route name of the list
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=1000, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "id"]
        constraints = [models.UniqueConstraint(fields=["person", "page", "name"], name="one_saved_view_per_name")]

    def __str__(self) -> str:
        return self.name
