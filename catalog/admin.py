"""The catalog in the back office: to look, never to change, since changes belong to the services and their audit
rows.
"""

from django.contrib import admin

from catalog.models import Asset, Evidence, HardwareProfile, Version
from projects.admin import ReadOnlyAdmin


@admin.register(Asset)
class AssetAdmin(ReadOnlyAdmin):
    """Assets."""

    list_display = ("slug", "kind", "name", "publisher", "created_at")
    list_filter = ("kind",)
    search_fields = ("slug", "name", "publisher")


@admin.register(Version)
class VersionAdmin(ReadOnlyAdmin):
    """Versions."""

    list_display = ("asset", "version", "state", "licence", "created_at", "approved_at")
    list_filter = ("state",)
    search_fields = ("asset__slug", "version")
    list_select_related = ("asset",)


@admin.register(Evidence)
class EvidenceAdmin(ReadOnlyAdmin):
    """Evidence."""

    list_display = ("version", "kind", "verdict", "tool", "collected_at")
    list_filter = ("kind", "verdict")
    list_select_related = ("version",)


@admin.register(HardwareProfile)
class HardwareProfileAdmin(ReadOnlyAdmin):
    """Hardware profiles."""

    list_display = ("slug", "name", "accelerator", "accelerator_count", "memory_bytes", "price_per_hour", "enabled")
