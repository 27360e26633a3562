"""How allauth behaves here."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.idp.oidc.adapter import DefaultOIDCAdapter
from django.conf import settings
from django.http import HttpRequest

from projects.permissions import SCOPES


class AccountAdapter(DefaultAccountAdapter):
    """Accounts come from the platform team or the identity provider: nobody signs up."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Nobody signs up."""
        return False


class OidcAdapter(DefaultOIDCAdapter):
    """The portal as an OAuth 2 provider for its own API."""

    scope_display = {**DefaultOIDCAdapter.scope_display, **SCOPES}

    def get_issuer(self) -> str:
        """The configured address, not the request's host, which a client chooses."""
        return str(settings.BASE_URL)

    def populate_server_metadata(self, data: dict[str, Any]) -> None:
        """Name all scopes in the discovery document."""
        super().populate_server_metadata(data)
        data["scopes_supported"] = [*data.get("scopes_supported", []), *SCOPES]
