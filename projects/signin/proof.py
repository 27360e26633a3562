"""What a session proved: which second factor, and when. allauth keeps the records; this reads them."""

import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase

RECORDS = "account_authentication_methods"  # allauth's key: [{"method", "at", "type"?, "second_factor"?}, …]
WHOSE = "account_authentication_methods_user"  # allauth's key: whose records they are
Kept = SessionBase | Mapping[str, Any]  # a session, or what was stored of one
LOCAL_FACTORS = frozenset({"totp", "webauthn", "recovery_codes"})


def records(session: Kept) -> list[Mapping[str, Any]]:
    """Return what the person of the session proved so far, oldest first; records of somebody else do not count."""
    found = session.get(RECORDS) if session.get(WHOSE) == session.get(SESSION_KEY) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def second_factor(session: Kept) -> str:
    """Return the second factor of this session: totp, webauthn, recovery_codes, "sso" where the identity provider saw
    one, or "".
    """
    for one in reversed(records(session)):
        if one.get("method") == "mfa" and one.get("type") in LOCAL_FACTORS:
            return str(one["type"])
        if one.get("method") == "socialaccount" and one.get("second_factor"):
            return "sso"
    return ""


def method(session: Kept) -> str:
    """Return how the session began: "sso" at an identity provider, "local" by a password, "" when it does not know."""
    methods = {one.get("method") for one in records(session)}
    return "sso" if "socialaccount" in methods else "local" if methods else ""


def proved_at(session: Kept) -> float:
    """Return when the person last proved who they are, in seconds since 1970; 0 when the session does not know."""
    return max((float(one.get("at") or 0) for one in records(session)), default=0.0)


def is_recent(session: Kept) -> bool:
    """Whether that was within settings.ACCOUNT_REAUTHENTICATION_TIMEOUT seconds."""
    return time.time() - proved_at(session) < settings.ACCOUNT_REAUTHENTICATION_TIMEOUT
