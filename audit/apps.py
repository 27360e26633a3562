"""App configuration."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AuditConfig(AppConfig):
    """Append-only memory."""

    name = "audit"

    def ready(self) -> None:
        """(Re)create the triggers after each migration (SQLite drops them when a table is remade) and check them at
        start.
        """
        from audit import checks, triggers  # noqa: F401 - checks register themselves

        post_migrate.connect(triggers.create_after_migrate, sender=self)
