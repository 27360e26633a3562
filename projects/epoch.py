"""The epoch: moves with every change that gateway caches must notice."""

from django.db.models import F

from portal import bus
from projects.models import Epoch

NAME = "gateway"


def bump() -> None:
    """Move the epoch in the caller's transaction and tell the bus on commit."""
    if not Epoch.objects.filter(name=NAME).update(value=F("value") + 1):
        Epoch.objects.get_or_create(name=NAME, defaults={"value": 1})
    bus.publish(NAME)


def current() -> int:
    """Return the epoch (one query)."""
    return Epoch.objects.filter(name=NAME).values_list("value", flat=True).first() or 0
