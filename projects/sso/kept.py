"""What is kept of a session that began at the identity provider, so that either side can end both."""

from collections.abc import Mapping
from typing import Any

from allauth.account.signals import authentication_step_completed
from allauth.account.signals import user_logged_in as signed_in
from django.conf import settings
from django.contrib.auth.signals import user_logged_out
from django.dispatch import receiver
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from portal import crypto
from projects.models import SsoSession, User
from projects.signin.proof import RECORDS
from projects.sso import idp

CAME = "came"  # key of a social login's state: what the provider said, see door.py
LONGEST_HINT = 3000  # characters of an id token that still fit into an address


@receiver(authentication_step_completed)
def note_proof(sender: Any, request: HttpRequest, method: str, **_: Any) -> None:
    """Write into allauth's record what the provider saw: a second factor, and when the person proved it. A silent
    sign-in proves nothing anew, so its time is that of the provider's own session.
    """
    came = getattr(request, CAME, None)
    if method != "socialaccount" or came is None:
        return
    *before, latest = request.session[RECORDS]
    request.session[RECORDS] = [*before, {**latest, "at": came["proved_at"], "second_factor": came["second_factor"]}]


@receiver(signed_in)
def begin(sender: Any, request: HttpRequest, user: User, sociallogin: Any = None, **_: Any) -> None:
    """Remember which session of the provider this one belongs to."""
    came = sociallogin.state.get(CAME) if sociallogin is not None else None
    if came is not None:
        keep(str(request.session.session_key), user, came)


def keep(session_key: str, person: User, came: Mapping[str, Any]) -> None:
    """Write what the provider gave for a session: `came` as door.py makes it, tokens encrypted."""
    SsoSession.objects.update_or_create(
        session_key=session_key,
        defaults={
            "person": person,
            "provider": idp.provider().provider,
            "subject": came["subject"],
            "sid": came["sid"],
            "id_token": came["id_token"],
            "refresh_token": came["refresh_token"],
            "checked_at": timezone.now(),
            "claimed_until": None,
        },
    )


@receiver(user_logged_out)
def forget(sender: Any, request: HttpRequest | None, **_: Any) -> None:
    """A session ended here."""
    key = getattr(getattr(request, "session", None), "session_key", None)
    if key:
        SsoSession.objects.filter(session_key=key).delete()


def logout_url(request: HttpRequest) -> str:
    """Return where the provider's session of this request ends too; "" for a session that did not begin there."""
    session = SsoSession.objects.filter(session_key=request.session.session_key or "").first()
    if session is None or settings.SSO is None:
        return ""
    back = request.build_absolute_uri(reverse("account_login"))
    return idp.logout_url(hint=opened(session.id_token), back=back)


def opened(encrypted: str) -> str:
    """Return a token that is kept encrypted; "" where there is none or no key opens it."""
    try:
        return crypto.decrypt(encrypted) if encrypted else ""
    except ValueError:
        return ""
