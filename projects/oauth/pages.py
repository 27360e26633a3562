"""The protocol's pages for people: consent, the code of a device, signing out at an application's wish."""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.idp.oidc import views as upstream
from allauth.idp.oidc.forms import AuthorizationForm, ConfirmCodeForm
from allauth.idp.oidc.internal.oauthlib import device_codes
from allauth.idp.oidc.internal.oauthlib.server import get_server
from allauth.idp.oidc.internal.oauthlib.utils import extract_params
from allauth.idp.oidc.models import Client
from django.contrib.auth.decorators import login_not_required
from django.core.cache import cache
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.clickjacking import xframe_options_deny
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods
from oauthlib.oauth2.rfc6749.errors import FatalClientError, OAuth2Error

from audit.services import record
from portal.errors import Forbidden
from portal.http import page
from projects.models import Application
from projects.oauth.endpoints import wrong_parameter
from projects.oauth.living import in_words, last_day, living_client
from projects.oauth.validator import recent_factor
from projects.permissions import SHORT_LIVED, can
from projects.principal import PortalRequest
from projects.signin.proof import second_factor
from projects.signin.recent import suspend

USER_CODE = re.compile(r"[A-Za-z0-9]{8}")
FATAL = "The application's request is not valid. Tell whoever runs the application."
WRONG_CODE = "This code is not right, or has expired. Ask the device for a new one."
HOST = re.compile(r"[A-Za-z0-9.-]{1,253}")
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,40}")


# --- Consent
# ------------------------------------------------------------------------------------------------------------------


class _ConsentForm(AuthorizationForm):
    """Only what can be granted now may be ticked."""

    def __init__(self, *args: Any, grantable: Iterable[str], **kwargs: Any) -> None:
        kwargs["requested_scopes"] = [scope for scope in kwargs["requested_scopes"] if scope in grantable]
        super().__init__(*args, **kwargs)


@method_decorator(xframe_options_deny, name="dispatch")
class _Consent(upstream.AuthorizationView):
    """Allauth's consent with the portal's words; what decides for others needs a second factor that was proved just
    now.
    """

    form_class = _ConsentForm

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        wrong = wrong_parameter(request.GET)
        if wrong:
            return error_page(request, wrong)
        if request.user.is_authenticated:  # upstream shows these too, with a status that says all is well
            try:
                get_server().validate_authorization_request(*extract_params(request))
            except FatalClientError as error:
                return error_page(request, error.description or FATAL)
            except OAuth2Error:
                pass  # the application hears of it
        response: HttpResponse = super().get(request, *args, **kwargs)
        return response

    def get_form_kwargs(self) -> dict[str, Any]:
        found: dict[str, Any] = super().get_form_kwargs()
        return found | {"grantable": grantable(self.request, self._scopes)}

    def form_valid(self, form: _ConsentForm) -> HttpResponse:
        client = living_client(self._request_info["client_id"])
        scopes = form.cleaned_data["scopes"]
        with transaction.atomic():
            response: HttpResponse = super().form_valid(form)
            if client is not None and response.status_code == 302 and "error=" not in response["Location"]:
                note_consent(self.request, client, scopes)
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        found: dict[str, Any] = super().get_context_data(**kwargs)
        target = str(self._request_info.get("redirect_uri") or "")
        return found | asked_for(self.request, found["client"], self._scopes) | {"redirect_to": source_of(target)}

    def render_to_response(self, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().render_to_response(context, **kwargs)
        return allow_redirect(response, str(self._request_info.get("redirect_uri") or ""))


_consent = _Consent.as_view()


@csrf_exempt  # clients may send the request itself by POST; the view checks the token of every consent
@login_not_required  # the view sends people to the sign-in, and answers prompt=none without it
@require_http_methods(["GET", "POST"])
def authorize(request: HttpRequest) -> HttpResponse:
    """Ask a person whether an application may act for them, and send the answer to the application."""
    try:
        response: HttpResponse = _consent(request)
    except (OAuth2Error, ValidationError) as error:
        response = error_page(request, getattr(error, "description", "") or FATAL)
    except PermissionDenied:
        response = error_page(request, "The form has expired. Go back to the application and begin again.", 403)
    return never_kept(response)


def grantable(request: HttpRequest, scopes: Iterable[str]) -> list[str]:
    """Return the scopes that this session may grant now. One whose second factor was proved too long ago is led to the
    proof first, and comes back.
    """
    wanted = list(scopes)
    strong = SHORT_LIVED & set(wanted)
    if not strong or recent_factor(request):
        return wanted
    if second_factor(request.session):
        raise ImmediateHttpResponse(suspend(request, why="You are about to let a program decide in your name."))
    return [scope for scope in wanted if scope not in strong]


def asked_for(request: HttpRequest, client: Client, scopes: Iterable[str]) -> dict[str, Any]:
    """Return what a person reads before they say yes (one query). Raises Forbidden for an application of a project
    that the person does not see.
    """
    asking: Any = request
    known = living_client(client.pk)
    if known is None:
        raise PermissionDenied
    project = known.application.project
    if project is not None and not can(asking.principal, "view", project):
        raise Forbidden("This application is for the members of its project. Its owner can say who gives you a role.")
    now = set(grantable(request, scopes))
    return {
        "client": known,
        "application": known.application,
        "last_day": last_day(known.application),
        "person": asking.principal.name,
        "scopes": [
            {"name": scope, "words": in_words(scope), "strong": scope in SHORT_LIVED, "allowed": scope in now}
            for scope in scopes
        ],
        "needs_factor": bool(set(scopes) - now),
        "grants_something": bool(now),
        "factor_url": reverse("mfa_index"),
    }


def note_consent(request: HttpRequest, client: Client, scopes: Iterable[str]) -> None:
    """Write down that a person let an application act for them, with the second factor behind it."""
    asking: Any = request
    application: Application = client.application
    record(
        "applications.consent",
        by=asking.principal,
        obj=application,
        project=application.project.slug if application.project else "",
        after={"client": client.pk, "scopes": sorted(scopes), "second_factor": second_factor(request.session)},
    )


def allow_redirect(response: HttpResponse, target: str) -> HttpResponse:
    """Let the browser follow the form of this page to the application: `form-action` is judged along redirects."""
    source = source_of(target)
    if source:
        response._csp_update = {"form-action": [source]}  # type: ignore[attr-defined]
    return response


def source_of(address: str) -> str:
    """Return the origin of a redirect address as the content security policy writes it, "" when it cannot be said.

    A policy knows no IPv6 addresses: there, and for the schemes of apps, the scheme has to do.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    if not SCHEME.fullmatch(parts.scheme):
        return ""
    if parts.scheme in {"http", "https"} and HOST.fullmatch(host):
        return f"{parts.scheme}://{host}{f':{port}' if port else ''}"
    return f"{parts.scheme}:"


def never_kept(response: HttpResponse) -> HttpResponse:
    """Tell everybody on the way to keep nothing of the answer."""
    response["Cache-Control"], response["Pragma"] = "no-store", "no-cache"
    return response


def error_page(request: HttpRequest, sentence: str, status: int = 400) -> HttpResponse:
    """Return the page for a request that leads nowhere: there is no address that one could trust to hear of it."""
    return page(request, "idp/oidc/error.html", {"sentence": sentence}, status=status)


# --- Device flow
# ------------------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
def device(request: PortalRequest) -> HttpResponse:
    """Ask a person for the code that their device shows, and whether the application on it may act for them.

    A plain function with the CSRF check of every page: upstream's view goes without one.
    """
    if "code" not in request.GET:
        return never_kept(_code_page(request))
    code = re.sub(r"[\s-]", "", request.GET["code"][:40])
    code = f"{code[:4]}-{code[4:]}" if USER_CODE.fullmatch(code) else ""  # as the device shows it
    form = ConfirmCodeForm({"code": code})
    if not form.is_valid():
        limited = form.has_error("code", "rate_limited")
        sentence = "Too many tries. Wait a minute." if limited else WRONG_CODE
        return never_kept(_code_page(request, request.GET["code"][:40], sentence))
    kept = cache.get(device_codes.cache_device_code_key(form.device_code)) or {}
    client = living_client(form.client.pk)
    if client is None or not kept:
        return never_kept(_code_page(request, code, WRONG_CODE))
    scopes = kept.get("scope") or client.get_default_scopes()
    if request.method == "POST":
        return never_kept(_decide(request, client, form.device_code, kept, scopes))
    context = asked_for(request, client, scopes) | {"user_code": code.upper()}
    return never_kept(page(request, "idp/oidc/device_authorization_confirm_form.html", context))


def _code_page(request: HttpRequest, typed: str = "", sentence: str = "") -> HttpResponse:
    field = {
        "name": "code", "label": "Code", "kind": "text", "value": typed, "required": True, "error": sentence,
        "help": "Eight letters, as your device shows them.",
        "attrs": {"autocomplete": "one-time-code", "maxlength": 40, "autocapitalize": "characters"},
    }  # fmt: skip
    context = {"field": field, "errors": [{"field": "code", "label": "Code", "message": sentence}] if sentence else []}
    template = "idp/oidc/device_authorization_code_form.html"
    return page(request, template, context, status=422 if sentence else 200)


def _decide(
    request: PortalRequest, client: Client, device_code: str, kept: dict[str, Any], scopes: list[str]
) -> HttpResponse:
    """Confirm or deny, with the scopes that are left ticked."""
    if request.POST.get("action") != "confirm":
        device_codes.confirm_or_deny_device_code(request.principal.person, device_code, confirm=False)
        return page(request, "idp/oidc/device_authorization_denied.html", {"client": client})
    now = grantable(request, scopes)
    chosen = [scope for scope in now if scope in request.POST.getlist("scopes")]
    if not chosen:
        raise Forbidden("Nothing is ticked that you may grant. Go back, tick at least one permission, or deny.")
    factor = recent_factor(request) if SHORT_LIVED & set(chosen) else second_factor(request.session)
    # Before the yes: a device that polls in between must find all of it.
    device_codes.update_device_state(device_code, kept | {"scope": chosen, "second_factor": factor})
    with transaction.atomic():
        note_consent(request, client, chosen)
        done = device_codes.confirm_or_deny_device_code(request.principal.person, device_code, confirm=True)
    if not done:
        return _code_page(request, "", "This code was answered already, or has expired.")
    return page(request, "idp/oidc/device_authorization_confirmed.html", {"client": client})


# --- Signing out at an application's wish
# ------------------------------------------------------------------------------------------------------------------


class _Logout(upstream.LogoutView):
    """Allauth's page; its form may lead on to the application."""

    def render_to_response(self, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().render_to_response(context, **kwargs)
        target = context["form"].cleaned_data.get("post_logout_redirect_uri") or ""
        return allow_redirect(response, target)


_logout = _Logout.as_view()


@csrf_exempt  # applications may send people by POST; the view asks them, with a token, before it ends anything
@login_not_required
@require_http_methods(["GET", "POST"])
def logout(request: HttpRequest) -> HttpResponse:
    """End the application's tokens of this person, and the session here when they say so."""
    wrong = wrong_parameter(request.GET) or wrong_parameter(request.POST)
    if wrong:
        return never_kept(error_page(request, wrong))
    response: HttpResponse = _logout(request)
    return never_kept(response)
