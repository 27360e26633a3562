"""The portal as an OAuth 2 provider for its own API."""

import datetime as dt
import uuid
from typing import Any
from urllib.parse import urlsplit

from allauth.idp.oidc.adapter import DefaultOIDCAdapter
from allauth.idp.oidc.models import Client, Token
from django.conf import settings
from django.utils import timezone

from portal import crypto
from projects.models import User
from projects.oauth.living import IDENTITY_SCOPES, in_words
from projects.permissions import SCOPES, SHORT_LIVED

SECRET_PREFIX = "gts_"  # noqa: S105 - what secret scanners look for
STRONG_LIFE = dt.timedelta(hours=1)


def too_old(token: Token) -> bool:
    """Whether a token carries a scope that nobody may use an hour after it was given, whatever its end says."""
    return bool(SHORT_LIVED & set(token.get_scopes())) and timezone.now() - token.created_at > STRONG_LIFE


def at_base_url(address: str) -> str:
    """Return an address of the portal under its configured name, whatever host the caller asked."""
    parts = urlsplit(address)
    return f"{settings.BASE_URL}{parts.path}{'?' + parts.query if parts.query else ''}"


class OidcAdapter(DefaultOIDCAdapter):
    """What the protocol's pages and documents say."""

    scope_display = {name: in_words(name) for name in (*IDENTITY_SCOPES, *SCOPES)}

    def generate_client_secret(self) -> str:
        """Return a secret of 256 random bits with a checksum, so that scanners can tell it from a look-alike."""
        body = f"{SECRET_PREFIX}{crypto.random_text(43)}"
        return body + crypto.checksum(body)

    def get_issuer(self) -> str:
        """The configured address, not the request's host, which a client chooses."""
        return str(settings.BASE_URL)

    def populate_server_metadata(self, data: dict[str, Any]) -> None:
        """Say what is served: all scopes, codes only, and addresses that do not follow the request's host."""
        super().populate_server_metadata(data)
        for name in data:
            if name.endswith(("_endpoint", "_uri")):
                data[name] = at_base_url(data[name])
        data["scopes_supported"] = [*IDENTITY_SCOPES, *SCOPES]
        data["response_types_supported"] = ["code"]
        data["response_modes_supported"] = ["query"]
        data["grant_types_supported"] = [one.value for one in Client.GrantType]
        data["code_challenge_methods_supported"] = ["S256"]
        data["prompt_values_supported"] = ["none", "login", "consent"]

    def is_introspection_allowed(self, token: Token, *, caller_client: Client) -> bool:
        """Whether to say anything of a token: not of one that the API refuses."""
        return not too_old(token)

    def populate_introspection_response(self, *, response: dict[str, Any], token: Token) -> None:
        """Say what the API would make of it: scopes that the application still has, and who acts."""
        allowed = set(token.client.get_scopes()) if token.client else set()
        response["scope"] = " ".join(scope for scope in token.get_scopes() if scope in allowed)
        application = getattr(token.client, "application", None)
        acting = token.user or (application.account if application else None)
        if acting is not None:
            response["username"] = acting.username
            response.setdefault("sub", self.get_user_sub(token.client, acting))

    def get_user_sub(self, client: Client, user: Any) -> str:
        """The public id: the same for every application, and no number that counts people."""
        return str(user.public_id)

    def get_user_by_sub(self, client: Client, sub: str) -> Any:
        """Return the active person of a public id, else None."""
        try:
            return User.objects.filter(public_id=uuid.UUID(sub), is_active=True).first()
        except ValueError:
            return None
