"""When a session was last seen: known to five minutes, for one write in that time."""

from typing import Any

from allauth.account.signals import user_logged_in
from allauth.usersessions.models import UserSession
from django.core.cache import cache
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

EVERY_SECONDS = 300
LISTED = "listed"  # session key: the session stands in the list of its person


@receiver(user_logged_in)
def begin(sender: Any, request: HttpRequest, **_: Any) -> None:
    """A session begins; allauth lists it."""
    request.session[LISTED] = True


def note(request: HttpRequest) -> None:
    """Remember that the session is in use."""
    session = getattr(request, "session", None)
    if session is None or not session.get(LISTED) or not session.session_key:
        return
    if cache.add(f"seen:{session.session_key}", 1, EVERY_SECONDS):
        UserSession.objects.filter(session_key=session.session_key).update(last_seen_at=timezone.now())
