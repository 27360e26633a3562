"""Deleting what is older than its retention: events, hourly and daily sums, marks of finished journals."""

import datetime as dt
from pathlib import Path

from django.conf import settings
from django.db.models import Model
from django.utils import timezone

from quotas.ingest import journals
from quotas.models import JournalOffset, UsageDay, UsageEvent, UsageHour

BATCH = 5000
HOUR_DAYS, DAY_DAYS = 396, 2557  # 13 months, 7 years


def purge(directory: Path) -> int:
    """Delete in small transactions and return how many rows went.

    Days to keep: settings.USAGE_EVENT_DAYS, and USAGE_HOUR_DAYS and USAGE_DAY_DAYS where they are set. A mark stays as
    long as its journal in `directory` does: without it the journal would be read again.
    """
    now = timezone.now()
    gone = 0
    for model, column, days in (
        (UsageEvent, "at", settings.USAGE_EVENT_DAYS),
        (UsageHour, "start", getattr(settings, "USAGE_HOUR_DAYS", HOUR_DAYS)),
        (UsageDay, "start", getattr(settings, "USAGE_DAY_DAYS", DAY_DAYS)),
    ):
        gone += _delete(model, column, now - dt.timedelta(days=days))
    kept = [path.stem for path in journals(directory)]
    oldest = now - dt.timedelta(days=settings.USAGE_EVENT_DAYS)
    marks = JournalOffset.objects.filter(finished=True, updated_at__lt=oldest).exclude(pk__in=kept)
    return gone + marks.delete()[0]


def _delete(model: type[Model], column: str, before: dt.datetime) -> int:
    gone = 0
    while True:
        old = model._default_manager.filter(**{f"{column}__lt": before}).values_list("pk", flat=True)[:BATCH]
        count = model._default_manager.filter(pk__in=list(old)).delete()[0]
        gone += count
        if count < BATCH:
            return gone
