"""Asking the identity provider whether the people who came through it may still be here: most providers tell nobody
when an account is disabled or leaves a group.
"""

import datetime as dt
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from portal import crypto
from portal.errors import Unavailable
from projects.models import SsoSession, UsedToken
from projects.sso import groups, idp, kept, sessions

LEASE_SECONDS = 60
AT_ONCE = 8  # sessions that are asked about at the same time
RUN_SECONDS = 20  # after which a run leaves the rest to the next one
PATIENCE_SECONDS = 60  # before a provider that did not answer is asked again

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Heard:
    """What the provider said about one session: `over` = reason code of its end, `away` = nothing, else tokens, and
    what it says of the person where that could be had.
    """

    session: SsoSession
    over: str = ""
    away: bool = False
    refresh: str = ""
    info: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)


def recheck() -> int:
    """Ask about the sessions whose turn it is, and return how many ended. A provider that is away ends none: the
    session's own age does.
    """
    if settings.SSO is None:
        return 0
    ends, ended = time.monotonic() + RUN_SECONDS, 0
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:  # threads call, and never touch the database
        while time.monotonic() < ends and (batch := list(_claimed())):
            asking = [(one, token) for one in batch if (token := _token(one))]
            heard = list(pool.map(hear, asking))
            ended += sum(_settle(one) for one in heard)
            if any(one.away for one in heard):
                break
    return ended


def _due() -> QuerySet[SsoSession]:
    now = timezone.now()
    old = now - dt.timedelta(seconds=settings.SSO_RECHECK_SECONDS)
    return SsoSession.objects.filter(Q(claimed_until=None) | Q(claimed_until__lt=now), checked_at__lt=old)


def _claimed() -> Iterator[SsoSession]:
    """Take sessions for LEASE_SECONDS, those that waited longest first. A refresh token may work only once, so two
    workers with the same one would end the session.
    """
    until = timezone.now() + dt.timedelta(seconds=LEASE_SECONDS)
    for pk in list(_due().order_by("checked_at").values_list("pk", flat=True)[:AT_ONCE]):
        if _due().filter(pk=pk).update(claimed_until=until):
            yield from SsoSession.objects.select_related("person").filter(pk=pk)


def _token(session: SsoSession) -> str:
    """Return what to ask with; "" when nothing is left to ask: the session is over, or the provider gave nothing."""
    if not sessions.lives(session.session_key):
        SsoSession.objects.filter(pk=session.pk).delete()  # it ended here
        return ""
    if not session.person.is_active:
        sessions.end([session], why="inactive")
        return ""
    token = kept.opened(session.refresh_token)
    if not token:  # it lives as long as sessions do
        SsoSession.objects.filter(pk=session.pk).update(checked_at=timezone.now(), claimed_until=None)
    return token


def hear(asked: tuple[SsoSession, str]) -> Heard:
    """Ask about one session. Runs in a thread of its own, without the database."""
    session, token = asked
    try:
        tokens = idp.refresh(token)
    except idp.Ended as error:
        log.warning("sso.session_over hint=%r", error.hint)
        return Heard(session, over="refused_by_provider")
    except Unavailable as error:
        log.warning("sso.recheck_failed reason=%s", error.code)
        return Heard(session, away=True)
    except Exception:  # a run must settle every session that it claimed
        log.exception("sso.recheck_mistake session=%s", session.pk)
        return Heard(session, away=True)
    return _person(session, tokens, tokens.refresh or token)


def _person(session: SsoSession, tokens: idp.Tokens, refresh: str) -> Heard:
    try:
        info = idp.userinfo(tokens.access)
        claims = idp.identity(tokens.identity, subject=session.subject) if tokens.identity else {}
    except (idp.Ended, idp.SsoRefused) as error:
        log.warning("sso.session_over reason=%s", getattr(error, "code", "userinfo_refused"))
        return Heard(session, over="refused_by_provider")
    except Unavailable:
        return Heard(session, refresh=refresh)  # it may stay; what its groups are, the next time tells
    if info and info.get("sub") != session.subject:
        return Heard(session, over="another_person")
    return Heard(session, refresh=refresh, info=info, claims=claims)


def _settle(heard: Heard) -> int:
    """Make it so; returns 1 when the session ended."""
    session, now = heard.session, timezone.now()
    mine = SsoSession.objects.filter(pk=session.pk)
    if heard.over:
        return sessions.end([session], why=heard.over)
    if heard.away:
        mine.update(claimed_until=now + dt.timedelta(seconds=PATIENCE_SECONDS))
        return 0
    mine.update(refresh_token=crypto.encrypt(heard.refresh), checked_at=now, claimed_until=None)
    said = groups.read({"userinfo": heard.info, "id_token": heard.claims}, subject=session.subject)
    if not heard.claims and not said.present:
        return 0  # groups stand in id tokens only, and none came with the refresh
    with transaction.atomic():
        groups.sync(session.person, said.names)
        if groups.holds_anything(session.person):
            return 0
        return sessions.end([session], why="no_group")


def clear() -> None:
    """Let go of logout tokens that have expired anyway, and of what was kept of sessions that are gone."""
    UsedToken.objects.filter(expires_at__lt=timezone.now()).delete()
    old = timezone.now() - dt.timedelta(seconds=settings.SESSION_COOKIE_AGE)
    for session in SsoSession.objects.filter(created_at__lt=old).iterator():
        if not sessions.lives(session.session_key):
            SsoSession.objects.filter(pk=session.pk).delete()
