"""OpenID Connect Back-Channel Logout 1.0: the identity provider ends sessions of the portal."""

import datetime as dt
import logging
import time
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.cache import cache
from django.core.exceptions import BadRequest, SuspiciousOperation
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from portal.crypto import digest
from portal.errors import NotFound, Unavailable
from portal.sso import ALGORITHMS
from projects.models import SsoSession, UsedToken
from projects.sso import idp, jwt, sessions

EVENT = "http://schemas.openid.net/event/backchannel-logout"
TYPES = ("logout+jwt", "jwt")  # of the header, where it names one
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
MOST_BYTES = 65_536
BAD_PER_MINUTE = 60  # refused tokens of one address, after which it waits

log = logging.getLogger(__name__)


@csrf_exempt
@login_not_required
@require_POST
def backchannel_logout(request: HttpRequest, provider_id: str) -> HttpResponse:
    """End the sessions that a logout token names."""
    if settings.SSO is None or settings.SSO.provider != provider_id:
        raise NotFound("There is no such identity provider.")
    bad = f"sso:bad:{digest(str(getattr(request, 'address', '')))}:{int(time.time()) // 60}"
    if cache.get(bad, 0) >= BAD_PER_MINUTE:
        return _answer(429, "slow_down")
    try:
        ended = accept(_token(request))
    except jwt.BadToken as error:
        log.warning("sso.logout_refused reason=%s", error.code)
        cache.add(bad, 0, 120)
        cache.incr(bad)
        return _answer(400, "invalid_request")
    except Unavailable:
        log.warning("sso.logout_refused reason=unreachable")
        return _answer(503, "temporarily_unavailable")
    log.info("sso.logout sessions=%d", ended)
    return _answer(200)


def _answer(status: int, error: str = "") -> HttpResponse:
    response = JsonResponse({"error": error}, status=status) if error else HttpResponse(status=status)
    response.headers["Cache-Control"] = "no-store"
    return response


def _token(request: HttpRequest) -> str:
    """Return the one logout token of a form; raises BadToken for any other body."""
    bad = jwt.BadToken("malformed", "Send one logout_token as a form.")
    length = request.headers.get("Content-Length", "0")
    known = length.isascii() and length.isdigit() and len(length) < 10  # "²" is a digit, and no number
    if request.content_type not in FORMS or not known or int(length) > MOST_BYTES:
        raise bad
    try:
        found = request.POST.getlist("logout_token")
    except (SuspiciousOperation, BadRequest, MultiPartParserError, UnreadablePostError) as error:
        raise bad from error
    if len(found) != 1:
        raise bad
    return str(found[0])


def accept(token: str) -> int:
    """End the sessions that a logout token names, and return how many. A token works once: raises BadToken for a second
    time and for whatever else is wrong with it, and Unavailable when its signature cannot be judged now.
    """
    asked = idp.provider()
    claims = jwt.verify(
        token,
        issuer=asked.issuer,
        audience=asked.client_id,
        algorithms=ALGORITHMS,
        leeway=idp.LEEWAY_SECONDS,
        required=("iss", "aud", "iat", "exp", "jti", "events"),
        types=TYPES,
    )
    named = _named(claims)
    with transaction.atomic():
        _use_up(claims)
        living = SsoSession.objects.select_related("person").filter(named, provider=asked.provider)
        return sessions.end(living, why="ended_by_provider")


def _named(claims: dict[str, Any]) -> Q:
    """Return which sessions a logout token means; raises BadToken for what is none, such as an id token."""
    events = claims["events"]
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        raise jwt.BadToken("wrong_event", "The token is not about a logout.")
    if "nonce" in claims:
        raise jwt.BadToken("nonce_present", "A logout token holds no nonce.")
    sub, sid = claims.get("sub"), claims.get("sid")
    if sub is None and sid is None:
        raise jwt.BadToken("missing_claim", "The token names neither a person nor a session.")
    if not all(value is None or _name(value) for value in (sub, sid)) or not _name(claims["jti"]):
        raise jwt.BadToken("malformed", "The token names something that is no name.")
    about = Q() if sub is None else Q(subject=sub)
    # A session of which the provider never told the sid is ended with any other of the same person.
    return about & ((Q(sid=sid) | Q(sid="")) if sub is not None else Q(sid=sid)) if sid is not None else about


def _name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= idp.MAX_SUBJECT and value.isprintable()


def _use_up(claims: dict[str, Any]) -> None:
    """Remember the token until it would be expired anyway; raises BadToken when it came before."""
    until = min(claims["exp"], time.time() + 86_400 * 366) + idp.LEEWAY_SECONDS
    try:
        with transaction.atomic():
            UsedToken.objects.create(
                digest=digest(f"logout:{claims['jti']}"), expires_at=dt.datetime.fromtimestamp(until, dt.UTC)
            )
    except IntegrityError as error:
        raise jwt.BadToken("replayed", "The token was used before.") from error
