"""What the portal asks its identity provider: tokens for a code or a refresh token, and who somebody is."""

import base64
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from django.conf import settings

from portal.crypto import same
from portal.errors import Unavailable
from portal.sso import ALGORITHMS, Provider
from projects.sso import jwt, wire

MAX_SUBJECT = 255
LEEWAY_SECONDS = 30  # that the clocks of portal and provider may differ
ENDED = frozenset({"invalid_grant"})  # what a provider says of a session that is over


class SsoRefused(Exception):
    """Somebody was not let in: `code` for logs, `sentence` for the page."""

    def __init__(self, code: str, sentence: str = "The identity provider's answer was refused. Try again.") -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


class Ended(Exception):
    """The provider says that the session, or the account, is no more; `hint` is its own word for why."""

    def __init__(self, hint: str) -> None:
        super().__init__(hint)
        self.hint = hint


@dataclass(frozen=True)
class Tokens:
    """An answer of the token endpoint."""

    access: str
    refresh: str = ""
    identity: str = ""  # the id token


def provider() -> Provider:
    """Return the settings of the identity provider; raises Unavailable where there is none."""
    if settings.SSO is None:
        raise Unavailable("Single sign-on is not set up here.", code="sso.off")
    return settings.SSO


def exchange(code: str, *, callback: str, verifier: str) -> Tokens:
    """Return the tokens for an authorization code; raises SsoRefused where the provider gives none, and Unavailable."""
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": callback, "code_verifier": verifier}
    status, found = _grant(form)
    if status != 200:
        raise SsoRefused("code_refused")
    return _tokens(found)


def refresh(token: str) -> Tokens:
    """Return new tokens for a refresh token. Raises Ended where the provider's session is over, and Unavailable."""
    status, found = _grant({"grant_type": "refresh_token", "refresh_token": token})
    if found.get("error") in ENDED:
        raise Ended(str(found.get("error_description", ""))[:200])
    if status != 200:
        raise Unavailable(f"The identity provider answered {status} to a refresh.", code="sso.refresh_refused")
    return _tokens(found)


def _grant(form: dict[str, str]) -> tuple[int, dict[str, Any]]:
    asked = provider()
    # RFC 6749 2.3.1: both halves are form-encoded before they are joined by a colon.
    pair = f"{quote(asked.client_id, safe='')}:{quote(asked.client_secret, safe='')}"
    headers = {
        "Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    return wire.call(
        "POST", wire.endpoint(asked.issuer, "token_endpoint"), headers=headers, body=urlencode(form).encode()
    )


def _tokens(found: dict[str, Any]) -> Tokens:
    parts = [found.get(name, "") for name in ("access_token", "refresh_token", "id_token")]
    if not all(isinstance(part, str) for part in parts) or not parts[0]:
        raise SsoRefused("token_answer_unreadable")
    return Tokens(*parts)


def userinfo(access: str) -> dict[str, Any]:
    """Return what the provider says of the person now. Raises Ended where the token no longer counts (401), and
    Unavailable.
    """
    url = wire.endpoint(provider().issuer, "userinfo_endpoint")
    if not url:
        return {}
    status, found = wire.call("GET", url, headers={"Authorization": f"Bearer {access}"}, any_body=True)
    if status == 401:
        raise Ended("userinfo refused the token")
    if status != 200 or not found:
        raise Unavailable(f"The identity provider answered {status} to a userinfo call.", code="sso.unreachable")
    return found


def identity(token: str, *, nonce: str | None = None, subject: str | None = None) -> dict[str, Any]:
    """Return the claims of an id token for this portal. `nonce` must be in it, and it must be about `subject`, where
    given. Raises SsoRefused and Unavailable.
    """
    asked = provider()
    try:
        claims = jwt.verify(
            token,
            issuer=asked.issuer,
            audience=asked.client_id,
            algorithms=ALGORITHMS,
            leeway=LEEWAY_SECONDS,
            required=("sub", "exp", "iat"),
        )
    except jwt.BadToken as error:
        raise SsoRefused(error.code) from error
    meant = claims.get("aud")
    several = isinstance(meant, list) and len(meant) > 1
    if (several or "azp" in claims) and claims.get("azp") != asked.client_id:
        raise SsoRefused("wrong_party")
    about = claims["sub"]
    if not isinstance(about, str) or not 0 < len(about) <= MAX_SUBJECT or not about.isprintable():
        raise SsoRefused("malformed")
    told = claims.get("nonce")
    if nonce is not None and not (nonce and isinstance(told, str) and told.isascii() and same(told, nonce)):
        raise SsoRefused("nonce_mismatch")
    if subject is not None and claims["sub"] != subject:
        raise SsoRefused("subject_mismatch")
    return claims


def second_factor(claims: dict[str, Any]) -> bool:
    """Whether an id token says that a second factor was used, in one of the words of the settings."""
    asked = provider()
    methods = claims.get("amr")
    named = {method for method in methods if isinstance(method, str)} if isinstance(methods, list) else set()
    level = claims.get("acr")
    return bool(named & asked.mfa_amr) or (isinstance(level, str) and level in asked.mfa_acr)


def logout_url(*, hint: str, back: str) -> str:
    """Return where the provider ends its own session and leads `back`; "" when it has no such page or is away."""
    try:
        asked = provider()
        url = wire.endpoint(asked.issuer, "end_session_endpoint")
    except Unavailable:
        return ""
    if not url:
        return ""
    asks = {"client_id": asked.client_id, "post_logout_redirect_uri": back} | ({"id_token_hint": hint} if hint else {})
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(asks)}"
