"""Access tokens of the issuer of settings.EXTERNAL_JWT: verified in projects/sso/jwt.py, told apart by person and by
registered application here.
"""

import datetime as dt
import time
from dataclasses import dataclass
from typing import Any

from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.core.cache import cache

from portal import crypto
from portal.errors import Unavailable
from portal.sso import Issuer
from projects.models import Application, User
from projects.oauth.living import is_external as is_external_client
from projects.oauth.living import why_ended
from projects.permissions import SCOPES, SHORT_LIVED
from projects.refusals import Refused
from projects.sso.jwt import BadToken, unsafe_issuer, verify

KEPT_SECONDS = 30  # for so long a token that was verified is not verified again
STRONG_SECONDS = 3600
LAST_MOMENT = 253_402_300_799  # of the calendar: a token may claim to live longer
# What only a token that was made for a person carries: it must never pass as the service account of its application.
OF_A_PERSON = ("sid", "session_state", "auth_time", "amr", "nonce", "at_hash")


@dataclass(frozen=True)
class Outsider:
    """What a token of the issuer outside stands for."""

    person: User
    scopes: list[str]
    expires_at: dt.datetime
    digest: str
    about: str
    factor: str = ""
    application: Application | None = None


def is_external(secret: str) -> bool:
    """Whether `secret` looks like a token of the issuer outside. Costs nothing for every other secret."""
    issuer = settings.EXTERNAL_JWT
    if issuer is None or secret.count(".") != 2 or not secret.startswith("ey"):
        return False
    return unsafe_issuer(secret).rstrip("/") == issuer.issuer.rstrip("/")


def read(secret: str) -> Outsider:
    """Return whom the token stands for; raises Refused. People and applications are looked up each time, so that
    whoever is closed here is out at once.
    """
    digest = crypto.digest(secret)
    claims = _claims(secret, digest)
    about = f"jwt:{digest[:16]}"
    ends = dt.datetime.fromtimestamp(min(claims["exp"], LAST_MOMENT), dt.UTC)
    wanted = claims.get("scope", "")
    named = wanted.split() if isinstance(wanted, str) else wanted if isinstance(wanted, list) else []
    scopes = [scope for scope in SCOPES if scope in named]
    person = _person(claims)
    if person is not None:
        factor = _factor(claims)
        recent = claims["iat"] > time.time() - STRONG_SECONDS
        if not (factor and recent):
            scopes = [scope for scope in scopes if scope not in SHORT_LIVED]
        return Outsider(person, scopes, ends, digest, about, factor)
    application = _application(claims, about)
    account = application.account
    if account is None:
        raise Refused("inactive_application", about)
    allowed = set(application.client.get_scopes()) - SHORT_LIVED
    return Outsider(
        account, [scope for scope in scopes if scope in allowed], ends, digest, about, application=application
    )


def _claims(secret: str, digest: str) -> dict[str, Any]:
    issuer: Issuer | None = settings.EXTERNAL_JWT
    if issuer is None:
        raise Refused("unknown")
    name = f"external-token:{digest}"
    kept: dict[str, Any] | None = cache.get(name)
    if kept is not None and kept["exp"] + issuer.leeway_seconds > time.time():
        return kept
    try:
        claims = verify(
            secret,
            issuer=issuer.issuer,
            audience=issuer.audience,
            algorithms=issuer.algorithms,
            jwks_url=issuer.jwks_url,
            leeway=issuer.leeway_seconds,
            required=("exp", "iat", "sub"),
            types=("jwt", "at+jwt"),
        )
    except BadToken as error:
        raise Refused(f"jwt_{error.code}", f"jwt:{digest[:16]}") from error
    except Unavailable as error:
        raise Refused("jwt_keys_unavailable", f"jwt:{digest[:16]}") from error
    cache.set(name, claims, KEPT_SECONDS)
    return claims


def _person(claims: dict[str, Any]) -> User | None:
    """Return the person whom the issuer knows by this subject, when it is the issuer of the portal's people."""
    sso, issuer, subject = settings.SSO, settings.EXTERNAL_JWT, claims["sub"]
    if sso is None or issuer is None or sso.issuer.rstrip("/") != issuer.issuer.rstrip("/"):
        return None
    if not isinstance(subject, str) or not subject.isprintable() or len(subject) > 191:
        return None
    known = SocialAccount.objects.select_related("user").filter(provider=sso.provider, uid=subject).first()
    return known.user if known is not None else None


def _factor(claims: dict[str, Any]) -> str:
    """Return "sso" when the identity provider saw a second factor."""
    sso, methods = settings.SSO, claims.get("amr")
    seen = set(methods) if isinstance(methods, list) and all(isinstance(one, str) for one in methods) else set()
    level = claims.get("acr")
    if sso is None:
        return ""
    return "sso" if seen & sso.mfa_amr or (isinstance(level, str) and level in sso.mfa_acr) else ""


def _application(claims: dict[str, Any], about: str) -> Application:
    """Return the living application that is registered for the token's client; raises Refused."""
    name = claims.get("azp") or claims.get("client_id")
    if any(claim in claims for claim in OF_A_PERSON):
        raise Refused("jwt_unknown_subject", about)
    if not isinstance(name, str) or not name.isprintable() or len(name) > 100:
        raise Refused("jwt_unknown_subject", about)
    rows = Application.objects.select_related("client", "owner", "account")
    found = rows.filter(client_id=name).first()
    if found is None or not is_external_client(found.client):
        raise Refused("jwt_unknown_subject", about)
    if why_ended(found):
        raise Refused("inactive_application", f"{about} application:{found.pk} {why_ended(found)}")
    return found
