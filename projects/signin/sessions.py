"""Sessions of a person: which there are, and ending them. An ended session is refused at its next request."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from allauth.usersessions.models import UserSession
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import transaction
from django.utils import timezone

from audit.services import Actor, record
from portal.errors import NotFound
from portal.http import clean_text
from projects.models import SsoSession, User
from projects.permissions import require
from projects.principal import Principal
from projects.signin import proof

MOST = 200  # sessions of one person that are looked at


@dataclass(frozen=True)
class Living:
    """A session that still opens the portal."""

    row: UserSession
    method: str  # as proof.method
    second_factor: str  # as proof.second_factor


def living(person: User) -> list[Living]:
    """Return the sessions of `person` that still count, newest first (two queries, however many there are)."""
    rows = list(UserSession.objects.filter(user=person).order_by("-created_at")[:MOST])
    stored = Session.objects.filter(
        session_key__in=[row.session_key for row in rows], expire_date__gt=timezone.now()
    ).in_bulk()
    hashes = {person.get_session_auth_hash(), *person.get_session_auth_fallback_hash()}
    found = []
    for row in rows:
        session = stored.get(row.session_key)
        if session is None:
            continue
        data: Any = session.get_decoded()
        if data.get(SESSION_KEY) == str(person.pk) and data.get(HASH_SESSION_KEY) in hashes:
            found.append(Living(row, proof.method(data), proof.second_factor(data)))
    return found


def end_one(by: Principal, session_id: int) -> None:
    """End a session of one's own; raises NotFound for one of somebody else."""
    with transaction.atomic():
        row = UserSession.objects.filter(pk=session_id, user=by.person).first()
        if row is None:
            raise NotFound("There is no such session, or it has ended already.")
        _end(by, by.person, [row.session_key], "")


def end_others(by: Principal, current: str) -> int:
    """End all sessions of one's own except the one with the key `current`; return how many."""
    with transaction.atomic():
        keys = _keys(by.person) - {current}
        _end(by, by.person, keys, "")
    return len(keys)


def end_all(by: Principal, person: User, reason: str) -> int:
    """End every session of somebody, for platform engineers; return how many. Raises Forbidden for others."""
    require(by, "end_sessions", person)
    return drop_all(by, person, clean_text(reason, field="reason", high=300))


def drop_all(by: Actor, person: User, reason: str) -> int:
    """End every session of somebody without asking who wants it: for what was allowed already, such as the leaver and
    the word of the identity provider. Returns how many.
    """
    with transaction.atomic():
        keys = _keys(person)
        _end(by, person, keys, reason)
        SsoSession.objects.filter(person=person).delete()
    return len(keys)


def drop(by: Actor, person: User, keys: Iterable[str], reason: str) -> None:
    """End the sessions of `person` with these keys, without asking who wants it."""
    with transaction.atomic():
        _end(by, person, keys, reason)


def _keys(person: User) -> set[str]:
    mine = UserSession.objects.filter(user=person).values_list("session_key", flat=True)
    return {*mine, *SsoSession.objects.filter(person=person).values_list("session_key", flat=True)}


def _end(by: Actor, person: User, keys: Iterable[str], reason: str) -> None:
    """Delete the sessions with an audit row for each; those that were over anyway go without one."""
    wanted = list(keys)
    stored = Session.objects.filter(session_key__in=wanted)
    ended = set(stored.filter(expire_date__gt=timezone.now()).values_list("session_key", flat=True))
    listed = UserSession.objects.filter(session_key__in=wanted, user=person)
    devices = {row.session_key: (row.ip, row.user_agent) for row in listed}
    stored.delete()
    listed.delete()
    SsoSession.objects.filter(session_key__in=wanted, person=person).delete()
    for key in sorted(ended):
        address, device = devices.get(key, ("", ""))
        record(
            "people.end_session",
            by=by,
            obj=("user", str(person.public_id)),
            after={"address": address, "device": device},
            reason=reason,
        )
