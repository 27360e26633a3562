"""Which grants of MCP servers hold: read by everything that lists them."""

import datetime as dt

from django.db.models import Q, QuerySet
from django.utils import timezone

from catalog.models import ServerGrant, VersionState

USABLE = (VersionState.APPROVED, VersionState.DEPRECATED)


def living_grants(today: dt.date | None = None) -> QuerySet[ServerGrant]:
    """Return the grants that hold now, swept or not; `ends_on` is the last day, UTC."""
    day = today or timezone.now().date()
    return ServerGrant.objects.filter(Q(ends_on__isnull=True) | Q(ends_on__gte=day), ended_at__isnull=True)


def usable() -> QuerySet[ServerGrant]:
    """Return what may be used now: living grants of versions that are neither blocked nor retired."""
    rows = living_grants().filter(version__state__in=USABLE)
    return rows.select_related("asset", "version__asset", "project")
