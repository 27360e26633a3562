"""Who a bearer secret stands for: API keys, access tokens of this portal, tokens of an issuer outside.

Every refusal is logged with a reason code and says the same to the caller. A secret is looked up by its hash either
way, so that neither answer nor time tells a stranger which of the reasons it was.
"""

import datetime as dt
import logging
from dataclasses import dataclass

from allauth.idp.oidc.models import Token
from django.core.cache import cache
from django.http import HttpRequest
from django.utils import timezone

from portal import crypto
from portal.errors import Unauthenticated
from projects import keys, tokens
from projects.compiled import Compiled
from projects.models import ApiKey, Application, KeyState, User, Where
from projects.oauth import external
from projects.oauth.adapter import too_old
from projects.oauth.living import why_ended
from projects.permissions import PLATFORM
from projects.principal import Principal
from projects.refusals import Refused

log = logging.getLogger(__name__)
MAX_SECRET = 4096  # characters; tokens of an issuer outside may be longer
TOUCH_SECONDS = 60  # last use is written down at most this often


_KEY_BY_HASH = Compiled(
    lambda digest: ApiKey.objects.order_by().select_related("person").filter(hash=digest), "the hash"
)


class InvalidToken(Unauthenticated):
    """A bearer secret was sent, and it opens nothing."""


@dataclass(frozen=True)
class Credential:
    """A secret that holds, and what is known of it."""

    principal: Principal
    kind: str  # key | token | external
    expires_at: dt.datetime
    application: Application | None = None


def read(secret: str, request: HttpRequest) -> Credential:
    """Return what `secret` stands for; raises InvalidToken with one sentence for every reason."""
    where = {"request_id": getattr(request, "request_id", ""), "address": getattr(request, "address", "")}
    try:
        if external.is_external(secret):
            return _external(secret, where)
        if len(secret) > MAX_SECRET or not secret.isascii() or not secret.isprintable():
            raise Refused("malformed")
        return _key(secret, where) if secret.startswith("gth_") else _token(secret, where)
    except Refused as refusal:
        log.warning(
            "auth.refused reason=%s of=%s address=%s path=%s",
            refusal.reason, refusal.about or "-", where["address"], request.path,
        )  # fmt: skip
        raise InvalidToken("The token or key is unknown, expired or revoked. Make a new one and try again.") from None


def _key(secret: str, where: dict[str, str]) -> Credential:
    key: ApiKey | None = _KEY_BY_HASH.first(crypto.digest(secret))
    if key is None:
        raise Refused("unknown" if keys.well_formed(secret) else "bad_checksum")
    about = key.prefix
    if key.state not in {KeyState.ACTIVE, KeyState.ROTATING}:
        raise Refused("key_expired" if key.state == KeyState.EXPIRED else "key_revoked", about)
    if key.expires_at <= timezone.now():
        raise Refused("key_expired", about)
    principal = _principal(key.person, "key", key.scopes, key.project_id, f"key:{key.pk}", about, where)
    return Credential(principal, "key", key.expires_at)


def _token(secret: str, where: dict[str, str]) -> Credential:
    token = tokens.lookup(secret)
    if token is None:
        raise Refused("unknown")
    about, application = f"token:{token.pk}", tokens.application_of(token)
    if token.expires_at is None or token.expires_at <= timezone.now():
        raise Refused("expired", about)
    if application is None and token.client_id != tokens.CLIENT_ID:
        raise Refused("inactive_application", about)
    if application is not None and why_ended(application):
        raise Refused("inactive_application", f"{about} application:{application.pk} {why_ended(application)}")
    if too_old(token):
        raise Refused("scope_too_old", about)
    person = token.user or (application.account if application else None)
    if person is None:
        raise Refused("inactive_application", about)
    data, scopes = token.data or {}, token.get_scopes()
    if application is not None:  # what was taken away from the application since is gone from its tokens
        allowed = set(application.client.get_scopes())
        scopes = [scope for scope in scopes if scope in allowed]
    own = data.get("project")
    if application is not None and application.project_id is not None:
        own = application.project_id  # a project's application stays in it, whoever it acts for
    factor = str(data.get("second_factor", ""))
    principal = _principal(person, "token", scopes, own, about, about, where, factor)
    _touch(token, application)
    return Credential(principal, "token", token.expires_at, application)


def _external(secret: str, where: dict[str, str]) -> Credential:
    found = external.read(secret)
    project_id = found.application.project_id if found.application is not None else None
    principal = _principal(
        found.person, "token", found.scopes, project_id, f"jwt:{found.digest[:32]}", found.about, where, found.factor
    )
    if found.application is not None:
        _touch(None, found.application)
    return Credential(principal, "external", found.expires_at, found.application)


def _principal(
    person: User,
    via: str,
    scopes: list[str],
    project_id: int | None,
    credential: str,
    about: str,
    where: dict[str, str],
    factor: str = "",
) -> Principal:
    """Return the principal; raises Refused for a person who left, or who is no member of the project any more."""
    if not person.is_active:
        raise Refused("inactive_person", about)
    found = Principal.of(
        person,
        via=via,
        scopes=frozenset(scopes),
        project_id=project_id,
        credential=credential,
        second_factor=factor,
        **where,
    )
    if not belongs(found):
        raise Refused("not_a_member", about)
    return found


def belongs(principal: Principal) -> bool:
    """Whether the person of a credential is in the project that it is bound to, or stands above projects."""
    if principal.project_id is None or principal.project_id in principal.roles:
        return True
    return bool(principal.groups & PLATFORM or principal.presets.get(Where.PLATFORM))


def _touch(token: Token | None, application: Application | None) -> None:
    """Write down that they were used, at most once a minute: the cache remembers that it was done."""
    now = timezone.now()
    if application is not None and cache.add(f"used:application:{application.pk}", 1, TOUCH_SECONDS):
        Application.objects.filter(pk=application.pk).update(last_used_at=now)
    if token is not None and token.user_id and cache.add(f"used:token:{token.pk}", 1, TOUCH_SECONDS):
        token.data = {**(token.data or {}), "used_at": now.isoformat()}
        Token.objects.filter(pk=token.pk).update(data=token.data)
