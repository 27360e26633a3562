"""The way in from the identity provider: allauth's flow, with nonce, issuer and signature checked, and its answers
bounded.
"""

import time
from typing import Any

from allauth.socialaccount.models import SocialApp, SocialLogin, SocialToken
from allauth.socialaccount.providers.base.constants import AuthProcess
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from allauth.utils import get_request_param
from django.http import HttpRequest, HttpResponse

from portal import crypto
from portal.errors import Unavailable
from projects.sso import groups, idp, wire
from projects.sso.kept import CAME, LONGEST_HINT

PROVE = "prove"  # process of a round trip that only proves who is there
TEXTS = {"preferred_username": 150, "name": 150, "given_name": 150, "family_name": 150, "email": 254}


class RefusedByDoor(OAuth2Error):
    """What allauth turns into its error page; `code` and `sentence` go into log and page."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


class Door(OpenIDConnectOAuth2Adapter):
    """What allauth's views ask of a provider."""

    state: dict[str, Any]  # of this round trip, as `redirect` stashed it

    @property
    def openid_config(self) -> dict[str, Any]:
        """The discovery document; raises Unavailable when it does not say where to go."""
        found = wire.discovery(idp.provider().issuer)
        if not all(isinstance(found.get(name), str) for name in ("authorization_endpoint", "token_endpoint")):
            raise Unavailable("The identity provider does not say where people sign in.", code="sso.unreadable")
        return found

    def get_access_token_data(
        self, request: HttpRequest, app: SocialApp, client: Any, pkce_code_verifier: str | None = None
    ) -> dict[str, Any]:
        """Exchange the code; raises RefusedByDoor."""
        code = str(get_request_param(request, "code") or "")
        callback = self.get_callback_url(request, app)
        try:
            tokens = idp.exchange(code, callback=callback, verifier=pkce_code_verifier or "")
        except idp.SsoRefused as error:
            raise RefusedByDoor(error.code, error.sentence) from error
        except Unavailable as error:
            raise RefusedByDoor("unreachable", error.sentence) from error
        return {"access_token": tokens.access, "refresh_token": tokens.refresh, "id_token": tokens.identity}

    def complete_login(self, request: HttpRequest, app: SocialApp, token: SocialToken, **kwargs: Any) -> SocialLogin:
        """Return who came; raises RefusedByDoor for every answer that does not hold together."""
        try:
            return self._came(request, kwargs["response"])
        except idp.SsoRefused as error:
            raise RefusedByDoor(error.code, error.sentence) from error
        except Unavailable as error:
            raise RefusedByDoor("unreachable", error.sentence) from error
        except idp.Ended as error:
            raise RefusedByDoor(
                "userinfo_refused", "The identity provider did not say who you are. Try again."
            ) from error

    def _came(self, request: HttpRequest, response: dict[str, Any]) -> SocialLogin:
        claims = idp.identity(response["id_token"], nonce=str((self.state.get("data") or {}).get("nonce", "")))
        info = idp.userinfo(response["access_token"])
        if info and info.get("sub") != claims["sub"]:
            raise idp.SsoRefused("subject_mismatch")
        self.state[CAME] = came(claims, info, response)
        kept = {**_texts(claims), **_texts(info)}
        return self.get_provider().sociallogin_from_response(request, {"userinfo": kept})


class OwnProvider(OpenIDConnectProvider):
    """The provider with a nonce, and deaf to what an address asks for: scopes, processes, parameters."""

    oauth2_adapter_class = Door

    def get_redirect_from_request_kwargs(self, request: HttpRequest) -> dict[str, Any]:
        """Return what a sign-in needs: the page to go to, and another account where the form asks for it."""
        wanted = super().get_redirect_from_request_kwargs(request)
        again = {"prompt": "login"} if request.POST.get("again") else {}
        return {"next_url": wanted.get("next_url"), "process": AuthProcess.LOGIN, "auth_params": again}

    def redirect(
        self, request: HttpRequest, process: str, next_url: str | None = None, data: Any = None, **kwargs: Any
    ) -> HttpResponse:
        """Lead to the provider with a nonce that only this session knows."""
        nonce = crypto.random_text(32)
        asked = {**self.get_auth_params(), **(kwargs.pop("auth_params", None) or {}), "nonce": nonce}
        stashed = {**(data or {}), "nonce": nonce, "asked_at": time.time()}
        response: HttpResponse = super().redirect(request, process, next_url, stashed, auth_params=asked, **kwargs)
        return response


def came(claims: dict[str, Any], info: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    """Return what the portal keeps of a sign-in, in values that a session can hold; tokens are encrypted."""
    proved = claims.get("auth_time", 0)
    identity, refresh = response["id_token"], response["refresh_token"]
    sid = claims.get("sid", "")
    said = groups.read({"userinfo": info, "id_token": claims}, subject=claims["sub"])
    return {
        "subject": claims["sub"],
        "sid": sid if isinstance(sid, str) and len(sid) <= 255 and sid.isprintable() else "",
        "groups": sorted(said.names),
        "second_factor": "sso" if idp.second_factor(claims) else "",
        "proved_at": float(max(0, min(proved, time.time()))),
        "id_token": crypto.encrypt(identity) if len(identity) <= LONGEST_HINT else "",
        "refresh_token": crypto.encrypt(refresh) if refresh else "",
    }


def _texts(claims: dict[str, Any]) -> dict[str, Any]:
    """Return the claims that are kept with an account: whole, printable texts of a bounded length."""
    found: dict[str, Any] = {"sub": claims["sub"]} if "sub" in claims else {}
    for name, longest in TEXTS.items():
        value = claims.get(name)
        if isinstance(value, str) and 0 < len(value) <= longest and value.isprintable():
            found[name] = value
    if "email" in found:
        found["email_verified"] = claims.get("email_verified") is True
    return found


class Callback(OAuth2CallbackView):
    """allauth's callback, which hands the round trip's state to the door and looks at who answers (RFC 9207)."""

    def _get_state(self, request: HttpRequest, provider: Any) -> tuple[dict[str, Any] | None, HttpResponse | None]:
        state, response = super()._get_state(request, provider)
        if state is not None:
            self.adapter.state = state
            self._check_issuer(request)
        return state, response

    def _check_issuer(self, request: HttpRequest) -> None:
        named = request.GET.get("iss")
        promised = self.adapter.openid_config.get("authorization_response_iss_parameter_supported") is True
        if (named is not None or promised) and (named or "").rstrip("/") != idp.provider().issuer:
            raise RefusedByDoor("wrong_issuer", "The answer came from another identity provider. Try again.")
