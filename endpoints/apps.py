"""App configuration."""

from django.apps import AppConfig


class EndpointsConfig(AppConfig):
    """Endpoints."""

    name = "endpoints"

    def ready(self) -> None:
        """Register the permission rules."""
        from endpoints import permissions

        permissions.register_rules()
