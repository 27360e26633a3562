"""The portal as an OAuth 2 provider for its own API."""

from typing import Any

from allauth.idp.oidc.adapter import DefaultOIDCAdapter
from django.conf import settings

from projects.permissions import SCOPES


class OidcAdapter(DefaultOIDCAdapter):
    """What the protocol's pages and documents say."""

    scope_display = {**DefaultOIDCAdapter.scope_display, **SCOPES}

    def get_issuer(self) -> str:
        """The configured address, not the request's host, which a client chooses."""
        return str(settings.BASE_URL)

    def populate_server_metadata(self, data: dict[str, Any]) -> None:
        """Name all scopes in the discovery document."""
        super().populate_server_metadata(data)
        data["scopes_supported"] = [*data.get("scopes_supported", []), *SCOPES]
