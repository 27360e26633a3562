"""Where a second factor is demanded, nothing but its set-up is open without one. And the answer of a form that waited
for a proof.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from allauth.core.exceptions import ReauthenticationRequired
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect

from projects.principal import ANONYMOUS
from projects.signin import factors, recent, seen

Handler = Callable[[HttpRequest], HttpResponse]

# Open to everyone who is signed in: what needs no trust, and the way to gain some.
ALWAYS = frozenset(
    {
        "account_login", "account_logout", "account_inactive", "set_theme", "help", "help_page",
        "account_reauthenticate", "mfa_reauthenticate", "mfa_reauthenticate_webauthn",
        "health_live", "health_ready", "metrics",
        "openid_connect_login", "openid_connect_callback", "socialaccount_login_error",
    }
)  # fmt: skip
# Open to people who have no second factor yet: to them only, or a stolen password could set up one of its own.
SET_UP = frozenset(
    {"mfa_index", "mfa_activate_totp", "mfa_add_webauthn", "mfa_view_recovery_codes", "mfa_generate_recovery_codes"}
)
MFA_WHY = "You change how you sign in."


def replay(get_response: Handler) -> Handler:
    """Answer a proof with the answer of the form that waited for it. Stands before what reads who is asking."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        again = recent.laid_aside(request)
        return response if again is None else get_response(again)

    return middleware


class second_factor:
    """Send people without a second factor to its set-up, where settings.REQUIRE_MFA, and people who must prove once
    more that it is them to where they can.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on, and remember that its session was seen."""
        seen.note(request)
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        """Refuse by a redirect, once the route is known."""
        who = getattr(request, "principal", ANONYMOUS)
        if not settings.REQUIRE_MFA or not who.is_authenticated or who.second_factor:
            return None
        route = (request.resolver_match and request.resolver_match.view_name) or ""
        if request.path.startswith("/api/") or route in ALWAYS or route.startswith("sso_"):
            return None  # the API goes by tokens, which have rules of their own
        if factors.has_one(who.person):
            return _lead(request, reverse("mfa_reauthenticate"))
        return None if route in SET_UP else _lead(request, reverse("mfa_index"))

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Lead to a proof whoever changes factors without a recent one: allauth says so by an exception."""
        if not isinstance(exception, ReauthenticationRequired) or not request.user.is_authenticated:
            return None
        return recent.suspend(request, why=MFA_WHY)


def _lead(request: HttpRequest, where: str) -> HttpResponse:
    """Lead there, and afterwards back to the page that was asked for."""
    here = request.get_full_path() if request.method in recent.SAFE and not getattr(request, "htmx", None) else "/"
    request.session[factors.THEN] = here
    target = f"{where}?{urlencode({'next': here})}"
    return HttpResponseClientRedirect(target) if getattr(request, "htmx", None) else HttpResponseRedirect(target)
