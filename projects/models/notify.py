"""How the portal speaks to people and machines: preferences, notifications, webhooks, deliveries; saved views."""

import uuid

from django.db import models

from portal.states import arrows
from projects.models.people import Project, User


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


class WebhookFormat(models.TextChoices):
    """How a webhook is told: as the portal's own event, or as a message of a chat."""

    STANDARD = "standard", "Gatehouse event"
    SLACK = "slack", "Slack message"
    TEAMS = "teams", "Teams message"


class Webhook(models.Model):
    """An address outside that is told about events, signed with a secret that both sides know."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, null=True, on_delete=models.CASCADE, related_name="webhooks")  # none: platform
    name = models.CharField(max_length=80)
    url = models.CharField(max_length=500)
    signing = models.TextField()  # the signing key, encrypted
    kinds = models.JSONField(default=list)  # which kinds of notification; empty: all
    format = models.CharField(
        max_length=8, choices=WebhookFormat.choices, default=WebhookFormat.STANDARD, db_default=WebhookFormat.STANDARD
    )
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
