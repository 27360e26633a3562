"""What is old goes: deliveries that came through or were given up, and notifications after a year."""

import datetime as dt

from django.utils import timezone

from projects.models import Delivery, DeliveryState, Notification

SENT, GIVEN_UP, TOLD = dt.timedelta(days=30), dt.timedelta(days=90), dt.timedelta(days=365)
BATCH = 2_000


def purge() -> int:
    """Delete up to BATCH rows of each sort that are past their time, and return how many went."""
    now, count = timezone.now(), 0
    for state, age in ((DeliveryState.SENT, SENT), (DeliveryState.DEAD, GIVEN_UP)):
        old = Delivery.objects.filter(state=state, due_at__lt=now - age, created_at__lt=now - age)
        count += Delivery.objects.filter(pk__in=list(old.order_by().values_list("pk", flat=True)[:BATCH])).delete()[0]
    told = Notification.objects.filter(created_at__lt=now - TOLD).order_by("pk").values_list("pk", flat=True)[:BATCH]
    return int(count + Notification.objects.filter(pk__in=list(told)).delete()[0])
