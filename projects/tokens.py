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
from projects.compiled import Compiled
from projects.models import Application, Project, User
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
            # Whoever has the host proved more than a second factor would.
            data={"second_factor": "host", **({"project": project.pk} if project else {})},
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


_BY_HASH = Compiled(
    lambda digest: Token.objects.select_related(
        "user", "client__application__owner", "client__application__account"
    ).filter(type=Token.Type.ACCESS_TOKEN, hash=digest),
    "the hash",
)


def lookup(secret: str) -> Token | None:
    """Return the access token that `secret` belongs to, with person, application, owner and account, whether it lives
    or not (one query).
    """
    found: Token | None = _BY_HASH.first(get_adapter().hash_token(secret))
    return found


def application_of(token: Token) -> Application | None:
    """Return the application that got the token, None for one that was minted on the host. Costs no query."""
    found: Application | None = getattr(token.client, "application", None)
    return found
