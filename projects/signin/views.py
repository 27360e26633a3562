"""Pages of one's own account: an overview, second factors, sessions; and those pages of allauth that say more here."""

from typing import Any

from allauth.account.views import LoginView, PasswordResetView, ReauthenticateView
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base.views import IndexView
from allauth.mfa.base.views import ReauthenticateView as ReauthenticateByCode
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.views import ReauthenticateWebAuthnView, RemoveWebAuthnView
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from portal.http import page
from projects.models import ApiKey, KeyState
from projects.principal import PortalRequest
from projects.signin import devices, factors, proof, recent, sessions

METHODS = {"sso": "Single sign-on", "local": "Password", "": "Unknown"}
FACTORS = {
    "totp": "Authenticator app",
    "webauthn": "Security key",
    "recovery_codes": "Recovery code",
    "sso": "At the identity provider",
    "": "None",
}


@require_GET
def account(request: PortalRequest) -> HttpResponse:
    """What belongs to one's account, each with the page to change it."""
    person = request.principal.person
    kinds = list(Authenticator.objects.filter(user=person).values_list("type", flat=True))
    named = [FACTORS[kind] for kind in ("totp", "webauthn") if kind in kinds]
    keys = ApiKey.objects.filter(person=person, state__in=(KeyState.ACTIVE, KeyState.ROTATING)).count()
    lines = [
        _line("lock", "Password", *_password(request)),
        _line("shield", "Second factor", ", ".join(named) or "Not set up", reverse("mfa_index"), "Manage"),
        _line("endpoint", "Sessions", f"{len(sessions.living(person))} signed in", reverse("usersessions_list"), "See"),
        _line("bell", "Preferences", "Mail, digest and time zone", reverse("preferences"), "Change"),
        _line("key", "API keys of mine", f"{keys} in use", reverse("project_list"), "Projects and their keys"),
    ]
    applications = _route("my_applications")
    if applications:
        lines.append(_line("code", "Connected applications", "What acts in your name", applications, "See"))
    facts = [("User name", person.username), ("Name", person.get_full_name() or "–"), ("Mail", person.email or "–")]
    context = {"crumbs": [("Home", reverse("home")), ("Account", "")], "facts": facts, "lines": lines}
    return page(request, "account/account.html", context)


@require_http_methods(["GET", "POST"])
def session_list(request: PortalRequest) -> HttpResponse:
    """Where one is signed in; POST ends all other sessions."""
    if request.method == "POST":
        ended = sessions.end_others(request.principal, request.session.session_key or "")
        messages.success(request, f"{ended} other session{'s are' if ended != 1 else ' is'} ended.")
        return redirect("usersessions_list")
    rows = [
        {
            "id": one.row.pk,
            "device": devices.name_of(one.row.user_agent),
            "agent": one.row.user_agent,
            "address": one.row.ip,
            "began": one.row.created_at,
            "seen": one.row.last_seen_at,
            "current": one.row.session_key == request.session.session_key,
            "method": METHODS[one.method],
            "factor": FACTORS[one.second_factor],
        }
        for one in sessions.living(request.principal.person)
    ]
    rows.sort(key=lambda row: not row["current"])
    context = {"crumbs": _crumbs("Sessions"), "rows": rows, "others": any(not row["current"] for row in rows)}
    return page(request, "usersessions/usersession_list.html", context)


@require_POST
def session_end(request: PortalRequest, session_id: int) -> HttpResponse:
    """End one of one's own sessions."""
    sessions.end_one(request.principal, session_id)
    messages.success(request, "The session is ended.")
    return redirect("usersessions_list")


@require_GET
def address(request: PortalRequest) -> HttpResponse:
    """The mail address, and who changes it: what resets a password is not changed by whoever found a screen open."""
    from_provider = proof.method(request.session) == "sso" or not request.principal.person.has_usable_password()
    context = {"crumbs": _crumbs("Mail address"), "email": request.principal.person.email, "sso": from_provider}
    return page(request, "account/email.html", context)


@require_GET
def no_password(request: PortalRequest) -> HttpResponse:
    """People of the identity provider have no password here, and make none: it would outlive their account there."""
    if request.principal.person.has_usable_password():
        return redirect("account_change_password")
    context = {"crumbs": _crumbs("Password"), "provider": settings.SSO.name if settings.SSO else ""}
    return page(request, "account/password_set.html", context)


class _Login(LoginView):
    """allauth's page, with the way in through the identity provider."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add that way, where there is one."""
        context: dict[str, Any] = super().get_context_data(**kwargs)
        if settings.SSO is None:
            return context
        url = reverse("openid_connect_login", args=[settings.SSO.provider])
        return context | {"sso": [{"name": settings.SSO.name, "url": url}]}


class _Reset(PasswordResetView):
    """allauth's page, which says whom to ask where the portal sends no mail."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add whether mail is sent."""
        context: dict[str, Any] = super().get_context_data(**kwargs)
        return context | {"mail_on": settings.MAIL_ON}


class _Index(IndexView):
    """allauth's list of factors, with why one is needed and where it leads back to."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the reason and the way back."""
        request: Any = self.request
        context: dict[str, Any] = super().get_context_data(**kwargs)
        missing = settings.REQUIRE_MFA and not request.principal.second_factor
        then = request.session.get(factors.THEN, "") if request.principal.second_factor else ""
        return context | {
            "crumbs": _crumbs("Second factor"),
            "required": settings.REQUIRE_MFA,
            "missing": missing,
            "then": then,
            "host_is_number": not _is_name(request.get_host()),
        }


class _RemoveKey(RemoveWebAuthnView):
    """allauth's page, which asks whether this key may go: upstream does so for the app alone."""

    def form_valid(self, form: Any) -> HttpResponse:
        """Remove it, unless it is the last factor where one is demanded."""
        adapter = get_adapter()
        if not adapter.can_delete_authenticator(self.get_object()):
            form.add_error(None, adapter.error_messages["cannot_delete_authenticator"])
            answer: HttpResponse = self.form_invalid(form)
        else:
            answer = super().form_valid(form)
        return answer


class _Why:
    """Says on the page of a proof why it is asked for."""

    request: PortalRequest

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the reason."""
        context: dict[str, Any] = super().get_context_data(**kwargs)  # type: ignore[misc]
        return context | {"why": recent.why_asked(self.request)}


class _ByPassword(_Why, ReauthenticateView):
    """Prove it by the password."""


class _ByCode(_Why, ReauthenticateByCode):
    """Prove it by a code."""


class _ByKey(_Why, ReauthenticateWebAuthnView):
    """Prove it by a security key."""

    def form_invalid(self, form: Any) -> HttpResponseBase:
        """Ask again on the same page: allauth would lead away and forget what waits."""
        for sentence in form.errors.get("credential", []):
            messages.error(self.request, sentence)
        return HttpResponseRedirect(self.request.get_full_path())


login = _Login.as_view()
password_reset = _Reset.as_view()
factor_list = _Index.as_view()
remove_key = _RemoveKey.as_view()
prove_by_password = _ByPassword.as_view()
prove_by_code = _ByCode.as_view()
prove_by_key = _ByKey.as_view()


def _password(request: PortalRequest) -> tuple[str, str, str]:
    if request.principal.person.has_usable_password():
        return "Set", reverse("account_change_password"), "Change"
    return "None: you sign in through the identity provider", "", ""


def _line(icon: str, title: str, text: str, url: str, label: str) -> dict[str, str]:
    return {"icon": icon, "title": title, "text": text, "url": url, "label": label}


def _crumbs(title: str) -> list[tuple[str, str]]:
    return [("Home", reverse("home")), ("Account", reverse("account")), (title, "")]


def _route(name: str) -> str:
    try:
        return reverse(name)
    except NoReverseMatch:
        return ""


def _is_name(host: str) -> bool:
    """Whether a host is a name: browsers offer security keys to names only."""
    return not host.startswith("[") and not host.partition(":")[0].replace(".", "").isdigit()
