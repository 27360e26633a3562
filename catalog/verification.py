"""When the content of a version is to be compared with its pin again."""

import datetime as dt

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from catalog import collecting
from catalog.models import Job, PinState, Version, VersionState

# What people rely on, or are about to.
WATCHED = (VersionState.IN_REVIEW, VersionState.APPROVED, VersionState.DEPRECATED)
BATCH = 500


def want_due() -> int:
    """Make the pin of each watched version due that was last looked at settings.VERIFY_HOURS ago; return how many.

    What waits in the queue already is left alone, and so is what was tried in vain within that time.
    """
    since = timezone.now() - dt.timedelta(hours=settings.VERIFY_HOURS)
    busy = Job.objects.filter(
        Q(due_at__isnull=False) | Q(finished_at__gt=since), version=OuterRef("pk"), kind=collecting.PIN
    )
    pinned = Q(pin__state=PinState.RESOLVED, pin__verified_at__lte=since) | Q(pin__state=PinState.DRIFTED)
    due = Version.objects.filter(pinned, ~Exists(busy), state__in=WATCHED).select_related("asset").order_by("pk")
    count = 0
    for version in due[:BATCH]:
        with transaction.atomic():
            count += len(collecting.schedule(version, [collecting.PIN]))
    return count
