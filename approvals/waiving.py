"""Waivers: one failed check may be passed, for one request or endpoint, until a day."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace

from django.db.models import Q
from django.utils import timezone

from approvals.models import Request, Waiver, WaiverState
from approvals.verdicts import FAIL, WAIVED, Check
from endpoints.models import Endpoint


def applied(
    checks: Iterable[Check], *, request: Request | None, endpoint: Endpoint | None, today: dt.date | None = None
) -> list[Check]:
    """Return `checks` with each waivable failure turned to waived for which `request` or `endpoint` has a waiver that
    still counts (one query, and none where nothing waivable fails).
    """
    found = list(checks)
    if not any(check.verdict == FAIL and check.waivable for check in found) or not (request or endpoint):
        return found
    about = Q(request=request) if request is not None and request.pk else Q(pk__in=[])
    if endpoint is not None:
        about |= Q(endpoint=endpoint)
    day = today or timezone.now().date()
    rows = Waiver.objects.filter(about, state=WaiverState.ACTIVE, ends_on__gte=day).order_by("ends_on")
    until = {row.check_id: row for row in rows}
    return [
        replace(check, verdict=WAIVED, waiver=until[check.id].pk, waived_until=until[check.id].ends_on.isoformat())
        if check.verdict == FAIL and check.waivable and check.id in until
        else check
        for check in found
    ]
