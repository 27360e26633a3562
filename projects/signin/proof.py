"""What a session proved: which second factor, and when. allauth keeps the records; this reads them."""

import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase

RECORDS = "account_authentication_methods"  # allauth's key: [{"method", "at", "type"?, "second_factor"?}, …]
LOCAL_FACTORS = frozenset({"totp", "webauthn", "recovery_codes"})


def records(session: SessionBase) -> list[Mapping[str, Any]]:
    """Return what the session proved so far, oldest first."""
    found = session.get(RECORDS)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def second_factor(session: SessionBase) -> str:
    """Return the second factor of this session: totp, webauthn, recovery_codes, "sso" where the identity provider saw
    one, or "".
    """
    for one in reversed(records(session)):
        if one.get("method") == "mfa" and one.get("type") in LOCAL_FACTORS:
            return str(one["type"])
        if one.get("method") == "socialaccount" and one.get("second_factor"):
            return "sso"
    return ""


def proved_at(session: SessionBase) -> float:
    """Return when the person last proved who they are, in seconds since 1970; 0 when the session does not know."""
    return max((float(one.get("at") or 0) for one in records(session)), default=0.0)


def is_recent(session: SessionBase) -> bool:
    """Whether that was within settings.ACCOUNT_REAUTHENTICATION_TIMEOUT seconds."""
    return time.time() - proved_at(session) < settings.ACCOUNT_REAUTHENTICATION_TIMEOUT
