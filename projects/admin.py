"""Django admin: read-only, since every change goes through a service that leaves an audit row."""

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from audit.models import Row, Seal, Subject
from projects.models import ApiKey, Epoch, Membership, Project, User


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


for model in (Project, Membership, Epoch, Row, Seal, Subject):
    admin.site.register(model, ReadOnlyAdmin)
