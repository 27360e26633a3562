"""Telling the owner of an application that it ends soon: 14 and 3 days before, and letting go of what is over."""

import datetime as dt

from allauth.idp.oidc.models import Token
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from projects.models import Application, Notification
from projects.notify.services import tell
from projects.oauth.living import last_day

KIND = "application.expiring"
STEPS = (3, 14)  # days, nearest first: what ends within 3 days is not announced as ending within 14
BATCH = 500


def remind() -> int:
    """Tell about applications that end within 14 days, each step once, and return how many owners were told.

    One that was made for no longer than the step is not announced: whoever made it knows.
    """
    now, count, after = timezone.now(), 0, dt.timedelta()
    for days in STEPS:
        span = dt.timedelta(days=days)
        rows = Application.objects.filter(ended_at=None, owner__is_active=True)
        rows = rows.filter(ends_at__gt=now + after, ends_at__lte=now + span).select_related(
            "client", "project", "owner"
        )
        found = [row for row in rows.order_by("ends_at", "pk")[:BATCH] if row.ends_at - row.created_at > span]
        known = set(
            Notification.objects.filter(once__in=[_cause(row, days) for row in found]).values_list("person_id", "once")
        )
        for row in found:
            if (row.owner_id, _cause(row, days)) not in known:
                _tell(row, days)
                count += 1
        after = span
    return count


def _cause(application: Application, days: int) -> str:
    # A later end is another story, told again.
    return f"{KIND}:{days}:{application.pk}:{last_day(application):%Y%m%d}"


def _tell(application: Application, days: int) -> None:
    name, day = application.client.name, last_day(application)
    with transaction.atomic():
        tell(
            KIND,
            [application.owner],
            title=f"The application {name} stops after {day.day} {day:%B %Y}.",
            text="Change its last day if it is still needed; else nothing is left to do.",
            url=reverse("application_detail", args=[application.pk]),
            project=application.project,
            about=("application", str(application.pk)),
            once=_cause(application, days),
            data={"client": application.client_id, "name": name, "ends_on": day},
        )


def forget() -> None:
    """Delete tokens that have expired."""
    Token.objects.expired().delete()
