"""Telling people and machines that something happened. `tell` writes rows; workers empty the queue."""

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from audit.services import FORBIDDEN_WORDS
from portal import crypto
from projects.models import Delivery, MailMode, Notification, Preference, Project, User, Webhook
from projects.notify.kinds import KINDS
from projects.notify.nudge import nudge

MAIL, DIGEST, WEBHOOK = "mail", "digest", "webhook"  # channels; a digest waits for its hour, then becomes mail
ONCE_LENGTH = 120
About = tuple[str, str]


def tell(
    kind: str,
    people: Iterable[User],
    *,
    title: str,
    text: str = "",
    url: str = "",
    project: Project | None = None,
    about: About = ("", ""),
    once: str = "",
    data: Mapping[str, object] | None = None,
) -> None:
    """Tell each of `people` one sentence, in the portal and by mail as each prefers, and every webhook that wants it.

    `title` is one sentence (≤ 200 characters), `url` a path of the portal, `about` the (kind, id) of the object,
    `data` the machine-readable part for webhooks. `once` names the cause: a person or webhook that heard of it
    already is skipped, so that a storm becomes one row. Part of the caller's transaction: raises RuntimeError
    outside one, LookupError for an unknown kind and ValueError for data that smells of a secret.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("tell needs the transaction of the change")
    if kind not in KINDS:
        raise LookupError(f"there is no kind of notification {kind!r}")
    smelly = [key for key in data or {} if FORBIDDEN_WORDS & set(key.lower().split("_"))]
    if smelly:
        raise ValueError(f"webhooks never carry secrets: {smelly[0]}")
    cause, now = _cause(once), timezone.now()
    title, path = _short(title, 200), url[:300] if url.startswith("/") else ""
    rows = [
        Notification(
            person=person,
            project=project,
            kind=kind,
            title=title,
            text=_short(text, 1000),
            url=path,
            about_kind=about[0][:20],
            about_id=about[1][:64],
            once=cause or crypto.random_text(22),
        )
        for person in {person.pk: person for person in people if person.is_active and not person.is_service}.values()
    ]
    written = _write_notifications(rows, cause)
    body = {"title": title, "text": text, "url": f"{settings.BASE_URL}{path}" if path else ""}
    facts = {"project": project.slug if project else None, "about": {"kind": about[0], "id": about[1]}}
    called = _write_calls(kind, project, cause, payload(kind, {**(data or {}), **body, **facts}, now), now)
    if _write_mails(written, now) or called:
        nudge()


def _cause(once: str) -> str:
    return once if len(once) <= ONCE_LENGTH else hashlib.sha256(once.encode()).hexdigest()


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def payload(kind: str, data: Mapping[str, object], now: dt.datetime) -> dict[str, object]:
    """Return the body of a webhook call: {"type", "timestamp", "data"}, in values that JSON knows."""
    body = {"type": kind, "timestamp": now.isoformat(timespec="milliseconds"), "data": dict(data)}
    plain: dict[str, object] = json.loads(json.dumps(body, cls=DjangoJSONEncoder))
    return plain


def _write_notifications(rows: Sequence[Notification], cause: str) -> list[Notification]:
    """Write what is new and return it; when another transaction is telling the same at this moment, row by row."""
    if cause:
        people = [row.person_id for row in rows]
        known = set(Notification.objects.filter(person__in=people, once=cause).values_list("person_id", flat=True))
        rows = [row for row in rows if row.person_id not in known]
    try:
        with transaction.atomic():
            return Notification.objects.bulk_create(rows)
    except IntegrityError:
        return [row for row in rows if _saved(row)]


def _saved(row: Notification | Delivery) -> bool:
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:  # somebody else told it first
        return False
    return True


def _write_mails(written: Sequence[Notification], now: dt.datetime) -> bool:
    if not settings.MAIL_ON or not written:
        return False
    preferences = {row.person_id: row for row in Preference.objects.filter(person__in=[row.person for row in written])}
    mails = []
    for row in written:
        preference = preferences.get(row.person_id) or Preference(person=row.person)
        if not row.person.email or preference.mail == MailMode.NEVER or row.kind in preference.muted:
            continue
        channel = DIGEST if preference.mail == MailMode.DAILY else MAIL
        mails.append(Delivery(channel=channel, notification=row, kind=row.kind, due_at=now))
    Delivery.objects.bulk_create(mails)
    return any(mail.channel == MAIL for mail in mails)


def _write_calls(kind: str, project: Project | None, cause: str, body: Mapping[str, object], now: dt.datetime) -> bool:
    listening = Webhook.objects.filter(Q(project=None) | Q(project=project) if project else Q(project=None))
    wanted = [hook for hook in listening.filter(enabled=True) if not hook.kinds or kind in hook.kinds]
    if not wanted:
        return False
    if cause:
        known = set(Delivery.objects.filter(webhook__in=wanted, once=cause).values_list("webhook_id", flat=True))
        wanted = [hook for hook in wanted if hook.pk not in known]
    calls = [
        Delivery(channel=WEBHOOK, webhook=hook, kind=kind, payload=body, once=cause, due_at=now) for hook in wanted
    ]
    try:
        with transaction.atomic():
            return bool(Delivery.objects.bulk_create(calls))
    except IntegrityError:
        return any([_saved(call) for call in calls])  # noqa: C419 - every row gets its try


def unread_count(person: User) -> int:
    """Return how many notifications of `person` are unread, counted up to 100: more is "99+" on the bell."""
    return Notification.objects.filter(person=person, read_at=None).order_by()[:100].count()


def mark_read(person: User, ids: Iterable[int] | None = None) -> int:
    """Mark notifications of `person` as read, those of `ids` or all, and return how many were unread."""
    rows = Notification.objects.filter(person=person, read_at=None)
    if ids is not None:
        rows = rows.filter(pk__in=list(ids))
    return rows.update(read_at=timezone.now())
