"""App configuration."""

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """Wiring of the apps into one portal."""

    name = "portal"

    def ready(self) -> None:
        """Load the Celery app in every process: without it a task is sent to a default broker."""
        from portal import celery  # noqa: F401
