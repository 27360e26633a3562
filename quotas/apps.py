"""App configuration."""

from django.apps import AppConfig


class QuotasConfig(AppConfig):
    """Pools, reservations, and the ledger of tokens."""

    name = "quotas"

    def ready(self) -> None:
        """Register the permission rules."""
        from quotas import permissions

        permissions.register_rules()
