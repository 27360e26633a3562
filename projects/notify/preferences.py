"""How the portal speaks to a person: mail, digest, what is muted, the time zone."""

from collections.abc import Iterable

from django.db import transaction
from django.utils import timezone

from audit.services import record
from portal.errors import Invalid
from projects.models import Delivery, DeliveryState, MailMode, Preference, User
from projects.notify.digest import last_day
from projects.notify.nudge import nudge
from projects.notify.services import DIGEST, MAIL
from projects.notify.webhooks import clean_kinds
from projects.principal import Principal
from projects.zones import names, zone_of


def of(person: User) -> Preference:
    """Return the preferences of `person`; without a row the defaults, unsaved."""
    return Preference.objects.filter(person=person).first() or Preference(person=person)


def change(by: Principal, *, mail: str, digest_hour: int, muted: Iterable[str], zone: str) -> Preference:
    """Change the preferences of the person who asks. Mails that wait follow the new mode.

    `digest_hour` is 0 to 23 in `zone`. Raises Invalid naming the field.
    """
    if mail not in MailMode.values:
        raise Invalid.field("mail", f"mail is {mail[:20]!r}; choose one of {', '.join(MailMode.values)}.")
    if isinstance(digest_hour, bool) or not 0 <= digest_hour <= 23:
        raise Invalid.field("digest_hour", f"digest_hour is {digest_hour}; it must lie between 0 and 23.")
    if zone not in names():
        raise Invalid.field("zone", f"zone is {zone[:64]!r}; choose one from the list, for example Europe/Paris.")
    silent = clean_kinds(muted, field="muted")
    with transaction.atomic():
        person = User.objects.select_for_update().get(pk=by.person.pk)
        row, _ = Preference.objects.select_for_update().get_or_create(person=person)
        before = _facts(row, person)
        was = row.mail
        row.mail, row.digest_hour, row.muted, person.zone = mail, digest_hour, silent, zone
        after = _facts(row, person)
        if after == before:
            return row
        if mail == MailMode.DAILY and was != MailMode.DAILY:
            row.digest_on = last_day(timezone.now(), digest_hour, zone_of(person))  # the first one at the next hour
        row.save()
        person.save(update_fields=["zone"])
        changed = {field for field in after if after[field] != before[field]}
        record(
            "people.change_preferences",
            by=by,
            obj=("user", str(person.public_id)),
            before={field: before[field] for field in changed},
            after={field: after[field] for field in changed},
        )
        _follow(person, mail)
    return row


def _facts(row: Preference, person: User) -> dict[str, object]:
    return {"mail": row.mail, "digest_hour": row.digest_hour, "muted": list(row.muted), "zone": person.zone}


def _follow(person: User, mail: str) -> None:
    """Let what waits for `person` go by the new mode; the notifications themselves stay in the portal anyway."""
    waiting = Delivery.objects.filter(notification__person=person, state=DeliveryState.WAITING)
    if mail == MailMode.NEVER:
        waiting.filter(channel__in=(MAIL, DIGEST)).delete()
    elif mail == MailMode.AT_ONCE:
        rows = list(waiting.filter(channel=DIGEST).values_list("pk", flat=True))
        Delivery.objects.filter(pk__in=rows).update(channel=MAIL, due_at=timezone.now())
        nudge()
