"""The end of an endpoint: reminders before its last day, then it is suspended under a hold, then deleted. And renewal.

`expire` may run twice, at the same time as itself, or after a week away: every effect is a compare-and-set on the row.
"""

import datetime as dt
import logging
from collections.abc import Callable
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from audit.services import record, system
from endpoints.changes import (
    DELETING,
    RESUMED,
    SUSPENDING,
    Authorization,
    fresh,
    keepers,
    locked,
    tell,
    want,
)
from endpoints.facts import counted
from endpoints.models import Desired, Endpoint, Phase, Revision, Share
from endpoints.rollouts import start_again
from endpoints.sharing import end_share
from endpoints.timeline import note
from portal.errors import Conflict, GatehouseError, Invalid
from projects import epoch
from projects.principal import Principal

REMINDERS = (3, 14, 30)  # days before the last day
HOLDER = "expiry"
ACTOR = system("expiry")
BATCH = 500

log = logging.getLogger(__name__)


def due_reminder(ends_on: dt.date | None, today: dt.date | None = None) -> int | None:
    """Return the most urgent reminder that is due for something whose last day is `ends_on` (days before it), or None.

    Whoever sets an end date remembers this as told: who chooses a date three days ahead needs no reminder of it.
    """
    if ends_on is None:
        return None
    left = (ends_on - (today or timezone.now().date())).days
    return next((days for days in REMINDERS if left <= days), None)


def renew(by: Principal, endpoint: Endpoint, *, ends_on: dt.date, authorization: Authorization) -> Endpoint:
    """Let an endpoint live until `ends_on` (its last day, UTC) under a new authorization; the caller has the authority
    for it.

    A hold of its expiry is lifted; what the expiry suspended runs again. Raises Invalid for a day that has passed or
    does not extend it, and Conflict: `wrong_state` for a deleted endpoint, `no_pool`, `gpu_quota`.
    """
    today = timezone.now().date()
    if ends_on < today:
        raise Invalid.field("ends_on", f"ends_on is {ends_on}, which has passed. Choose a day from {today} on.")
    with transaction.atomic():
        current = locked(endpoint)
        if current.desired == Desired.DELETED:
            raise Conflict(f"{current.name} is deleted; ask for a new endpoint.", code="wrong_state")
        if current.ends_on is not None and ends_on <= current.ends_on:
            raise Invalid.field(
                "ends_on", f"ends_on is {ends_on}; {current.name} ends on {current.ends_on}. Choose a later day."
            )
        expired = current.hold_by == HOLDER
        lifted = {"hold_reason": "", "hold_by": "", "hold_since": None, "hold_resumes": False} if expired else {}
        rows = Endpoint.objects.filter(pk=current.pk)
        rows.update(ends_on=ends_on, reminded_days=due_reminder(ends_on, today), **lifted)
        # A revision keeps the reference and digest of what it was provisioned under; only its end moves.
        ids = [pk for pk in (current.revision_id, current.next_revision_id, current.fallback_id) if pk is not None]
        Revision.objects.filter(pk__in=ids).update(authorization_valid_until=authorization.valid_until)
        note(current, "renewed", f"{by.name} renewed it until {ends_on}.")
        record(
            "endpoints.renew", by=by, obj=current, project=current.project.slug, before={"ends_on": current.ends_on},
            after={"ends_on": ends_on, "authorization": authorization.reference, "digest": authorization.digest},
        )  # fmt: skip
        if expired and current.hold_resumes and current.desired == Desired.SUSPENDED:
            again = want(by, "resume", current, Desired.RUNNING, RESUMED, event="It runs again, since it was renewed.")
            start_again(by, again)
        epoch.bump()
    return fresh(endpoint)


def expire() -> int:
    """Remind, suspend and delete what is due, and end shares; return how many endpoints and shares were touched.

    One transaction each: what fails is logged, and the others go on.
    """
    now = timezone.now()
    today = now.date()
    living = Endpoint.objects.exclude(phase=Phase.DELETED).exclude(desired=Desired.DELETED)
    steps: list[tuple[Callable[[Endpoint], bool], Q]] = [
        (lambda row: _remind(row, today), Q(hold_by="", ends_on__gte=today, ends_on__lte=_after(today, REMINDERS[-1]))),
        (_suspend, Q(hold_by="", ends_on__lt=today)),
        (_delete, Q(hold_by=HOLDER, hold_since__lte=now - dt.timedelta(days=settings.EXPIRY_GRACE_DAYS))),
    ]
    count = 0
    for step, due in steps:
        rows = living.filter(due).order_by("ends_on", "pk")
        if due is steps[0][1]:
            rows = rows.exclude(reminded_days__lte=REMINDERS[0]).filter(_not_reminded(today))
        for pk in rows.values_list("pk", flat=True)[:BATCH]:
            count += _one(step, pk)
    shares = Share.objects.filter(ended_at__isnull=True, ends_on__lt=today).select_related(
        "endpoint__project", "project"
    )
    for share in shares[:BATCH]:
        with transaction.atomic():
            count += end_share(ACTOR, share, "Its last day has passed.")
    return count


def _after(day: dt.date, days: int) -> dt.date:
    return day + dt.timedelta(days=days)


def _not_reminded(today: dt.date) -> Q:
    """Rows whose most urgent reminder was not sent."""
    due = Q(reminded_days__isnull=True)
    for days in REMINDERS:
        due |= Q(ends_on__lte=_after(today, days), reminded_days__gt=days)
    return due


def _one(step: Callable[[Endpoint], bool], pk: UUID) -> int:
    try:
        with transaction.atomic():
            row = Endpoint.objects.select_related("project", "contact", "created_by").get(pk=pk)
            return int(step(row))
    except (GatehouseError, Endpoint.DoesNotExist) as error:  # somebody else was faster, or must act first
        log.warning("endpoints.expire_failed endpoint=%s error=%s", pk, error)
        return 0


def _remind(row: Endpoint, today: dt.date) -> bool:
    days = due_reminder(row.ends_on, today)
    if days is None or row.ends_on is None:
        return False
    unsaid = Endpoint.objects.filter(Q(reminded_days__isnull=True) | Q(reminded_days__gt=days), pk=row.pk)
    if not unsaid.filter(ends_on=row.ends_on).update(reminded_days=days):
        return False
    left = (row.ends_on - today).days
    when = f"in {counted(left, 'day')}, on {row.ends_on}" if left else "today"
    name = f"{row.project.slug}/{row.name}"
    text = "Ask for a renewal to keep it. After its last day it is suspended, later deleted."
    once = f"expiring:{row.pk}:{row.ends_on}:{days}"
    tell(row, "endpoint.expiring", f"{name} ends {when}.", keepers(row), text=text, once=once, ends_on=row.ends_on)
    record(
        "endpoints.remind", by=ACTOR, obj=row, project=row.project.slug,
        after={"days": days, "ends_on": row.ends_on},
    )  # fmt: skip
    return True


def _suspend(row: Endpoint) -> bool:
    """Suspend what has passed its last day; one that its owners suspended before is held too, and stays suspended."""
    now = timezone.now()
    last = (now + dt.timedelta(days=settings.EXPIRY_GRACE_DAYS)).date()
    runs_now = row.desired == Desired.RUNNING
    why = f"Its last day was {row.ends_on}. A renewal lifts the hold; without one it is deleted on {last}."
    held = {"hold_by": HOLDER, "hold_since": now, "hold_resumes": runs_now, "hold_reason": why}
    sentence = f"Its last day, {row.ends_on}, has passed."
    if runs_now:
        want(
            ACTOR, "suspend", row, Desired.SUSPENDED, SUSPENDING, reason=sentence, event=f"{sentence} It is suspended.",
            also=held, hold_by="", ends_on=row.ends_on,
        )  # fmt: skip
    elif not Endpoint.objects.filter(pk=row.pk, hold_by="", desired=row.desired, ends_on=row.ends_on).update(**held):
        return False
    else:
        note(row, "expired", sentence)
    record(
        "endpoints.expire", by=ACTOR, obj=row, project=row.project.slug, before={"desired": row.desired},
        after={"hold_by": HOLDER, "ends_on": row.ends_on},
    )  # fmt: skip
    name = f"{row.project.slug}/{row.name}"
    text = f"Ask for a renewal to use it again. Without one it is deleted on {last}."
    once = f"expired:{row.pk}:{row.ends_on}"
    tell(row, "endpoint.expired", f"{name} has ended and is suspended.", keepers(row), text=text, once=once)
    return True


def _delete(row: Endpoint) -> bool:
    since = row.hold_since
    sentence = f"It was not renewed within {counted(settings.EXPIRY_GRACE_DAYS, 'day')} after its last day."
    want(
        ACTOR, "delete", row, Desired.DELETED, DELETING, reason=sentence, event=f"{sentence} It is deleted.",
        hold_by=HOLDER, hold_since=since,
    )  # fmt: skip
    name = f"{row.project.slug}/{row.name}"
    once = f"deleted:{row.pk}"
    tell(row, "endpoint.deleted", f"{name} was deleted: it ended on {row.ends_on}.", keepers(row), text=sentence,
         once=once)  # fmt: skip
    return True
