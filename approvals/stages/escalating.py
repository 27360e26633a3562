"""When nobody decides in time: more people may. The time of a stage is business time, by the objective's calendar."""

import datetime as dt

from django.db import transaction
from django.utils import timezone

from approvals import telling
from approvals.deciding import slug_of
from approvals.models import Request, RequestState, Stage, StageState
from approvals.objective import calendar
from approvals.stages import keeping
from audit.services import record, system

BATCH = 500


def escalate(now: dt.datetime | None = None) -> int:
    """Widen every open stage that has waited longer than its rule allows, once; return how many. Called by beat."""
    moment, days, count = now or timezone.now(), calendar.current(), 0
    waiting = Stage.objects.filter(
        state=StageState.OPEN, escalate_after_hours__isnull=False, escalated_at__isnull=True, opened_at__isnull=False
    )
    last = 0
    while batch := list(waiting.filter(pk__gt=last).order_by("pk")[:BATCH]):
        last = batch[-1].pk
        for stage in batch:
            limit = (stage.escalate_after_hours or 0) * 3600
            if stage.escalate_to and stage.opened_at and days.business_seconds(stage.opened_at, moment) >= limit:
                count += _widen(stage, moment)
    return count


def _widen(stage: Stage, now: dt.datetime) -> bool:
    with transaction.atomic():
        request = Request.objects.select_for_update().get(pk=stage.request_id)
        still = Stage.objects.filter(pk=stage.pk, state=StageState.OPEN, escalated_at__isnull=True)
        if request.state != RequestState.SUBMITTED or not still.update(escalated_at=now):
            return False
        stage.refresh_from_db()
        keeping.turn(request, stage, keeping.answered(request))
        record(
            "approvals.escalate",
            by=system("approvals"),
            obj=request,
            project=slug_of(request),
            before={"roles": stage.roles},
            after={"roles": stage.escalate_to, "by_stage": stage.name},
            reason=f"Nobody decided it within {stage.escalate_after_hours} business hours.",
        )
        telling.escalated(request, stage)
    return True
