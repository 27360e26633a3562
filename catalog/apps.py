"""App configuration."""

from django.apps import AppConfig


class CatalogConfig(AppConfig):
    """Catalog."""

    name = "catalog"

    def ready(self) -> None:
        """Register the permission rules."""
        from catalog import permissions

        permissions.register_rules()
