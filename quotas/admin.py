"""Django admin: read-only."""

from django.contrib import admin

from projects.admin import ReadOnlyAdmin
from quotas.models import (
    JournalOffset,
    Pool,
    Quota,
    QuotaAlert,
    QuotaRaise,
    Reservation,
    UsageDay,
    UsageEvent,
    UsageHour,
)

for model in (JournalOffset, Pool, Quota, QuotaAlert, QuotaRaise, Reservation, UsageDay, UsageEvent, UsageHour):
    admin.site.register(model, ReadOnlyAdmin)
