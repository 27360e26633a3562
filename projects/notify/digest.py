"""The daily digest: at the hour that a person chose, in the zone where the person lives, once a day.

A digest row waits for the hour, then becomes mail; all rows of one digest leave in one mail. The hour counts as it is
on the wall: in zones of half hours, and on the days when the clock jumps over it (then the first moment after) or shows
it twice (then the first time only).
"""

import datetime as dt

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from projects.models import Delivery, DeliveryState, MailMode, Preference
from projects.notify.nudge import nudge
from projects.notify.services import DIGEST, MAIL
from projects.zones import zone

BATCH = 500


def moment(day: dt.date, hour: int, place: dt.tzinfo) -> dt.datetime:
    """Return when it is `hour` o'clock on `day` in `place`, in UTC, so that moments of different days compare."""
    return dt.datetime.combine(day, dt.time(hour), tzinfo=place).astimezone(dt.UTC)


def last_day(now: dt.datetime, hour: int, place: dt.tzinfo) -> dt.date:
    """Return the newest day in `place` whose digest moment has come by `now`."""
    today = now.astimezone(place).date()
    return today if moment(today, hour, place) <= now else today - dt.timedelta(days=1)


def release(now: dt.datetime | None = None) -> int:
    """Hand the digests whose hour has come to the mail queue; return how many people that concerns.

    People are taken by zone and hour together: a run costs some queries per zone, not per person.
    """
    now, count = now or timezone.now(), 0
    daily = Preference.objects.filter(mail=MailMode.DAILY)
    for name, hour in daily.order_by().values_list("person__zone", "digest_hour").distinct():
        day = last_day(now, hour, zone(name))
        late = daily.filter(person__zone=name, digest_hour=hour).filter(Q(digest_on=None) | Q(digest_on__lt=day))
        while batch := list(late.values_list("pk", "person_id")[:BATCH]):
            count += _release([pk for pk, _ in batch], [person for _, person in batch], day, now)
    if count:
        with transaction.atomic():
            nudge()
    return count


def _release(preferences: list[int], people: list[int], day: dt.date, now: dt.datetime) -> int:
    with transaction.atomic():
        claimed = Preference.objects.filter(pk__in=preferences).filter(Q(digest_on=None) | Q(digest_on__lt=day))
        claimed.update(digest_on=day)
        waiting = Delivery.objects.filter(
            channel=DIGEST, state=DeliveryState.WAITING, notification__person__in=people, created_at__lt=now
        )
        rows = list(waiting.values_list("pk", "notification__person"))
        Delivery.objects.filter(pk__in=[pk for pk, _ in rows]).update(
            channel=MAIL, due_at=now, once=f"digest:{day.isoformat()}"
        )
    return len({person for _, person in rows})
