"""The protocol's endpoints for machines: allauth's views behind a door that lets in only what the protocol allows."""

import json
import logging
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from allauth.core.exceptions import RateLimited
from allauth.idp.oidc import views as upstream
from allauth.idp.oidc.models import Client
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import BadRequest, SuspiciousOperation, ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.views.decorators.csrf import csrf_exempt
from oauthlib.oauth2.rfc6749.errors import OAuth2Error

from portal import crypto
from projects.oauth.adapter import at_base_url
from projects.oauth.living import living_client
from projects.oauth.used import use_once
from projects.oauth.validator import facts_of

log = logging.getLogger(__name__)

FORM = "application/x-www-form-urlencoded"
MOST = 8192  # characters of one value: an id token as a hint is the longest
LONGEST = {"client_id": 100, "device_code": 200, "code": 200, "token": 4096, "refresh_token": 4096, "grant_type": 100}
View = Callable[..., HttpResponse]


def failed(error: str, sentence: str, status: int = 400) -> JsonResponse:
    """Return an error as RFC 6749 writes it."""
    return JsonResponse({"error": error, "error_description": sentence}, status=status)


def machine(*methods: str) -> Callable[[View], View]:
    """Make a view an endpoint of the protocol: `methods` only, a form with each parameter once, errors as OAuth's JSON,
    and nothing kept by anybody on the way.
    """

    def decorate(view: View) -> View:
        @csrf_exempt  # no session counts here: clients authenticate by themselves
        @login_not_required
        @wraps(view)
        def endpoint(request: HttpRequest) -> HttpResponse:
            response = _refusal(request, methods) or _answer(view, request)
            response["Cache-Control"], response["Pragma"] = "no-store", "no-cache"
            return response

        return endpoint

    return decorate


def _answer(view: View, request: HttpRequest) -> HttpResponse:
    try:
        response = view(request)
    except OAuth2Error as error:
        response = failed(error.error, error.description or error.error, error.status_code)
        for name, value in error.headers.items():
            response[name] = value
    except ValidationError:  # allauth's word for a resource indicator that is no address
        response = failed("invalid_target", "resource must be the address of this portal.")
    except RateLimited:
        response = failed("temporarily_unavailable", "Too many requests. Wait a minute.", 429)
    except Exception:
        log.exception("oauth.unexpected %s", request.path)
        response = failed("server_error", "The portal made a mistake; it is logged under the request id.", 500)
    if response.status_code >= 400:
        log.warning("oauth.refused path=%s status=%s error=%s", request.path, response.status_code, _word(response))
        response["Content-Type"] = "application/json"
    return response


def _word(response: HttpResponse) -> str:
    try:
        found = json.loads(response.content or b"{}")
    except ValueError:
        return ""
    return str(found.get("error", "")) if isinstance(found, dict) else ""


def _refusal(request: HttpRequest, methods: tuple[str, ...]) -> HttpResponse | None:
    """Return why the request is not even looked at."""
    if request.method not in methods:
        response = failed("invalid_request", f"Use {' or '.join(methods)}.", 405)
        response["Allow"] = ", ".join(methods)
        return response
    if request.method == "POST":
        kind = request.content_type or ""
        if request.path.endswith("/userinfo") and not request.headers.get("Content-Length", "").strip("0"):
            return None  # the token stands in the header, and there is no body
        if kind != FORM:
            return failed("invalid_request", f"Send the parameters as {FORM}.")
        # oauthlib compares the whole header; a charset behind it says nothing new.
        request.META["CONTENT_TYPE"] = FORM
    try:
        wrong = wrong_parameter(request.POST) or wrong_parameter(request.GET)
    except (SuspiciousOperation, BadRequest, UnicodeError):  # larger than the limits of the settings, or no text
        return failed("invalid_request", "The body is too large, or is no text.", 413)
    return failed("invalid_request", wrong) if wrong else None


def wrong_parameter(values: QueryDict) -> str:
    """Return what is wrong with the parameters, "" when nothing is."""
    for name, texts in values.lists():
        shown = "".join(char for char in name if char.isprintable())[:40]
        if len(texts) > 1:
            return f"{shown} stands there twice. Send each parameter once."
        if not all(_is_text(text) for text in (name, *texts)):
            return f"{shown} holds a control character. Remove it."
        if len(texts[0]) > LONGEST.get(name, MOST):
            return f"{shown} is too long."
    resource = values.get("resource")
    if resource is not None and resource.rstrip("/") not in {settings.BASE_URL, f"{settings.BASE_URL}/api/v1"}:
        return "resource must be the address of this portal."
    return ""


def _is_text(text: str) -> bool:
    """Whether a database can look for it: no control characters, no half of a surrogate pair."""
    return "\0" not in text and text.isprintable() and not any("\ud800" <= char <= "\udfff" for char in text)


class _TokenView(upstream.TokenView):
    """Allauth's token endpoint; a device code is exchanged once, however many ask at the same time."""

    def _create_token_response(
        self, request: HttpRequest, *, user: AbstractBaseUser | None = None, data: Mapping[str, Any] | None = None
    ) -> HttpResponse:
        if data is not None:
            family = crypto.digest(f"device\n{data['client_id']}\n{request.POST['device_code']}")
            if not use_once(family, settings.IDP_OIDC_ACCESS_TOKEN_EXPIRES_IN):
                return failed("invalid_grant", "The device code was used before.")
            facts = facts_of(request)
            facts.family, facts.second_factor = family, str(data.get("second_factor", ""))
        response: HttpResponse = super()._create_token_response(request, user=user, data=data)
        return response


_token = _TokenView.as_view()


@machine("POST")
def token(request: HttpRequest) -> HttpResponse:
    """Exchange a code, a device code, a refresh token or client credentials for an access token."""
    if not request.POST.get("grant_type"):
        return failed("invalid_request", "grant_type is missing.")
    response: HttpResponse = _token(request)
    return response


@machine("POST")
def revoke(request: HttpRequest) -> HttpResponse:
    """End a token (RFC 7009): the answer is the same whether it lived."""
    with transaction.atomic():
        response: HttpResponse = upstream.revoke(request)
    return JsonResponse({}) if response.status_code == 200 else response


@machine("POST")
def introspect(request: HttpRequest) -> HttpResponse:
    """Say whether a token of the asking application lives, and what it may (RFC 7662)."""
    response: HttpResponse = upstream.introspect(request)
    return response


@machine("POST")
def device_code(request: HttpRequest) -> HttpResponse:
    """Begin the device flow (RFC 8628)."""
    client = living_client(request.POST.get("client_id", ""))
    if client is None:
        return failed("invalid_client", "There is no such application, or it has ended.", 401)
    if Client.GrantType.DEVICE_CODE not in client.get_grant_types():
        return failed("unauthorized_client", "The application may not use the device flow.")
    response: HttpResponse = upstream.device_code(request)
    if response.status_code == 200:
        body = json.loads(response.content)
        for name in ("verification_uri", "verification_uri_complete"):
            body[name] = at_base_url(body[name])
        response.content = json.dumps(body).encode()
    return response


@machine("GET", "POST")
def userinfo(request: HttpRequest) -> HttpResponse:
    """Say who a token with the scope openid stands for."""
    response: HttpResponse = upstream.user_info(request)
    return response


@machine("GET")
def configuration(request: HttpRequest) -> HttpResponse:
    """The discovery document."""
    response: HttpResponse = upstream.configuration(request)
    return response


@login_not_required
def jwks(request: HttpRequest) -> HttpResponse:
    """The keys that id tokens are signed with. Public, and kept for an hour as upstream says."""
    if request.method != "GET":
        return failed("invalid_request", "Use GET.", 405)
    response: HttpResponse = upstream.jwks(request)
    return response
