"""Telling people that an API key ends soon: its person 14 and 3 days before, the project's owners too 3 days before."""

import datetime as dt
from collections.abc import Iterator, Sequence
from itertools import islice

from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from projects.models import ApiKey, KeyState, Membership, Notification, Role, User
from projects.notify.services import tell

KIND = "key.expiring"
STEPS = (3, 14)  # days, nearest first: a key that ends within 3 days is not announced as one that ends within 14
BATCH = 500


def remind() -> int:
    """Tell about keys that end within 14 days, each step once, and return for how many keys somebody was told.

    A key that was made for no longer than the step is not announced: whoever made it knows.
    """
    now, count, after = timezone.now(), 0, dt.timedelta()
    for days in STEPS:
        span = dt.timedelta(days=days)
        rows = ApiKey.objects.filter(
            state=KeyState.ACTIVE, purpose="api", expires_at__gt=now + after, expires_at__lte=now + span
        )
        keys = rows.select_related("project", "person").order_by("expires_at", "id").iterator(chunk_size=BATCH)
        while batch := list(islice(keys, BATCH)):
            lasting = [key for key in batch if key.expires_at - key.created_at > span]
            count += sum(_remind(key, days, people) for key, people in _not_told(lasting, days))
        after = span
    return count


def _cause(key: ApiKey, days: int) -> str:
    return f"{KIND}:{days}:{key.pk}"


def _not_told(keys: Sequence[ApiKey], days: int) -> Iterator[tuple[ApiKey, list[User]]]:
    """Yield the keys of which somebody has not heard, with everybody who should (two queries for all of them)."""
    owners: dict[int, list[User]] = {}
    held = Membership.objects.filter(project__in={key.project_id for key in keys}, role=Role.OWNER)
    for row in held.filter(user__is_active=True, user__is_service=False).select_related("user"):
        owners.setdefault(row.project_id, []).append(row.user)
    audience = {key.pk: _audience(key, days, owners.get(key.project_id, [])) for key in keys}
    known = set(
        Notification.objects.filter(
            person__in={person.pk for people in audience.values() for person in people},
            once__in=[_cause(key, days) for key in keys],
        ).values_list("person_id", "once")
    )
    for key in keys:
        if any((person.pk, _cause(key, days)) not in known for person in audience[key.pk]):
            yield key, audience[key.pk]


def _audience(key: ApiKey, days: int, owners: Sequence[User]) -> list[User]:
    reachable = key.person.is_active and not key.person.is_service
    if not reachable:  # nobody reads what a service account is told
        return list(owners)
    return [key.person, *owners] if days == STEPS[0] else [key.person]


def _remind(key: ApiKey, days: int, people: Sequence[User]) -> int:
    with transaction.atomic():
        tell(
            KIND,
            people,
            title=f"The key {key.name} of {key.project.slug} expires on {key.expires_at.day} {key.expires_at:%B %Y}.",
            text="Rotate it before, and give the programs that use it the new secret.",
            url=reverse("key_list", args=[key.project.slug]),
            project=key.project,
            about=("apikey", str(key.pk)),
            once=_cause(key, days),
            data={"key": key.prefix, "name": key.name, "person": key.person.username, "expires_at": key.expires_at},
        )
    return 1
