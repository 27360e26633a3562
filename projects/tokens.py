"""API tokens: opaque access tokens of allauth's OAuth provider."""

import datetime as dt
from collections.abc import Iterable

from allauth.idp.oidc.adapter import get_adapter
from allauth.idp.oidc.models import Client, Token
from django.db import transaction
from django.utils import timezone

from audit.services import record
from portal import crypto
from portal.errors import Invalid
from projects.models import Project, User
from projects.permissions import SCOPES, SHORT_LIVED
from projects.principal import Principal

CLIENT_ID = "gatehouse-command-line"
MAX_TTL, MAX_TTL_STRONG = dt.timedelta(days=365), dt.timedelta(hours=1)


def create(user: User, *, scopes: Iterable[str], project: Project | None, ttl: dt.timedelta) -> str:
    """Mint an access token for `user` on the host and return its secret.

    Raises Invalid for an unknown scope, an inactive person, or a life longer than 365 days (one hour with a deciding
    scope).
    """
    wanted = sorted(set(scopes))
    unknown = [scope for scope in wanted if scope not in SCOPES]
    if unknown or not wanted:
        raise Invalid.field(
            "scope", f"scope {', '.join(unknown) or '(none)'} is unknown; choose from {', '.join(SCOPES)}."
        )
    limit = MAX_TTL_STRONG if SHORT_LIVED & set(wanted) else MAX_TTL
    if not dt.timedelta(seconds=1) <= ttl <= limit:
        raise Invalid.field("ttl", f"ttl must lie between 1 s and {limit} for these scopes.")
    if not user.is_active:
        raise Invalid.field("user", f"{user.username} is not active.")
    secret = f"gtt_{crypto.random_text(43)}"
    with transaction.atomic():
        client, _ = Client.objects.get_or_create(
            id=CLIENT_ID,
            defaults={"name": "Command line (create_token)", "type": Client.Type.CONFIDENTIAL, "secret": "!"},
        )
        token = Token(
            type=Token.Type.ACCESS_TOKEN,
            hash=get_adapter().hash_token(secret),
            client=client,
            user=user,
            expires_at=timezone.now() + ttl,
            data={"project": project.pk} if project else {},
        )
        token.set_scopes(wanted)
        token.save()
        actor = Principal(user=user, via="command")
        record(
            "tokens.create",
            by=actor,
            obj=("access", str(token.pk)),
            project=project.slug if project else "",
            after={"scopes": wanted, "expires_at": token.expires_at},
        )
    return secret


def find(secret: str) -> Token | None:
    """Return the living access token that `secret` belongs to, else None."""
    token: Token | None = Token.objects.lookup(Token.Type.ACCESS_TOKEN, secret)
    if token is None or token.user is None or (token.expires_at and token.expires_at <= timezone.now()):
        return None
    return token
