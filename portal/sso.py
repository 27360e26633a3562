"""What the environment says about identity providers: one for people (OpenID Connect), one whose tokens the API takes.

Needs no Django; portal/settings.py reads it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from portal import env

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
USUAL_AMR = "otp,mfa,hwk,swk,fpt,face,iris,retina,pop,sc"  # RFC 8176, without pwd and pin: one factor


@dataclass(frozen=True)
class Provider:
    """The identity provider of the portal's people."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    name: str = "Single sign-on"
    provider: str = "keycloak"  # stands in the addresses
    groups_claim: str = "groups"  # dots lead into nested claims
    groups: tuple[tuple[str, str], ...] = ()  # group → platform group, or project:role
    mfa_amr: frozenset[str] = frozenset()
    mfa_acr: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Issuer:
    """An issuer whose JSON Web Tokens the API takes as access tokens."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    jwks_url: str = ""  # empty: as the issuer's discovery document says
    leeway_seconds: int = 30


def _address(name: str, value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise env.EnvError(
            f"{name} is {value!r}, but it must be the issuer's address, "
            f"for example: {name}=https://sso.example.com/realms/gatehouse"
        )
    return value.rstrip("/")


def mapping(text: str) -> tuple[tuple[str, str], ...]:
    """Return the pairs of "group=platform-engineers,other=project:role"; raises EnvError for another shape."""
    pairs = []
    for entry in (part.strip() for part in text.split(",") if part.strip()):
        group, _, into = entry.rpartition("=")
        if not group.strip() or not re.fullmatch(r"[a-z0-9-]{1,40}(:[a-z0-9-]{1,40})?", into.strip()):
            raise env.EnvError(
                f"GATEHOUSE_SSO_GROUPS holds {entry!r}, but an entry is group=platform-group or group=project:role, "
                "for example: GATEHOUSE_SSO_GROUPS=ml-platform=platform-engineers,fraud=fraud-detection:developer"
            )
        pairs.append((group.strip(), into.strip()))
    return tuple(pairs)


def read(*, embedded: bool) -> Provider | None:
    """Return the identity provider, None without GATEHOUSE_SSO_ISSUER; raises EnvError for half a configuration."""
    issuer = env.text("GATEHOUSE_SSO_ISSUER", "")
    if not issuer:
        return None
    issuer = _address("GATEHOUSE_SSO_ISSUER", issuer)
    if not embedded and not issuer.startswith("https://"):
        raise env.EnvError("GATEHOUSE_SSO_ISSUER must begin with https:// in production.")
    provider = env.text("GATEHOUSE_SSO_PROVIDER", "keycloak")
    if not re.fullmatch(r"[a-z0-9-]{1,40}", provider):
        raise env.EnvError(
            f"GATEHOUSE_SSO_PROVIDER is {provider!r}, but it stands in addresses: up to 40 lower-case letters, digits "
            "and hyphens, for example: GATEHOUSE_SSO_PROVIDER=keycloak"
        )
    return Provider(
        issuer=issuer,
        client_id=env.text("GATEHOUSE_SSO_CLIENT_ID", example="gatehouse"),
        client_secret=env.text("GATEHOUSE_SSO_CLIENT_SECRET", example="the client's secret"),
        name=env.text("GATEHOUSE_SSO_NAME", "Single sign-on"),
        provider=provider,
        groups_claim=env.text("GATEHOUSE_SSO_GROUPS_CLAIM", "groups"),
        groups=mapping(env.text("GATEHOUSE_SSO_GROUPS", "")),
        mfa_amr=frozenset(env.words("GATEHOUSE_SSO_MFA_AMR", USUAL_AMR)),
        mfa_acr=frozenset(env.words("GATEHOUSE_SSO_MFA_ACR")),
    )


def origin(provider: Provider) -> str:
    """Return scheme and host of the provider, as the content security policy names it."""
    parts = urlsplit(provider.issuer)
    return f"{parts.scheme}://{parts.netloc}"


def apps(provider: Provider | None) -> list[Mapping[str, object]]:
    """Return the provider in the form that allauth reads."""
    if provider is None:
        return []
    return [
        {
            "provider_id": provider.provider,
            "name": provider.name,
            "client_id": provider.client_id,
            "secret": provider.client_secret,
            "settings": {
                "server_url": provider.issuer,
                "oauth_pkce_enabled": True,
                "token_auth_method": "client_secret_basic",
                "uid_field": "sub",
                "fetch_userinfo": True,
            },
        }
    ]


def external() -> Issuer | None:
    """Return the issuer of GATEHOUSE_JWT_ISSUER, None without it; raises EnvError without an audience, or for an
    algorithm that is not on the list.
    """
    issuer = env.text("GATEHOUSE_JWT_ISSUER", "")
    if not issuer:
        return None
    algorithms = tuple(env.words("GATEHOUSE_JWT_ALGORITHMS", "RS256,ES256"))
    unknown = [name for name in algorithms if name not in ALGORITHMS]
    if unknown or not algorithms:
        raise env.EnvError(
            f"GATEHOUSE_JWT_ALGORITHMS holds {unknown or 'nothing'}, but it takes some of {', '.join(ALGORITHMS)}, "
            "for example: GATEHOUSE_JWT_ALGORITHMS=RS256,ES256"
        )
    return Issuer(
        issuer=_address("GATEHOUSE_JWT_ISSUER", issuer),
        audience=env.text("GATEHOUSE_JWT_AUDIENCE", example="gatehouse-api"),
        algorithms=algorithms,
        jwks_url=env.text("GATEHOUSE_JWT_JWKS_URL", ""),
        leeway_seconds=env.number("GATEHOUSE_JWT_LEEWAY_SECONDS", 30, low=0, high=300),
    )
