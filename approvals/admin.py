"""Django admin: read-only, since every change goes through a service that leaves an audit row."""

from django.contrib import admin

from approvals.models import Comment, Decision, Request
from projects.admin import ReadOnlyAdmin


@admin.register(Request)
class RequestAdmin(ReadOnlyAdmin):
    """Requests with their frozen plan."""

    list_display = ("number", "kind", "project", "name", "state", "requester", "submitted_at", "decided_at")
    list_filter = ("state", "kind")
    list_select_related = ("project", "requester")
    search_fields = ("name", "plan_digest")


@admin.register(Decision)
class DecisionAdmin(ReadOnlyAdmin):
    """Decisions with the digests that they bind."""

    list_display = ("request", "decision", "reviewer", "requester", "via", "at")
    list_filter = ("decision",)
    list_select_related = ("request", "reviewer", "requester")


admin.site.register(Comment, ReadOnlyAdmin)
