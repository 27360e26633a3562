"""Ending sessions of the portal that began at the identity provider."""

from collections.abc import Iterable
from importlib import import_module

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.db import transaction

from audit.services import Actor, record, system
from projects.models import SsoSession


def end(sessions: Iterable[SsoSession], *, why: str, by: Actor | None = None) -> int:
    """End sessions of the portal and return how many there were; `why` is a reason code for the audit rows."""
    actor, count = by or system("sso"), 0
    store = import_module(settings.SESSION_ENGINE).SessionStore
    with transaction.atomic():
        for session in sessions:
            if not SsoSession.objects.filter(pk=session.pk).delete()[0]:
                continue  # somebody else ends it
            store().delete(session.session_key)
            UserSession.objects.filter(session_key=session.session_key).delete()
            record("sso.end_session", by=actor, obj=("user", str(session.person.public_id)), reason=why)
            count += 1
    return count


def lives(session_key: str) -> bool:
    """Whether the portal's own session is still there."""
    return bool(import_module(settings.SESSION_ENGINE).SessionStore().exists(session_key))
