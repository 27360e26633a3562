"""Sending mail: one sentence and a link each, or one mail with all sentences when more than three wait for a person.

While the mail server is away the rows wait with growing distance; afterwards each person gets one mail, not a storm.
"""

import contextlib
import datetime as dt
import logging
import smtplib
import time
from collections.abc import Callable, Sequence

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.db.models import Min
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from projects.models import Delivery, Notification, User
from projects.notify import queue
from projects.notify.services import MAIL
from projects.zones import zone_of

FIRST_WAIT, LONGEST_WAIT = 15, 900  # seconds; doubled after each attempt
ATTEMPTS = 120  # of 11 to 15 minutes each after the first few: more than 24 hours
TOGETHER = 3  # more than that many waiting mails become one
PEOPLE = 100  # per run
MAX_LINES = 500  # notifications of one person that are looked at together
SENTENCES = 200  # in one mail; the rest stands in the portal
SECONDS = 60  # after which a run leaves the rest to the next one
# What concerns one mail, not the server. ValueError: an address that no header can hold.
ONE_MAIL = (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused, smtplib.SMTPDataError, ValueError)

Offer = Callable[[Notification], tuple[str, str] | None]
# What a mail about a kind offers beside its page: label and address, made when the mail leaves. Apps above register.
OFFERS: dict[str, Offer] = {}

log = logging.getLogger(__name__)


def deliver() -> int:
    """Send what is due and return how many mails left. A mail server that is away ends the run, not the rows."""
    if not settings.MAIL_ON:
        return 0
    now, count = timezone.now(), 0
    waiting = queue.due(MAIL, now).order_by().values("notification__person").annotate(first=Min("due_at"))
    people = list(waiting.order_by("first").values_list("notification__person", flat=True)[:PEOPLE])
    if not people:
        return 0
    connection, ends = get_connection(), time.monotonic() + SECONDS
    try:
        connection.open()
        for person in people:
            if time.monotonic() < ends:
                count += _deliver_to(person, connection)
    except (smtplib.SMTPException, OSError) as error:
        _postpone_all(f"The mail server is not there: {error or type(error).__name__}.")
    finally:
        with contextlib.suppress(smtplib.SMTPException, OSError):
            connection.close()
    return count


def _deliver_to(person_id: int, connection: BaseEmailBackend) -> int:
    """Send what waits for one person. Raises what the mail server raises when it is away; then the rows are free."""
    rows = queue.free(MAIL, timezone.now()).filter(notification__person=person_id)
    taken = queue.claim(rows.select_related("notification__person").order_by("created_at"), timezone.now(), MAX_LINES)
    count, left = 0, list(taken)
    try:
        for group in groups(taken):
            _send(group, connection)
            left = [row for row in left if row not in group]
            count += 1
    finally:
        queue.put_back(left)
    return count


def groups(rows: Sequence[Delivery]) -> list[list[Delivery]]:
    """Return which rows of one person go into one mail: each digest, and the rest when it is more than TOGETHER."""
    digests: dict[str, list[Delivery]] = {}
    for row in rows:
        if row.once:
            digests.setdefault(row.once, []).append(row)
    single = [row for row in rows if not row.once]
    rest = [single] if len(single) > TOGETHER else [[row] for row in single]
    return [*digests.values(), *rest]


def _send(group: Sequence[Delivery], connection: BaseEmailBackend) -> None:
    person = _person(group)
    if not person.is_active or not person.email:
        queue.dead(group, "The person has left or has no address.")
        return
    try:
        connection.send_messages([message(group, connection)])
    except ONE_MAIL as error:
        sentence, final = _refusal(error)
        if final or group[0].attempts + 1 >= ATTEMPTS:
            queue.dead(group, sentence)
        else:
            _postpone(group, sentence)
    else:
        queue.sent(group, timezone.now())


def _refusal(error: Exception) -> tuple[str, bool]:
    """Return what to say about a mail that was not taken, and whether trying again is pointless."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code = max(code for code, _ in error.recipients.values())
        return f"The mail server does not take mail for this address ({code}).", code >= 500
    if isinstance(error, smtplib.SMTPResponseException):
        return f"The mail server refused the mail ({error.smtp_code}).", False
    return "The address cannot be used.", True


def _person(group: Sequence[Delivery]) -> User:
    notification = group[0].notification
    if notification is None:
        raise LookupError("a mail without a notification")
    return notification.person


def message(group: Sequence[Delivery], connection: BaseEmailBackend | None = None) -> EmailMessage:
    """Return the mail for rows of one person: plain text, times in the person's zone, a way to change what comes."""
    person, preferences = _person(group), settings.BASE_URL + reverse("preferences")
    notifications = [row.notification for row in group if row.notification is not None]
    count, digest = len(notifications), bool(group[0].once)
    subject = " ".join(notifications[0].title.split())
    if digest or count > 1:
        subject = f"{'Your day on Gatehouse' if digest else 'Gatehouse'}: {count} notification{'s'[: count != 1]}"
    context = {
        "name": person.display_name,
        "items": [
            {
                "title": item.title,
                "text": item.text,
                "url": f"{settings.BASE_URL}{item.url}" if item.url else "",
                "at": item.created_at,
                "offer": OFFERS[item.kind](item) if item.kind in OFFERS else None,
            }
            for item in notifications[:SENTENCES]
        ],
        "one": count == 1 and not digest,
        "more": max(count - SENTENCES, 0),
        "all_url": settings.BASE_URL + reverse("notification_list"),
        "preferences_url": preferences,
    }
    headers = {
        "Message-ID": f"<{group[0].pk}.{count}@{settings.DEFAULT_FROM_EMAIL.rpartition('@')[2].rstrip('> ')}>",
        "Auto-Submitted": "auto-generated",
        "List-Unsubscribe": f"<{preferences}>",
    }
    with timezone.override(zone_of(person)):
        text = render_to_string("projects/notify/mail.txt", context)
    return EmailMessage(subject, text, to=[person.email], headers=headers, connection=connection)


def wait(attempts: int) -> dt.timedelta:
    """Return how long a mail waits after its `attempts` failures before this one."""
    return queue.spread(min(FIRST_WAIT * 2 ** min(attempts, 10), LONGEST_WAIT))


def _postpone(rows: Sequence[Delivery], error: str) -> None:
    for attempts, same in queue.by_attempts(rows).items():
        queue.again(same, timezone.now() + wait(attempts), error)


def _postpone_all(error: str) -> None:
    """Let everything that is due wait: the server is away for all, so one attempt stands for all of it."""
    log.warning("notify.mail_server_away error=%s", error)
    while rows := queue.claim(queue.due(MAIL, timezone.now()), timezone.now(), 1000):
        ended = [row for row in rows if row.attempts + 1 >= ATTEMPTS]
        queue.dead(ended, error)
        _postpone([row for row in rows if row not in ended], error)
