"""What this portal demands beyond allauth's provider, at the one place that every grant passes."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from allauth.core import context
from allauth.core.internal import httpkit
from allauth.idp.oidc.adapter import get_adapter
from allauth.idp.oidc.internal.oauthlib import authorization_codes
from allauth.idp.oidc.internal.oauthlib import server as upstream_server
from allauth.idp.oidc.internal.oauthlib.request_validator import OAuthLibRequestValidator
from allauth.idp.oidc.internal.oauthlib.utils import ValidatorContext, get_validator_context
from allauth.idp.oidc.models import Client, Token
from django.contrib.auth.hashers import make_password
from django.core.cache import cache
from django.http import HttpRequest
from oauthlib.common import Request
from oauthlib.oauth2.rfc6749.errors import (
    InvalidScopeError,
    UnauthorizedClientError,
    UnsupportedCodeChallengeMethodError,
)

from projects.oauth.living import IDENTITY_SCOPES, living_client
from projects.oauth.used import is_used, use_once
from projects.permissions import SHORT_LIVED
from projects.signin.proof import is_recent, second_factor

FACTS = "_gatehouse_oauth_facts"
CODE_SECONDS = 3600  # how long a used code is remembered: far longer than it could live
SPENT = "oauth:spent:{}"  # cache: hash of a refresh token that was exchanged → its family


@dataclass
class Facts:
    """What a token request is about beyond the protocol: goes into the data of the tokens that it makes."""

    family: str = ""  # all tokens that came from one approval
    second_factor: str = ""  # of the person who approved

    def as_data(self) -> dict[str, str]:
        """Return what is known."""
        return {name: value for name, value in vars(self).items() if value}


def facts_of(request: HttpRequest) -> Facts:
    """Return the facts of this request, which validation fills in."""
    found: Facts | None = getattr(request, FACTS, None)
    if found is None:
        found = Facts()
        setattr(request, FACTS, found)
    return found


def recent_factor(request: HttpRequest) -> str:
    """Return the second factor of the person's session when it was proved recently, else ""."""
    return second_factor(request.session) if is_recent(request.session) else ""


def family_of(client_id: str, code: str) -> str:
    """Return the name under which the tokens of an authorization code are found again when it is used twice."""
    return hashlib.sha256(f"code\n{client_id}\n{code}".encode()).hexdigest()


def revoke_family(client: Client, family: str) -> None:
    """End all tokens that came from one approval."""
    Token.objects.filter(client=client, data__family=family).delete()


class Validator(OAuthLibRequestValidator):
    """allauth's rules, and ours: living applications only, PKCE always, nothing deciding without a recent second
    factor, codes and refresh tokens once.
    """

    def _lookup_client(self, request: Request, client_id: str) -> Client | None:
        known = get_validator_context().clients  # oauthlib asks several times for one request
        if client_id not in known:
            known[client_id] = living_client(client_id)
        return known[client_id]

    def authenticate_client(self, request: Request, *args: Any, **kwargs: Any) -> bool:
        if super().authenticate_client(request, *args, **kwargs):
            return True
        client_id, secret = httpkit.extract_basic_auth(request.headers)
        if client_id is None:
            client_id, secret = request.client_id, request.client_secret
        if secret and living_client(client_id) is None:
            make_password(str(secret))  # an unknown client takes as long as a wrong secret
        return False

    def validate_response_type(
        self, client_id: str, response_type: str, client: Client, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        return response_type == "code" and Client.GrantType.AUTHORIZATION_CODE in request.client.get_grant_types()

    def validate_scopes(
        self, client_id: str, scopes: list[str], client: Client, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        if not scopes or not super().validate_scopes(client_id, scopes, client, request, *args, **kwargs):
            return False
        if request.grant_type == Client.GrantType.CLIENT_CREDENTIALS:  # there is no person to know or to decide
            return not (SHORT_LIVED | set(IDENTITY_SCOPES)) & set(scopes)
        return True

    def is_pkce_required(self, client_id: str, request: Request) -> bool:
        if request.code_challenge is not None and request.code_challenge_method != "S256":
            raise UnsupportedCodeChallengeMethodError(request=request)
        return True

    def validate_silent_authorization(self, request: Request) -> bool:
        # Upstream looks at what was granted to any client, so one could borrow the consent that another got.
        return False

    def save_authorization_code(
        self, client_id: str, code: dict[str, Any], request: Request, *args: Any, **kwargs: Any
    ) -> None:
        asking = context.request
        if SHORT_LIVED & set(request.scopes) and not recent_factor(asking):  # the page has asked; this is the lock
            raise UnauthorizedClientError(request=request)
        code = {**code, "second_factor": recent_factor(asking)}
        super().save_authorization_code(client_id, code, request, *args, **kwargs)

    def validate_code(
        self, client_id: str, code: str, client: Client, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        family = family_of(request.client.pk, code)
        kept = authorization_codes.lookup(request.client.pk, code)
        if kept is None:
            if is_used(family):
                revoke_family(request.client, family)
            return False
        if not use_once(family, CODE_SECONDS):  # somebody was faster, or it is a replay
            revoke_family(request.client, family)
            return False
        facts = facts_of(context.request)
        facts.family, facts.second_factor = family, str(kept["code"].get("second_factor", ""))
        request.client_id = request.client.pk  # who authenticates by header sends none, and the lookups below want it
        return bool(super().validate_code(request.client.pk, code, client, request, *args, **kwargs))

    def validate_refresh_token(
        self, refresh_token: str, client: Client, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        digest = get_adapter().hash_token(refresh_token)
        rows = Token.objects.filter(client=client, type=Token.Type.REFRESH_TOKEN, hash=digest)
        held = rows.select_for_update().first()  # two at once: the second waits, and then finds nothing
        if held is None:
            family = cache.get(SPENT.format(digest))
            if family:  # used a second time: one of the two holders has stolen it, so both lose it
                revoke_family(client, family)
            return False
        facts_of(context.request).family = (held.data or {}).get("family", "")
        return bool(super().validate_refresh_token(refresh_token, client, request, *args, **kwargs))

    def get_original_scopes(self, refresh_token: str, request: Request, *args: Any, **kwargs: Any) -> list[str]:
        held = super().get_original_scopes(refresh_token, request, *args, **kwargs)
        allowed = set(request.client.get_scopes())
        granted = [scope for scope in held if scope in allowed]
        wanted = request.scope.split() if request.scope else granted
        if not wanted or SHORT_LIVED & set(wanted):
            raise InvalidScopeError(
                description=f"{', '.join(sorted(SHORT_LIVED))} are never renewed. Ask for the others.",
                request=request,
            )
        return granted

    def validate_bearer_token(self, token: str, scopes: list[str], request: Request) -> bool:
        return super().validate_bearer_token(token, scopes, request) and living_client(request.client.pk) is not None

    def revoke_token(
        self, token: str, token_type_hint: str | None, request: Request, *args: Any, **kwargs: Any
    ) -> None:
        # Upstream ends tokens of any client, and believes the hint. A refresh token takes its access tokens along.
        kinds = [Token.Type.ACCESS_TOKEN, Token.Type.REFRESH_TOKEN]
        for found in Token.objects.filter(client=request.client, type__in=kinds).by_value(token):
            family = (found.data or {}).get("family", "")
            if found.type == Token.Type.REFRESH_TOKEN and family:
                revoke_family(request.client, family)
            found.delete()

    def _prep_access_token(self, ctx: ValidatorContext, token: dict[str, Any], request: Request) -> Token:
        made = super()._prep_access_token(ctx, token, request)
        facts = facts_of(context.request)
        if not facts.family and request.user is not None:
            facts.family = secrets.token_hex(16)
        made.data = {**(made.data or {}), **facts.as_data()}
        return made

    def _prep_refresh_token(self, ctx: ValidatorContext, refresh_token: str, request: Request) -> Token:
        facts, old = facts_of(context.request), ctx.refresh_token
        if not facts.family:
            facts.family = secrets.token_hex(16)
        if old is not None:
            left = upstream_server.app_settings.REFRESH_TOKEN_EXPIRES_IN
            cache.set(SPENT.format(old.hash), facts.family, left)
        made = super()._prep_refresh_token(ctx, refresh_token, request)
        made.data = {**(made.data or {}), "family": facts.family}
        return made


def install() -> None:
    """Make every server object of allauth's provider use these rules. It names its class in a module and offers no
    setting; tests/projects/test_oauth_*.py fail when a new release looks elsewhere.
    """
    upstream_server.OAuthLibRequestValidator = Validator
