"""App configuration."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ApprovalsConfig(AppConfig):
    """Asking and deciding."""

    name = "approvals"

    def ready(self) -> None:
        """Register the permission rules; keep the database's own guard of decisions in place after each migration."""
        from approvals import permissions, triggers

        permissions.register_rules()
        post_migrate.connect(triggers.create_after_migrate, sender=self)
