"""The platform-wide roles are Django groups, and so are the presets that are held platform-wide."""

from typing import Any

from django.contrib.auth.models import Group

from projects import presets
from projects.models import PLATFORM_GROUPS


def create_after_migrate(using: str, **_: Any) -> None:
    """Receiver of post_migrate: create the platform's groups and shipped presets where they are missing."""
    for name in PLATFORM_GROUPS:
        Group.objects.using(using).get_or_create(name=name)
    presets.ship(using)
