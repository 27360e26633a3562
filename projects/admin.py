"""Django admin: read-only, since every change goes through a service that leaves an audit row."""

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from audit.models import Row, Seal, Subject
from projects.models import (
    ApiKey,
    Delivery,
    Epoch,
    Membership,
    Notification,
    Preference,
    Project,
    User,
    Webhook,
)


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Shows, never changes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """No."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """No."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """No."""
        return False


@admin.register(User)
class UserAdmin(ReadOnlyAdmin):
    """People."""

    list_display = ("username", "email", "is_active", "is_service", "last_login")
    search_fields = ("username", "email")
    exclude = ("password",)


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """Keys, without their hash."""

    list_display = ("prefix", "name", "project", "person", "state", "expires_at")
    list_select_related = ("project", "person")
    exclude = ("hash",)


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    """What people were told."""

    list_display = ("title", "kind", "person", "project", "created_at", "read_at")
    list_select_related = ("person", "project")


@admin.register(Webhook)
class WebhookAdmin(ReadOnlyAdmin):
    """Webhooks, without what signs their calls."""

    list_display = ("name", "project", "enabled", "created_by", "created_at")
    list_select_related = ("project", "created_by")
    exclude = ("signing",)


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """The queue of mails and calls: what waits, what was given up and why."""

    list_display = ("channel", "kind", "state", "attempts", "due_at", "last_error")
    list_filter = ("channel", "state")


for model in (Preference, Project, Membership, Epoch, Row, Seal, Subject):
    admin.site.register(model, ReadOnlyAdmin)
